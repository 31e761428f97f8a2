"""A run is judged by what is new in it: failures, and images that are gone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import colours
from boatinfer.pipeline.merge_shards import finish
from boatinfer.results.gone import find_gone
from boatinfer.results.summary import Summary
from support import Command, rows

Night = Callable[..., Summary]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def add_broken(pictures: Path, start: int, count: int) -> None:
    for number in range(start, start + count):
        (pictures / f"broken-{number:03}.jpg").write_bytes(colours.picture("red", number)[:300])


def new(summary: Summary) -> tuple[int, int, int]:
    assert summary.new is not None
    return summary.new.found, summary.new.classified, summary.new.failed


@pytest.mark.parametrize("shards", [0, 2])
def test_failures_are_judged_by_the_new_images(
    night: Night, pictures: Path, out: Path, shards: int
) -> None:
    def run() -> Summary:
        if not shards:
            return night(max_failures="10%")
        for number in range(shards):
            night(max_failures="10%", shard=f"{number + 1}/{shards}")
        return finish(out)

    colours.write_pictures(pictures / "many", each=30)
    assert (run().exit_code, len(rows(out))) == (0, 102)
    add_broken(pictures, 0, 4)
    all_broken = run()
    assert (all_broken.exit_code, new(all_broken)) == (3, (4, 0, 4))
    assert all_broken.error == "4 of 4 new images failed, more than --max-failures 10% allows."
    quiet = run()
    assert (quiet.exit_code, quiet.failed, new(quiet)) == (0, 4, (0, 0, 0))
    (pictures / "broken-001.jpg").write_bytes(colours.picture("red", 1)[:200])
    changed = run()
    assert (changed.exit_code, changed.failed, new(changed)) == (3, 4, (1, 0, 1))
    (pictures / "broken-001.jpg").write_bytes(colours.picture("red", 999))
    mended = run()
    assert (mended.exit_code, mended.failed, new(mended)) == (0, 3, (1, 1, 0))


def test_failures_know_since_when(night: Night, pictures: Path, out: Path) -> None:
    add_broken(pictures, 0, 2)
    first = night()
    add_broken(pictures, 2, 1)
    night()
    night()
    found = {row["path"]: row for row in rows(out, "failures.csv")}
    assert [row["new"] for row in found.values()] == ["false"] * 3
    since = [found[f"broken-00{number}.jpg"]["since"] for number in range(3)]
    assert since[0] == since[1] == first.started[:19] + "+00:00"
    assert since[2] >= since[1]


def test_another_model_does_not_make_known_failures_new(
    night: Night, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    add_broken(pictures, 0, 2)
    night()
    summary = night(model=None)  # the built-in model
    assert new(summary) == (12, 12, 0)
    assert summary.failed == 2


def test_failures_of_a_run_that_was_killed_are_new_in_the_next(
    night: Night, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night()
    add_broken(pictures, 0, 3)
    with monkeypatch.context() as patch:
        patch.setattr("boatinfer.pipeline.run._publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            night()
    assert new(night()) == (3, 0, 3)
    assert new(night()) == (0, 0, 0)


def test_new_failures_are_first_on_the_page_and_known_ones_folded(
    night: Night, pictures: Path, out: Path
) -> None:
    add_broken(pictures, 0, 60)
    night(max_failures="100%")
    (pictures / "zzz.jpg").write_text("hello")
    night(max_failures="100%")
    page = (out / "report.html").read_text()
    failures, details = page[page.index('id="failed"') :].split("<details>\n", 1)
    assert "zzz.jpg" in failures
    assert "broken-" not in failures
    assert "60 images failed before and have not changed" in details
    assert "And 10 more." in details


def test_images_that_are_gone_are_counted_and_an_empty_folder_is_unusual(
    boatinfer: Command, pictures: Path, model_file: Path, out: Path
) -> None:
    def run(*options: str) -> tuple[int, str, dict[str, object]]:
        done = boatinfer("run", pictures, "-o", out, "-m", model_file, *options)
        return done.code, done.out, json.loads((out / "run.json").read_text())

    (pictures / "cam/a").mkdir(parents=True)
    for number, name in enumerate(["cam/a/1.jpg", "cam/a/2.jpg", "cam/3.jpg"]):
        (pictures / name).write_bytes(colours.picture("red", 50 + number))
    _, _, first = run()
    assert (first["gone"], first["unusual"]) == (None, [])
    (pictures / "red/000.jpg").unlink()
    code, printed, summary = run("--fail-on-unusual")
    assert (code, summary["unusual"]) == (0, [])
    assert summary["gone"] == {"images": 1, "folders": {"red": 1}, "empty": []}
    assert "gone: 1 image of the last run (1 from red)\n" in printed
    shutil.rmtree(pictures / "cam")
    (pictures / "cam").mkdir()
    code, printed, summary = run()
    assert (code, summary["error"]) == (0, None)
    assert summary["gone"] == {"images": 3, "folders": {"cam/a": 2, "cam": 1}, "empty": ["cam"]}
    sentence = "The folder cam has no image any more."
    assert summary["unusual"] == [{"kind": "folder_gone", "text": sentence, "folder": "cam"}]
    assert f"unusual: {sentence}\n" in printed
    page = (out / "report.html").read_text()
    assert '<div class="banner look">' in page  # above the night, which had nothing new
    assert "3 images of the last run are gone" in page
    assert sentence in page
    assert run()[2]["unusual"] == []


def test_something_unusual_is_an_exit_code_if_wanted(
    boatinfer: Command, pictures: Path, model_file: Path, out: Path
) -> None:
    options = ["-o", out, "-m", model_file, "--fail-on-unusual"]
    assert boatinfer("run", pictures, *options).code == 0
    shutil.rmtree(pictures / "red")
    done = boatinfer("run", pictures, *options)
    assert (done.code, "something is unusual" in done.err) == (9, True)


def test_a_run_over_a_part_of_the_folder_misses_nothing(night: Night, pictures: Path) -> None:
    night()
    assert night(limit=2).gone is None


def test_images_in_a_folder_that_cannot_be_listed_are_not_gone() -> None:
    before = pa.table({"path": ["a/1.jpg", "b/1.jpg", "b/c/2.jpg", "d/"]})
    gone = find_gone(before, pa.table({"path": ["a/1.jpg", "b/"]}))
    assert gone.images == 0


_NAMES = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map("/".join)


@given(before=st.sets(_NAMES, max_size=12), now=st.sets(_NAMES, min_size=1, max_size=12))
def test_gone_is_the_difference(before: set[str], now: set[str]) -> None:
    def table(paths: set[str]) -> pa.Table:
        return pa.table({"path": pa.array(sorted(f"{path}.jpg" for path in paths), pa.string())})

    gone = find_gone(table(before), table(now))
    lost = before - now
    assert gone.images == len(lost) == sum(gone.folders.values())
    for folder, count in gone.folders.items():
        assert count == sum((path.rpartition("/")[0] or ".") == folder for path in lost)
    for folder in gone.empty:
        assert any(path.startswith(f"{folder}/") for path in lost)
        assert not any(path.startswith(f"{folder}/") for path in now)
        parent = folder.rpartition("/")[0]
        assert not parent or any(path.startswith(f"{parent}/") for path in now)
