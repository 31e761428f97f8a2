"""``boatinfer night prune`` and ``[keep]``: what goes, what stays, and a kill at any moment."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

import colours
from boatinfer.errors import OutputError
from boatinfer.night import pruning, tidying
from boatinfer.night.config import read_night
from boatinfer.night.index_page import page_address
from boatinfer.night.pruning import Pruned, prune_night
from boatinfer.night.record import FolderResult, Record, record_file
from boatinfer.pipeline import run as running
from boatinfer.results.folder import Results
from boatinfer.results.integrity import find_damage
from boatinfer.results.manifest import read_manifest, write_manifest
from boatinfer.storage.locations import place
from boatinfer.storage.locks import hold_lock
from nightly import write
from support import Command, outcomes, rows

#: The day before the first night.
START = datetime(2026, 3, 1, 2, tzinfo=UTC)
FILE = """
[[folder]]
name = "harbour"
dir = "pictures"
model = "colours.onnx"
out = "out"
"""
KEEP = f"{FILE}[keep]\nlast = 3\n"


class Nights:
    """Runs of a folder, a day after the other."""

    def __init__(self, folder: Path, night: Callable[..., Any], patch: pytest.MonkeyPatch) -> None:
        self.folder, self.out, self._night, self._patch = folder, folder / "out", night, patch
        self.day = 0

    @property
    def now(self) -> datetime:
        return START + timedelta(self.day)

    def run(self, *new: str, **changes: Any) -> Any:
        """A night in which these pictures came in."""
        self.day += 1
        for name in new:
            kind = name.partition("-")[0]
            (self.folder / "pictures" / f"{name}.jpg").write_bytes(
                colours.picture(kind, zlib.crc32(name.encode()) % 10**6)
            )
        begin = running._begin

        def at_this_time(*arguments: Any) -> Any:
            started = self.now.isoformat(timespec="milliseconds")
            run = f"{self.now:%Y%m%dT%H%M%S.%fZ}"
            return replace(begin(*arguments), run=run, started=started)

        with self._patch.context() as patch:
            patch.setattr(running, "_begin", at_this_time)
            return self._night(**changes)

    def prune(self, text: str = KEEP, dry_run: bool = False) -> Pruned:
        night = read_night(write(self.folder, text))
        (pruned,) = prune_night(night, dry_run=dry_run, now=self.now)
        assert pruned.error is None
        return pruned

    def pages(self) -> list[str]:
        return sorted(file.name for file in (self.out / "reports").iterdir())

    def content(self) -> dict[str, bytes]:
        files = (file for file in self.out.rglob("*") if file.is_file())
        return {str(file.relative_to(self.out)): file.read_bytes() for file in files}


@pytest.fixture
def nights(
    tmp_path: Path, pictures: Path, night: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Nights:
    return Nights(tmp_path, night, monkeypatch)


def links(page: Path) -> list[str]:
    return re.findall(r'href="(?:\.\./)?(reports/[^"]*)"', page.read_text())


def test_old_pages_go_and_no_link_leads_to_them(nights: Nights) -> None:
    for day in range(6):
        nights.run(f"red-{day}", gallery=day < 2)
    nights.run()  # nothing new
    figures = (nights.out / "report.html").read_text().count('<th scope="row">')
    pruned = nights.prune()
    own = [name for name in nights.pages() if name.count(".") == 2]
    assert [name[:8] for name in own] == ["20260305", "20260306", "20260307"]
    assert {name[:8] for name in nights.pages()} == {name[:8] for name in own}
    assert [file[:16] for file in pruned.files if file.endswith("Z.html")] == [
        f"reports/2026030{day}" for day in (2, 3, 4)
    ]
    for page in [nights.out / "report.html", *(nights.out / "reports").iterdir()]:
        assert links(page), page
        for link in links(page):
            assert (nights.out / link).is_file(), (page.name, link)
    assert 'rel="prev"' not in (nights.out / "reports" / own[0]).read_text()
    assert f'rel="prev" href="../reports/{own[0]}"' in (nights.out / "reports" / own[1]).read_text()
    assert (nights.out / "report.html").read_text().count('<th scope="row">') == figures
    nights.run("red-new")
    assert (
        f'rel="next" href="../reports/{nights.pages()[-1]}"'
        in (nights.out / "reports" / own[2]).read_text()
    )


def test_the_last_page_has_a_link_to_the_page_before_it_that_is_left(nights: Nights) -> None:
    nights.run("red-1")
    middle = nights.run("red-2").run
    nights.run("red-3")
    page = nights.out / "report.html"
    assert f'rel="prev" href="reports/{middle}.html"' in page.read_text()
    nights.prune(f"{FILE}[keep]\nlast = 1\nmonthly = 1\n")
    assert 'rel="prev"' not in page.read_text()


def test_a_summary_stays_while_it_is_needed(nights: Nights) -> None:
    first = nights.run("red-1").run
    for _ in range(5):
        nights.run()
    names = sorted(file.stem for file in (nights.out / "runs").iterdir())
    pruned = nights.prune()
    left = sorted(file.stem for file in (nights.out / "runs").iterdir())
    assert left == [first, *names[-3:]]  # the first has a page
    assert sorted(pruned.files) == [f"runs/{name}.json" for name in names[1:3]]
    again = nights.run()
    assert (again.reused, again.new.found, again.unusual) == (13, 0, [])


GONE = f'{FILE}[keep]\ngone = "30d"\n'
OLD_MODELS = f'{FILE}[keep]\nold-models = "30d"\n'


def recorded(out: Path) -> list[tuple[str, str]]:
    tables = [pq.read_table(part) for part in sorted(out.glob("parts/*.parquet"))]
    return [(row["path"], row["model"]) for table in tables for row in table.to_pylist()]


def test_rows_of_images_long_gone_go_and_no_others(nights: Nights) -> None:
    first = nights.run("red-1", "red-2", "red-3")
    nights.run("blue-1")
    (nights.folder / "pictures" / "red-1.jpg").unlink()
    away = (nights.folder / "pictures" / "red-2.jpg").rename(nights.folder / "red-2.jpg")
    nights.run()
    assert nights.prune(GONE).gone == 0
    nights.day += 20
    away.rename(nights.folder / "pictures" / "red-2.jpg")
    nights.run()
    assert nights.prune(GONE).gone == 0
    nights.day += 10
    before = recorded(nights.out)
    planned = nights.prune(GONE, dry_run=True)
    assert (planned.gone, recorded(nights.out)) == (1, before)
    assert nights.prune(GONE) == planned
    assert sorted(recorded(nights.out)) == sorted(row for row in before if row[0] != "red-1.jpg")
    assert list(find_damage(Results(nights.out))) == []
    again = nights.run()
    assert (again.reused, again.classified) == (first.found, 0)
    assert nights.prune(GONE).parts == []


def test_an_image_that_changed_and_went_leaves_no_older_row(nights: Nights) -> None:
    nights.run("red-1")
    (nights.folder / "pictures" / "red-1.jpg").write_bytes(colours.picture("blue", 77))
    nights.run("red-2")
    (nights.folder / "pictures" / "red-1.jpg").unlink()
    nights.run()
    nights.prune(GONE)
    nights.day += 31
    nights.prune(GONE)
    assert "red-1.jpg" not in dict(recorded(nights.out))
    assert "red-2.jpg" in dict(recorded(nights.out))


def test_what_a_run_could_not_see_is_not_gone(nights: Nights) -> None:
    nights.run("red-1", "red-2")
    nights.run(exclude=["red/*"])
    nights.prune(GONE)
    nights.day += 31
    assert nights.prune(GONE).gone == 0
    nights.run()
    nights.prune(GONE)
    results = Results(nights.out)
    manifest = read_manifest(results.manifest)
    there = [path for path in manifest.images["path"].to_pylist() if not path.startswith("red/")]
    images = pa.table({"path": [*there, "red/"], "status": [*["ok"] * len(there), "unreadable"]})
    write_manifest(results.manifest, images, manifest.summary, manifest.part)  # was not listed
    nights.prune(GONE)
    nights.day += 31
    assert nights.prune(GONE).gone == 0


def test_rows_of_an_old_model_go_and_failures_are_known_since(
    nights: Nights, tmp_path: Path
) -> None:
    (tmp_path / "pictures" / "broken.jpg").write_bytes(colours.picture("red")[:300])
    first = nights.run()
    other = colours.write_model(tmp_path / "other.onnx", colours.card(name="other"))
    second = nights.run(model=other)
    assert first.model != second.model
    assert nights.prune(OLD_MODELS).old_models == 0
    nights.day += 30
    assert nights.prune(OLD_MODELS).old_models == 13
    assert {model for _, model in recorded(nights.out)} == {second.model}
    assert nights.run(model=other).new.found == 0
    (failure,) = rows(nights.out, "failures.csv")
    assert failure["since"].startswith(first.started[:10])


def test_damaged_files_that_were_set_aside_go_after_their_time(nights: Nights) -> None:
    nights.run("red-1")
    for name in ("parts/000001-0000000000000000.parquet.damaged", "runs/x.json.damaged"):
        (nights.out / name).write_bytes(b"?" * 100)
    nights.run()
    text = f'{FILE}[keep]\ndamaged = "30d"\n'
    nights.day = 0
    assert nights.prune(text).files == []
    nights.day = (datetime.now(UTC) - START).days + 31
    pruned = nights.prune(text)
    assert (len(pruned.files), pruned.bytes) == (2, 200)
    assert not list(nights.out.rglob("*.damaged"))


def test_on_a_full_disk_what_can_go_goes_and_is_told(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, boatinfer: Command
) -> None:
    for day in range(45):  # so many that summaries go
        nights.run(*([f"red-{day}"] if day < 2 else []))
    damaged = nights.out / "runs" / "x.json.damaged"
    damaged.write_bytes(b"?" * 100)
    os.utime(damaged, (0, 0))
    text = f'{FILE}[keep]\nlast = 1\ndamaged = "1d"\n'
    night = read_night(write(nights.folder, text))
    later = datetime.now(UTC) + timedelta(2)
    monkeypatch.setattr(pruning, "_finished", lambda _: later)
    (wanted,) = prune_night(night, dry_run=True, now=later)

    def full(*_: Any) -> None:
        raise OutputError("there is no room left")

    with monkeypatch.context() as patch:
        patch.setattr("boatinfer.pages.page.save", full)
        (told,) = prune_night(night, now=later)
    assert (told.exit_code, told.error) == (7, "there is no room left")
    assert told.files == [name for name in wanted.files if name.startswith("runs/")]
    assert "runs/x.json.damaged" in told.files
    assert told.bytes >= 100
    assert not damaged.exists()
    assert boatinfer("night", "prune", "-c", night.file).code == 0


def test_a_night_whose_page_went_has_no_link(nights: Nights) -> None:
    night = read_night(write(nights.folder, KEEP))
    (folder,) = night.folders
    ran = [nights.run(*new) for new in (["red-0"], ["red-1"], ["red-2"], ["red-3"], [])]
    nights.prune(f"{FILE}[keep]\nlast = 2\n")
    results = [
        FolderResult(name="harbour", run=one.run, new=one.new.found, exit_code=0) for one in ran
    ]
    links = [page_address(one, folder.out, nights.folder) for one in results]
    pages = [f"out/reports/{one.run}.html" for one in ran[2:4]]
    assert links == ["", "", *pages, "out/report.html"]


def test_the_page_of_all_folders_is_written_again_even_if_nothing_goes(nights: Nights) -> None:
    nights.run("red-1")
    night = read_night(write(nights.folder, KEEP))
    Record(config=str(night.file), nights=[]).write(record_file(night))
    nights.prune(dry_run=True)
    assert not night.index.exists()
    nights.prune()
    assert night.index.exists()


ALL = f'{FILE}[keep]\nlast = 2\ngone = "30d"\nold-models = "30d"\n'


class Killed(BaseException):
    """The process is killed."""


@contextmanager
def killed(at: int) -> Iterator[list[int]]:
    """A kill before the call of a number that changes a folder."""
    calls = [0]

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            calls[0] += 1
            if calls[0] == at:
                raise Killed
            if calls[0] > at:
                raise Killed  # nothing is tidied up after a kill
            return real(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("rename", "replace", "unlink"):
            patch.setattr(os, name, wrapped(getattr(os, name)))
        yield calls


def test_a_kill_at_any_moment_loses_nothing(
    nights: Nights, tmp_path: Path, model_file: Path
) -> None:
    other = colours.write_model(tmp_path / "other.onnx", colours.card(name="other"))
    nights.run("red-1", model=other)
    for day in range(2, 5):
        nights.run(f"red-{day}", f"blue-{day}", gallery=day == 2)
        (nights.folder / "pictures" / f"blue-{day}.jpg").unlink()
    nights.run()
    nights.prune(GONE)
    nights.prune(OLD_MODELS)
    nights.day += 31
    shutil.copytree(nights.out, tmp_path / "copy")
    images, classified = outcomes(nights.out), recorded(nights.out)
    wanted = nights.prune(ALL)
    assert wanted.files
    assert wanted.gone
    assert wanted.old_models
    after = {name for name in nights.content() if not name.startswith(("parts", "."))}
    at = 0
    while True:
        at += 1
        shutil.rmtree(nights.out)
        shutil.copytree(tmp_path / "copy", nights.out)
        try:
            with killed(at) as calls:
                nights.prune(ALL)
        except Killed:
            sound(nights, images, classified, after)
        if calls[0] < at:
            break
        nights.prune(ALL)
        assert {n for n in nights.content() if not n.startswith(("parts", "."))} == after
        assert set(recorded(nights.out)) == kept(classified, images, nights)
    assert at > 10


def sound(
    nights: Nights,
    images: list[dict[str, str]],
    classified: list[tuple[str, str]],
    after: set[str],
) -> None:
    """What readers and the next run see after a kill."""
    results = Results(nights.out)
    assert list(find_damage(results)) == []
    assert results.current().num_rows == len(images)
    assert outcomes(nights.out) == images
    assert set(recorded(nights.out)) >= kept(classified, images, nights)
    for page in [nights.out / "report.html", *(nights.out / "reports").glob("*Z.html")]:
        if str(page.relative_to(nights.out)) not in after:
            continue  # it goes itself, and nothing that stays leads to it
        gone = [link for link in links(page) if not (nights.out / link).is_file()]
        assert not gone, (page, gone)


def kept(
    classified: list[tuple[str, str]], images: list[dict[str, str]], nights: Nights
) -> set[tuple[str, str]]:
    model = Results(nights.out).last_finished().model
    paths = {image["path"] for image in images}
    return {(path, of) for path, of in classified if of == model and path in paths}


def test_a_dry_run_lists_what_goes_and_writes_nothing(nights: Nights, boatinfer: Command) -> None:
    for day in range(5):
        nights.run(f"red-{day}")
    file = write(nights.folder, KEEP)
    before = nights.content()
    ended = boatinfer("night", "prune", "-c", file, "--dry-run")
    assert (ended.code, ended.err, nights.content()) == (0, "", before)
    head, *listed = ended.out.splitlines()
    assert head.startswith("harbour: would remove 2 in reports/: ")
    (told,) = json.loads(boatinfer("night", "prune", "-c", file, "--dry-run", "--json").out)
    done = boatinfer("night", "prune", "-c", file)
    gone = before.keys() - nights.content().keys()
    assert {line.strip() for line in listed} == gone == set(told["files"])
    assert told["bytes"] == sum(len(before[name]) for name in gone)
    assert done.out == head.replace("would remove", "removed") + "\n"
    assert boatinfer("night", "prune", "-c", file).out == "harbour: removed nothing\n"


def test_what_is_held_or_has_no_keep_is_said(nights: Nights, boatinfer: Command) -> None:
    nights.run("red-1")
    ended = boatinfer("night", "prune", "-c", write(nights.folder, FILE))
    assert (ended.code, ended.out) == (2, "")
    assert "has no [keep]" in ended.err
    with hold_lock(nights.out / ".lock", "out"):
        ended = boatinfer("night", "prune", "-c", write(nights.folder, KEEP))
    assert ended.code == 6
    assert ended.err.startswith("boatinfer: harbour: ")
    assert "is held by process" in ended.err


def test_a_wrong_time_is_refused_with_its_line(nights: Nights, boatinfer: Command) -> None:
    ended = boatinfer(
        "night", "prune", "-c", write(nights.folder, f'{FILE}[keep]\ngone = "soon"\n')
    )
    assert ended.code == 2
    assert "line 8: gone must be text such as '90d', not 'soon'" in ended.err


def test_the_example_of_the_documents_is_valid(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "night.md").read_text()
    (example,) = re.findall(r"```toml\n(\[keep\].*?)```", text, re.DOTALL)
    keep = read_night(write(tmp_path, FILE + example)).keep
    assert keep is not None
    assert (keep.nights.last, keep.nights.monthly, keep.nights.yearly) == (14, 120, 0)
    assert keep.rows == (timedelta(90), timedelta(90))
    assert keep.damaged == timedelta(30)


def test_a_night_prunes_after_it_and_its_page_has_no_dead_link(
    nights: Nights, boatinfer: Command
) -> None:
    for day in range(4):
        nights.run(f"red-{day}")
    file = write(nights.folder, KEEP)
    (nights.folder / "pictures" / "blue-9.jpg").write_bytes(colours.picture("blue", 9))
    ended = boatinfer("night", "run", "-c", file)
    assert (ended.code, ended.err) == (0, "")
    assert len(nights.pages()) == 3
    (link,) = re.findall(r'href="(out/[^"]+)"', (nights.folder / "index.html").read_text())
    assert (nights.folder / link).is_file()


def test_a_failure_of_pruning_is_a_remark(
    nights: Nights, boatinfer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(4):
        nights.run(f"red-{day}")

    def broken(file: Path, names: Any) -> list[str]:
        said = "import sys; print('boatinfer: harbour: no way', file=sys.stderr); sys.exit(7)"
        return [sys.executable, "-c", said]

    monkeypatch.setattr(tidying, "prune_command", broken)
    ended = boatinfer("night", "run", "-c", write(nights.folder, KEEP))
    assert ended.code == 0
    assert "old files were not removed: harbour: no way" in ended.err
    record = json.loads((nights.folder / "index.json").read_text())
    assert record["nights"][0]["remarks"] == ["old files were not removed: harbour: no way"]


def test_results_in_a_bucket_are_pruned(nights: Nights, bucket: str, tmp_path: Path) -> None:
    uri = f"s3://{bucket}/out"
    results = Results(place(uri))
    nights.run("red-1", "blue-1", out=results.out)
    (nights.folder / "pictures" / "blue-1.jpg").unlink()
    nights.run("red-2", out=results.out)
    text = ALL.replace('"out"', f'"{uri}"').replace("last = 2", "last = 1")
    first = nights.prune(text)
    assert [file.partition("/")[0] for file in first.files] == ["reports"]
    nights.day += 31
    assert nights.prune(text).gone == 1
    assert list(find_damage(results)) == []
    assert results.current().num_rows == 14
