"""Peak memory of a working run, for more and more images: it should not grow.

Usage: python benchmarks/memory.py [COUNT ...]    (default 1000 10000 100000)

The images are links to the drawn samples, so that the disk holds a dozen; the network is
that of `boatinfer train cnn`, with random weights.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from measure import Process, measure

from networks import SAMPLES, write_network


def working_run(work: Path, count: int) -> Process:
    """Measures a run over ``count`` new images."""
    for number in range(count):
        (work / "in" / f"{number // 1000}").mkdir(parents=True, exist_ok=True)
        sample = work / SAMPLES[number % len(SAMPLES)].name
        os.link(sample, work / "in" / f"{number // 1000}" / f"{number}.jpg")
    command = [sys.executable, "-m", "boatinfer", "run", str(work / "in"), "--json", "--quiet"]
    done = measure([*command, "-m", str(work / "cnn.onnx"), "-o", str(work / "out")])
    assert json.loads(done.output)["classified"] == count
    shutil.rmtree(work / "in")
    shutil.rmtree(work / "out")
    return done


def main() -> None:
    """Prints a row for each count."""
    work = Path(tempfile.mkdtemp(prefix="memory-"))
    try:
        write_network("cnn", work / "cnn.onnx", 30, 100)
        for sample in SAMPLES:
            shutil.copy(sample, work)
        print(f"{'images':>9} {'seconds':>8} {'peak MB':>8}")
        for count in [int(argument) for argument in sys.argv[1:]] or [1000, 10_000, 100_000]:
            done = working_run(work, count)
            print(f"{count:>9,} {done.seconds:>8.1f} {done.memory:>8.0f}", flush=True)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
