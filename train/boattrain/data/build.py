"""Builds the data of the next training: those of the last one, with the answers of a review."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
import xxhash

from boatinfer import images
from boatinfer.dataset.groups import CONTENT, link_groups, path_folders
from boatinfer.dataset.groups import group_names as name_groups
from boatinfer.dataset.held_back import in_share
from boatinfer.dataset.labelled_images import Collection, assign_splits, read_collection
from boatinfer.dataset.near_duplicates import near_duplicates, read_thumbnails
from boatinfer.dataset.splits import TEST, TRAIN, VALID, parse_share
from boatinfer.errors import ImageError, UsageError
from boatinfer.results.find import find_results
from boatinfer.storage.files import atomic_folder, require_new_folder
from boatinfer.storage.locations import local_path, place
from boatinfer.text import from_text
from boattrain.data.answers import Answer, read_answers
from boattrain.data.options import BuildOptions
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
        untrained: classes without an image in train, sorted.
        gone: labelled images that are no longer there.
        changed: labelled images whose file has another content now.
        seen: images held back as random that have near duplicates in train.
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


class _Image(NamedTuple):
    """An image of the new data; ``split`` is empty for one that is still to be assigned."""

    path: Path
    name: str
    label: str
    split: str
    content: str
    is_random: bool = False


def build(options: BuildOptions) -> BuildResult:
    """Writes a new folder, or a table, with the images of the base and the labelled ones.

    The base keeps its splits; a labelled image that it has gets the new class there. Of the
    others all of a random sample go to test, and so does a fixed share by a hash of the content,
    so that a later build holds the same ones back. Groups and near duplicates stay together: with
    an image of the base where it is, or held back by the hash of the first of their contents.
    The hash holds back no image of a class that train would not have without it.

    Raises:
        UsageError: an input cannot be used, or the new folder exists.
        OutputError: the new folder could not be written.
    """
    share = parse_share(options.held_back, "--held-back")
    require_new_folder(options.output)
    require_outside(options.base, options.output)
    answers = read_answers(options.labels)
    folder = options.images or _scanned_folder(options.labels)
    collection = read_collection(options.base, options.base_table)
    if collection.splits is None:
        shares = {VALID: parse_share(options.valid, "--valid")}
        by = collection.default_group(options.group_by)
        collection = collection._replace(splits=assign_splits(collection, shares, by))
    base, vectors = _base_images(collection)
    known = {image.content for image in base}
    labels = {answer.content: answer.label for answer in answers if answer.label}
    corrected = [labels.get(image.content, image.label) != image.label for image in base]
    base = [image._replace(label=labels.get(image.content, image.label)) for image in base]
    fresh, problems = _labelled_images(folder, [a for a in answers if a.content not in known])
    if not labels:
        raise UsageError(f"{options.labels} names the class of no image; label some first.")
    fresh_vectors, _ = read_thumbnails([image.path for image in fresh])
    everything, seen = _assign(
        [*base, *fresh], np.concatenate([vectors, fresh_vectors]), options.group_by, share
    )
    classes = sorted({image.label for image in everything})
    _write(options, everything, classes)
    counts = Counter((image.split, image.label) for image in everything)
    return BuildResult(
        classes,
        {s: [counts[s, name] for name in classes] for s in (TRAIN, VALID, TEST)},
        added=len(fresh),
        corrected=sum(corrected),
        held_back=sum(image.split == TEST for image in everything[len(base) :]),
        without_class=sum(not answer.label for answer in answers),
        untrained=[name for name in classes if not counts[TRAIN, name]],
        gone=problems["gone"],
        changed=problems["changed"],
        seen=seen,
    )


def _scanned_folder(labels: Path) -> Path:
    """The folder of the images that the results beside the answers are of."""
    try:
        return local_path(find_results(place(str(labels.parent))).last_finished().folder)
    except UsageError as error:
        raise UsageError(
            f"{labels} does not lie in a results folder, so its images are not known; give their "
            "folder with --images."
        ) from error


def _base_images(collection: Collection) -> tuple[list[_Image], np.typing.NDArray[np.float32]]:
    files = collection.files
    vectors, digests = read_thumbnails(files.paths)
    columns = files.paths, files.names, files.class_names, collection.splits or [], digests
    return [_Image(*row) for row in zip(*columns, strict=True)], vectors


def _labelled_images(folder: Path, answers: list[Answer]) -> tuple[list[_Image], Counter[str]]:
    """The labelled images that are still what they were, and how many are not."""
    found = []
    problems: Counter[str] = Counter()
    for answer in answers:
        if not answer.label:
            continue
        path = folder / _inside(answer.path, folder)
        try:
            content = xxhash.xxh3_128_hexdigest(images.load(path)[0])
        except ImageError:
            problems["gone"] += 1
            continue
        if content != answer.content:
            problems["changed"] += 1
            continue
        found.append(_Image(path, answer.path, answer.label, "", content, answer.is_random))
    return found, problems


def _inside(path: str, folder: Path) -> PurePath:
    """The path of an answer, which is one below the folder of the images."""
    inside = PurePath(from_text(path))
    if inside.is_absolute() or ".." in inside.parts:
        raise UsageError(
            f"the answers name {path}, which is not inside {folder}; remove these rows."
        )
    return inside


def _assign(
    everything: list[_Image],
    vectors: np.typing.NDArray[np.float32],
    group_by: str | None,
    share: float,
) -> tuple[list[_Image], int]:
    """Assigns the images without a split; returns all, and how many random ones train resembles."""
    names = [f"{row}/{image.name}" for row, image in enumerate(everything)]
    groups = (
        names
        if group_by in {None, CONTENT}
        else name_groups(
            group_by or "", [i.name for i in everything], [i.label for i in everything]
        )
    )
    groups = link_groups(groups, near_duplicates(vectors, [i.content for i in everything]))
    splits: dict[str, set[str]] = defaultdict(set)
    first: dict[str, str] = {}
    for image, group in zip(everything, groups, strict=True):
        if image.split or image.is_random:
            splits[group].add(image.split or TEST)
        first[group] = min(first.get(group, image.content), image.content)

    def split_of(group: str) -> str:
        # A group that train has cannot be held back honestly.
        for split in (TRAIN, VALID, TEST):
            if split in splits[group]:
                return split
        return TEST if in_share(first[group], share) and group not in needed else TRAIN

    def assign() -> list[_Image]:
        return [
            i if i.split else i._replace(split=TEST if i.is_random else split_of(group))
            for i, group in zip(everything, groups, strict=True)
        ]

    needed: set[str] = set()
    trained = {image.label for image in assign() if image.split == TRAIN}
    needed = {g for i, g in zip(everything, groups, strict=True) if i.label not in trained}
    assigned = assign()
    seen = sum(
        image.is_random and bool({TRAIN, VALID} & splits[group])
        for image, group in zip(everything, groups, strict=True)
    )
    return assigned, seen


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
    folders = PurePath(from_text(path_folders(image.name, image.label)))
    return PurePath() if folders.is_absolute() or ".." in folders.parts else folders


def _write_table(file: Path, everything: list[_Image]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["path", "label", "split", "content"])
        for image in everything:
            row = (str(image.path.resolve()), image.label, image.split, image.content)
            writer.writerow(row)
