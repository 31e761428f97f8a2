"""What is noted of the nights: ``index.json``, beside the page that shows it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from boatinfer.errors import OutputError
from boatinfer.night.config import Night
from boatinfer.results.summary import Unusual
from boatinfer.storage.documents import DocumentError, read_document
from boatinfer.storage.files import atomic_write
from boatinfer.text import counted

__all__ = [
    "NOT_STARTED",
    "FolderResult",
    "NightResult",
    "Record",
    "figures",
    "read_record",
    "record_file",
    "worst",
]

#: Nights that are kept.
_NIGHTS = 60

#: Exit codes from the least to the worst; what is not here (a signal's) is worse than all.
_SEVERITY = [0, 9, 8, 3, 6, 2, 5, 4, 7, 1]

#: Sentence of a folder whose turn did not come.
NOT_STARTED = "not started, for the night was interrupted"


class FolderResult(msgspec.Struct, kw_only=True, frozen=True):
    """What a night came to in one folder.

    Attributes:
        name: of the folder.
        exit_code: of its run; None if it was not started.
        error: why the code is not 0.
        sentence: what came in and what is unusual about it, in the folder's language.
        started: when, ISO 8601.
        seconds: how long it took.
        run: id of the run; None if there is no summary.
        found: images that are there.
        new: images that are new in the run.
        failed: new ones that failed.
        gone: images that are gone.
        unusual: what is unusual, in sentences.
        reasons: the same for programs, and for sentences of other languages.
    """

    name: str
    exit_code: int | None = None
    error: str | None = None
    sentence: str | None = None
    started: str | None = None
    seconds: float | None = None
    run: str | None = None
    found: int = 0
    new: int = 0
    failed: int = 0
    gone: int = 0
    unusual: list[str] = []
    reasons: list[Unusual] = []


class NightResult(msgspec.Struct, kw_only=True, frozen=True):
    """One night.

    Attributes:
        started: when, ISO 8601 in UTC.
        whole: whether it was of all folders.
        finished: when; None while it goes on, and if it was killed.
        exit_code: the worst of its folders'.
        folders: those that were run so far, in their order.
        error: what ended the night itself.
        earlier: what went wrong with the nights before it, of which it tells first.
        remarks: whom it could not tell, in sentences.
    """

    started: str
    whole: bool
    finished: str | None = None
    exit_code: int | None = None
    folders: list[FolderResult] = []
    error: str | None = None
    earlier: list[str] = []
    remarks: list[str] = []


class Record(msgspec.Struct, kw_only=True, frozen=True):
    """The last nights.

    Attributes:
        config: the file that they are of.
        nights: latest first.
    """

    config: str
    nights: list[NightResult] = []

    def last(self, name: str) -> tuple[NightResult, FolderResult] | None:
        """The last night of a folder."""
        for night in self.nights:
            for folder in night.folders:
                if folder.name == name:
                    return night, folder
        return None

    def beginning_with(self, night: NightResult) -> Record:
        """The record with a night in front, which takes the place of what it was before."""
        others = [one for one in self.nights if one.started != night.started]
        return Record(config=self.config, nights=[night, *others][:_NIGHTS])

    def write(self, file: Path) -> None:
        """Writes it.

        Raises:
            OutputError: it could not be written.
        """
        with atomic_write(file) as temporary:
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def figures(result: FolderResult) -> str:
    """What a run came to, in a line."""
    if result.run is None:
        return "no results" if result.exit_code is not None else "not started"
    parts = [f"{result.new:,} new of {counted(result.found, 'image')}"]
    parts += [f"{result.failed:,} failed"] if result.failed else []
    parts += [f"{result.gone:,} gone"] if result.gone else []
    return ", ".join(parts)


def worst(codes: list[int | None]) -> int:
    """The worst of some exit codes; 0 if there are none. None is of what was not started."""
    told = [code for code in codes if code is not None]
    return max(
        told, key=lambda c: _SEVERITY.index(c) if c in _SEVERITY else len(_SEVERITY) + c, default=0
    )


def record_file(night: Night) -> Path:
    """Where the record of a night is."""
    return night.index.with_suffix(".json")


def read_record(night: Night) -> Record:
    """Reads what is noted of the nights of a file.

    Raises:
        OutputError: it is damaged, or of the nights of another file.
    """
    file = record_file(night)
    try:
        record = read_document(file, Record)
    except FileNotFoundError:
        return Record(config=str(night.file))
    except DocumentError as error:
        raise OutputError(
            f"{file} is no record of nights, or damaged ({error}); move it away, or give another "
            f"index in {night.file}."
        ) from error
    if record.config != str(night.file):
        raise OutputError(
            f"{file} is of the nights of {record.config}; give another index in {night.file}."
        )
    return record
