"""How long a night takes in which nothing is new: up to a million files, all done before.

Usage: python benchmarks/quiet_night.py [COUNT ...]    (default 10000 100000 1000000)

The files are empty, and the benchmark itself writes the results of the night before, as a
run leaves them. Every count is a whole process, start-up included.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from measure import Process, measure

from boatinfer.models.model import open_model
from boatinfer.results.store.compaction import FULL_PART
from boatinfer.results.store.parts import Parts
from boatinfer.results.store.rows import Row

PER_FOLDER = 1000


def make_folder(folder: Path, count: int) -> list[str]:
    """Makes empty files named like photographs of a camera, a thousand a folder."""
    paths = []
    for number in range(count):
        if number % PER_FOLDER == 0:
            (folder / f"camera-{number // PER_FOLDER:04d}").mkdir(parents=True)
        path = f"camera-{number // PER_FOLDER:04d}/20261101_{number:07d}.jpg"
        os.close(os.open(folder / path, os.O_CREAT | os.O_WRONLY))
        os.utime(folder / path, ns=(0, number))
        paths.append(path)
    return paths


def make_results(out: Path, paths: list[str]) -> None:
    """Writes the parts that classifying the files would have left."""
    model = open_model()
    classes = model.card.classes
    parts = Parts(out / "parts")
    parts.folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for start in range(0, len(paths), FULL_PART):
        probabilities = random.dirichlet(np.ones(len(classes)), FULL_PART).astype(np.float32)
        rows = [
            Row(path, 0, start + i, content=f"{start + i:032x}", probabilities=probabilities[i])
            for i, path in enumerate(paths[start : start + FULL_PART])
        ]
        parts.append(rows, classes, model.digest, "20261101T020000.000000Z")


def quiet_night(count: int) -> Process:
    """Measures one night over ``count`` files, in a temporary folder."""
    work = Path(tempfile.mkdtemp(prefix="quiet-night-"))
    try:
        make_results(work / "out", make_folder(work / "in", count))
        command = [sys.executable, "-m", "boatinfer", "run", str(work / "in"), "-o"]
        night = measure([*command, str(work / "out"), "--json", "--quiet"])
        summary = json.loads(night.output)
        assert (summary["reused"], summary["classified"]) == (count, 0), summary
        return night
    finally:
        shutil.rmtree(work)


def main() -> None:
    """Prints a row for each count."""
    counts = [int(argument) for argument in sys.argv[1:]] or [10_000, 100_000, 1_000_000]
    print(f"{'files':>10} {'seconds':>8} {'cpu':>8} {'peak MB':>8} {'µs a file':>10}")
    base = quiet_night(1)
    for count in counts:
        night = quiet_night(count)
        per_file = (night.seconds - base.seconds) / count * 1e6
        print(
            f"{count:>10,} {night.seconds:>8.2f} {night.cpu:>8.2f} {night.memory:>8.0f} "
            f"{per_file:>10.1f}"
        )
    print(f"µs a file: without the {base.seconds:.2f} s that one file takes")


if __name__ == "__main__":
    main()
