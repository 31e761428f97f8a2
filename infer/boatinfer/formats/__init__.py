"""Results in the formats of other tools: one module a format, behind one interface."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boatinfer.errors import UsageError
from boatinfer.formats.options import ExportOptions
from boatinfer.storage.base import Place
from boatinfer.storage.locations import is_remote, place
from boatinfer.text import from_text

if TYPE_CHECKING:
    from boatinfer.formats.base import Format, Written
    from boatinfer.results.reader import ResultsReader

__all__ = ["ENTRY_POINTS", "FORMATS", "export", "find_format"]

#: Group of the entry points by which other packages add formats; each names a `Format`.
ENTRY_POINTS = "boatinfer.formats"

#: The formats of this package, and where they are.
FORMATS = {
    "megadetector": "megadetector:MegaDetector",
    "camtrap-dp": "camtrap_dp:CamtrapDP",
    "coco": "coco:Coco",
    "label-studio": "label_studio:LabelStudio",
    "fiftyone": "fiftyone:FiftyOne",
    "folders": "folders:Folders",
    "xmp": "xmp:XMP",
    "sqlite": "sqlite:SQLite",
    "xlsx": "xlsx:Spreadsheet",
}


def export(out: Place, name: str, options: ExportOptions) -> Written:
    """Writes the results of the last complete run in a format.

    Args:
        out: the results folder.
        name: the name of the format.
        options: where to, and how.

    Raises:
        UsageError: no such format, no results, the output exists, or an option does not fit.
        OutputError: the results are damaged, or the output could not be written.
    """
    from boatinfer.results.reader import read_results

    kind = find_format(name)
    for option, given in options.special().items():
        if given and option not in kind.options:
            flag = option.replace("_", "-")
            raise UsageError(f"--{flag} is no option of the format {name}; leave it out.")
    results = read_results(out)
    _refuse_places_in_use(name, results, options)
    return kind.write(results, options)


def _refuse_places_in_use(name: str, results: ResultsReader, options: ExportOptions) -> None:
    """Refuses to write into the results folder, or over images or among them."""
    if options.output is None:
        return
    target = Path(os.path.realpath(options.target))
    if _is_inside(target, results.folder.out):
        raise UsageError(f"{target} is in the results folder; give a place outside of it with -o.")
    images = place(from_text(results.summary.folder))
    among = name == "folders" or options.embed
    if _is_inside(target, images) and (among or (target.is_file() and name != "xmp")):
        raise UsageError(
            f"{target} is in the folder of the images; give a place outside of it with -o."
        )


def _is_inside(target: Path, folder: Place) -> bool:
    return not is_remote(folder) and target.is_relative_to(os.path.realpath(str(folder)))


def find_format(name: str) -> Format:
    """Finds a format of this package or, by its entry point, of another.

    Raises:
        UsageError: there is none of that name.
    """
    if name in FORMATS:
        module, _, kind = FORMATS[name].partition(":")
        found: Any = getattr(importlib.import_module(f"{__name__}.{module}"), kind)
        return found()  # type: ignore[no-any-return]
    from importlib.metadata import entry_points

    entries = entry_points(group=ENTRY_POINTS)
    for entry in entries.select(name=name):
        return entry.load()()  # type: ignore[no-any-return]
    names = [*FORMATS, *sorted(entries.names)]
    raise UsageError(f"there is no format {name}; there are {', '.join(names)}.")
