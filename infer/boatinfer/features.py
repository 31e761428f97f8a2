"""The features of a results folder in other shapes: npz, npy, csv, parquet."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from boatinfer.errors import OutputError, UsageError
from boatinfer.files import replacing
from boatinfer.model import Floats
from boatinfer.results import Results, csv_path, matrix

__all__ = ["FORMATS", "export"]

#: Endings of the files that `export` writes.
FORMATS = (".npz", ".npy", ".csv", ".parquet")


def export(out: Path, output: Path) -> int:
    """Writes the features of the last run's classified images, sorted by path.

    ``.npz`` holds ``paths`` [N], ``labels`` [N] and ``features`` float32 [N, D]; ``.npy``
    the features alone; ``.csv`` the columns path, label, f0, f1, ...; ``.parquet`` path,
    label and features.

    Args:
        out: a results folder made with features.
        output: the file to write; its ending chooses the format.

    Returns:
        N, the number of images.

    Raises:
        UsageError: unknown ending, no such folder, or no features in the results.
        OutputError: the file could not be written.
    """
    if output.suffix not in FORMATS:
        raise UsageError(f"{output}: the ending must be one of {', '.join(FORMATS)}.")
    if not output.parent.is_dir():
        raise UsageError(f"the folder {output.parent} does not exist; make it first.")
    table = _table(out)
    try:
        with replacing(output) as temporary, temporary.open("wb") as file:
            _write(table, output.suffix, file)
    except OSError as error:
        raise OutputError(f"{output} could not be written: {error.strerror}.") from error
    return int(table.num_rows)


def _table(out: Path) -> pa.Table:
    results = Results(out)
    parts = list(results.read(results.current(), ["path", "label", "features"]))
    if not parts or any("features" not in part.column_names for part in parts):
        raise UsageError(f"{out} holds images without features; run again with --features.")
    return pa.concat_tables(parts).sort_by("path")


def _write(table: pa.Table, suffix: str, file: BinaryIO) -> None:
    if suffix == ".parquet":
        pq.write_table(table, file, compression="zstd")
    elif suffix == ".csv":
        pa.csv.write_csv(_flat(table), file)
    elif suffix == ".npy":
        np.save(file, matrix(table["features"]))
    else:
        paths = np.array(table["path"].to_pylist())
        labels = np.array(table["label"].to_pylist())
        np.savez(file, paths=paths, labels=labels, features=matrix(table["features"]))


def _flat(table: pa.Table) -> pa.Table:
    features: Floats = matrix(table["features"])
    paths = [csv_path(path) for path in table["path"].to_pylist()]
    columns = {f"f{i}": features[:, i] for i in range(features.shape[1])}
    return pa.table({"path": pa.array(paths, pa.string()), "label": table["label"], **columns})
