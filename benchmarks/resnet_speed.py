"""`boatinfer run` with a ResNet50 at 240 x 800, beside bare onnxruntime on preloaded arrays.

Usage: python benchmarks/resnet_speed.py [--images 96] [--repeats 3]

The network has random weights: its speed is that of a trained one. Bare onnxruntime is
given its best case: pixels in memory, nothing read, nothing written, and the better of one
session on all CPUs and one inference a CPU.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from measure import measure

from networks import SAMPLES, write_network

BATCH = 5
HEIGHT, WIDTH = 240, 800


def bare(model: Path, count: int, inferences: int, threads: int) -> dict[str, float]:
    """Images a second of ``inferences`` at a time, each on ``threads`` threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model), options)
    random = np.random.default_rng(0)
    batch = random.integers(0, 256, (BATCH, HEIGHT, WIDTH, 3), np.uint8)
    session.run(["probabilities"], {"image": batch})
    with ThreadPoolExecutor(inferences) as pool:
        started = time.perf_counter()
        list(
            pool.map(
                lambda _: session.run(["probabilities"], {"image": batch}), range(count // BATCH)
            )
        )
        return {"speed": count // BATCH * BATCH / (time.perf_counter() - started)}


def main() -> None:
    """Prints a table of the three, measured in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bare", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        model, *numbers = arguments.bare
        print(json.dumps(bare(Path(model), *map(int, numbers))))
        return
    from boatinfer.cpus import usable_cpus

    cpus = usable_cpus()
    work = Path(tempfile.mkdtemp(prefix="resnet-speed-"))
    write_network("resnet50", work / "resnet50.onnx", HEIGHT, WIDTH)
    (work / "in").mkdir()
    for number in range(arguments.images):
        shutil.copy(SAMPLES[number % len(SAMPLES)], work / "in" / f"{number:04}.jpg")
    script = [sys.executable, __file__, "--bare", str(work / "resnet50.onnx")]
    script.append(str(arguments.images))
    run = [sys.executable, "-m", "boatinfer", "run", str(work / "in"), "--json", "--quiet"]
    run += ["--fresh"]
    commands = {
        "bare, one inference a CPU": [*script, str(cpus), "1"],
        "bare, one on all CPUs": [*script, "1", str(cpus)],
        "boatinfer run": [*run, "-m", str(work / "resnet50.onnx"), "-o", str(work / "out")],
    }
    speeds: dict[str, list[float]] = {name: [] for name in commands}
    for _, (name, command) in itertools.product(range(arguments.repeats), commands.items()):
        found = json.loads(measure(command).output)
        speeds[name].append(found.get("speed") or found["images_per_second"])
    shutil.rmtree(work)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, speed in medians.items():
        print(f"{name:<26} {speed:>7.2f} images/s   run is {medians['boatinfer run'] / speed:.3f}")


if __name__ == "__main__":
    main()
