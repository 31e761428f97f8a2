"""Train, valid and test: how images are dealt to them."""

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

__all__ = ["SPLITS", "TEST", "TRAIN", "VALID", "parse_share", "stratify"]

TRAIN = "train"
VALID = "valid"
TEST = "test"
SPLITS = (TRAIN, VALID, TEST)


def parse_share(text: str, option: str) -> float:
    """Reads a share of the images, such as ``10%`` or ``0.1``.

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
    """Deals the files of each class to the splits.

    The same names, contents and seed give the same answer on every machine: files are
    taken in the order of a hash of seed and name. Each split of ``shares`` gets its share of
    every class, rounded and at least one file as long as one stays for train; of two, the
    first split gets one. Files of the same content go to the same split, and where they
    are in several classes, to train: they could measure nothing.

    Args:
        folder: what the names are relative to.
        names: texts of the files' paths, as `boatinfer.storage.listing` gives them.
        labels: class of each.
        shares: fraction of the images of each split but train; together less than 1.
        seed: another one deals otherwise.

    Returns:
        The split of each file: a key of ``shares``, or `TRAIN`.
    """
    identities = _identify([folder / from_text(name) for name in names])
    order = sorted(range(len(names)), key=lambda row: _position(seed, names[row]))
    contents: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row in order:
        contents[identities[row]].append(row)
    classes: defaultdict[int, list[list[int]]] = defaultdict(list)
    in_train: set[int] = set()
    for rows in contents.values():
        held_by = {labels[row] for row in rows}
        if len(held_by) == 1:
            classes[held_by.pop()].append(rows)
        else:
            in_train |= held_by
    splits = [TRAIN] * len(names)
    totals = Counter(labels)
    for label, held in classes.items():
        available = held if label in in_train else held[:-1]
        for split, rows in _deal(available, totals[label], shares):
            for row in rows:
                splits[row] = split
    return splits


def _deal(
    available: list[list[int]], total: int, shares: Mapping[str, float]
) -> list[tuple[str, list[int]]]:
    """Takes contents for each split from what need not stay in train."""
    dealt = []
    for later, (split, share) in zip(reversed(range(len(shares))), shares.items(), strict=True):
        wanted = max(1, math.floor(share * total + 0.5))
        kept = later if len(available) > later else 0  # one each for the splits to come
        chosen, left = _fill(available[kept:], wanted)
        available = available[:kept] + left
        dealt += [(split, rows) for rows in chosen]
    return dealt


def _fill(contents: list[list[int]], wanted: int) -> tuple[list[list[int]], list[list[int]]]:
    """Takes contents, in order, whose files fit; if none does, the one with the fewest files."""
    chosen: list[list[int]] = []
    left: list[list[int]] = []
    for rows in contents:
        fits = len(rows) <= wanted
        (chosen if fits else left).append(rows)
        wanted -= len(rows) if fits else 0
    if left and not chosen:
        chosen.append(left.pop(min(range(len(left)), key=lambda place: len(left[place]))))
    return chosen, left


def _identify(paths: Sequence[Path]) -> list[Hashable]:
    """Gives files of equal content the same value, reading only those of equal size."""

    def size(path: Path) -> int | None:
        try:
            return path.stat().st_size
        except OSError:
            return None

    sizes = [size(path) for path in paths]
    alike = Counter(sizes)

    def identify(row: int) -> Hashable:
        if sizes[row] is not None and alike[sizes[row]] > 1:
            try:
                return xxhash.xxh3_128_digest(images.load(paths[row])[0])
            except ImageError:  # whoever reads the images will say so
                pass
        return row

    with ThreadPoolExecutor() as threads:
        return list(threads.map(identify, range(len(paths))))


def _position(seed: int, name: str) -> tuple[int, str]:
    return xxhash.xxh3_64_intdigest(f"{seed}/{name}".encode()), name
