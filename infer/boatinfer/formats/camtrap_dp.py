"""A Camera Trap Data Package, Camtrap DP 1.0.2 (https://camtrap-dp.tdwg.org), for archives.

A deployment is a folder of images. Its coordinates are those of ``--deployments``, else of the
first of its images that has some.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import mimetypes
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import msgspec

from boatinfer._version import __version__
from boatinfer.formats.base import (
    Image,
    Written,
    file_of,
    images,
    images_folder,
    left_out,
    new_folder,
)
from boatinfer.formats.class_types import ClassTypes
from boatinfer.formats.deployments import Deployments
from boatinfer.formats.options import ExportOptions
from boatinfer.images.capture import MTIME, NAME, Capture, read_capture
from boatinfer.results.reader import ResultsReader
from boatinfer.results.summary import run_time
from boatinfer.text import from_text

__all__ = ["FILES", "CamtrapDP"]

#: The files of a package.
FILES = ("datapackage.json", "deployments.csv", "media.csv", "observations.csv")

_STANDARD = "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.2"
_MEDIA = (
    *("mediaID", "deploymentID", "timestamp", "filePath", "filePublic", "fileName"),
    *("fileMediatype", "mediaComments"),
)
_OBSERVATIONS = (
    *("observationID", "deploymentID", "mediaID", "eventStart", "eventEnd", "observationLevel"),
    *("observationType", "scientificName", "classificationMethod", "classifiedBy"),
    *("classificationTimestamp", "classificationProbability", "observationTags"),
)
#: Relative paths that the standard allows.
_RELATIVE = re.compile(r"(?![./~])(?!.*\.\.).*", re.DOTALL)
#: What is said of a time that is not of the EXIF data, by its source.
_TIME_OF = {
    NAME: "timestamp from the name of the file",
    MTIME: "timestamp of the last change of the file",
}
#: Columns that are no tags of an observation.
_NO_TAGS = {"run", "new", "taken", "taken_source", "latitude", "longitude", "camera"}


class CamtrapDP:
    """Writes a folder with datapackage.json and three tables; the images stay where they are."""

    options = ("class_types", "deployments")

    def write(self, results: ResultsReader, options: ExportOptions) -> Written:
        """As `boatinfer.formats.base.Format.write`; an image that failed is ``unclassified``."""
        types, deployments = ClassTypes(options.class_types), Deployments(options.deployments)
        package = _Package(results, images_folder(results), types, deployments)
        with new_folder(options, FILES) as folder:
            with (
                _table(folder / "media.csv", _MEDIA) as media,
                _table(folder / "observations.csv", _OBSERVATIONS) as observations,
            ):
                count, gone = package.write_images(media, observations)
            with _table(folder / "deployments.csv", deployments.columns) as rows:
                rows.writerows(deployments.rows())
            text = msgspec.json.format(msgspec.json.encode(package.descriptor()), indent=2)
            (folder / "datapackage.json").write_bytes(text + b"\n")
        remarks = left_out(gone, "now gone")
        if deployments.without_offset:
            remarks.append(
                "Some times have no offset from UTC: they are written as UTC, and their "
                "deployments have timestampIssues."
            )
        if deployments.not_exif:
            remarks.append(
                "Some times are not of EXIF data: mediaComments say so, and their deployments have "
                "timestampIssues."
            )
        return Written(count, remarks)


class _Package:
    """One package that is being written."""

    def __init__(
        self, results: ResultsReader, folder: Path, types: ClassTypes, deployments: Deployments
    ) -> None:
        self._results, self._folder = results, folder
        self._types, self._deployments = types, deployments
        self._names: set[str] = set()

    def write_images(self, media: Any, observations: Any) -> tuple[int, int]:
        """Writes a row of media and one of observations for each image.

        Returns:
            How many images there are, and how many are gone.
        """
        count = gone = 0
        for image in images(self._results):
            capture = None if image.path.endswith("/") else self._capture(image)
            if capture is None:
                gone += 1
                continue
            count += 1
            deployment = os.path.dirname(image.path) or self._folder.name  # noqa: PTH120
            moment = self._deployments.note(deployment, capture)
            media.writerow(self._medium(image, deployment, moment, capture))
            observations.writerow(self._observation(image, deployment, moment))
        return count, gone

    def _capture(self, image: Image) -> Capture | None:
        """When and where an image was taken; None if it is gone."""
        if image.more.get("taken"):
            return Capture(**{name: image.more.get(name) for name in Capture._fields})
        file = file_of(self._folder, image.path)
        with contextlib.suppress(OSError):
            return read_capture(file, image.path, file.stat().st_mtime_ns)
        return None

    def _medium(
        self, image: Image, deployment: str, moment: str, capture: Capture
    ) -> tuple[object, ...]:
        name = os.path.basename(image.path)  # noqa: PTH119
        ending = os.path.splitext(name)[1].lower()  # noqa: PTH122
        guess = mimetypes.types_map.get(ending, "")
        kind = guess if guess.startswith("image/") else f"image/x-{ending[1:] or 'unknown'}"
        failure = image.failure and f"{image.failure}: {image.error or ''}".rstrip(": ")
        comment = "; ".join(filter(None, (failure, _TIME_OF.get(capture.taken_source or ""))))
        path = self._file_path(image.path)
        return image.path, deployment, moment, path, "false", name, kind, comment

    def _file_path(self, path: str) -> str:
        """The path as it is, or a URL if the standard does not allow it."""
        if _RELATIVE.fullmatch(path):
            return path
        file = os.fsencode(self._folder.absolute() / from_text(path))
        return "file://" + quote_from_bytes(file).replace("..", "%2E%2E")

    def _observation(self, image: Image, deployment: str, moment: str) -> tuple[object, ...]:
        keys = (image.path, deployment, image.path, moment, moment, "media")
        if not image.ranked:
            return (*keys, "unclassified", *[None] * 6)
        label, confidence = image.ranked[0]
        kind, scientific_name = self._types.of(image.label or label)
        if kind != "animal":
            scientific_name = ""
        if scientific_name:
            self._names.add(scientific_name)
        tags = {"label": label} | {k: v for k, v in image.more.items() if k not in _NO_TAGS}
        text = "|".join(f"{name}:{value}".replace("|", "/") for name, value in tags.items())
        classified = _moment(image.more.get("run", ""))
        model = self._results.summary.model_name
        by = ("machine", model, classified, f"{confidence:.6g}", text)
        return (*keys, kind, scientific_name, *by)

    def descriptor(self) -> dict[str, Any]:
        """What datapackage.json holds."""
        title = self._results.summary.title or self._folder.name
        start, end = self._deployments.period()
        return {
            "resources": [_resource(name.removesuffix(".csv")) for name in FILES[1:]],
            "profile": f"{_STANDARD}/camtrap-dp-profile.json",
            "name": re.sub(r"[^a-z0-9._-]+", "-", title.lower()).strip("-.") or "images",
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "title": title,
            "contributors": [{"title": title, "role": "contributor"}],
            "sources": [{"title": "boatinfer", "version": __version__}],
            "project": {
                "title": title,
                "samplingDesign": "opportunistic",
                "captureMethod": ["activityDetection"],
                "individualAnimals": False,
                "observationLevel": ["media"],
            },
            "spatial": self._deployments.area(),
            "temporal": {"start": start, "end": end},
            "taxonomic": [{"scientificName": name} for name in sorted(self._names)],
        }


def _resource(name: str) -> dict[str, str]:
    return {
        "name": name,
        "path": f"{name}.csv",
        "profile": "tabular-data-resource",
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "schema": f"{_STANDARD}/{name}-table-schema.json",
    }


@contextlib.contextmanager
def _table(file: Path, columns: tuple[str, ...]) -> Iterator[Any]:
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(columns)
        yield writer


@functools.lru_cache(maxsize=1024)
def _moment(run: str) -> str | None:
    """When a run began, as the standard wants it."""
    try:
        return datetime.fromisoformat(run_time(run)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return None
