"""A run that has lost its folder, or its answer from the store, does no harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from boatinfer.errors import BusyError
from boatinfer.pipeline.engines import local
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results import proof
from boatinfer.results.folder import Results
from boatinfer.results.store import compaction
from boatinfer.results.store.parts import Parts
from boatinfer.results.store.rows import Row
from boatinfer.results.summary import Summary
from boatinfer.storage import lease
from boatinfer.storage.bucket import BucketPath
from boatinfer.storage.lease import Lease
from boatinfer.storage.locations import place
from s3 import Server


def lists(s3: Server, bucket: str) -> int:
    """How often the bucket was listed."""
    return sum(asked == ("GET", f"/{bucket}") for asked in s3.requests)


def test_a_run_that_lost_its_lease_writes_nothing_more(
    bucket: str, s3: Server, pictures: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = place(f"s3://{bucket}/out")
    lock, prove = out / ".lock", proof.prove

    def taken_over(*arguments: Any) -> Any:
        note = msgspec.json.decode(lock.read_bytes()) | {"key": "other", "holder": "the other"}
        lock.write_bytes(msgspec.json.encode(note))
        s3.requests.clear()
        return prove(*arguments)

    monkeypatch.setattr(lease, "RENEW_INTERVAL", 0.0)
    monkeypatch.setattr(proof, "prove", taken_over)
    with pytest.raises(BusyError, match="taken over"):
        run(RunOptions(pictures, out, model_file))
    written = [path for method, path in s3.requests if method == "PUT"]
    assert [path for path in written if not path.endswith("/.lock")] == []  # that it tries


def test_a_lease_outlives_an_answer_that_was_lost(bucket: str) -> None:
    lock = BucketPath("s3", bucket, "out/.lock")
    mine = Lease(lock)
    with mine.hold():
        note = msgspec.json.decode(lock.read_bytes())
        lock.write_bytes(msgspec.json.encode(note | {"generation": note["generation"] + 1}))
        mine._renew()
        before = lock.read_bytes()
        mine._renew()
        assert lock.read_bytes() != before
        mine.check()


def test_a_run_is_complete_though_its_parts_cannot_be_merged(
    bucket: str, s3: Server, pictures: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge = compaction.merge

    def denied(*arguments: Any) -> Any:
        s3.misbehaves = lambda method, path: (
            (403, "AccessDenied") if (method, path.rstrip("/")) == ("GET", f"/{bucket}") else None
        )
        return merge(*arguments)

    monkeypatch.setattr(compaction, "MANY_PARTS", 1)
    monkeypatch.setattr(compaction, "merge", denied)
    assert run(RunOptions(pictures, place(f"s3://{bucket}/out"), model_file)).exit_code == 0
    s3.behave()
    assert json.loads(place(f"s3://{bucket}/out/run.json").read_bytes())["complete"]


def test_a_part_costs_no_listing(
    bucket: str, s3: Server, pictures: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for rows in (1, 1024):
        monkeypatch.setattr(local, "PART_ROWS", rows)
        s3.requests.clear()
        out = place(f"s3://{bucket}/{rows}")
        run(RunOptions(pictures, out, model_file, batch_size=1, threads=1))
        counts.append(lists(s3, bucket))
    assert counts[0] == counts[1]


def test_two_parts_of_one_number_both_count(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    """Two runs that both thought they held the folder may write such parts."""
    night()
    parts = Results(tmp_path / "out").parts
    probabilities = np.array([0.2, 0.3, 0.5], np.float32)
    row = Row("other.jpg", 1, 1, "f" * 32, probabilities=probabilities)
    parts.append([row], ["red", "green", "blue"], "f" * 64, "earlier", number=1)
    assert night().reused == 12
    index = Parts(tmp_path / "out" / "parts").index()
    assert "other.jpg" in index["path"].to_pylist()
    assert index.num_rows == 13
