"""XMP: sidecars with the label as a keyword, or keywords in images, which ExifTool writes.

A keyword is one of ``dc:subject`` and of ``lr:hierarchicalSubject``, which photo managers read. A
sidecar also has the confidence and all other columns, in a namespace of its own.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from boatinfer.errors import UsageError
from boatinfer.formats.base import (
    Image,
    Written,
    file_of,
    images,
    images_folder,
    left_out,
    new_folder,
)
from boatinfer.formats.exiftool import replace_keywords, require_exiftool
from boatinfer.formats.options import ExportOptions
from boatinfer.results.reader import ResultsReader
from boatinfer.results.tables.predictions import TO_REVIEW
from boatinfer.storage.files import atomic_write
from boatinfer.text import counted, from_text, xml_text

__all__ = ["XMP"]

#: Stands in the sidecars that are ours, which alone are replaced.
_OURS = 'x:xmptk="boatinfer"'
#: Bytes in which it stands.
_HEAD = 512
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" {ours}>
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:lr="http://ns.adobe.com/lightroom/1.0/"
    xmlns:boatinfer="urn:boatinfer:results:"{more}>
   <dc:subject><rdf:Bag><rdf:li>{label}</rdf:li></rdf:Bag></dc:subject>
   <lr:hierarchicalSubject><rdf:Bag><rdf:li>{label}</rdf:li></rdf:Bag></lr:hierarchicalSubject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""


class XMP:
    """Writes a folder of sidecars or of copies, or into the images where that is asked for.

    Sidecars have the paths of the images, and ``.xmp`` after them. With the folder of the images as
    the output they stand beside the images; those that other programs have written stay.
    """

    options = ("embed", "in_place")

    def write(self, results: ResultsReader, options: ExportOptions) -> Written:
        """As `boatinfer.formats.base.Format.write`; images that failed are left out."""
        if options.in_place:
            return self._in_place(results, options)
        folder = images_folder(results)
        if options.embed:
            require_exiftool("--embed")
            with new_folder(options, ()) as target:
                copied = _each(results, lambda image: _copied(image, folder, target))
                return _told(results, replace_keywords(copied, _ours(results)), "image")
        if os.path.realpath(options.target) == os.path.realpath(folder):
            return _told(results, _beside(results, folder, options.overwrite), "sidecar")
        with new_folder(options, _sidecars_alone(options.target)) as target:
            written = sum(1 for _ in _each(results, lambda image: _sidecar(image, target)))
        return _told(results, (written, 0), "sidecar")

    def _in_place(self, results: ResultsReader, options: ExportOptions) -> Written:
        if options.output is not None or options.embed:
            raise UsageError("--in-place writes into the images; leave out -o and --embed.")
        require_exiftool("--in-place")
        folder = images_folder(results)
        labelled = _each(results, lambda image: file_of(folder, image.path))
        files = ((file, None if label in TO_REVIEW else label) for file, label in labelled)
        return _told(results, replace_keywords(files, _ours(results)), "image")


def _ours(results: ResultsReader) -> list[str]:
    """The keywords that an earlier run may have written."""
    return [xml_text(name) for name in (*results.classes, *TO_REVIEW)]


def _told(results: ResultsReader, counts: tuple[int, int], noun: str) -> Written:
    """What was written, and what was left as it was."""
    written, left = counts
    remarks = []
    if left:
        remarks.append(f"Left as they are: {counted(left, noun)}.")
    return Written(written, remarks + left_out(results.summary.failed, "that failed"))


def _each(
    results: ResultsReader, make: Callable[[Image], Path | None]
) -> Iterator[tuple[Path, str]]:
    """What is made of each classified image, and its label."""
    for image in images(results):
        if image.label is not None:
            made = make(image)
            if made is not None:
                yield made, xml_text(image.label)


def _copied(image: Image, folder: Path, target: Path) -> Path | None:
    copy = _inside(target, image.path)
    copy.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        return Path(shutil.copy2(file_of(folder, image.path), copy))
    return None


def _inside(target: Path, path: str) -> Path:
    """Where something of an image stands in the output; a path may be absolute."""
    file = Path(from_text(path))
    return target / (file.relative_to(file.anchor) if file.is_absolute() else file)


def _sidecar(image: Image, target: Path) -> Path:
    file = _inside(target, f"{image.path}.xmp")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(_packet(image), encoding="utf-8")
    return file


def _beside(results: ResultsReader, folder: Path, overwrite: bool) -> tuple[int, int]:
    """Writes sidecars beside the images; returns how many, and how many others were left."""
    written = left = 0
    for image in images(results):
        file = file_of(folder, f"{image.path}.xmp")
        if image.label is None or not file.parent.is_dir():
            continue
        if os.path.lexists(file) and not (overwrite and _is_ours(file)):
            left += 1
            continue
        with atomic_write(file) as temporary:
            temporary.write_text(_packet(image), encoding="utf-8")
        written += 1
    return written, left


def _is_ours(file: Path) -> bool:
    with contextlib.suppress(OSError), file.open("rb") as opened:
        return _OURS.encode() in opened.read(_HEAD)
    return False


def _sidecars_alone(folder: Path) -> list[str]:
    """The names in a folder that holds nothing but sidecars of ours; else none."""
    names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208
    within = (file for file in folder.rglob("*") if file.is_symlink() or not file.is_dir())
    alone = all(
        file.suffix == ".xmp" and not file.is_symlink() and _is_ours(file) for file in within
    )
    return names if alone else []


def _packet(image: Image) -> str:
    values: dict[str, Any] = {"confidence": image.ranked[0][1], **image.more}
    more = [
        f"\n    boatinfer:{name}={quoteattr(_text(value))}"
        for name, value in values.items()
        if _NAME.fullmatch(name)
    ]
    return _PACKET.format(ours=_OURS, more="".join(more), label=escape(xml_text(image.label or "")))


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else xml_text(str(value))
