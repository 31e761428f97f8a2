"""Whether a run over a bucket keeps the processor as busy as one over a disk.

Usage: python benchmarks/bucket_speed.py FOLDER [--delay 0.05] [--repeats 3] [--limit 3000]

FOLDER holds images. The same ones are classified from the disk and from an S3 server on this
machine whose every answer is late by ``--delay`` seconds, fresh each time, results on the disk.

``busy`` is the share of the processor that the run itself keeps at work; what the server takes
is told beside it, for both share the machine. For ``images/s`` the run has the first processor
to itself and the server the second.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from measure import measure

from networks import write_network

HEIGHT, WIDTH = 30, 100
COMMAND = ["env", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "NO_PROXY=127.0.0.1"]
COMMAND += [sys.executable, "-m", "boatinfer"]


@contextmanager
def serving(folder: Path, delay: float, processors: set[int]) -> Iterator[tuple[int, str]]:
    """Runs the server; gives its process and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(__file__).with_name("bucket_server.py")
    command = [sys.executable, str(program), str(folder), str(port), str(delay)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE)
    os.sched_setaffinity(server.pid, processors)
    assert server.stdout is not None
    server.stdout.readline()
    try:
        yield server.pid, f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def cpu_seconds(process: int) -> float:
    """What a process has taken of the processor so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Night(NamedTuple):
    """One run: images a second, and the shares of the processors that it and the server took."""

    rate: float
    busy: float
    server: float


def night(source: list[str], model: Path, processors: set[int], server: int) -> Night:
    """Classifies all images anew, on some of the processors."""
    out, every = tempfile.mkdtemp(prefix="bucket-speed-"), os.sched_getaffinity(0)
    before = cpu_seconds(server)
    os.sched_setaffinity(0, processors)  # what is started from here inherits it
    try:
        options = ["-m", str(model), "-o", out + "/out", "--no-report", "--json", "--quiet"]
        process = measure([*COMMAND, "run", *source, *options])
    finally:
        os.sched_setaffinity(0, every)
        shutil.rmtree(out)
    summary = json.loads(process.output)
    assert summary["failed"] == 0, summary
    whole = process.seconds * len(processors)
    taken = (cpu_seconds(server) - before) / whole
    return Night(summary["images_per_second"], process.cpu / whole, taken)


def main() -> None:
    """Prints a row for each source, on one processor and on all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--delay", type=float, default=0.05)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=int, default=3000)
    arguments = parser.parse_args()
    every = os.sched_getaffinity(0)
    first, *rest = sorted(every)
    print(
        f"{'processors':>10} {'source':>7} {'images/s':>9} {'ratio':>6} {'busy':>5} {'server':>6}"
    )
    with tempfile.TemporaryDirectory() as work:
        folder, model = Path(work) / "images", Path(work) / "small.onnx"
        write_network("cnn", model, HEIGHT, WIDTH)
        folder.mkdir()
        for number, file in enumerate(sorted(arguments.folder.rglob("*.jpg"))[: arguments.limit]):
            shutil.copy(file, folder / f"{number:06}.jpg")
        for ours, theirs in (({first}, set(rest) or {first}), (every, every)):
            with serving(folder, arguments.delay, theirs) as (server, url):
                sources = {"disk": [str(folder)], "bucket": ["s3://boats", "--endpoint", url]}
                rounds = [
                    {name: night(source, model, ours, server) for name, source in sources.items()}
                    for _ in range(arguments.repeats)
                ]
            for name in sources:
                nights = np.array([found[name] for found in rounds])
                rate, busy, taken = np.median(nights, axis=0)
                ratio = statistics.median(found[name].rate / found["disk"].rate for found in rounds)
                row = f"{rate:>8,.0f}  {ratio:>5.2f}  {busy:>4.0%}  {taken:>6.0%}"
                print(f"{len(ours):>10}  {name:>6}  {row}")


if __name__ == "__main__":
    main()
