"""Exports the features of a results folder as npz, npy, csv or parquet."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from boatinfer.errors import UsageError
from boatinfer.models.inference import Floats
from boatinfer.results.find import find_results
from boatinfer.results.folder import Results
from boatinfer.results.store.rows import has_vectors, matrix
from boatinfer.results.tables.csv_files import csv_safe
from boatinfer.storage.base import Place
from boatinfer.storage.files import atomic_write, require_writable

__all__ = ["export", "feature_table"]

#: Endings of the files that `export` writes.
_FORMATS = (".npz", ".npy", ".csv", ".parquet")


def export(out: Place, output: Path, force: bool = False) -> int:
    """Writes the features of the last run's classified images, sorted by path.

    ``.npz`` holds ``paths`` [N], ``labels`` [N] and ``features`` float32 [N, D]; ``.npy``
    the features alone; ``.csv`` the columns path, label, f0, f1, ...; ``.parquet`` path,
    label and features.

    Args:
        out: a results folder of a run with features.
        output: the file to write; its ending selects the format.
        force: whether to overwrite an existing file; a part is never overwritten.

    Returns:
        N, the number of images.

    Raises:
        UsageError: unknown ending, no such folder, the file exists, or there are no features.
        OutputError: the file could not be written.
    """
    if output.suffix not in _FORMATS:
        raise UsageError(f"{output}: the ending must be one of {', '.join(_FORMATS)}.")
    results = find_results(out)
    require_writable(output, *results.parts.files(), force=force)
    table = feature_table(results)
    with atomic_write(output) as temporary, temporary.open("wb") as file:
        _write(table, output.suffix, file)
    return int(table.num_rows)


def feature_table(results: Results) -> pa.Table:
    """``path``, ``label`` and ``features`` of the last run's classified images, sorted by path.

    Raises:
        UsageError: the images have no features, or there is no complete run.
        OutputError: a part is damaged.
    """
    parts = list(results.parts.read(results.current(), ["path", "label", "features"]))
    if not parts or not all(has_vectors(part, "features") for part in parts):
        raise UsageError(f"{results.out} holds images without features; run again with --features.")
    return pa.concat_tables(parts).sort_by("path")


def _write(table: pa.Table, suffix: str, file: BinaryIO) -> None:
    if suffix == ".parquet":
        pq.write_table(table, file, compression="zstd")
    elif suffix == ".csv":
        pa.csv.write_csv(csv_safe(_flat(table)), file)
    elif suffix == ".npy":
        np.save(file, matrix(table["features"]))
    else:
        paths = np.array(table["path"].to_pylist())
        labels = np.array(table["label"].to_pylist())
        np.savez(file, paths=paths, labels=labels, features=matrix(table["features"]))


def _flat(table: pa.Table) -> pa.Table:
    features: Floats = matrix(table["features"])
    columns = {f"f{i}": features[:, i] for i in range(features.shape[1])}
    return pa.table({"path": table["path"], "label": table["label"], **columns})
