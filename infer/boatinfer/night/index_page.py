"""``index.html``: all folders over the last nights."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from boatinfer.night.config import Folder, Night
from boatinfer.night.record import FolderResult, NightResult, Record, record_file
from boatinfer.pages import page
from boatinfer.storage.base import Place
from boatinfer.text import counted

__all__ = ["page_address", "write_index"]

#: Nights on the page.
_NIGHTS = 30


def write_index(night: Night, record: Record) -> None:
    """Writes the page.

    Raises:
        OutputError: it could not be written.
    """
    folders = {folder.name: folder for folder in night.folders}
    last = record.nights[0] if record.nights else None
    page.write(
        night.index,
        "folders.html",
        config=str(night.file),
        record=record_file(night).name,
        names=[_title(folder) for folder in folders.values()],
        nights=[_row(one, folders, night.index.parent) for one in record.nights[:_NIGHTS]],
        troubles=list(_troubles(last)) if last else [],
    )


def _title(folder: Folder) -> str:
    """What heads the column of a folder: its title, if its page has one, else its name."""
    return getattr(folder.options, "title", None) or folder.name


def _troubles(night: NightResult) -> Iterator[tuple[str, str]]:
    for sentence in (*night.earlier, *night.remarks):
        yield "night", sentence
    for folder in night.folders:
        if folder.error:
            yield folder.name, folder.error
        for sentence in folder.unusual:
            yield folder.name, sentence


def _row(night: NightResult, folders: Mapping[str, Folder], beside: Path) -> dict[str, Any]:
    results = {result.name: result for result in night.folders}
    return {
        "started": night.started,
        "good": night.exit_code == 0,
        "verdict": _verdict(night),
        "cells": [
            _cell(results[name], folder, beside) if name in results else None
            for name, folder in folders.items()
        ],
    }


def _verdict(night: NightResult) -> str:
    if night.exit_code is None:
        return "The last night has not ended, or was killed."
    if not night.exit_code:
        return "The last night is complete."
    failed = [one.name for one in night.folders if one.exit_code != 0]
    return f"The last night ended with {night.exit_code}: see {', '.join(failed)}."


def _cell(result: FolderResult, folder: Folder, beside: Path) -> dict[str, str]:
    """What a night came to in a folder, and where its page is."""
    kind, note = "", ""
    if result.exit_code is None:
        kind, note = "bad", "not started"
    elif result.exit_code:
        kind, note = "bad", f"exit code {result.exit_code}"
    elif result.unusual:
        kind, note = "unusual", "unusual"
    text = f"{result.new:,} new of {counted(result.found, 'image')}"
    if result.failed:
        text += f", {result.failed:,} failed"
    return {
        "text": text if result.run else "no results",
        "note": note,
        "kind": kind,
        "link": page_address(result, folder.out, beside),
    }


def page_address(result: FolderResult, out: Place, beside: Path, prefix: str | None = None) -> str:
    """The address of the page: that of the run if it was kept, else that of the last one.

    Args:
        result: what the night came to.
        out: the results folder.
        beside: folder of the page of all folders.
        prefix: its address, for those who are elsewhere.
    """
    if not isinstance(out, Path):
        return f"{out.as_uri().rstrip('/')}/report.html"
    pages = [out / "reports" / f"{result.run}.html"] if result.run else []
    for file in (*pages, out / "report.html"):
        if file.is_file():
            return _address(file, beside, prefix)
    return ""


def _address(file: Path, beside: Path, prefix: str | None) -> str:
    with contextlib.suppress(ValueError):  # on another drive
        relative = quote(Path(os.path.relpath(file, beside)).as_posix())
        if prefix is None:
            return relative
        if not relative.startswith("../"):  # what is beside is not known to be served
            return f"{prefix.rstrip('/')}/{relative}"
    return file.as_uri()
