"""What tests of several folders share besides their fixtures."""

from __future__ import annotations

import csv
import io
import itertools
import multiprocessing
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import colours
from boatinfer.errors import BoatinferError
from boatinfer.pipeline.classifier import Classifier
from boatinfer.pipeline.engines import local
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.summary import Summary
from boatinfer.storage.base import Place

#: Images of each class in the splits that `write_data` makes.
COUNTS = {"train": 12, "valid": 4}

#: Starts processes that have what a run needs loaded already.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["boatinfer.pipeline.run", "onnxruntime"])


class Outcome(NamedTuple):
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]
Shell = Callable[..., "subprocess.CompletedProcess[str]"]


class Trained(NamedTuple):
    """A finished training."""

    data: Path
    output: Path
    stdout: str
    stderr: str


def rows(out: Place, name: str = "predictions.csv") -> list[dict[str, str]]:
    """Reads a table of a results folder."""
    text = (out / name).read_bytes().decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def outcomes(out: Place, name: str = "predictions.csv") -> list[dict[str, str]]:
    """The rows of a table without what tells the runs that made them."""
    return [
        {key: row[key] for key in row if key not in {"run", "since", "new"}}
        for row in rows(out, name)
    ]


def counts(summary: Summary) -> tuple[int, int, int, int]:
    """Found, classified, reused and failed images of a run."""
    return summary.found, summary.classified, summary.reused, summary.failed


def write_data(folder: Path) -> Path:
    """Fills a folder with train/ and valid/; no two pictures are equal."""
    seeds = itertools.count()
    for (split, count), name in itertools.product(COUNTS.items(), colours.CLASSES):
        (folder / split / name).mkdir(parents=True)
        for number in range(count):
            path = folder / split / name / f"{number:02}.jpg"
            path.write_bytes(colours.picture(name, next(seeds)))
    return folder


def drawing(seed: int, quality: int = 90, shade: int = 0) -> bytes:
    """A picture like no other of another seed; quality and shade change all its bytes."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 215, (6, 8, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((80, 60), Image.Resampling.BICUBIC)).astype(int) + shade
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def flat(data: Path) -> Path:
    """Moves the classes of train/ and valid/ into one folder each."""
    for split in COUNTS:
        for file in sorted((data / split).glob("*/*")):
            target = data / file.parent.name / f"{split}-{file.name}"
            target.parent.mkdir(exist_ok=True)
            file.rename(target)
        shutil.rmtree(data / split)
    return data


def command(folder: Path, out: Path, model: Path, *options: str) -> list[str]:
    """A quiet ``boatinfer run`` in a process of its own."""
    arguments = [str(folder), "-o", str(out), "-m", str(model), "--quiet", *options]
    return [sys.executable, "-m", "boatinfer", "run", *arguments]


def slow_run(options: RunOptions) -> ForkServerProcess:
    """Starts a run with small parts and pauses in its own process, for kills at all moments."""
    process = _PROCESSES.Process(target=_run_slowly, args=(options,))
    process.start()
    return process


def _run_slowly(options: RunOptions) -> None:
    local.PART_ROWS = 16
    work = Classifier.__call__

    def pause(self: Classifier, batch: Any) -> Any:
        time.sleep(0.03)
        return work(self, batch)

    Classifier.__call__ = pause  # type: ignore[method-assign]
    try:
        run(replace(options, isolate=False))
    except BoatinferError as error:
        sys.exit(error.exit_code)
