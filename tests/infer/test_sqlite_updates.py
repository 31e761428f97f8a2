"""A database that `boatinfer results OUT --to sqlite` updates."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import colours
from boatinfer.formats import export
from boatinfer.formats.options import ExportOptions
from boatinfer.results.summary import Summary
from support import Command

Night = Callable[..., Summary]


def ask(file: Path, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(file)) as database:
        return database.execute(query).fetchall()


def test_columns_that_the_run_has_no_more_are_emptied(
    night: Night, pictures: Path, tmp_path: Path
) -> None:
    out, options = tmp_path / "out", ExportOptions(output=tmp_path / "results.db")
    night(min_confidence=0.99884, top=2)
    export(out, "sqlite", options)
    with contextlib.closing(sqlite3.connect(options.target)) as database, database:
        database.execute("ALTER TABLE images ADD COLUMN note")
        database.execute("UPDATE images SET note = 'mine'")
    (pictures / "red" / "000.jpg").unlink()
    night(top=1)
    export(out, "sqlite", options)
    values = "count(guess), count(second_label), count(label), count(note)"
    assert ask(options.target, f"SELECT {values} FROM images WHERE present") == [(0, 0, 11, 11)]
    assert ask(options.target, f"SELECT {values} FROM images WHERE NOT present") == [(1,) * 4]


@pytest.mark.parametrize("again", [False, True])
def test_results_of_a_folder_that_was_moved_are_updated(
    boatinfer: Command, night: Night, pictures: Path, tmp_path: Path, again: bool
) -> None:
    out, options = tmp_path / "out", ExportOptions(output=tmp_path / "results.db")
    night()
    export(out, "sqlite", options)
    moved = pictures.rename(tmp_path / "elsewhere")
    assert boatinfer("results", out, "--moved", moved).code == 0
    if again:
        (moved / "new.jpg").write_bytes(colours.picture("blue", seed=70))
        night(folder=moved)
    for _ in range(2):
        assert export(out, "sqlite", options).images == 12 + again
    assert ask(options.target, "SELECT folder FROM source") == [(str(moved),)]
    assert ask(options.target, "SELECT count(*), sum(present) FROM images") == [(12 + again,) * 2]
