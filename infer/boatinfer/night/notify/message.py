"""What is told of a night."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from boatinfer.i18n import Language, language_of, resolved
from boatinfer.night.config import Folder, Night
from boatinfer.night.index_page import page_address
from boatinfer.night.notify.settings import When
from boatinfer.night.record import FolderResult, NightResult

__all__ = ["Message", "folder_status", "make_message", "trial_message"]

#: Folders in a title.
_FOLDERS = 5


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
    title = _title(result, told)
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


def _title(result: NightResult, told: Sequence[tuple[Folder, FolderResult]]) -> str:
    parts = ["the night failed"] if result.error else []
    parts += ["an earlier night failed"] if result.earlier else []
    parts += [_state(folder, one) for folder, one in told if folder_status(one) != "ok"][:_FOLDERS]
    if not parts and len(told) == 1:
        parts = [f"{told[0][1].name}: {_sentence(*told[0])}"]
    if not parts:
        languages = [_language(folder) for folder, _ in told]
        parts = [next(iter(languages)).gettext("The last night is complete.")]
    return f"boatinfer: {'; '.join(parts)}"


def _language(folder: Folder) -> Language:
    return language_of(resolved(folder.options.language))


def _state(folder: Folder, result: FolderResult) -> str:
    """What is not well with a folder, as ``harbour: exit code 4``."""
    language = _language(folder)
    if result.exit_code is None:
        return f"{result.name}: {language.gettext('not started')}"
    if result.exit_code:
        return f"{result.name}: {language.gettext('exit code %(code)s', code=result.exit_code)}"
    return f"{result.name}: {language.gettext('unusual')}"


def _sentence(folder: Folder, result: FolderResult) -> str:
    """What came in; of a run without results that there are none."""
    if result.sentence:
        return result.sentence
    none = "not started" if result.exit_code is None else "no results"
    return _language(folder).gettext(none)


def _figures(folder: Folder, result: FolderResult) -> str:
    language = _language(folder)
    text = language.ngettext(
        "%(new)s new of %(num)s image",
        "%(new)s new of %(num)s images",
        result.found,
        new=language.number(result.new),
    )
    if not result.failed:
        return text
    return f"{text}, {language.ngettext('%(num)s failed', '%(num)s failed', result.failed)}"


def _paragraphs(
    night: Night, result: NightResult, told: Sequence[tuple[Folder, FolderResult]]
) -> Iterator[str]:
    if result.error:
        yield result.error
    yield from result.earlier
    for folder, one in told:
        yield "\n".join(_lines(night, folder, one))
    yield f"{_prefix(night)}/{quote(night.index.name)}"


def _lines(night: Night, folder: Folder, result: FolderResult) -> Iterator[str]:
    title = f" ({folder.options.title})" if folder.options.title else ""
    yield f"{result.name}{title}: {_sentence(folder, result)}"
    if result.run is not None:
        yield _figures(folder, result)
    if result.error:
        code = "" if result.exit_code is None else f"exit code {result.exit_code}: "
        yield f"{code}{result.error}"
    page = _page(night, folder, result)
    if page:
        yield page


def _page(night: Night, folder: Folder, result: FolderResult) -> str | None:
    """The address of the folder's page of the night; None if it has none."""
    return page_address(result, folder.out, night.index.parent, _prefix(night)) or None


def _prefix(night: Night) -> str:
    return (night.notify.link_prefix or night.index.parent.as_uri()).rstrip("/")
