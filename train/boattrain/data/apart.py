"""Tells whether valid is apart from train, and how much better it looks if it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from boatinfer.dataset.near_duplicates import SIMILARITY
from boatinfer.dataset.splits import TRAIN, VALID
from boatinfer.text import counted, joined, percent
from boattrain.data.inventory import ImageInfo, Inventory

__all__ = ["near_duplicate_cases", "shared_group_cases"]

#: Validation images that are compared with all training images, at most.
_PROBED = 2000
#: Repetitions of the control of the probe.
_CONTROLS = 5


class _Sides(NamedTuple):
    """The readable images of train and valid, with their vectors."""

    train: list[int]
    valid: list[int]
    similarity: npt.NDArray[np.float32]
    """float32 [V, T], correlation of each validation image with each training image."""


def shared_group_cases(inventory: Inventory) -> list[tuple[list[str], str]]:
    """Groups that are in train and in valid: how many images, and what that flatters."""
    if inventory.groups is None or (sides := _sides(inventory)) is None:
        return []
    groups = np.array(inventory.groups, object)
    train, valid = groups[sides.train], groups[sides.valid]
    shared = set(train) & set(valid)
    if not shared:
        return []
    count = int(np.isin(valid, list(shared)).sum())
    same = valid[:, None] == train[None, :]
    note = (
        f"{count:,} of {counted(len(valid), 'image')} are of {joined(sorted(shared))}, as images "
        f"of {TRAIN} are; {_flattery(inventory.images, sides, same)}"
    )
    return [([VALID], note)]


def near_duplicate_cases(inventory: Inventory) -> list[tuple[list[str], str]]:
    """Images of valid that look the same as one of train, after what that flatters."""
    if (sides := _sides(inventory)) is None:
        return []
    images = inventory.images
    close = sides.similarity >= SIMILARITY
    pairs = [
        (valid, sides.train[int(sides.similarity[row].argmax())])
        for row, valid in enumerate(sides.valid)
        if close[row].any()
    ]
    pairs = [pair for pair in pairs if len({images[row].digest for row in pair}) == 2]
    if not pairs:
        return []
    summary = (
        f"{len(pairs):,} of {counted(len(sides.valid), 'image')}; {_flattery(images, sides, close)}"
    )
    return [([VALID], summary), *(([images[row].name for row in pair], "") for pair in pairs)]


def _sides(inventory: Inventory) -> _Sides | None:
    """The images of both sides; None if one has none."""
    usable = [bool(vector.any()) for vector in inventory.vectors]
    train, valid = (
        [r for r, f in enumerate(inventory.images) if f.split == split and usable[r]]
        for split in (TRAIN, VALID)
    )
    if not train or not valid:
        return None
    if len(valid) > _PROBED:
        chosen = np.random.default_rng(0).choice(len(valid), _PROBED, replace=False)
        valid = [valid[row] for row in np.sort(chosen).tolist()]
    vectors = inventory.vectors
    return _Sides(train, valid, vectors[valid] @ vectors[train].T)


def _flattery(images: Sequence[ImageInfo], sides: _Sides, related: npt.NDArray[np.bool_]) -> str:
    """What a nearest neighbour says of valid with and without the related training images.

    As fewer training images alone make it worse, it is compared with as many left out at random.

    Args:
        images: all images.
        sides: those that are compared.
        related: bool [V, T], the training images that are related to each validation image.
    """
    labels = np.array([info.label for info in images], object)
    truth, train = labels[sides.valid], labels[sides.train]

    def accuracy(left_out: npt.NDArray[np.bool_]) -> float:
        remaining = np.where(left_out, -np.inf, sides.similarity)
        found = remaining.max(axis=1) > -np.inf
        return float(((train[remaining.argmax(axis=1)] == truth) & found).mean())

    rng = np.random.default_rng(0)
    control = np.mean([accuracy(rng.permuted(related, axis=1)) for _ in range(_CONTROLS)])
    without = accuracy(related)
    return (
        f"if each image of {VALID} is given the class of the image of {TRAIN} most like it, "
        f"{percent(accuracy(related & False))} are right; {percent(without)} if the related images "
        f"of {TRAIN} are left out, {percent(float(control))} if as many others are: accuracy "
        f"looks about {100 * max(0.0, float(control) - without):.1f} points too high"
    )
