"""Groups of images that belong together: a day, a camera, a burst.

A split by groups puts all images of a group on one side, so that its figures are of groups that
the training has not seen.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import xxhash

from boatinfer.dataset.splits import TRAIN, split_name
from boatinfer.dataset.union_find import first_rows
from boatinfer.errors import UsageError

__all__ = ["CONTENT", "day_of", "group_names", "link_groups", "path_folders", "split_by_groups"]

#: The group of an image's near duplicates alone.
CONTENT = "content"
#: A date in a path: 20240131, 2024-01-31, 2024/01/31; a time of six digits may follow at once.
_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_./]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?=\D|\d{6}(?!\d)|$)"
)


def day_of(path: str) -> str | None:
    """The day in a path as ``2024-01-31``, the last one if there are several."""
    dates = _DATE.findall(path)
    return "-".join((dates[-1][0], dates[-1][2], dates[-1][3])) if dates else None


def group_names(
    by: str,
    paths: Sequence[str],
    labels: Sequence[str],
    columns: Mapping[str, Sequence[str]] | None = None,
    option: str = "--group-by",
) -> list[str]:
    """Names the group of each image.

    Args:
        by: a column; else ``day``, the date in the path; ``folder``, the folders of the path
            but for those of the split and the class; ``content``, each image by itself; else a
            regular expression that is searched for in the path, whose groups, or whole match,
            are the name.
        paths: relative paths as text, with ``/``.
        labels: class name of each image.
        columns: the columns of a table, a text for each image.
        option: the option that ``by`` comes from, for error messages.

    Raises:
        UsageError: it is no regular expression, or an image belongs to no group.
    """
    if columns and by in columns:
        names: list[str | None] = [name or None for name in columns[by]]
    elif by == "day":
        names = [day_of(path) for path in paths]
    elif by == "folder":
        names = [
            path_folders(path, label) or None for path, label in zip(paths, labels, strict=True)
        ]
    elif by == CONTENT:
        return list(paths)
    else:
        names = _matches(by, paths, option)
    missing = [path for path, name in zip(paths, names, strict=True) if name is None]
    if missing:
        what = {"day": "have no date in their path", "folder": "are in no folder but their class's"}
        raise UsageError(
            f"{option} {by}: {len(missing):,} of {len(paths):,} images "
            f"{what.get(by, 'belong to no group')}, such as {missing[0]}; give day, folder, "
            "a column of the table, or a regular expression that finds the group in every path."
        )
    return [name for name in names if name is not None]


def path_folders(path: str, label: str) -> str:
    """The folders of a path, without those of its split and class."""
    folders = path.split("/")[:-1]
    if folders and split_name(folders[0]):
        folders = folders[1:]
    if label in folders:
        folders.remove(label)
    return "/".join(folders)


def _matches(pattern: str, paths: Sequence[str], option: str) -> list[str | None]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"{option} {pattern} is neither day, folder, a column of a table nor a regular "
            f"expression: {error}."
        ) from None
    return [_matched(compiled.search(path)) for path in paths]


def _matched(match: re.Match[str] | None) -> str | None:
    if match is None:
        return None
    return "-".join(part for part in match.groups() if part) or match[0] or None


def link_groups(groups: Sequence[str], duplicates: npt.NDArray[np.int64]) -> list[str]:
    """Joins groups that share near duplicates.

    Args:
        groups: group of each image.
        duplicates: int64 [N], from `boatinfer.dataset.near_duplicates.near_duplicates`.

    Returns:
        The group of each image; of joined ones the name that is first in the order of names.
    """
    names = sorted(set(groups))
    places = {name: place for place, name in enumerate(names)}
    rows = [places[name] for name in groups]
    links = ((row, rows[first]) for row, first in zip(rows, duplicates.tolist(), strict=True))
    firsts = first_rows(len(names), links)
    return [names[firsts[row]] for row in rows]


def split_by_groups(
    labels: Sequence[int], groups: Sequence[str], shares: Mapping[str, float], seed: int = 0
) -> list[str]:
    """Assigns whole groups to the splits, so that each class is near its share.

    As in scikit-learn's ``StratifiedGroupKFold``, the largest groups are assigned first, and
    equal ones in the order of a hash of seed and name. A group goes to a split if that brings
    the split nearer to its share, of each class and of all images; each split gets at least one
    group. No split takes the last images of a class from train, so a class that is in one group
    only stays there.

    Args:
        labels: label of each image.
        groups: group of each image.
        shares: share of each split except train.
        seed: of the order of equal groups.

    Returns:
        The split of each image: a key of ``shares``, or `boatinfer.dataset.splits.TRAIN`.

    Raises:
        UsageError: there are too few groups.
    """
    classes = max(labels) + 1
    counts: dict[str, npt.NDArray[np.int64]] = defaultdict(lambda: np.zeros(classes, np.int64))
    for (name, label), count in Counter(zip(groups, labels, strict=True)).items():
        counts[name][label] = count
    order = sorted(counts, key=lambda name: (-counts[name].sum(), _position(seed, name)))
    totals = sum(counts.values(), np.zeros(classes, np.int64))
    chosen: dict[str, str] = {}
    remaining = totals.copy()
    for split, share in shares.items():
        free = [name for name in order if name not in chosen]
        names = _choose(free, counts, totals, remaining, share)
        if not names:
            raise UsageError(
                f"the images cannot be split by their {len(counts):,} groups: no group can go to "
                f"{split} and leave every class in {TRAIN}; use smaller groups."
            )
        for name in names:
            chosen[name] = split
            remaining = remaining - counts[name]
    return [chosen.get(name, TRAIN) for name in groups]


def _choose(
    names: Sequence[str],
    counts: Mapping[str, npt.NDArray[np.int64]],
    totals: npt.NDArray[np.int64],
    remaining: npt.NDArray[np.int64],
    share: float,
) -> list[str]:
    """Chooses groups for a split; empty if none can be."""
    present = totals > 0
    taken = np.zeros_like(totals)

    def distance(counted: npt.NDArray[np.int64]) -> float:
        by_class = np.abs(counted[present] / totals[present] - share).mean()
        return float(by_class + abs(counted.sum() / totals.sum() - share))

    def leaves_all(group: npt.NDArray[np.int64]) -> bool:
        return bool(((remaining - taken - group)[remaining > 0] > 0).all())

    chosen = []
    for name in names:
        group = counts[name]
        if distance(taken + group) < distance(taken) and leaves_all(group):
            chosen.append(name)
            taken = taken + group
    possible = [name for name in names if leaves_all(counts[name])]
    if not chosen and possible:
        chosen.append(min(possible, key=lambda name: distance(counts[name])))
    return chosen


def _position(seed: int, name: str) -> tuple[int, str]:
    return xxhash.xxh3_64_intdigest(f"{seed}/{name}".encode()), name
