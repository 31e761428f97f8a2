"""The results folder: its parts, what is already done, and what is current.

::

    OUT/parts/*.parquet    immutable; a later part's row replaces an earlier row of its path
    OUT/predictions.csv    one row per image found in the last run
    OUT/failures.csv       those that failed
    OUT/run.json           the last run's summary; OUT/runs/*.json are all runs'
    OUT/report.html

Parts are numbered in the order in which they were written. A part has its name only once
it is whole and on disk, so a killed run leaves nothing half.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from boatinfer.errors import BusyError, OutputError, UsageError
from boatinfer.files import TEMPORARY, replacing
from boatinfer.model import Floats

__all__ = ["OK", "Results", "Row", "Summary", "csv_path", "matrix"]

#: Status of a row whose image was classified; any other status is a failure reason.
OK = "ok"

#: What a spreadsheet takes for the start of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(slots=True)
class Row:
    """One image's row, as a worker fills it.

    Attributes:
        path: text of the path relative to the scanned folder.
        bytes: size when it was read; -1 if it could not be read.
        mtime_ns: last change when it was read, nanoseconds since 1970; -1 likewise.
        content: xxh3-128 of the file, hex; None if it could not be read.
        status: ``ok`` or a failure reason.
        error: what went wrong, or the decoder's warning; None if nothing did.
        probabilities: float32 [C]; None for a failure.
        features: float32 [D]; None for a failure, or if not asked for.
    """

    path: str
    bytes: int
    mtime_ns: int
    content: str | None = None
    status: str = OK
    error: str | None = None
    probabilities: Floats | None = None
    features: Floats | None = None


class Summary(msgspec.Struct, kw_only=True):
    """What ``run.json`` holds: one run in figures.

    ``finished``, ``seconds`` and ``exit_code`` are null while the run goes on, and stay so
    if it is killed. ``complete`` says that ``found = classified + reused + failed`` was
    proved from the parts on disk. ``images_per_second`` counts the images that were read,
    over the time from the first image to the last part.
    """

    run: str
    folder: str
    started: str
    finished: str | None = None
    seconds: float | None = None
    found: int
    classified: int = 0
    reused: int = 0
    failed: int = 0
    failures: dict[str, int] = {}
    labels: dict[str, int] = {}
    images_per_second: float | None = None
    model: str
    device: str
    versions: dict[str, str]
    complete: bool = False
    exit_code: int | None = None


class Results:
    """One results folder.

    Args:
        out: the folder; `hold` makes it if need be.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.parts = out / "parts"
        self.predictions = out / "predictions.csv"
        self.failures = out / "failures.csv"
        self.report = out / "report.html"
        self.run_json = out / "run.json"

    @contextlib.contextmanager
    def hold(self, folder: Path) -> Iterator[None]:
        """Makes the folder if need be and holds it against other runs.

        Args:
            folder: the scanned folder, which the results belong to.

        Raises:
            BusyError: another run holds it.
            UsageError: it holds the results of another folder.
            OutputError: it cannot be written.
        """
        holder = self.out / ".holder"
        with writing(self.out):
            self.parts.mkdir(parents=True, exist_ok=True)
            (self.out / "runs").mkdir(exist_ok=True)
            lock = FileLock(self.out / ".lock", timeout=0)
            try:
                lock.acquire()
            except Timeout:
                raise BusyError(_held_by(self.out, holder)) from None
        try:
            self._refuse_other(folder)
            with writing(self.out):
                since = datetime.now(UTC).isoformat(timespec="seconds")
                holder.write_text(f"process {os.getpid()} on {socket.gethostname()} since {since}")
                for leftover in self.out.rglob(f".*{TEMPORARY}"):
                    leftover.unlink()
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def _refuse_other(self, folder: Path) -> None:
        last = self.last_run()
        if last is not None and last.folder != str(folder):
            raise UsageError(
                f"{self.out} holds the results of {last.folder}, not of {folder}; choose another "
                "folder with -o."
            )

    def last_run(self) -> Summary | None:
        """Reads ``run.json``; None where there is none yet.

        Raises:
            OutputError: it is damaged.
        """
        try:
            return msgspec.json.decode(self.run_json.read_bytes(), type=Summary)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise OutputError(
                f"{self.run_json} cannot be read ({error}); delete it and run again."
            ) from error

    def write_summary(self, summary: Summary) -> None:
        """Writes ``run.json`` and the run's own copy in ``runs``."""
        text = msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n"
        with writing(self.out):
            for path in (self.out / "runs" / f"{summary.run}.json", self.run_json):
                with replacing(path) as temporary:
                    temporary.write_bytes(text)

    def append(self, rows: Sequence[Row], classes: Sequence[str], model: str, run: str) -> None:
        """Writes rows as a new part, whole and synced.

        Args:
            rows: at least one.
            classes: the model's class names, in the order of the probabilities.
            model: SHA-256 of the model file, hex.
            run: the run's id.

        Raises:
            OutputError: the disk is full, read-only, or gone.
        """
        last = max((int(part.name.split("-")[0]) for part in self._part_files()), default=0)
        with writing(self.out), replacing(self.parts / f"{last + 1:06d}-{run}.parquet") as path:
            pq.write_table(_table(rows, classes, model, run), path, compression="zstd")

    def index(self) -> pa.Table:
        """The last row of every path ever recorded, without its heavy columns.

        Returns:
            A table with the columns ``path``, ``bytes``, ``mtime_ns``, ``status``, ``error``,
            ``model``, ``run``; ``has_features`` (the row's part has features); ``part`` and
            ``row``, which say where the row is.

        Raises:
            OutputError: a part is damaged.
        """
        tables = [self._light(number, part) for number, part in enumerate(self._part_files())]
        if not tables:
            return _NO_ROWS
        table = pa.concat_tables(tables)
        order = pa.array(np.arange(table.num_rows))
        last = table.select(["path"]).append_column("order", order)
        last = last.group_by("path").aggregate([("order", "max")])
        return table.take(last["order_max"])

    def current(self) -> pa.Table:
        """`index` narrowed to the classified images of the last finished run.

        Raises:
            UsageError: no run has finished here.
        """
        if not self.predictions.exists():
            raise UsageError(
                f"{self.out} holds no finished run; finish one with "
                f"'boatinfer run DIR -o {self.out}'."
            )
        text = pa.csv.ConvertOptions(
            column_types={"path": pa.string(), "status": pa.string()},
            include_columns=["path", "status"],
        )
        multiline = pa.csv.ParseOptions(newlines_in_values=True)
        listed = pa.csv.read_csv(self.predictions, parse_options=multiline, convert_options=text)
        listed = listed.filter(pc.equal(listed["status"], OK))
        paths = [path.removeprefix("./") for path in listed["path"].to_pylist()]
        current = pa.table({"path": pa.array(paths, pa.string())})
        return current.join(self.index(), "path", join_type="inner")

    def read(self, index: pa.Table, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Reads columns of indexed rows, part by part.

        Args:
            index: some rows of `index`.
            columns: columns of the parts; one that a part lacks is left out of its table.

        Yields:
            One table per part that holds any of the rows.
        """
        files = self._part_files()
        parts = index["part"].to_numpy()
        rows = index["row"].to_numpy()
        for number in np.unique(parts):
            chosen = np.sort(rows[parts == number])
            file = _open_part(files[number])
            there = [name for name in columns if name in file.schema_arrow.names]
            yield _reading(files[number], lambda f=file, c=there: f.read(c)).take(pa.array(chosen))

    def _part_files(self) -> list[Path]:
        return sorted(self.parts.glob("[0-9]*.parquet"))

    def _light(self, number: int, part: Path) -> pa.Table:
        file = _open_part(part)
        table = _reading(part, lambda: file.read(_LIGHT.names)).cast(_LIGHT)
        count = table.num_rows
        has_features = "features" in file.schema_arrow.names
        return (
            table.append_column("has_features", pa.array([has_features] * count, pa.bool_()))
            .append_column("part", pa.array(np.full(count, number, np.int32)))
            .append_column("row", pa.array(np.arange(count)))
        )


_LIGHT = pa.schema(
    [
        ("path", pa.string()),
        ("bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("model", pa.string()),
        ("run", pa.string()),
    ]
)
_NO_ROWS = pa.schema(
    [*_LIGHT, ("has_features", pa.bool_()), ("part", pa.int32()), ("row", pa.int64())]
).empty_table()


def matrix(column: pa.ChunkedArray) -> Floats:
    """Turns a column of vectors, without nulls, into float32 [N, D]."""
    vectors = column.combine_chunks()
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float32).reshape(len(vectors), -1)


def csv_path(path: str) -> str:
    """Keeps a spreadsheet from taking a path for a formula: ``=x.jpg`` is ``./=x.jpg``."""
    return f"./{path}" if path.startswith(_FORMULA) else path


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turns whatever the disk refuses into an `OutputError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"the results in {out} could not be written: {reason}; what was written before is "
            "kept, and the next run continues from there."
        ) from error


def _table(rows: Sequence[Row], classes: Sequence[str], model: str, run: str) -> pa.Table:
    best = [None if row.probabilities is None else int(row.probabilities.argmax()) for row in rows]
    confidences = [
        None if row.probabilities is None or i is None else row.probabilities[i]
        for row, i in zip(rows, best, strict=True)
    ]
    columns: dict[str, Any] = {
        "path": pa.array([row.path for row in rows], pa.string()),
        "bytes": pa.array([row.bytes for row in rows], pa.int64()),
        "mtime_ns": pa.array([row.mtime_ns for row in rows], pa.int64()),
        "content": pa.array([row.content for row in rows], pa.string()),
        "model": pa.array([model] * len(rows), pa.string()),
        "run": pa.array([run] * len(rows), pa.string()),
        "status": pa.array([row.status for row in rows], pa.string()),
        "error": pa.array([row.error for row in rows], pa.string()),
        "label": pa.array([None if i is None else classes[i] for i in best], pa.string()),
        "confidence": pa.array(confidences, pa.float32()),
        "probabilities": _vectors([row.probabilities for row in rows], len(classes)),
    }
    dimension = next((len(row.features) for row in rows if row.features is not None), 0)
    if dimension:
        columns["features"] = _vectors([row.features for row in rows], dimension)
    return pa.table(columns)


def _vectors(vectors: Sequence[Floats | None], dimension: int) -> pa.Array:
    missing = np.array([vector is None for vector in vectors])
    flat = np.zeros((len(vectors), dimension), np.float32)
    for i, vector in enumerate(vectors):
        if vector is not None:
            flat[i] = vector
    return pa.FixedSizeListArray.from_arrays(
        pa.array(flat.ravel()), dimension, mask=pa.array(missing)
    )


def _open_part(part: Path) -> pq.ParquetFile:
    return _reading(part, lambda: pq.ParquetFile(part))


def _reading(part: Path, read: Any) -> Any:
    try:
        return read()
    except (OSError, pa.ArrowException) as error:
        raise OutputError(
            f"the part {part} is damaged ({error}); delete it and run again: its images will be "
            "classified anew."
        ) from error


def _held_by(out: Path, holder: Path) -> str:
    try:
        who = holder.read_text()
    except OSError:
        who = "another process"
    return f"{out} is held by {who}; wait until that run has ended, or choose another -o."
