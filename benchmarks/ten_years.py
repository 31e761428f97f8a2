"""How long a quiet night takes after ten years of nights, and what pruning them takes.

Usage: python benchmarks/ten_years.py [NIGHTS [FOLDERS]]    (default 3650 10)

A first run classifies 1,000 drawn images. Its summary and its page are then copied under the
names of nights before it: half with new images, or all but one without (a folder in which nothing
came in for years). Every figure is a whole process, start-up included, the best of three.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
from measure import measure
from PIL import Image

from boatinfer.results.summary import Summary, parsed

IMAGES = 1000
#: The page of a night is cut to so many bytes, so that the copies fit on a disk.
PAGE_BYTES = 20_000
COMMAND = [sys.executable, "-m", "boatinfer"]
KEEP = "\n[keep]\nlast = 30\ndaily = 60\nweekly = 52\nmonthly = 120\n"


def draw(folder: Path) -> None:
    """Draws images of noise."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(IMAGES):
        pixels = random.integers(0, 256, (30, 100, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04}.jpg")


def add_nights(out: Path, nights: int, quiet: bool) -> None:
    """Copies the night that is there."""
    last = parsed((out / "run.json").read_bytes())
    page = next((out / "reports").glob("*.html")).read_bytes()[:PAGE_BYTES]
    none = msgspec.structs.replace(last.new, found=0, classified=0) if last.new else None
    start = datetime.now(UTC) - timedelta(nights + 1)
    for number in range(nights):
        moment = start + timedelta(number)
        run = f"{moment:%Y%m%dT%H%M%S.%fZ}"
        has_new = number == 0 if quiet else number % 2 == 0
        summary: Summary = msgspec.structs.replace(
            last, run=run, started=moment.isoformat(), new=last.new if has_new else none
        )
        (out / "runs" / f"{run}.json").write_text(summary.text())
        if has_new:
            (out / "reports" / f"{run}.html").write_bytes(page)


def best(command: list[str]) -> tuple[float, float]:
    """Seconds of processor and of the clock."""
    runs = [measure([*COMMAND, *command]) for _ in range(3)]
    return min(run.cpu for run in runs), min(run.seconds for run in runs)


def told(what: str, figures: tuple[float, float], size: str = "") -> None:
    """Prints a row."""
    print(f"{what:<52} {figures[0]:>7.2f} {figures[1]:>8.2f} {size}", flush=True)


def nights_of(work: Path, nights: int, *, quiet: bool) -> None:
    """Measures quiet nights of one folder before and after the nights are added."""
    out = work / ("quiet" if quiet else "busy")
    command = ["run", str(work / "in"), "-o", str(out), "--quiet"]
    measure([*COMMAND, *command])
    kind = "hardly any new images" if quiet else "new images every other night"
    told(f"a night after none, {kind}", best(command))
    add_nights(out, nights, quiet)
    told(f"a night after {nights:,}, {kind}", best(command))


def folders_of(work: Path, nights: int, folders: int) -> None:
    """Measures nights of several folders, and pruning."""
    text = ""
    for number in range(folders):
        out = work / f"out-{number}"
        measure([*COMMAND, "run", str(work / "in"), "-o", str(out), "--quiet"])
        add_nights(out, nights, quiet=False)
        text += f'\n[[folder]]\nname = "f{number}"\ndir = "in"\nout = "{out.name}"\n'
    file = work / "night.toml"
    file.write_text(text)
    night = ["night", "run", "--quiet", "-c", str(file)]
    told(f"night run, {folders} folders with {nights:,} nights", best(night))
    file.write_text(text + KEEP)
    prune = [*COMMAND, "night", "prune", "--json", "-c", str(file)]
    first = measure(prune)
    gone = sum(len(folder["files"]) for folder in json.loads(first.output))
    told(f"night prune, the first ({gone:,} files go)", (first.cpu, first.seconds))
    told("night prune, when nothing is to go", best(prune[len(COMMAND) :]))
    told(f"night run with [keep], {folders} folders", best(night))


def main() -> None:
    """Prints a row for each measurement."""
    given = [int(argument) for argument in sys.argv[1:]]
    nights, folders = (*given, *(3650, 10)[len(given) :])
    work = Path(tempfile.mkdtemp(prefix="ten-years-"))
    os.environ["OMP_NUM_THREADS"] = "1"
    print(f"{'':<52} {'cpu s':>7} {'clock s':>8}")
    try:
        draw(work / "in")
        nights_of(work, nights, quiet=False)
        nights_of(work, nights, quiet=True)
        folders_of(work, nights, folders)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
