"""Which runs' images are new: this night's, and those of a night that did not come to its end."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import colours
from boatinfer.errors import BoatinferError
from boatinfer.pipeline.classifier import Classifier
from boatinfer.pipeline.engines import local
from boatinfer.results.folder import Results
from boatinfer.results.mix import Mix
from boatinfer.results.published_tables import read_tables
from boatinfer.results.summary import Summary


def ran(results: Results, run: str, model: str, complete: bool) -> Summary:
    summary = Summary(
        run=run,
        folder="/in",
        started="2026-01-01T00:00:00+00:00",
        model=model,
        complete=complete,
        new=Mix() if complete else None,
    )
    results.write_summary(summary)
    return summary


def test_a_night_goes_back_to_the_last_complete_run_with_its_own_model(tmp_path: Path) -> None:
    results = Results(tmp_path)
    (tmp_path / "runs").mkdir()
    assert results.new_runs(ran(results, "1", "ours", True)) == ["1"]
    assert results.new_runs(ran(results, "2", "ours", False)) == ["2"]
    assert results.new_runs(ran(results, "3", "ours", False)) == ["3", "2"]
    theirs = ran(results, "4", "theirs", True)
    assert results.new_runs(theirs) == ["4", "3", "2"]  # those of another model are not
    assert results.new_runs(ran(results, "5", "ours", True)) == ["5", "3", "2"]
    assert results.new_runs(ran(results, "6", "theirs", True)) == ["6"]
    assert results.new_runs(ran(results, "7", "ours", True)) == ["7"]


def test_shards_are_of_the_night_and_an_unfinished_proof_ends_none(tmp_path: Path) -> None:
    results = Results(tmp_path)
    (tmp_path / "runs").mkdir()
    shards = Summary(
        run="1", folder="/in", started="2026-01-01", complete=True
    )  # `new` is not known
    results.write_summary(shards)
    last = replace(ran(results, "2", "", True), shards=["2-shard-1", "2-shard-2"])
    assert results.new_runs(last) == ["2", "2-shard-1", "2-shard-2", "1"]


def test_images_of_an_interrupted_night_stay_new_though_another_model_ran_in_between(
    night: Callable[..., Summary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = colours.write_model(tmp_path / "other.onnx", card=colours.card(name="other"))
    work, batches = Classifier.__call__, itertools.count()

    def break_down(self: Classifier, batch: Any) -> Any:
        if next(batches) == 5:
            raise BoatinferError("the power is gone")
        return work(self, batch)

    with monkeypatch.context() as broken:
        broken.setattr(Classifier, "__call__", break_down)
        broken.setattr(local, "PART_ROWS", 1)
        with pytest.raises(BoatinferError, match="power"):
            night(batch_size=1, threads=1)
    assert night(model=other).new == night(model=other, out=tmp_path / "beside").new
    last = night()
    assert 0 < last.reused < 12
    assert last.new is not None
    assert last.new.images == 12
    assert sum(read_tables(Results(tmp_path / "out")).predictions["new"].to_pylist()) == 12
    again = night()
    assert again.new is not None
    assert again.new.images == 0
