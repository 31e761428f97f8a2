"""What is told of a night."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from boatinfer.night.config import Folder, Night
from boatinfer.night.index_page import page_address
from boatinfer.night.notify.settings import When
from boatinfer.night.record import FolderResult, NightResult, figures
from boatinfer.text import joined

__all__ = ["Message", "folder_status", "make_message", "trial_message"]

#: Names of folders in a title.
_NAMES = 5


@dataclass(frozen=True)
class Message:
    """What is told.

    Attributes:
        status: ``failure``, ``unusual``, or ``ok``.
        title: a line.
        text: all that there is to say.
        document: the same for programs.
    """

    status: str
    title: str
    text: str
    document: dict[str, Any]


def folder_status(result: FolderResult) -> str:
    """How a folder went: ``failure``, ``unusual``, or ``ok``."""
    if result.exit_code != 0:
        return When.FAILURE.value
    return When.UNUSUAL.value if result.unusual else "ok"


def make_message(night: Night, result: NightResult, folders: Sequence[Folder]) -> Message:
    """Says how a night went in some of its folders.

    Args:
        night: what a night is.
        result: what it came to.
        folders: those that are told of.
    """
    results = {one.name: one for one in result.folders}
    told = [(folder, results[folder.name]) for folder in folders if folder.name in results]
    status = _status(result, [one for _, one in told])
    title = _title(result, [one for _, one in told])
    text = "\n\n".join(_paragraphs(night, result, told))
    document = {
        "title": title,
        "text": text,
        "status": status,
        "config": str(night.file),
        "started": result.started,
        "finished": result.finished,
        "exit_code": result.exit_code,
        "error": result.error,
        "earlier": result.earlier,
        "folders": [_document(night, *one) for one in told],
    }
    return Message(status, title, text, document)


def _document(night: Night, folder: Folder, result: FolderResult) -> dict[str, Any]:
    more = {"status": folder_status(result), "page": _page(night, folder, result)}
    return {**msgspec.to_builtins(result), **more}


def trial_message(night: Night) -> Message:
    """A message that says that messages come through."""
    title, text = "boatinfer: a test", f"This is a test of the nights of {night.file}."
    document = {"title": title, "text": text, "status": "test", "config": str(night.file)}
    return Message("test", title, text, document)


def _status(result: NightResult, told: Sequence[FolderResult]) -> str:
    found = {folder_status(one) for one in told}
    if result.error or result.earlier or When.FAILURE.value in found:
        return When.FAILURE.value
    return When.UNUSUAL.value if found - {"ok"} else "ok"


def _title(result: NightResult, told: Sequence[FolderResult]) -> str:
    failed = [one.name for one in told if folder_status(one) == When.FAILURE]
    unusual = [one.name for one in told if folder_status(one) == When.UNUSUAL]
    parts = ["the night failed"] if result.error else []
    parts += [f"{joined(failed, _NAMES)} failed"] if failed else []
    parts += ["an earlier night failed"] if result.earlier else []
    parts += [f"{joined(unusual, _NAMES)}: unusual"] if unusual else []
    if not parts and len(told) == 1:
        parts = [f"{told[0].name}: {told[0].sentence or figures(told[0])}"]
    return f"boatinfer: {'; '.join(parts) or 'all is well'}"


def _paragraphs(
    night: Night, result: NightResult, told: Sequence[tuple[Folder, FolderResult]]
) -> Iterator[str]:
    if result.error:
        yield result.error
    yield from result.earlier
    for folder, one in told:
        yield "\n".join(_lines(night, folder, one))
    yield f"All folders: {_prefix(night)}/{quote(night.index.name)}"


def _lines(night: Night, folder: Folder, result: FolderResult) -> Iterator[str]:
    title = getattr(folder.options, "title", None)
    yield f"{result.name}{f' ({title})' if title else ''}: {result.sentence or figures(result)}"
    if result.sentence:
        yield figures(result)
    if result.error:
        code = "" if result.exit_code is None else f"exit code {result.exit_code}: "
        yield f"{code}{result.error}"
    if not result.sentence:
        yield from (f"unusual: {sentence}" for sentence in result.unusual)
    page = _page(night, folder, result)
    if page:
        yield page


def _page(night: Night, folder: Folder, result: FolderResult) -> str | None:
    """The address of the folder's page of the night; None if it has none."""
    return page_address(result, folder.out, night.index.parent, _prefix(night)) or None


def _prefix(night: Night) -> str:
    return (night.notify.link_prefix or night.index.parent.as_uri()).rstrip("/")
