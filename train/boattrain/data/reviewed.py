"""The answers of a review, and the images that they are about."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePath
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from boatinfer import images
from boatinfer.errors import ImageError, UsageError
from boatinfer.results.find import find_results
from boatinfer.results.folder import Results
from boatinfer.results.labels import Answer, is_class, is_special, read_labels, read_sampled
from boatinfer.storage.locations import local_path, place
from boatinfer.text import from_text

__all__ = ["Found", "Review", "find_images", "read_review"]

_log = logging.getLogger(__name__)


class Review(NamedTuple):
    """What the answers say.

    Attributes:
        answers: of each content the last answer, if it names a class.
        special: contents whose last answer says that they show no class, or several, or cannot be
            told.
        without_class: number of answers that name no class.
        sampled: contents that were asked for at random.
        folder: what the paths of the answers are relative to.
        results: the results that the answers lie in; None if they lie elsewhere.
    """

    answers: Mapping[str, Answer]
    special: set[str]
    without_class: int
    sampled: set[str]
    folder: Path
    results: Results | None


class Found(NamedTuple):
    """The images of some answers that are still what they were.

    Attributes:
        paths: where the image of each content is.
        gone: number of images that are no longer there.
        changed: number of images that have another content now.
    """

    paths: dict[str, Path]
    gone: int
    changed: int


def read_review(labels: Path, folder: Path | None) -> Review:
    """Reads the answers of a review.

    Args:
        labels: the file, see `boatinfer.results.labels`.
        folder: the folder of the images; None for that of the results that the file lies in.

    Raises:
        UsageError: there is no such file, no answer names a class, a path leads out of the
            folder, or the folder is not known.
        OutputError: it cannot be read, or is no table of labels.
    """
    if not labels.exists():
        raise UsageError(f"{labels} does not exist; give the labels.csv of a review.")
    reading = read_labels(labels)
    for problem in reading.problems:
        _log.warning("%s", problem)
    results = None
    try:
        results = find_results(place(str(labels.parent)))
        folder = folder or local_path(results.last_finished().folder)
    except UsageError as error:
        if folder is None:
            raise UsageError(
                f"{labels} does not lie in a results folder, so its images are not known; give "
                "their folder with --images."
            ) from error
    answers = {content: reading.answers[content] for content in sorted(reading.answers)}
    named = {content: answer for content, answer in answers.items() if is_class(answer.label)}
    if not named:
        raise UsageError(f"{labels} names the class of no image; label some first.")
    for answer in named.values():
        inside = PurePath(from_text(answer.path))
        if inside.is_absolute() or ".." in inside.parts:
            raise UsageError(
                f"{labels} names {answer.path}, which is not inside {folder}; remove its rows."
            )
    special = {content for content, answer in answers.items() if is_special(answer.label)}
    without = len(answers) - len(named)
    return Review(named, special, without, read_sampled(labels), folder, results)


def find_images(review: Review, contents: Collection[str]) -> Found:
    """Finds the images of some contents, also those that were renamed before the last run."""
    paths: dict[str, Path] = {}
    states: dict[str, str | None] = {}
    for content in contents:
        path = review.folder / from_text(review.answers[content].path)
        states[content] = _content(path)
        if states[content] == content:
            paths[content] = path
    missing = {content for content in contents if content not in paths}
    for content, path in _elsewhere(review, missing):
        if content not in paths and _content(path) == content:
            paths[content] = path
    left = [states[content] for content in contents if content not in paths]
    return Found(
        {content: paths[content] for content in contents if content in paths},
        gone=left.count(None),
        changed=len(left) - left.count(None),
    )


def _elsewhere(review: Review, contents: Collection[str]) -> Iterator[tuple[str, Path]]:
    """Where the results have contents now."""
    if review.results is None or not contents:
        return
    wanted = pa.array(sorted(contents), pa.string())
    for part in review.results.parts.read(review.results.current(), ["path", "content"]):
        for row in part.filter(pc.is_in(part["content"], wanted)).to_pylist():
            yield row["content"], review.folder / from_text(row["path"])


def _content(path: Path) -> str | None:
    """The xxh3-128 of a file, hex; None if it cannot be read."""
    try:
        return xxhash.xxh3_128_hexdigest(images.load(path)[0])
    except ImageError:
        return None
