"""``index.html``: all folders over the last nights."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from boatinfer.i18n import Language, language_of, resolved
from boatinfer.night.config import Folder, Night
from boatinfer.night.record import FolderResult, NightResult, Record, record_file
from boatinfer.pages import page
from boatinfer.pages.kept import run_of
from boatinfer.results.unusual_text import unusual_in_words
from boatinfer.storage.base import Place

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
    language = language_of(resolved(night.language))
    page.write(
        night.index,
        "folders.html",
        language,
        config=str(night.file),
        record=record_file(night).name,
        names=[_title(folder) for folder in folders.values()],
        nights=[
            _row(one, folders, night.index.parent, language) for one in record.nights[:_NIGHTS]
        ],
        troubles=list(_troubles(last, language)) if last else [],
    )


def _title(folder: Folder) -> str:
    """What heads the column of a folder: its title, if its page has one, else its name."""
    return getattr(folder.options, "title", None) or folder.name


def _troubles(night: NightResult, language: Language) -> Iterator[tuple[str, str, bool]]:
    """Folder and sentence of what is wrong, and whether that is an error, in English."""
    for sentence in (*night.earlier, *night.remarks):
        yield language.gettext("night"), sentence, True
    for folder in night.folders:
        if folder.error:
            yield folder.name, folder.error, True
        if not folder.reasons:  # of an older version
            yield from ((folder.name, sentence, True) for sentence in folder.unusual)
        for unusual in folder.reasons:
            yield folder.name, unusual_in_words(unusual, language), False


def _row(
    night: NightResult, folders: Mapping[str, Folder], beside: Path, language: Language
) -> dict[str, Any]:
    results = {result.name: result for result in night.folders}
    return {
        "started": night.started,
        "good": night.exit_code == 0,
        "verdict": _verdict(night, language),
        "cells": [
            _cell(results[name], folder, beside, language) if name in results else None
            for name, folder in folders.items()
        ],
    }


def _verdict(night: NightResult, language: Language) -> str:
    if night.exit_code is None:
        return language.gettext("The last night has not ended, or was killed.")
    if not night.exit_code:
        return language.gettext("The last night is complete.")
    failed = [one.name for one in night.folders if one.exit_code != 0]
    return language.gettext(
        "The last night ended with exit code %(code)s: see %(folders)s.",
        code=night.exit_code,
        folders=", ".join(failed),
    )


def _cell(result: FolderResult, folder: Folder, beside: Path, language: Language) -> dict[str, str]:
    """What a night came to in a folder, and where its page is."""
    kind, note = "", ""
    if result.exit_code is None:
        kind, note = "bad", language.gettext("not started")
    elif result.exit_code:
        kind, note = "bad", language.gettext("exit code %(code)s", code=result.exit_code)
    elif result.unusual:
        kind, note = "unusual", language.gettext("unusual")
    return {
        "text": _figures(result, language) if result.run else language.gettext("no results"),
        "note": note,
        "kind": kind,
        "link": page_address(result, folder.out, beside),
    }


def _figures(result: FolderResult, language: Language) -> str:
    text = language.ngettext(
        "%(new)s new of %(num)s image",
        "%(new)s new of %(num)s images",
        result.found,
        new=language.number(result.new),
    )
    if not result.failed:
        return text
    failed = language.ngettext("%(num)s failed", "%(num)s failed", result.failed)
    return f"{text}, {failed}"


def page_address(result: FolderResult, out: Place, beside: Path, prefix: str | None = None) -> str:
    """The address of the page: that of the run, or the last one if nothing came in.

    It is empty if the page of the run was removed.

    Args:
        result: what the night came to.
        out: the results folder.
        beside: folder of the page of all folders.
        prefix: its address, for those who are elsewhere.
    """
    if not isinstance(out, Path):
        return f"{out.as_uri().rstrip('/')}/report.html"
    own, last = out / "reports" / f"{result.run}.html", out / "report.html"
    if result.run and own.is_file():
        return _address(own, beside, prefix)
    # A run with new images has a page of its own: the last one may be of another.
    pruned = result.run and result.new and run_of(last) != result.run
    return _address(last, beside, prefix) if last.is_file() and not pruned else ""


def _address(file: Path, beside: Path, prefix: str | None) -> str:
    with contextlib.suppress(ValueError):  # on another drive
        relative = quote(Path(os.path.relpath(file, beside)).as_posix())
        if prefix is None:
            return relative
        if not relative.startswith("../"):  # what is beside is not known to be served
            return f"{prefix.rstrip('/')}/{relative}"
    return file.as_uri()
