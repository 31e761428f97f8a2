"""Builds the data of the next training: those of the last one, with the answers of a review."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection as Container
from collections.abc import Hashable, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from boatinfer.dataset.groups import CONTENT, link_groups, path_folders
from boatinfer.dataset.groups import group_names as name_groups
from boatinfer.dataset.held_back import in_sample, near_sample, share_of_groups
from boatinfer.dataset.label_tables import GROUP
from boatinfer.dataset.labelled_images import Collection, assign_splits, read_collection
from boatinfer.dataset.near_duplicates import near_duplicates, read_thumbnails
from boatinfer.dataset.splits import SPLITS, TEST, TRAIN, VALID, parse_share
from boatinfer.storage.files import atomic_folder, require_new_folder
from boatinfer.text import from_text, to_text
from boattrain.data.options import BuildOptions
from boattrain.data.reviewed import find_images, read_review
from boattrain.data.transfer import (
    free_targets,
    require_folder_names,
    require_inside,
    require_outside,
    transfer,
)

__all__ = ["BuildResult", "build"]

#: The table in the new folder.
TABLE = "data.csv"


class BuildResult(NamedTuple):
    """What was built.

    Attributes:
        classes: class names, sorted.
        counts: number of images of each class, in the order of the classes, by split.
        added: labelled images that the base did not have.
        corrected: images of the base that got another class.
        held_back: labelled images in test.
        without_class: answers that name no class.
        dropped: images of the base that show no class, or several, by their last answer.
        sample_in_base: images of the random sample that the base has in train or valid.
        untrained: classes without an image in train, sorted.
        gone: labelled images that are no longer there.
        changed: labelled images whose file has another content now.
        seen: images of the random sample that have near duplicates in train or valid.
    """

    classes: list[str]
    counts: dict[str, list[int]]
    added: int
    corrected: int
    held_back: int
    without_class: int
    untrained: list[str]
    gone: int
    changed: int
    seen: int
    dropped: int
    sample_in_base: int


class _Image(NamedTuple):
    """An image of the new data.

    Attributes:
        path: the file.
        name: its path as text, relative to the folder that it is from.
        label: its class.
        original: the class whose folder it lies in.
        split: empty for one that is still to be assigned.
        content: xxh3-128 of the file, hex; empty if it cannot be read.
        group: what the table of the base says; empty without one.
    """

    path: Path
    name: str
    label: str
    original: str
    split: str
    content: str
    group: str = ""


def build(options: BuildOptions) -> BuildResult:
    """Writes a new folder, or a table, with the images of the base and the labelled ones.

    The base keeps its splits; a labelled image that it has gets the new class there, or is left out
    if it shows none. Of the others all of the random sample go to test with their near duplicates,
    and so does a fixed share of the groups by a hash of the first content, so that a later build
    holds the same ones back. Groups and near duplicates stay together: with an image of the base
    where it is. The hash holds back no image of a class that train would not have without it.

    Raises:
        UsageError: an input cannot be used, or the new folder exists.
        OutputError: the answers cannot be read, or the new folder could not be written.
    """
    share = parse_share(options.held_back, "--held-back")
    require_new_folder(options.output)
    require_outside(options.base, options.output)
    review = read_review(options.labels, options.images)
    collection = read_collection(options.base, options.base_table)
    by = collection.default_group(options.group_by)
    if collection.splits is None:
        shares = {VALID: parse_share(options.valid, "--valid")}
        collection = collection._replace(splits=assign_splits(collection, shares, by))
    old, vectors = _base_images(collection, by)
    known = {image.content for image in old}
    kept = [image.content not in review.special for image in old]
    labels = {content: answer.label for content, answer in review.answers.items()}
    base = [
        image._replace(label=labels.get(image.content, image.label))
        for image, is_kept in zip(old, kept, strict=True)
        if is_kept
    ]
    found = find_images(review, [content for content in review.answers if content not in known])
    fresh = [
        _Image(path, review.answers[content].path, labels[content], labels[content], "", content)
        for content, path in found.paths.items()
    ]
    fresh_vectors, _ = read_thumbnails([image.path for image in fresh])
    everything = [*base, *fresh]
    everything, seen = _assign(
        everything,
        np.concatenate([vectors[kept], fresh_vectors]),
        _groups(everything, by, collection),
        review.sampled,
        share,
    )
    classes = sorted({image.label for image in everything})
    _write(options, everything, classes)
    counts = Counter((image.split, image.label) for image in everything)
    return BuildResult(
        classes,
        {s: [counts[s, name] for name in classes] for s in (TRAIN, VALID, TEST)},
        added=len(fresh),
        corrected=sum(image.label != image.original for image in base),
        held_back=sum(image.split == TEST for image in everything[len(base) :]),
        without_class=review.without_class,
        untrained=[name for name in classes if not counts[TRAIN, name]],
        gone=found.gone,
        changed=found.changed,
        seen=seen,
        dropped=len(old) - len(base),
        sample_in_base=sum(
            image.content in labels and image.split != TEST and _is_sampled(image, review.sampled)
            for image in base
        ),
    )


def _is_sampled(image: _Image, sampled: Container[str]) -> bool:
    return image.content in sampled or in_sample(image.content)


def _base_images(
    collection: Collection, by: str | None
) -> tuple[list[_Image], np.typing.NDArray[np.float32]]:
    files = collection.files
    vectors, digests = read_thumbnails(files.paths)
    column = by if by in collection.columns else GROUP
    groups = collection.columns.get(column or GROUP, [""] * len(digests))
    names, splits = files.class_names, collection.splits or []
    columns = files.paths, files.names, names, names, splits, digests, groups
    return [_Image(*row) for row in zip(*columns, strict=True)], vectors


def _groups(everything: Sequence[_Image], by: str | None, collection: Collection) -> list[str]:
    """The group of each image; one that has none is its own."""
    own = [f"{row}/{image.name}" for row, image in enumerate(everything)]
    if by in collection.columns:
        return [image.group or name for image, name in zip(everything, own, strict=True)]
    if by is None or by == CONTENT:
        return own
    return name_groups(by, [i.name for i in everything], [i.original for i in everything])


def _assign(
    everything: list[_Image],
    vectors: np.typing.NDArray[np.float32],
    groups: list[str],
    sampled: Container[str],
    share: float,
) -> tuple[list[_Image], int]:
    """Assigns the images without a split.

    Returns:
        All images, and how many of the random sample have near duplicates in train or valid.
    """
    contents = [image.content for image in everything]
    duplicates = near_duplicates(vectors, contents)
    near, groups = duplicates.tolist(), link_groups(groups, duplicates)
    of_sample = near_sample(contents, near, sampled)
    of_share = share_of_groups(contents, groups, share)
    # A group that train has cannot be held back honestly.
    near_sides, sides = _sides(near, everything), _sides(groups, everything)

    def split_of(row: int, needed: Container[str]) -> str:
        if everything[row].split:
            return everything[row].split
        if _is_sampled(everything[row], sampled):
            return TEST
        if near[row] in near_sides:
            return near_sides[near[row]]
        if of_sample[row]:
            return TEST
        held_back = of_share[row] and groups[row] not in needed
        return sides.get(groups[row], TEST if held_back else TRAIN)

    def assign(needed: Container[str]) -> list[_Image]:
        return [i._replace(split=split_of(row, needed)) for row, i in enumerate(everything)]

    trained = {image.label for image in assign([]) if image.split == TRAIN}
    needed = {g for i, g in zip(everything, groups, strict=True) if i.label not in trained}
    seen = sum(
        not image.split and _is_sampled(image, sampled) and near_sides.get(group, TEST) != TEST
        for image, group in zip(everything, near, strict=True)
    )
    return assign(needed), seen


def _sides(groups: Sequence[Hashable], everything: Sequence[_Image]) -> dict[Hashable, str]:
    """The first split in which the base has an image of a group."""
    sides: dict[Hashable, str] = {}
    for split in SPLITS:
        for group, image in zip(groups, everything, strict=True):
            if image.split == split:
                sides.setdefault(group, split)
    return sides


def _write(options: BuildOptions, everything: list[_Image], classes: list[str]) -> None:
    with atomic_folder(options.output) as folder:
        if options.as_table:
            _write_table(folder / TABLE, everything)
            return
        require_folder_names(classes)
        parts = sorted({image.split for image in everything})
        for part in parts:
            for name in classes:
                (folder / part / from_text(name)).mkdir(parents=True)
        wanted = [
            Path(folder, i.split, from_text(i.label), _sub_folders(i), i.path.name)
            for i in everything
        ]
        require_inside(folder, wanted)
        transfer([image.path for image in everything], free_targets(wanted), link=options.link)


def _sub_folders(image: _Image) -> PurePath:
    """The folders of an image below that of its class; none for one from outside of its data."""
    folders = PurePath(from_text(path_folders(image.name, image.original)))
    return PurePath() if folders.is_absolute() or ".." in folders.parts else folders


def _write_table(file: Path, everything: list[_Image]) -> None:
    """Writes a table, with the column group if the base has it; what it lacks is its own group."""
    grouped = any(image.group for image in everything)
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["path", "label", "split", "content", *([GROUP] if grouped else [])])
        for image in everything:
            path = to_text(str(image.path.resolve()))
            group = [image.group or image.content or path] if grouped else []
            writer.writerow([path, image.label, image.split, image.content, *group])
