"""An SQLite database: a row an image, and the nights in a table of their own.

::

    images  path (key), the columns of predictions.csv and error, present
    nights  run (key), folder, and what `boatinfer.results.nights.Night` has
    source  folder: whose results these are

Writing again updates the rows, in one transaction. An image that is gone stays, with ``present`` 0.
A column that the run no longer has is emptied. Tables, columns and views of others are left alone.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from boatinfer.errors import OutputError, UsageError, first_line
from boatinfer.formats.base import Written, new_file
from boatinfer.formats.options import ExportOptions
from boatinfer.results.nights import Night
from boatinfer.results.reader import ResultsReader
from boatinfer.results.tables.predictions import LABELS, ORDINALS
from boatinfer.text import counted

__all__ = ["SQLite"]

#: Marks a database as ours (PRAGMA application_id).
_MARK = b"boat"

_VECTORS = ("probabilities", "features")
#: Columns that a run has or has not; old values of theirs would contradict its labels.
_VARYING = (
    *("error", "guess", "svm_label", "svm_score", "novelty", "reviewed", LABELS),
    *(f"{rank}{of}" for rank in ORDINALS for of in ("label", "confidence")),
)


class SQLite:
    """Writes a new database, or updates one that it has written."""

    options = ()

    def write(self, results: ResultsReader, options: ExportOptions) -> Written:
        """As `boatinfer.formats.base.Format.write`."""
        if options.target.exists() and not options.overwrite:
            gone = _update(results, options.target)
        else:
            with new_file(options) as path:
                gone = _fill(results, path)
        remarks = [f"{counted(gone, 'image')} of earlier nights are gone."] if gone else []
        return Written(results.summary.found, remarks)


def _update(results: ResultsReader, path: Path) -> int:
    """Updates a database of the same results."""
    if not _is_ours(path):
        raise UsageError(
            f"{path} exists, and boatinfer has not made it; give another name, or --overwrite to "
            "replace it."
        )
    with _opened(path) as database:
        (folder,) = database.execute("SELECT folder FROM source").fetchone()
        runs = {run for (run,) in database.execute("SELECT run FROM nights")}
        is_same = not runs.isdisjoint({results.summary.run, *(n.run for n in results.nights())})
        if folder != results.summary.folder and not is_same:  # the folder may have been moved
            raise UsageError(
                f"{path} holds the results of {folder}, not of {results.summary.folder}; give "
                "another name, or --overwrite to replace it."
            )
    return _fill(results, path)


def _is_ours(path: Path) -> bool:
    """Whether a file is a database with our mark (SQLite file format, 1.3)."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        header = file.read(72)
        return header[:16] == b"SQLite format 3\0" and header[68:] == _MARK
    return False


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a database, in a transaction that an error takes back."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            yield database
    except sqlite3.Error as error:
        raise OutputError(
            f"{path} could not be written ({first_line(error)}); close what has it open, or give "
            "another name."
        ) from error


def _fill(results: ResultsReader, path: Path) -> int:
    """Writes everything; returns how many images are gone."""
    names = [name for name in results.columns if name not in _VECTORS]
    with _opened(path) as database:
        database.execute("BEGIN")
        database.execute(f"PRAGMA application_id = {int.from_bytes(_MARK)}")
        _make_source(database, results.summary.folder)
        _write_nights(database, results.nights())
        schema = next(results.batches(names)).schema
        _make_table(database, "images", "path", {f.name: _type(f.type) for f in schema})
        _add_columns(database, "images", {"present": "INTEGER NOT NULL DEFAULT 1"})
        database.execute("UPDATE images SET present = 0")
        stale = sorted(_columns(database, "images") & {*_VARYING} - {*names})
        statement = _upsert("images", "path", [*names, "present", *stale])
        rest = [1, *[None] * len(stale)]
        for batch in results.batches(names):
            columns = (batch[name].to_pylist() for name in names)
            database.executemany(statement, ((*row, *rest) for row in zip(*columns, strict=True)))
        # Runs of shards have no night of their own.
        database.execute("INSERT OR IGNORE INTO nights (run) SELECT DISTINCT run FROM images")
        (gone,) = database.execute("SELECT count(*) FROM images WHERE NOT present").fetchone()
    return int(gone)


def _make_source(database: sqlite3.Connection, folder: str) -> None:
    database.execute("CREATE TABLE IF NOT EXISTS source (folder TEXT PRIMARY KEY)")
    database.execute("DELETE FROM source")
    database.execute("INSERT INTO source VALUES (?)", (folder,))


def _write_nights(database: sqlite3.Connection, nights: list[Night]) -> None:
    names = [field for field in Night.__struct_fields__ if field != "run"]
    _make_table(database, "nights", "run", {"run": "TEXT", **dict.fromkeys(names, "")})
    rows = [(night.run, *(getattr(night, name) for name in names)) for night in nights]
    database.executemany(_upsert("nights", "run", ["run", *names]), rows)


def _make_table(
    database: sqlite3.Connection, table: str, key: str, columns: dict[str, str]
) -> None:
    """Makes a table if it is not there, and the columns that it lacks."""
    reference = " REFERENCES nights" if "run" in columns and key != "run" else ""
    run = "" if key == "run" else f", run TEXT{reference}"
    database.execute(
        f"CREATE TABLE IF NOT EXISTS {table} ({_quoted(key)} TEXT PRIMARY KEY NOT NULL{run})"
    )
    _add_columns(database, table, columns)


def _add_columns(database: sqlite3.Connection, table: str, columns: dict[str, str]) -> None:
    there = _columns(database, table)
    for name, kind in columns.items():
        if name.casefold() not in there:
            database.execute(f"ALTER TABLE {table} ADD COLUMN {_quoted(name)} {kind}")


def _columns(database: sqlite3.Connection, table: str) -> set[str]:
    """The columns of a table, in lower case."""
    return {row[1].casefold() for row in database.execute(f"PRAGMA table_info({table})")}


def _upsert(table: str, key: str, names: list[str]) -> str:
    columns = [_quoted(name) for name in names]
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name != _quoted(key))
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(names))}) "
        f"ON CONFLICT ({_quoted(key)}) DO UPDATE SET {changes}"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _type(kind: Any) -> str:
    if pa.types.is_floating(kind):
        return "REAL"
    return "INTEGER" if pa.types.is_integer(kind) or pa.types.is_boolean(kind) else "TEXT"
