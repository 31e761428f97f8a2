"""``--allow-empty`` and ``--dry-run``."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from boatinfer.errors import UsageError
from boatinfer.pipeline.dry_run import forecast
from boatinfer.pipeline.options import RunOptions
from boatinfer.results.folder import Results
from boatinfer.results.summary import Summary
from support import Command, counts, rows

Night = Callable[..., Summary]


def content(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file and folder below one, with its time and a digest."""
    return {
        str(path): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def options(pictures: Path, model_file: Path, tmp_path: Path) -> RunOptions:
    return RunOptions(pictures, tmp_path / "out", model=model_file, isolate=False)


@pytest.mark.parametrize("isolate", [False, True])
def test_an_empty_folder_is_refused_unless_it_is_allowed(
    night: Night, tmp_path: Path, isolate: bool
) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    with pytest.raises(UsageError, match="holds no image files"):
        night(folder=inbox)
    assert not out.exists()
    for _ in range(2):
        summary = night(folder=inbox, allow_empty=True, isolate=isolate)
        assert (summary.exit_code, summary.complete, counts(summary)) == (0, True, (0, 0, 0, 0))
        assert rows(out) == []
        assert Results(out).current().num_rows == 0


def test_a_folder_that_is_missing_is_never_allowed(night: Night, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        night(folder=tmp_path / "unmounted", allow_empty=True)


def test_an_inbox_that_was_emptied_says_what_has_gone(night: Night, pictures: Path) -> None:
    found = night().found
    for file in pictures.rglob("*.*"):
        file.unlink()
    summary = night(allow_empty=True)
    assert counts(summary) == (0, 0, 0, 0)
    assert summary.gone is not None
    assert summary.gone.images == found


def test_shards_of_an_empty_folder_can_be_merged(
    boatinfer: Command, model_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "inbox").mkdir()
    run = ["run", tmp_path / "inbox", "-o", tmp_path / "out", "-m", model_file, "--allow-empty"]
    assert boatinfer(*run, "--shard", "1/1").code == 0
    assert boatinfer("results", tmp_path / "out", "--finish").code == 0
    assert rows(tmp_path / "out") == []


def test_a_dry_run_foretells_what_the_run_then_does(
    night: Night, options: RunOptions, pictures: Path, tmp_path: Path
) -> None:
    files = sorted(pictures.rglob("*.*"))
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    first = forecast(options)
    assert (first.found, first.new, first.gone, first.seconds) == (len(files) + 1,) * 2 + (0, None)
    assert not (tmp_path / "out").exists()
    night()
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes() + b"\0")  # another size: it counts as changed
    (pictures / "new.jpg").write_bytes(files[2].read_bytes() + b"\0\0")
    before = content(tmp_path)
    said = forecast(options)
    assert content(tmp_path) == before
    assert (said.new, said.changed, said.retried, said.again, said.gone) == (1, 1, 1, 0, 1)
    assert said.found == len(files) + 1 == 3 + said.reused
    summary = night()
    assert (summary.found, summary.reused) == (said.found, said.reused)
    assert summary.gone is not None
    assert summary.gone.images == said.gone


def test_a_dry_run_knows_what_is_done_again(night: Night, options: RunOptions) -> None:
    found = night().found
    assert forecast(replace(options, features=True)).again == found
    assert forecast(replace(options, fresh=True)).again == found
    assert forecast(options).reused == found
    assert forecast(replace(options, limit=2)).gone is None


def test_a_dry_run_refuses_what_the_run_would_refuse(
    night: Night, options: RunOptions, tmp_path: Path
) -> None:
    night()
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="holds the results of"):
        forecast(replace(options, folder=tmp_path / "other"))
    with pytest.raises(UsageError, match="holds no image files"):
        forecast(replace(options, folder=tmp_path / "other", out=tmp_path / "new"))


def test_the_time_is_estimated_from_the_speed_of_earlier_runs(
    night: Night, options: RunOptions, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = night()
    assert summary.new is not None

    def told(**changes: Any) -> Summary:
        import msgspec

        return msgspec.structs.replace(summary, **changes)

    done = summary.new.found
    runs = [told(seconds=5 + done / 2, images_per_second=2.0), told(seconds=5.0, new=None)]
    monkeypatch.setattr("boatinfer.pipeline.dry_run._earlier", lambda _: runs[:1])
    os.utime(next(pictures.rglob("*.*")), (1, 1))
    said = forecast(options)
    assert (said.changed, said.seconds, said.runs) == (1, 5.5, 1)


def test_dry_run_on_the_command_line(
    boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    run = ["run", pictures, "-o", tmp_path / "out", "-m", model_file, "--dry-run"]
    found = len(list(pictures.rglob("*.*")))
    said = boatinfer(*run)
    assert said.code == 0
    assert f"{found} images found = {found} new + 0 changed + 0 to be retried" in said.out
    assert json.loads(boatinfer(*run, "--json").out)["new"] == found
    assert boatinfer(*run, "--quiet") == (0, "", "")
    assert not (tmp_path / "out").exists()


def test_after_a_run_over_a_part_it_is_not_known_what_is_gone(
    night: Night, options: RunOptions
) -> None:
    night()
    night(exclude=["red/*"])
    assert forecast(options).gone is None
    night()
    assert forecast(options).gone == 0
