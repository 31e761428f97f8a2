"""How fast `boatinfer run` is, beside its floor, Keras, and what one writes by hand.

Usage: python benchmarks/run_speed.py FOLDER [--repeats 3] [--small 1300]

FOLDER holds images in class folders. All use the network of `boatinfer train cnn`, with
random weights, on the same machine in turn, so the ratios hold though machines vary:

floor    threads that read, decode and infer in the barest loop, and keep nothing
run      `boatinfer run`, fresh, with everything written
keras    `image_dataset_from_directory` + `predict`; its second pass over the data
keras 1  the same, its first pass
pillow   Pillow in a thread pool and onnxruntime, what one writes by hand

Steady state is images a second without start-up; whole processes are seconds for a part of
the images, start-up included. The floor's whole process bounds what a run's can reach. Every
figure is the best of the repeats: the one that other processes disturbed least.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from measure import Process, measure

from networks import CLASSES, write_network

#: How many times as fast as each a run is to be.
STEADY_GOALS = {"floor": 0.90, "keras": 1.5, "keras 1": 2.5, "pillow": 2.5}
#: How many times as fast as Keras' first pass each whole process is to be.
WHOLE_GOALS = {"run": 5.0, "run --no-report": 8.0}

BATCH = 32
HEIGHT, WIDTH = 30, 100


def image_files(folder: Path) -> list[Path]:
    """All JPEGs of the folder, sorted."""
    return sorted(folder.rglob("*.jpg"))


def threaded(work: Callable[[list[Path]], object], files: list[Path]) -> float:
    """Images a second of ``work`` on batches in as many threads as there are CPUs."""
    from boatinfer.cpus import usable_cpus

    batches: Iterable[list[Path]] = (files[i : i + BATCH] for i in range(0, len(files), BATCH))
    with ThreadPoolExecutor(usable_cpus()) as pool:
        started = time.perf_counter()
        for _ in pool.map(work, batches):
            pass
        return len(files) / (time.perf_counter() - started)


def floor(folder: Path, file: Path) -> dict[str, float]:
    """The barest loop with the project's own reader and network."""
    from boatinfer import images
    from boatinfer.models.model import open_model

    model = open_model(file, threads=1)

    def work(files: list[Path]) -> None:
        model.infer(np.stack([images.read(f.read_bytes(), model.card.image) for f in files]))

    return {"floor": threaded(work, image_files(folder))}


def pillow(folder: Path, file: Path) -> dict[str, float]:
    """Pillow and onnxruntime, as in many a script."""
    import onnxruntime
    from PIL import Image

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options)

    def work(files: list[Path]) -> None:
        batch = [np.asarray(Image.open(f).convert("RGB").resize((WIDTH, HEIGHT))) for f in files]
        session.run(["probabilities"], {"image": np.stack(batch)})

    return {"pillow": threaded(work, image_files(folder))}


def keras(folder: Path, _: Path, passes: int = 2) -> dict[str, float]:
    """Keras' own way to read a folder and classify it."""
    from boatinfer.images.spec import ImageSpec
    from boattrain.backend import load_keras
    from boattrain.networks.base import build_cnn

    backend = load_keras()
    model = build_cnn(ImageSpec(HEIGHT, WIDTH), CLASSES)
    data = backend.utils.image_dataset_from_directory(
        folder,
        image_size=(HEIGHT, WIDTH),
        batch_size=BATCH,
        shuffle=False,
        labels=None,
        verbose=False,
    )
    speeds = []
    for _ in range(passes):
        started = time.perf_counter()
        count = len(model.predict(data, verbose=0))
        speeds.append(count / (time.perf_counter() - started))
    return dict(zip(["keras 1", "keras"], speeds, strict=False))


