"""COCO JSON: images, categories, and one annotation for each classified image.

Without boxes an annotation is of a whole image, and has no ``bbox``, as in COCO Camera Traps. Its
``score`` is the confidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from boatinfer.formats.base import Image, Written, images, new_file
from boatinfer.formats.json_files import write_object
from boatinfer.formats.options import ExportOptions
from boatinfer.results.reader import ResultsReader

__all__ = ["Coco"]


class Coco:
    """Writes one JSON file; its ids are numbers from 1, images in the order of their paths."""

    options = ()

    def write(self, results: ResultsReader, options: ExportOptions) -> Written:
        """As `boatinfer.formats.base.Format.write`."""
        summary = results.summary
        ids = {label: number for number, label in enumerate(results.classes, 1)}
        members = {
            "info": {"description": f"classified by {summary.model_name}", "version": summary.run},
            "categories": [{"id": number, "name": label} for label, number in ids.items()],
            "images": (_image(number, image) for number, image in enumerate(images(results), 1)),
            "annotations": _annotations(results, ids),
        }
        with new_file(options) as path:
            write_object(path, members)
        return Written(summary.found, [])


def _image(number: int, image: Image) -> dict[str, Any]:
    entry = {"id": number, "file_name": image.path, **image.more}
    return entry if image.failure is None else entry | {"failure": image.failure}


def _annotations(results: ResultsReader, ids: dict[str, int]) -> Iterator[dict[str, Any]]:
    for number, image in enumerate(images(results), 1):
        if image.ranked:
            label, confidence = image.ranked[0]
            keys = {"id": number, "image_id": number, "category_id": ids[label]}
            yield keys | {"score": confidence, "sequence_level_annotation": False}
