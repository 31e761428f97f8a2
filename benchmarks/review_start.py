"""How soon ``boatinfer review`` shows its first image, over a folder of very many.

Usage: ``python benchmarks/review_start.py [IMAGES]``. It writes a results folder of that many rows
(1,000,000 by default) whose parts name a few real pictures, starts the command, opens its link,
and asks for the first question and its picture; then for the first of the random sample, which
needs the contents of all images.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from boatinfer.results.folder import Results
from boatinfer.results.store.parts import WRITING
from boatinfer.results.store.rows import modernised
from boatinfer.results.summary import Summary
from boatinfer.results.tables.csv_files import write_csv
from boatinfer.results.tables.whole import write_whole

CLASSES = [f"class {number:02}" for number in range(24)]
PART = 262_144


def _results(folder: Path, count: int) -> Path:
    """Writes the parts, the tables and the manifest of a run over ``count`` images."""
    random = np.random.default_rng(0)
    results = Results(folder / "out")
    pictures = folder / "in"
    pictures.mkdir()
    (results.out / "runs").mkdir(parents=True)
    results.parts.folder.mkdir()
    run = "20260401T020000.000000Z"
    model = hashlib.sha256(b"model").hexdigest()
    predictions = []
    for start in range(0, count, PART):
        rows = min(PART, count - start)
        paths = [_path(number) for number in range(start, start + rows)]
        confidence = (1 - random.beta(1, 12, rows) * 0.9).astype(np.float32)
        label = pa.array(random.integers(0, 24, rows))
        contents = _hex(random.bytes(16 * rows))
        names = pa.array(CLASSES).take(label)
        part = pa.table(
            {
                "path": paths,
                "bytes": pa.array(np.full(rows, 60_000)),
                "mtime_ns": pa.array(np.arange(start, start + rows)),
                "content": contents,
                "model": pa.repeat(model, rows),
                "run": pa.repeat(run, rows),
                "status": pa.repeat("ok", rows),
                "since": pa.nulls(rows, pa.string()),
                "error": pa.nulls(rows, pa.string()),
                "label": names,
                "confidence": confidence,
                "probabilities": pa.array(confidence[:, None].tolist(), pa.list_(pa.float32())),
            }
        )
        with results.parts.writer() as sink:
            pq.write_table(modernised(part), sink, **WRITING)
        predictions.append(
            pa.table(
                {
                    "path": paths,
                    "label": names,
                    "confidence": confidence.astype(np.float64),
                    "second_label": pa.array(CLASSES).take(pa.array((label.to_numpy() + 1) % 24)),
                    "second_confidence": (1 - confidence).astype(np.float64),
                    "status": pa.repeat("ok", rows),
                    "run": pa.repeat(run, rows),
                    "new": pa.repeat(True, rows),
                }
            )
        )
    table = pa.concat_tables(predictions)
    summary = Summary(
        run=run,
        folder=str(pictures),
        started="2026-04-01T02:00:00.000+00:00",
        found=count,
        classified=count,
        complete=True,
        exit_code=0,
        model=model,
        model_name="synthetic",
        classes=CLASSES,
    )
    write_csv(results.predictions, table)
    write_csv(
        results.failures,
        pa.table({name: pa.array([], pa.string()) for name in ("path", "reason", "message")}),
    )
    write_whole(
        results.whole, [table.append_column("error", pa.nulls(count, pa.string()))], summary
    )
    results.write_current(table, summary)
    results.write_summary(summary)
    picture = Image.fromarray(random.integers(0, 255, (240, 800, 3)).astype(np.uint8))
    picture.save(pictures / "picture.jpg", quality=75)
    for number in range((count + 999) // 1000):  # every image is a link to the one picture
        (pictures / f"{number:04}").mkdir()
    for number in np.argsort(table["confidence"].to_numpy(), kind="stable")[:100].tolist():
        for near in range(max(0, number - 2), min(count, number + 3)):
            link = pictures / _path(near)
            if not link.exists():
                link.symlink_to(pictures / "picture.jpg")
    return results.out


def _path(number: int) -> str:
    """The path of an image."""
    return f"{number // 1000:04}/{number:07}.jpg"


def _hex(data: bytes) -> list[str]:
    text = data.hex()
    return [text[at : at + 32] for at in range(0, len(text), 32)]


def main() -> None:
    """Measures five starts."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        out = _results(Path(folder), count)
        for _ in range(5):
            print(_start(out))


def _start(out: Path) -> str:
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "boatinfer", "review", str(out)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        link = process.stdout.readline().split()[-1]
        ready = time.monotonic() - begun
        host = link.split("/")[2]
        connection = http.client.HTTPConnection(host, timeout=120)
        connection.request("GET", link.partition(host)[2])
        reply = connection.getresponse()
        reply.read()
        headers = {"Cookie": reply.getheader("Set-Cookie", "").split(";")[0]}

        def get(path: str) -> bytes:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().read()

        get("/")
        get("/news?since=0")
        (question,) = json.loads(get("/questions?reason=unsure&after=0&count=1"))["questions"]
        assert get(f"/image/{question['row']}").startswith(b"\xff\xd8")
        first = time.monotonic() - begun
        asked = time.monotonic()
        json.loads(get("/questions?reason=unsure&after=1&count=8"))
        more = time.monotonic() - asked
        json.loads(get("/questions?reason=changed&after=0&count=1"))
        known = time.monotonic() - begun
        return (
            f"link after {ready:.2f} s, first image after {first:.2f} s, eight more questions in "
            f"{more:.2f} s, all contents known after {known:.2f} s"
        )
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