def run(folder: Path, file: Path) -> dict[str, float]:
    """The command itself, in a process of its own, into an empty folder."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "boatinfer", "run", str(folder), "-o", out, "--json"]
        command += ["-m", str(file)]
        printed = subprocess.run(command, capture_output=True, check=True).stdout
    return {"run": json.loads(printed)["images_per_second"]}


def keras_once(folder: Path, file: Path) -> dict[str, float]:
    """One pass only: what somebody does who classifies a folder once."""
    return keras(folder, file, passes=1)


STEADY = {"floor": floor, "run": run, "keras": keras, "pillow": pillow}
PARTS = STEADY | {"keras 1": keras_once}


def steady(folder: Path, file: Path, repeats: int) -> dict[str, list[float]]:
    """Steady state of each, in turn, every one in a process of its own."""
    figures: dict[str, list[float]] = {}
    for _, name in itertools.product(range(repeats), STEADY):
        command = [sys.executable, __file__, str(folder), "--model", str(file), "--only", name]
        found = json.loads(measure(command).output)
        for key, value in found.items():
            figures.setdefault(key, []).append(value)
    return figures


def whole(folder: Path, file: Path, repeats: int) -> dict[str, list[Process]]:
    """Whole processes, in turn."""
    out = tempfile.mkdtemp(prefix="run-speed-")
    command = [sys.executable, "-m", "boatinfer", "run", str(folder), "-m", str(file), "-o", out]
    only = [sys.executable, __file__, str(folder), "--model", str(file), "--only"]
    commands = {
        "run": command,
        "run --no-report": [*command, "--no-report"],
        "floor": [*only, "floor"],
        "keras 1": [*only, "keras 1"],
        "pillow": [*only, "pillow"],
    }
    figures: dict[str, list[Process]] = {}
    for _, (name, arguments) in itertools.product(range(repeats), commands.items()):
        shutil.rmtree(out, ignore_errors=True)
        figures.setdefault(name, []).append(measure(arguments))
    shutil.rmtree(out, ignore_errors=True)
    return figures


def first_images(folder: Path, count: int) -> Path:
    """A folder of links to the first images, in their class folders."""
    small = Path(tempfile.mkdtemp(prefix="run-speed-"))
    files = image_files(folder)
    for file in files[:: max(1, len(files) // count)][:count]:
        (small / file.parent.name).mkdir(exist_ok=True)
        shutil.copy(file, small / file.parent.name)
    return small


def main() -> None:
    """Prints the two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", type=int, default=1300)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=list(PARTS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(PARTS[arguments.only](arguments.folder, arguments.model)))
        return
    work = Path(tempfile.mkdtemp(prefix="run-speed-"))
    file = work / "cnn.onnx"
    write_network("cnn", file, HEIGHT, WIDTH)
    figures = steady(arguments.folder, file, arguments.repeats)
    speeds = {name: max(values) for name, values in figures.items()}
    print(f"{'steady state':<18} {'images/s':>9} {'run is':>8} {'goal':>7}")
    for name, speed in speeds.items():
        print(
            f"{name:<18} {speed:>9,.0f} {speeds['run'] / speed:>7.2f}x {_goal(STEADY_GOALS, name)}"
        )
    small = first_images(arguments.folder, arguments.small)
    processes = whole(small, file, arguments.repeats)
    title = f"whole, {len(image_files(small)):,} images"
    shutil.rmtree(small)
    shutil.rmtree(work)
    base = min(process.seconds for process in processes["keras 1"])
    print(f"\n{title:<20} {'seconds':>7} {'cpu':>6} {'MB':>5} {'than keras':>11} {'goal':>7}")
    for name, values in processes.items():
        seconds, cpu, memory = (min(column) for column in list(zip(*values, strict=True))[:3])
        print(
            f"{name:<20} {seconds:>7.2f} {cpu:>6.2f} {memory:>5.0f} {base / seconds:>10.2f}x "
            f"{_goal(WHOLE_GOALS, name)}"
        )


def _goal(goals: dict[str, float], name: str) -> str:
    return f"{goals[name]:>6.2f}x" if name in goals else ""


if __name__ == "__main__":
    main()
