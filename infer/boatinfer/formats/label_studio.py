"""Tasks of Label Studio, with what the model says as their predictions.

Beside FILE.json stands FILE.xml, the labelling configuration of a project for these tasks.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from boatinfer.errors import UsageError
from boatinfer.formats.base import Image, Written, images, left_out, new_file
from boatinfer.formats.json_files import write_array
from boatinfer.formats.options import ExportOptions
from boatinfer.results.reader import ResultsReader
from boatinfer.text import from_text, xml_text

__all__ = ["LabelStudio"]

#: How Label Studio names files below its LOCAL_FILES_DOCUMENT_ROOT.
_LOCAL_FILES = "/data/local-files/?d="


class LabelStudio:
    """Writes a JSON file of tasks and the XML of the configuration."""

    options = ("image_root",)

    def write(self, results: ResultsReader, options: ExportOptions) -> Written:
        """As `boatinfer.formats.base.Format.write`; images that failed are left out."""
        output = options.target
        if output.suffix.lower() != ".json":
            raise UsageError(f"{output}: Label Studio imports .json files; end the name so.")
        root = _LOCAL_FILES if options.image_root is None else options.image_root
        summary = results.summary
        tasks = (
            _task(image, root, summary.model_name)
            for image in images(results)
            if image.failure is None
        )
        xml = replace(options, output=output.with_suffix(".xml"))
        with contextlib.ExitStack() as stack:
            path, configuration = (stack.enter_context(new_file(o)) for o in (options, xml))
            configuration.write_text(_configuration(results.classes), encoding="utf-8")
            write_array(path, tasks)
        remarks = [f"The labelling configuration is {xml.output}."]
        remarks += left_out(summary.failed, "that failed")
        return Written(summary.found - summary.failed, remarks)


def _configuration(classes: list[str]) -> str:
    choices = "\n".join(f"    <Choice value={quoteattr(xml_text(label))}/>" for label in classes)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n'
        f'  <Choices name="label" toName="image">\n{choices}\n  </Choices>\n</View>\n'
    )


def _task(image: Image, root: str, model: str) -> dict[str, Any]:
    label, confidence = image.ranked[0]
    result = {
        "id": "label",
        "type": "choices",
        "from_name": "label",
        "to_name": "image",
        "value": {"choices": [xml_text(label)]},
    }
    address = root + quote(str(Path(from_text(image.path))), errors="surrogateescape")
    prediction = {"model_version": model, "score": confidence, "result": [result]}
    return {
        "data": {"image": address, "path": image.path, **image.more},
        "predictions": [prediction],
    }
