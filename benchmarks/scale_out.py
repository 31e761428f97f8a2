"""A run on a Ray cluster of this machine, beside the local engine with as many threads.

Usage: python benchmarks/scale_out.py resnet50|cnn [--workers 1 2] [--repeats 2] [--model FILE]
       python benchmarks/scale_out.py lose [--model FILE]

Every run is a whole process over few images and over more of them, local and Ray in turn, and of
each the fastest repeat counts. ``images/s`` is what the images that are more take; ``start`` is
what is left: Python, the model, and for Ray its servers and workers.

``lose`` makes a cluster of two machines with one processor each on this one, kills one
when half of the images are done, and tells whether the run is complete and every row there once.

The networks have random weights: their speed is that of trained ones.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from measure import measure

from networks import SAMPLES, write_network

#: Height, width, and how few and how many images of a run, for each worker.
NETWORKS = {"resnet50": (240, 800, (5, 30)), "cnn": (30, 100, (1_000, 10_000))}
GOAL = 0.85


def make_folder(folder: Path, count: int) -> Path:
    """Fills a folder with the drawn samples, again and again."""
    folder.mkdir()
    for sample in SAMPLES:
        shutil.copy(sample, folder.parent)
    for number in range(count):
        os.link(folder.parent / SAMPLES[number % len(SAMPLES)].name, folder / f"{number:06}.jpg")
    return folder


def seconds(folder: Path, model: Path, out: Path, *options: str) -> float:
    """Seconds of a whole run, start-up included."""
    command = [sys.executable, "-m", "boatinfer", "run", str(folder), "-m", str(model)]
    found = measure([*command, "-o", str(out), "--no-report", "--quiet", *options]).seconds
    shutil.rmtree(out)
    return found


def compare(work: Path, model: Path, sizes: tuple[int, int], workers: int, repeats: int) -> None:
    """Prints a row for each engine."""
    folders = {size: make_folder(work / f"{size}-{workers}", size) for size in sizes}
    engines = {
        "local": ["--threads", str(workers)],
        "ray": ["--engine", "ray", "--ray-address", "local", "--workers", str(workers)],
    }
    taken: dict[tuple[str, int], float] = {}
    for _, size, engine in itertools.product(range(repeats), sizes, engines):
        whole = seconds(folders[size], model, work / "out", *engines[engine])
        taken[engine, size] = min(whole, taken.get((engine, size), whole))
    few, many = sizes
    rates = {name: (many - few) / (taken[name, many] - taken[name, few]) for name in engines}
    for name, rate in rates.items():
        start = taken[name, few] - few / rate
        ratio = rate / rates["local"]
        print(f"{workers:>7}  {name:<6} {rate:>9,.1f} {ratio:>7.2f} {start:>7.1f} s", flush=True)


def lose(work: Path, model: Path) -> None:
    """Prints what becomes of a run of whose two machines one is killed half-way."""
    import pyarrow.parquet as pq
    import ray
    from ray.cluster_utils import Cluster

    from boatinfer.pipeline.options import Engine, RunOptions
    from boatinfer.pipeline.run import Progress, run

    count = 6_000
    folder = make_folder(work / "in", count)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    machines = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    killed: list[tuple[int, float]] = []

    def progress(now: Progress) -> None:
        if now.done >= count / 2 and not killed:
            cluster.remove_node(machines.pop(), allow_graceful=False)
            killed.append((now.done, time.monotonic()))

    options = RunOptions(folder, work / "out", model, engine=Engine.RAY)
    summary = run(options, progress)
    after = time.monotonic() - killed[0][1]
    rows = sum(pq.read_metadata(part).num_rows for part in (work / "out/parts").glob("*"))
    print(
        f"killed at {killed[0][0]:,} of {count:,}; complete: {summary.complete}; "
        f"classified {summary.classified:,}, rows {rows:,}; ended {after:.0f} s later"
    )
    ray.shutdown()
    cluster.shutdown()


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=[*NETWORKS, "lose"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--model", type=Path, help="one made before, to save the time")
    arguments = parser.parse_args()
    network = "cnn" if arguments.what == "lose" else arguments.what
    height, width, sizes = NETWORKS[network]
    with tempfile.TemporaryDirectory(prefix="scale-out-") as folder:
        work = Path(folder)
        model = arguments.model or work / f"{network}.onnx"
        if not model.exists():
            write_network(network, model, height, width)
        if arguments.what == "lose":
            lose(work, model)
            return
        print(f"workers  engine  images/s   ratio     start   (ratio to be {GOAL} for resnet50)")
        for workers in arguments.workers:
            few, many = (size * workers for size in sizes)
            compare(work, model, (few, many), workers, arguments.repeats)


if __name__ == "__main__":
    main()
