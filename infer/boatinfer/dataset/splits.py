"""Splits labelled images into train, valid and test, stratified by class."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import xxhash

from boatinfer import images
from boatinfer.errors import ImageError, UsageError
from boatinfer.text import from_text

__all__ = ["SPLITS", "TEST", "TRAIN", "VALID", "parse_share", "split_name", "stratify"]

TRAIN = "train"
VALID = "valid"
TEST = "test"
SPLITS = (TRAIN, VALID, TEST)

#: Other names of splits, which are never classes either.
_OTHER_NAMES = {"training": TRAIN, "val": VALID, "validation": VALID, "testing": TEST}


def split_name(name: str) -> str | None:
    """The split that a folder's or table's name of it means, in any case; None for no split."""
    folded = name.strip().casefold()
    return folded if folded in SPLITS else _OTHER_NAMES.get(folded)


def parse_share(text: str, option: str) -> float:
    """Parses a share of the images, such as ``10%`` or ``0.1``.

    Returns:
        A number above 0 and below 1.

    Raises:
        UsageError: it is neither, or not above 0 and below 1.
    """
    number, percent = text.removesuffix("%"), text.endswith("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise UsageError(f"{option} {text} is no share of the images; write it like 10% or 0.1.")
    return share


def stratify(
    folder: Path,
    names: Sequence[str],
    labels: Sequence[int],
    shares: Mapping[str, float],
    seed: int = 0,
) -> list[str]:
    """Assigns the files of each class to the splits.

    The same names, contents and seed give the same split on every machine: files are ordered by a
    hash of seed and name. Each split of ``shares`` gets its share of every class, rounded, and at
    least one file as long as one remains for train; of two files, the first split gets one. Files
    with the same content go to the same split; if they are in several classes, to train, because
    they are useless for evaluation.

    Args:
        folder: what the names are relative to.
        names: the files' relative paths as text, see `boatinfer.storage.listing`.
        labels: label of each file.
        shares: share of each split except train; their sum is less than 1.
        seed: of the hash; another seed gives another split.

    Returns:
        The split of each file: a key of ``shares``, or `TRAIN`.
    """
    identities = _identify([folder / from_text(name) for name in names])
    sorted_rows = sorted(range(len(names)), key=lambda row: _position(seed, names[row]))
    contents: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row in sorted_rows:
        contents[identities[row]].append(row)
    classes: defaultdict[int, list[list[int]]] = defaultdict(list)
    in_train: set[int] = set()
    for rows in contents.values():
        content_labels = {labels[row] for row in rows}
        if len(content_labels) == 1:
            classes[content_labels.pop()].append(rows)
        else:
            in_train |= content_labels
    splits = [TRAIN] * len(names)
    totals = Counter(labels)
    for label, groups in classes.items():
        available = groups if label in in_train else groups[:-1]
        for split, rows in _assign(available, totals[label], shares):
            for row in rows:
                splits[row] = split
    return splits


def _assign(
    available: list[list[int]], total: int, shares: Mapping[str, float]
) -> list[tuple[str, list[int]]]:
    """Chooses groups of files for each split from those that need not stay in train."""
    assigned = []
    for splits_after, (split, share) in zip(
        reversed(range(len(shares))), shares.items(), strict=True
    ):
        count = max(1, math.floor(share * total + 0.5))
        reserved = (
            splits_after if len(available) > splits_after else 0
        )  # one each for the following splits
        chosen_groups, remaining = _take_fitting(available[reserved:], count)
        available = available[:reserved] + remaining
        assigned += [(split, rows) for rows in chosen_groups]
    return assigned


def _take_fitting(groups: list[list[int]], count: int) -> tuple[list[list[int]], list[list[int]]]:
    """Takes groups of files that fit, in order; if none does, the smallest group.

    Args:
        groups: files with the same content.
        count: number of files to take.

    Returns:
        The chosen and the remaining groups.
    """
    chosen: list[list[int]] = []
    remaining: list[list[int]] = []
    for rows in groups:
        fits = len(rows) <= count
        (chosen if fits else remaining).append(rows)
        count -= len(rows) if fits else 0
    if remaining and not chosen:
        chosen.append(
            remaining.pop(min(range(len(remaining)), key=lambda index: len(remaining[index])))
        )
    return chosen, remaining


def _identify(paths: Sequence[Path]) -> list[Hashable]:
    """Returns equal values for files of equal content; reads only files of equal size."""

    def size(path: Path) -> int | None:
        try:
            return path.stat().st_size
        except OSError:
            return None

    sizes = [size(path) for path in paths]
    size_counts = Counter(sizes)

    def identify(row: int) -> Hashable:
        if sizes[row] is not None and size_counts[sizes[row]] > 1:
            try:
                return xxhash.xxh3_128_digest(images.load(paths[row])[0])
            except ImageError:  # reading the images later will report it
                pass
        return row

    with ThreadPoolExecutor() as threads:
        return list(threads.map(identify, range(len(paths))))


def _position(seed: int, name: str) -> tuple[int, str]:
    return xxhash.xxh3_64_intdigest(f"{seed}/{name}".encode()), name
