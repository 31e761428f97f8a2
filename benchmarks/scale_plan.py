"""Memory and seconds of the plan, the proof and the tables for ten million images.

Usage: python benchmarks/scale_plan.py [COUNT] [--shards 8]    (default 10000000)

No image is there: the listing is simulated, and so is last night's results folder, as a run
leaves it. Nothing is new, so what is measured is what a night does besides its images: the
listing's rows, the plan, the proof, the tables. First undivided, then as shards, one after the
other, and ``results --finish``. Every row is a whole process. ``MB`` is the peak of the memory
that it holds for itself, looked at ten times a second: files that it has mapped are on the disk.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PER_FOLDER = 1000


def path_of(number: int) -> str:
    """A path as cameras name photographs."""
    return f"camera-{number // PER_FOLDER:06d}/20261101_{number:08d}.jpg"


def make_results(out: Path, count: int) -> None:
    """Writes the parts that classifying the images would have left."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from boatinfer.models.model import open_model
    from boatinfer.results.store.compaction import FULL_PART
    from boatinfer.results.store.parts import WRITING, Parts
    from boatinfer.results.store.rows import Row
    from boatinfer.results.store.rows import table as table_of

    model = open_model()
    classes = model.card.classes
    parts = Parts(out / "parts")
    parts.folder.mkdir(parents=True)
    vectors = np.random.default_rng(0).dirichlet(np.ones(len(classes)), FULL_PART)
    rows = [Row("", 0, 0, probabilities=vector) for vector in vectors.astype(np.float32)]
    whole = table_of(rows, classes, model.digest, "20261101T020000.000000Z")
    for start in range(0, count, FULL_PART):
        numbers = range(start, min(start + FULL_PART, count))
        columns = {
            "path": pa.array(map(path_of, numbers)),
            "mtime_ns": pa.array(numbers, pa.int64()),
            "content": pa.array(f"{number * 0x9E3779B97F4A7C15:032x}" for number in numbers),
        }
        table = whole.slice(0, len(numbers))
        for name, column in columns.items():
            table = table.set_column(table.column_names.index(name), name, column)
        with parts.writer() as sink:
            pq.write_table(table, sink, **WRITING)


def night(count: int, work: Path, shard: str | None) -> None:
    """Runs over a simulated listing, in this process."""
    from boatinfer.pipeline.options import RunOptions
    from boatinfer.pipeline.run import run
    from boatinfer.storage.listing import ListedFile

    def scan(*_: Any) -> Iterator[ListedFile]:
        return (ListedFile(path_of(number), 0, number) for number in range(count))

    selection: Any = importlib.import_module("boatinfer.pipeline.selection")
    selection.list_images = scan
    summary = run(RunOptions(work / "in", work / "out", shard=shard))
    assert summary.complete
    assert summary.reused == summary.found


def measured(command: list[str]) -> tuple[float, float, float]:
    """Seconds, seconds of CPU, and peak of anonymous memory in MB, of a process."""
    started, peak = time.monotonic(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    status = Path(f"/proc/{process.pid}/status")
    while True:
        anonymous = re.search(r"RssAnon:\s+(\d+)", status.read_text())
        peak = max(peak, int(anonymous[1]) if anonymous else 0)
        ended, code, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        time.sleep(0.1)
    if code:
        raise SystemExit(f"{command} ended with {os.waitstatus_to_exitcode(code)}")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, peak / 1024


def main() -> None:
    """Prints a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int, nargs="?", default=10_000_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--night", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    count = arguments.count
    if arguments.night:
        work, shard = arguments.night
        night(count, Path(work), shard or None)
        return
    work = Path(tempfile.mkdtemp(prefix="scale-plan-"))
    try:
        (work / "in").mkdir()
        started = time.monotonic()
        make_results(work / "out", count)
        print(f"{count:,} rows, made in {time.monotonic() - started:.0f} s", flush=True)
        print(f"{'what':<10} {'seconds':>8} {'cpu':>8} {'MB':>8}", flush=True)
        script = [sys.executable, __file__, str(count), "--night", str(work)]
        commands = {"undivided": [*script, ""]}
        for number in range(1, arguments.shards + 1):
            shard = f"{number}/{arguments.shards}"
            commands[shard] = [*script, shard]
        boatinfer = [sys.executable, "-m", "boatinfer", "results", str(work / "out")]
        commands["--finish"] = [*boatinfer, "--finish"]
        for name, command in commands.items():
            seconds, cpu, memory = measured(command)
            print(f"{name:<10} {seconds:>8.1f} {cpu:>8.1f} {memory:>8.0f}", flush=True)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
