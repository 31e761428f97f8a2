"""labels.json of a FiftyOneImageClassificationDataset, which FiftyOne imports.

Images are named by their absolute paths, so that they stay where they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from boatinfer.formats.base import Written, images, left_out, new_file
from boatinfer.formats.json_files import Members, write_object
from boatinfer.formats.options import ExportOptions
from boatinfer.results.reader import ResultsReader

__all__ = ["FiftyOne"]


class FiftyOne:
    """Writes one JSON file."""

    options = ("image_root",)

    def write(self, results: ResultsReader, options: ExportOptions) -> Written:
        """As `boatinfer.formats.base.Format.write`; images that failed are left out."""
        summary = results.summary
        root = summary.folder if options.image_root is None else options.image_root
        members = {"classes": results.classes, "labels": Members(_labels(results, root))}
        with new_file(options) as path:
            write_object(path, members)
        return Written(summary.found - summary.failed, left_out(summary.failed, "that failed"))


def _labels(results: ResultsReader, root: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for image in images(results):
        if image.ranked:
            label, confidence = image.ranked[0]
            target = {"label": label, "confidence": confidence, "attributes": image.more}
            yield os.path.join(root, image.path), target  # noqa: PTH118 (it may be a URL)
