"""What shards leave is put together as it is on disk, or refused."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import colours
from boatinfer.errors import BoatinferError, ModelError, OutputError
from boatinfer.pipeline.merge_shards import finish
from boatinfer.results.folder import Results
from boatinfer.results.integrity import find_damage
from boatinfer.results.store.parts import Parts, number_of
from boatinfer.results.store.rows import Row
from boatinfer.results.store.shards import Shard
from boatinfer.results.summary import Summary
from boatinfer.svm.fit import fit
from boatinfer.svm.options import FitOptions
from support import Command


def says_another_image(rows: list[Row], shard: Shard) -> None:
    rows[0].path = next(path for path in map(str, itertools.count()) if not shard.contains(path))


def says_a_failure(rows: list[Row], _: Shard) -> None:
    rows[0].status, rows[0].probabilities = "corrupt", None


def repeats_a_row(rows: list[Row], _: Shard) -> None:
    rows[1] = rows[0]


@pytest.mark.parametrize("change", [says_another_image, says_a_failure, repeats_a_row])
def test_a_part_that_is_whole_but_says_something_else_is_not_finished(
    night: Callable[..., Summary], tmp_path: Path, change: Callable[[list[Row], Shard], None]
) -> None:
    out, shard = tmp_path / "out", Shard(2, 2)
    for number in (1, 2):
        night(shard=f"{number}/2")
    summary, parts = Results(out).shard_summary(shard), Parts(out / "parts", shard)
    assert summary is not None
    (part,) = parts.own()
    there = pq.read_table(part).select(["path", "bytes", "mtime_ns", "content", "probabilities"])
    rows_ = [Row(**found) for found in there.to_pylist()]
    change(rows_, shard)
    part.unlink()
    parts.append(rows_, summary.classes, summary.model, summary.run, number_of(part))
    assert not list(find_damage(Results(out)))
    with pytest.raises(OutputError, match="do not hold what the shard 2/2 has found"):
        finish(out)
    assert not (out / "run.json").exists()


def test_another_svm_than_that_of_the_shards_is_refused(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    night(features=True)
    files = tmp_path / "svm.joblib", tmp_path / "other.joblib"
    for file, penalty in zip(files, (1.0, 7.0), strict=True):
        fit(FitOptions(tmp_path / "out", file, penalty=penalty, folds=0))
    for number in (1, 2):
        night(shard=f"{number}/2", svm=files[0])
    kept = files[0].read_bytes()
    shutil.copy(files[1], files[0])
    with pytest.raises(ModelError, match="not the SVM that the shards ran with"):
        finish(tmp_path / "out")
    files[0].write_bytes(kept)
    assert finish(tmp_path / "out").exit_code == 0


def test_a_shard_that_cannot_start_again_stays_done(
    night: Callable[..., Summary], boatinfer: Command, tmp_path: Path
) -> None:
    for number in (1, 2):
        night(shard=f"{number}/2")
    with pytest.raises(BoatinferError):
        night(shard="1/2", model=tmp_path / "nosuch.onnx")
    assert "2 of 2 done" in boatinfer("results", tmp_path / "out").out
    assert finish(tmp_path / "out").found == 12


def test_a_run_that_cannot_start_leaves_the_page_of_the_last_one(
    night: Callable[..., Summary], boatinfer: Command, tmp_path: Path, pictures: Path
) -> None:
    night()
    page = tmp_path / "out" / "report.html"
    for _ in range(2):
        with pytest.raises(BoatinferError):
            night(model=tmp_path / "nosuch<.onnx")
        said = page.read_text()
        assert said.count("Not complete") == 1
        assert "nosuch&lt;.onnx" in said
        assert "Complete: nothing was skipped" in said
        boatinfer("report", tmp_path / "out")
        assert page.read_text() == said
    (pictures / "new.jpg").write_bytes(colours.picture("blue", seed=50))
    night()
    assert "Not complete" not in page.read_text()


def test_shards_of_another_split_are_out_of_date(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    for number in (1, 2):
        night(shard=f"{number}/2")
    last = night(shard="1/1")
    assert finish(tmp_path / "out").shards == [last.run]
