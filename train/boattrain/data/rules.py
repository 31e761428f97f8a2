"""Rules for labelled images; each finds one kind of problem in an inventory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from statistics import median
from typing import NamedTuple

import msgspec

from boatinfer.dataset.splits import TEST, TRAIN, VALID
from boattrain.data.apart import near_duplicate_cases, shared_group_cases
from boattrain.data.inventory import ImageInfo, Inventory

__all__ = ["RULES", "Case", "Rule", "Severity"]

#: A class with fewer images in a split is reported.
_MIN_IMAGES = {TRAIN: 20, VALID: 5, TEST: 5}
#: Largest ratio of the images of the largest and the smallest class.
_MAX_IMBALANCE = 10
#: Largest ratio of the aspect ratio of an image and the median, either way.
_MAX_DISTORTION = 1.5
#: Smallest height of an image, as a fraction of the median.
_MIN_RELATIVE_HEIGHT = 0.25


class Severity(StrEnum):
    """``error``: breaks a training or makes its metrics wrong; ``warning``: worth a look."""

    ERROR = "error"
    WARNING = "warning"


class Case(msgspec.Struct, frozen=True):
    """A case of the problem that a rule looks for.

    Attributes:
        files: names below DATA of the files or the folder concerned.
        note: details.
    """

    files: list[str]
    note: str = ""


class Rule(NamedTuple):
    """A rule.

    Attributes:
        kind: name of the rule, for programs.
        severity: severity of its cases.
        message: what is wrong, and what to do about it.
        cases: finds all cases, sorted by name.
    """

    kind: str
    severity: Severity
    message: str
    cases: Callable[[Inventory], list[Case]]


def _missing_splits(inventory: Inventory) -> list[Case]:
    return [Case([split]) for split in (TRAIN, VALID) if split not in inventory.splits]


def _single_class(inventory: Inventory) -> list[Case]:
    return [Case(inventory.classes)] if len(inventory.classes) == 1 else []


def _missing_classes(inventory: Inventory) -> list[Case]:
    return _class_cases(inventory, {TRAIN}, lambda _, count: count == 0)


def _untested_classes(inventory: Inventory) -> list[Case]:
    return _class_cases(inventory, {VALID, TEST}, lambda _, count: count == 0)


def _small_classes(inventory: Inventory) -> list[Case]:
    return _class_cases(
        inventory, set(_MIN_IMAGES), lambda split, count: 0 < count < _MIN_IMAGES[split]
    )


def _class_cases(
    inventory: Inventory, splits: set[str], predicate: Callable[[str, int], bool]
) -> list[Case]:
    return [
        Case([f"{split}/{name}"], f"{count}")
        for split, counts in inventory.counts.items()
        for name, count in counts.items()
        if split in splits and predicate(split, count)
    ]


def _imbalance(inventory: Inventory) -> list[Case]:
    counts = {name: n for name, n in inventory.counts.get(TRAIN, {}).items() if n}
    if not counts:
        return []
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[largest] <= _MAX_IMBALANCE * counts[smallest]:
        return []
    return [
        Case([TRAIN], f"{counts[largest]:,} of {largest!r}, {counts[smallest]:,} of {smallest!r}")
    ]


def _leaks(inventory: Inventory) -> list[Case]:
    return _same_content(inventory.images, lambda files: len({f.split for f in files}) > 1)


def _contradictions(inventory: Inventory) -> list[Case]:
    return _same_content(inventory.images, lambda files: len({f.label for f in files}) > 1)


def _duplicates(inventory: Inventory) -> list[Case]:
    key = attrgetter("split", "label")
    return [
        case
        for _, files in groupby(sorted(inventory.images, key=key), key=key)
        for case in _same_content(files, lambda files: len(files) > 1)
    ]


def _same_content(
    images: Iterable[ImageInfo], predicate: Callable[[list[ImageInfo]], bool]
) -> list[Case]:
    """Finds the groups of files with the same content for which the predicate holds."""
    groups = defaultdict(list)
    for info in sorted(images):
        if info.digest:
            groups[info.digest].append(info)
    return [Case([f.name for f in files]) for files in groups.values() if predicate(files)]


def _broken(inventory: Inventory) -> list[Case]:
    return [Case([f.name], f.failure) for f in inventory.images if f.failure]


def _odd_shapes(inventory: Inventory) -> list[Case]:
    readable = _readable_images(inventory)
    typical = median([f.width / f.height for f in readable] or [1])
    return [
        _size_case(f)
        for f in readable
        if not typical / _MAX_DISTORTION <= f.width / f.height <= typical * _MAX_DISTORTION
    ]


def _tiny(inventory: Inventory) -> list[Case]:
    readable = _readable_images(inventory)
    typical = median([f.height for f in readable] or [1])
    return [_size_case(f) for f in readable if f.height < typical * _MIN_RELATIVE_HEIGHT]


def _size_case(info: ImageInfo) -> Case:
    return Case([info.name], f"{info.width} x {info.height}")


def _grey(inventory: Inventory) -> list[Case]:
    readable = _readable_images(inventory)
    cases = [Case([f.name]) for f in readable if f.grey]
    return cases if len(cases) < len(readable) else []


def _readable_images(inventory: Inventory) -> list[ImageInfo]:
    return [f for f in inventory.images if not f.failure]


def _similar_names(inventory: Inventory) -> list[Case]:
    groups = defaultdict(list)
    for name in inventory.classes:
        groups["".join(filter(str.isalnum, name.casefold())) or name].append(name)
    return [Case(names) for names in groups.values() if len(names) > 1]


_ERROR, _WARNING = Severity

RULES = [
    Rule(
        "missing_split",
        _ERROR,
        "training needs the folders train/ and valid/; 'boatinfer data split' makes them.",
        _missing_splits,
    ),
    Rule("single_class", _ERROR, "training needs at least two classes.", _single_class),
    Rule(
        "missing_class",
        _ERROR,
        "a class has no readable image in train, and cannot be learned.",
        _missing_classes,
    ),
    Rule(
        "leak",
        _ERROR,
        "an image is in more than one split, so metrics would be of memorised images; "
        "keep it in one split.",
        _leaks,
    ),
    Rule(
        "contradiction",
        _ERROR,
        "an image is in more than one class; only one can be right, so remove the others.",
        _contradictions,
    ),
    Rule(
        "broken",
        _WARNING,
        "an image cannot be read, and training leaves it out; repair or remove it.",
        _broken,
    ),
    Rule(
        "duplicate",
        _WARNING,
        "an image is in its class more than once; the copies only give it more weight.",
        _duplicates,
    ),
    Rule(
        "few_images",
        _WARNING,
        f"a class has few images (under {_MIN_IMAGES[TRAIN]} in train, under {_MIN_IMAGES[VALID]} "
        "in valid or test); it is hard to learn, or its metrics mean little.",
        _small_classes,
    ),
    Rule(
        "untested_class",
        _WARNING,
        "a class has no readable image in valid or test; it will have no metrics.",
        _untested_classes,
    ),
    Rule(
        "shared_group",
        _WARNING,
        "valid has images of the same days, or groups, as train, so metrics are of known ones; "
        "'boatinfer data split --group-by' keeps them apart.",
        lambda inventory: [Case(*case) for case in shared_group_cases(inventory)],
    ),
    Rule(
        "near_duplicate",
        _WARNING,
        "an image of valid looks the same as one of train, so metrics are of memorised images; "
        "'boatinfer data split --group-by content' keeps them together.",
        lambda inventory: [Case(*case) for case in near_duplicate_cases(inventory)],
    ),
    Rule(
        "uneven",
        _WARNING,
        f"the largest class has over {_MAX_IMBALANCE} times as many images as the smallest; judge "
        "by macro-F1 rather than accuracy.",
        _imbalance,
    ),
    Rule(
        "odd_shape",
        _WARNING,
        "an image has another aspect ratio than most, and would be distorted.",
        _odd_shapes,
    ),
    Rule("tiny", _WARNING, "an image is much smaller than most, and shows less detail.", _tiny),
    Rule(
        "grey",
        _WARNING,
        "an image is grey among coloured ones; if most of a class is grey, the network may learn "
        "the colour instead of the class.",
        _grey,
    ),
    Rule("alike", _WARNING, "a class has several spellings; merge their folders.", _similar_names),
    Rule(
        "misnamed",
        _WARNING,
        "a file is an image but has no image suffix, and is left out; rename it.",
        lambda inventory: [Case([name]) for name in inventory.misnamed],
    ),
    Rule(
        "stray",
        _WARNING,
        "an image is outside the class folders, and is left out; move it into one.",
        lambda inventory: [Case([name]) for name in inventory.stray],
    ),
    Rule(
        "other_file",
        _WARNING,
        "a file in a class folder is not an image, and is left out.",
        lambda inventory: [Case([name]) for name in inventory.other_files],
    ),
]
