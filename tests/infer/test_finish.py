"""The proof over all shards believes what the parts say, not what the shards say."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from boatinfer.errors import OutputError
from boatinfer.night.finish import finish
from boatinfer.results.damage import damage
from boatinfer.results.folder import Results
from boatinfer.results.parts import Parts, Row, number_of
from boatinfer.results.shards import Shard
from boatinfer.results.summary import Summary


def says_another_image(rows: list[Row], shard: Shard) -> None:
    rows[0].path = next(path for path in map(str, itertools.count()) if not shard.takes(path))


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
    summary, parts = Results(out).last_of(shard), Parts(out / "parts", shard)
    assert summary is not None
    (part,) = parts.own()
    there = pq.read_table(part).select(["path", "bytes", "mtime_ns", "content", "probabilities"])
    rows_ = [Row(**found) for found in there.to_pylist()]
    change(rows_, shard)
    part.unlink()
    parts.append(rows_, summary.classes, summary.model, summary.run, number_of(part))
    assert not list(damage(Results(out)))
    with pytest.raises(OutputError, match="do not hold what the shard 2/2 has found"):
        finish(out)
    assert not (out / "run.json").exists()
