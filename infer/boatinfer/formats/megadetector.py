"""The MegaDetector batch output format 1.5, which Timelapse and AddaxAI read.

See https://lila.science/megadetector-output-format. That a whole image was classified is written as
one detection with the box of the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from boatinfer._version import __version__
from boatinfer.formats.base import Image, Written, images, new_file
from boatinfer.formats.class_types import ClassTypes
from boatinfer.formats.json_files import write_object
from boatinfer.formats.options import ExportOptions
from boatinfer.results.reader import ResultsReader

__all__ = ["MegaDetector"]

_VERSION = "1.5"
#: The categories of MegaDetector, by our types; what is unknown may be an animal.
_CATEGORIES = {"animal": "1", "unknown": "1", "human": "2", "vehicle": "3"}
_WHOLE_IMAGE = [0.0, 0.0, 1.0, 1.0]


class MegaDetector:
    """Writes one JSON file."""

    options = ("class_types",)

    def write(self, results: ResultsReader, options: ExportOptions) -> Written:
        """As `boatinfer.formats.base.Format.write`."""
        types = ClassTypes(options.class_types)
        ids = {label: str(number) for number, label in enumerate(results.classes)}
        count = 0

        def entries() -> Iterator[dict[str, Any]]:
            nonlocal count
            for image in images(results):
                count += 1
                yield _entry(image, ids, types)

        members = {
            "info": _info(results),
            "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
            "classification_categories": {number: label for label, number in ids.items()},
            "images": entries(),
        }
        with new_file(options) as path:
            write_object(path, members)
        return Written(count, [])


def _info(results: ResultsReader) -> dict[str, Any]:
    summary = results.summary
    finished = datetime.fromisoformat(summary.finished or summary.started).astimezone(UTC)
    threshold = summary.min_confidence
    thresholds = {} if threshold is None else {"typical_classification_threshold": threshold}
    return {
        "format_version": _VERSION,
        "detector": f"boatinfer {__version__}: no detector, whole images",
        "classifier": summary.model_name,
        "classification_completion_time": finished.strftime("%Y-%m-%d %H:%M:%S"),
        "classifier_metadata": {"model_sha256": summary.model, **thresholds},
    }


def _entry(image: Image, ids: dict[str, str], types: ClassTypes) -> dict[str, Any]:
    entry: dict[str, Any] = {"file": image.path, **image.more}
    if image.failure is not None:
        reason = f"{image.failure}: {image.error}" if image.error else image.failure
        return entry | {"failure": reason, "detections": None}
    label, confidence = image.ranked[0]
    category = _CATEGORIES.get(types.of(label).type)
    if category is None:  # the image shows nothing
        return entry | {"detections": []}
    classes = [[ids[name], score] for name, score in image.ranked]
    detection = {"category": category, "conf": confidence, "bbox": _WHOLE_IMAGE}
    return entry | {"detections": [detection | {"classifications": classes}]}
