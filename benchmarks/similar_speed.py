"""Nearest neighbours of one vector: boatinfer's blocks beside scikit-learn's brute force.

Usage: python benchmarks/similar_speed.py [COUNT [DIMENSION]]    (default 100000 2048)

Each way runs in a process of its own, so that its memory can be told:

* blocks: blocks of the size of a part, drawn anew for each, as the Parquet column gives them;
* parquet: the same, read from Parquet files with their checks, as `boatinfer similar` reads them;
* sklearn: NearestNeighbors(algorithm="brute"), which has all vectors in memory; left out where
  they do not fit.

Seconds are those of a query, the least of three; drawing the vectors is not counted.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measure import measure

K = 20
BLOCK_BYTES = 64 * 2**20


def sizes(count: int, dimension: int) -> list[int]:
    """Rows of each block."""
    rows = BLOCK_BYTES // (4 * dimension)
    return [min(rows, count - start) for start in range(0, count, rows)]


def drawn(rows: int, dimension: int, seed: int) -> Any:
    """Vectors such as a network gives: none below 0."""
    draw = np.random.default_rng(seed)
    return np.maximum(draw.standard_normal((rows, dimension), dtype=np.float32), 0)


def write(folder: Path, count: int, dimension: int) -> None:
    """Writes the vectors as parts of a results folder hold them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number, rows in enumerate(sizes(count, dimension)):
        flat = pa.array(drawn(rows, dimension, number).ravel())
        column = pa.FixedSizeListArray.from_arrays(flat, dimension)
        table = pa.table({"features": column})
        path = folder / f"{number:06}.parquet"
        pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def timed_blocks(count: int, dimension: int, query: Any) -> float:
    """Seconds of one query over blocks in memory, one at a time."""
    from boatinfer.analysis.neighbours import nearest
    from boatinfer.analysis.options import Metric

    waiting = 0.0

    def blocks() -> Iterator[Any]:
        nonlocal waiting
        for number, rows in enumerate(sizes(count, dimension)):
            started = time.perf_counter()
            block = drawn(rows, dimension, number)
            waiting += time.perf_counter() - started
            yield block

    started = time.perf_counter()
    nearest(blocks(), query, K, Metric.EUCLIDEAN)
    return time.perf_counter() - started - waiting


def timed_parquet(folder: Path, query: Any) -> float:
    """Seconds of one query over Parquet files."""
    import pyarrow.parquet as pq

    from boatinfer.analysis.neighbours import nearest
    from boatinfer.analysis.options import Metric
    from boatinfer.results.store.rows import matrix

    files = sorted(folder.iterdir())
    started = time.perf_counter()
    tables = (pq.ParquetFile(file, page_checksum_verification=True).read() for file in files)
    nearest((matrix(table["features"]) for table in tables), query, K, Metric.EUCLIDEAN)
    return time.perf_counter() - started


def timed_sklearn(count: int, dimension: int, query: Any, times: int) -> float:
    """Seconds of one query with all vectors in memory."""
    from sklearn.neighbors import NearestNeighbors

    every = np.empty((count, dimension), np.float32)
    start = 0
    for number, rows in enumerate(sizes(count, dimension)):
        every[start : start + rows] = drawn(rows, dimension, number)
        start += rows
    fitted = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(every)
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        fitted.kneighbors(query[None])
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def one(way: str, count: int, dimension: int, folder: Path) -> None:
    """Runs one way and prints its seconds."""
    query = drawn(1, dimension, 2**31)[0]
    if way == "write":
        write(folder, count, dimension)
    elif way == "sklearn":
        print(timed_sklearn(count, dimension, query, 3))
    elif way == "parquet":
        print(min(timed_parquet(folder, query) for _ in range(3)))
    else:
        print(min(timed_blocks(count, dimension, query) for _ in range(3 if count < 10**6 else 1)))


def main() -> None:
    """Prints a row for each way."""
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
        return
    count, dimension = [*map(int, sys.argv[1:3]), *[100_000, 2048][len(sys.argv[1:3]) :]]
    total = 4 * count * dimension
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    folder = Path(tempfile.mkdtemp(prefix="similar-"))
    print(f"{count:,} vectors of {dimension}, {total / 1e9:.1f} GB; k = {K}")
    print(f"{'way':<8} {'seconds':>8} {'GB/s':>6} {'peak MB':>8}")
    try:
        ways = ["blocks"]
        if total < shutil.disk_usage(folder).free / 4:
            ways += ["write", "parquet"]
        ways += ["sklearn"] if total < memory / 3 else []
        for way in ways:
            command = [sys.executable, __file__, "--one", way, str(count), str(dimension)]
            done = measure([*command, str(folder)])
            if way != "write":
                seconds = float(done.output)
                rate = total / 1e9 / seconds
                print(f"{way:<8} {seconds:>8.3f} {rate:>6.1f} {done.memory:>8.0f}", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
