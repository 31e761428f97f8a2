"""What can be wrong with labelled images; each rule asks one question of an inventory."""

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
from boattrain.data.inventory import Facts, Inventory

__all__ = ["RULES", "Case", "Rule", "Severity"]

#: Fewer images of a class than these are few: too little is learnt, or measured.
_FEW = {TRAIN: 20, VALID: 5, TEST: 5}
#: A commonest class this many times the rarest rules the accuracy.
_UNEVEN = 10
#: Proportions this many times the usual ones look distorted once stretched to one size.
_DISTORTED = 1.5
#: An image with less than this share of the usual height has little to show.
_TINY = 0.25


class Severity(StrEnum):
    """``error``: it would break or falsify a training; ``warning``: it is worth a look."""

    ERROR = "error"
    WARNING = "warning"


class Case(msgspec.Struct, frozen=True):
    """One instance of what a rule looks for.

    Attributes:
        files: names below DATA of the files, or of the folder, that it is about.
        note: what else there is to say of them.
    """

    files: list[str]
    note: str = ""


class Rule(NamedTuple):
    """A rule.

    Attributes:
        kind: its name, for programs.
        severity: how bad a case is.
        message: what is wrong with a case, and what to do.
        cases: finds all cases, sorted by name.
    """

    kind: str
    severity: Severity
    message: str
    cases: Callable[[Inventory], list[Case]]


def _missing_splits(inventory: Inventory) -> list[Case]:
    others = " or ".join(f"{name}/" for name in inventory.unknown_splits)
    return [
        Case([split], f"is it {others}?" if others else "")
        for split in (TRAIN, VALID)
        if split not in inventory.splits
    ]


def _single_class(inventory: Inventory) -> list[Case]:
    return [Case(inventory.classes)] if len(inventory.classes) == 1 else []


def _missing_classes(inventory: Inventory) -> list[Case]:
    return _classes(inventory, {TRAIN, VALID}, lambda _, count: count == 0)


def _untested_classes(inventory: Inventory) -> list[Case]:
    return _classes(inventory, {TEST}, lambda _, count: count == 0)


def _small_classes(inventory: Inventory) -> list[Case]:
    return _classes(inventory, set(_FEW), lambda split, count: 0 < count < _FEW[split])


def _classes(
    inventory: Inventory, splits: set[str], wanted: Callable[[str, int], bool]
) -> list[Case]:
    return [
        Case([f"{split}/{name}"], f"{count}")
        for split, counts in inventory.counts.items()
        for name, count in counts.items()
        if split in splits and wanted(split, count)
    ]


def _uneven(inventory: Inventory) -> list[Case]:
    counts = {name: n for name, n in inventory.counts.get(TRAIN, {}).items() if n}
    if not counts:
        return []
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[most] <= _UNEVEN * counts[least]:
        return []
    return [Case([TRAIN], f"{counts[most]:,} of {most!r}, {counts[least]:,} of {least!r}")]


def _leaks(inventory: Inventory) -> list[Case]:
    return _same(inventory.images, lambda files: len({f.split for f in files}) > 1)


def _contradictions(inventory: Inventory) -> list[Case]:
    return _same(inventory.images, lambda files: len({f.label for f in files}) > 1)


def _repeats(inventory: Inventory) -> list[Case]:
    place = attrgetter("split", "label")
    return [
        case
        for _, files in groupby(sorted(inventory.images, key=place), key=place)
        for case in _same(files, lambda files: len(files) > 1)
    ]


def _same(images: Iterable[Facts], wanted: Callable[[list[Facts]], bool]) -> list[Case]:
    """Finds the groups of files of one content that are wanted."""
    groups = defaultdict(list)
    for facts in sorted(images):
        if facts.digest:
            groups[facts.digest].append(facts)
    return [Case([f.name for f in files]) for files in groups.values() if wanted(files)]


def _broken(inventory: Inventory) -> list[Case]:
    return [Case([f.name], f.failure) for f in inventory.images if f.failure]


def _odd_shapes(inventory: Inventory) -> list[Case]:
    sound = _sound(inventory)
    usual = median([f.width / f.height for f in sound] or [1])
    return [
        _size(f)
        for f in sound
        if not usual / _DISTORTED <= f.width / f.height <= usual * _DISTORTED
    ]


def _tiny(inventory: Inventory) -> list[Case]:
    sound = _sound(inventory)
    usual = median([f.height for f in sound] or [1])
    return [_size(f) for f in sound if f.height < usual * _TINY]


def _size(facts: Facts) -> Case:
    return Case([facts.name], f"{facts.width} x {facts.height}")


def _grey(inventory: Inventory) -> list[Case]:
    sound = _sound(inventory)
    cases = [Case([f.name]) for f in sound if f.grey]
    return cases if len(cases) < len(sound) else []


def _sound(inventory: Inventory) -> list[Facts]:
    return [f for f in inventory.images if not f.failure]


def _alike(inventory: Inventory) -> list[Case]:
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
        "a class has no readable image in a split; training needs some in train and in valid.",
        _missing_classes,
    ),
    Rule(
        "leak",
        _ERROR,
        "a picture is in more than one split; what was learnt by heart would be measured, so "
        "keep it in one.",
        _leaks,
    ),
    Rule(
        "contradiction",
        _ERROR,
        "a picture is in more than one class; only one can be right, so remove the others.",
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
        "a picture is more than once in its class; the copies only give it more weight.",
        _repeats,
    ),
    Rule(
        "few_images",
        _WARNING,
        f"a class has few images (under {_FEW[TRAIN]} in train, under {_FEW[VALID]} in valid or "
        "test); it is hard to learn, or its figures mean little.",
        _small_classes,
    ),
    Rule(
        "untested_class",
        _WARNING,
        "a class has no readable image in test; nothing will be measured of it.",
        _untested_classes,
    ),
    Rule(
        "uneven",
        _WARNING,
        f"the commonest class has over {_UNEVEN} times as many images as the rarest; judge by "
        "macro-F1 rather than by accuracy.",
        _uneven,
    ),
    Rule(
        "odd_shape",
        _WARNING,
        "an image has other proportions than most, and would be distorted.",
        _odd_shapes,
    ),
    Rule("tiny", _WARNING, "an image is much smaller than most, and shows less.", _tiny),
    Rule(
        "grey",
        _WARNING,
        "an image is grey amid coloured ones; where it is most of a class that is, colour is "
        "what tells the class.",
        _grey,
    ),
    Rule("alike", _WARNING, "a class has several spellings; join their folders.", _alike),
    Rule(
        "misnamed",
        _WARNING,
        "a file is an image, but not by the ending of its name, and is left out; rename it.",
        lambda inventory: [Case([name]) for name in inventory.misnamed],
    ),
    Rule(
        "stray",
        _WARNING,
        "an image lies outside the class folders, and is left out; move it into one.",
        lambda inventory: [Case([name]) for name in inventory.stray],
    ),
    Rule(
        "other_file",
        _WARNING,
        "a file in a class folder is no image, and is left out.",
        lambda inventory: [Case([name]) for name in inventory.others],
    ),
]
