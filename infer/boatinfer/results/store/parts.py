"""The parts of a results folder: immutable Parquet files, one row per image worked on.

A part's name is its number, the digest of its bytes and, if a shard wrote it, the shard. Parts
are numbered in the order in which they were written, and a later part's row replaces an earlier
row of the same path and model. A part gets its name only once it is complete and synced, so a
killed run leaves no partial part.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from boatinfer.errors import WARNING, OutputError, first_line
from boatinfer.results.store.footers import features_there
from boatinfer.results.store.rows import OK, Row, table
from boatinfer.results.store.shards import Shard
from boatinfer.storage.base import Place
from boatinfer.storage.files import atomic_write, translate_write_errors
from boatinfer.storage.locations import map_concurrently, open_for_arrow

__all__ = [
    "WRITING",
    "PartError",
    "Parts",
    "RowMasks",
    "digest",
    "number_of",
    "translate_read_errors",
]

#: A selection of rows: for each part, by number, a mask of its rows, bool [rows].
RowMasks = Mapping[int, npt.NDArray[np.bool_]]

_LIGHT = pa.schema(
    [
        ("path", pa.string()),
        ("bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("status", pa.dictionary(pa.int32(), pa.string())),
        ("model", pa.dictionary(pa.int32(), pa.string())),
        ("run", pa.dictionary(pa.int32(), pa.string())),
    ]
)
_INDEX = pa.schema(
    [
        *_LIGHT,
        *[(name, pa.bool_()) for name in ("damaged", "warned", "has_features")],
        *[(name, pa.int32()) for name in ("part", "row")],
    ]
)


#: A part's name; numbers are kept in 32 bits.
_NAME = re.compile(r"[0-9]{6,9}-.*\.parquet")


class PartError(OutputError):
    """A part of a results folder that cannot be read.

    Args:
        message: the error message.
        part: the part.
    """

    def __init__(self, message: str, part: Place) -> None:
        super().__init__(message)
        self.part = part

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.part)


class Parts:
    """The parts in one folder.

    Args:
        folder: the folder of the parts.
        shard: restricts the rows to those of the shard, and lets other shards of the same split
            write concurrently; None means all.

    Attributes:
        check: called before a part is written; it raises if the lock has been lost.
    """

    def __init__(self, folder: Place, shard: Shard | None = None) -> None:
        self.folder, self.shard = folder, shard
        self._next: int | None = None
        self.check: Callable[[], None] = lambda: None

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "shard": self.shard}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Makes a copy in another process; only the original has a check."""
        self.__init__(**state)  # type: ignore[misc]

    def files(self) -> list[Place]:
        """All parts, in the order in which they were written, except those of other shards.

        Parts of other shards of the same split hold no row of this shard.
        """
        return [file for file in self._all_files() if not self._of_another_shard(file)]

    def own(self) -> list[Place]:
        """The parts that no other shard reads: those of the shard, or all."""
        ending = f"-{self.shard.name}" if self.shard else ""
        return [file for file in self.files() if file.stem.endswith(ending)]

    def append(
        self,
        rows: Sequence[Row],
        classes: Sequence[str],
        model: str,
        run: str,
        number: int | None = None,
    ) -> None:
        """Writes rows as a new part, and syncs it.

        Args:
            rows: at least one.
            classes: the model's class names, in the order of the probabilities.
            model: SHA-256 of the model file, hex.
            run: the run's id.
            number: the part's number; None means the next free one.

        Raises:
            OutputError: the disk is full, read-only, or gone.
        """
        with self.writer(number) as sink:
            pq.write_table(table(rows, classes, model, run), sink, **WRITING)

    def index(self, upto: int | None = None) -> pa.Table:
        """The last row of every path and model ever recorded, without its wide columns.

        Args:
            upto: the number of the last part to read; None means all.

        Returns:
            A table with the columns ``path``, ``bytes``, ``mtime_ns``, ``status``, ``model``,
            ``run``; ``damaged`` (it failed, or was classified although it is damaged); ``warned``
            (it was classified and is sound, and its decoder warned of something);
            ``has_features``; ``part`` and ``row``, the number of its
            part and its place therein.

        Raises:
            OutputError: a part is damaged.
        """
        files = [part for part in self.files() if upto is None or number_of(part) <= upto]
        tables = [_INDEX.empty_table(), *map_concurrently(self.read_light, files, self.folder)]
        return _last_rows(pa.concat_tables(tables).unify_dictionaries().combine_chunks())

    def read_light(self, part: Place) -> pa.Table:
        """The rows of one part, as `index` describes them.

        Raises:
            OutputError: the part is damaged.
        """
        file = _open(part)
        table = translate_read_errors(part, lambda: file.read([*_LIGHT.names, "error"]))
        light = translate_read_errors(part, lambda: table.select(_LIGHT.names).cast(_LIGHT))
        error = translate_read_errors(part, lambda: table["error"])
        warned = pc.fill_null(pc.starts_with(error, WARNING), False)
        count = table.num_rows
        classified = pc.equal(table["status"], OK).to_numpy()
        columns = [
            *light.columns,
            pc.and_not(error.is_valid(), warned),
            warned,
            translate_read_errors(part, lambda: features_there(file, classified)),
            pa.array(np.full(count, number_of(part), np.int32)),
            pa.array(np.arange(count, dtype=np.int32)),
        ]
        light = pa.table(columns, schema=_INDEX)
        if self.shard is None or part.stem.endswith(f"-{self.shard.name}"):
            return light
        return light.filter(pa.array(self.shard.mask(light["path"])))

    def read(self, index: pa.Table, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Reads columns of indexed rows, part by part.

        Args:
            index: some rows of `index`.
            columns: columns to read; one that a part lacks is missing from its table.

        Yields:
            One table per part that holds any of the rows; together they are in the order of
            ``part`` and ``row``.

        Raises:
            OutputError: a part is damaged, or has gone since the index was read.
        """
        parts, rows = index["part"].to_numpy(), index["row"].to_numpy()
        order = np.lexsort((rows, parts))
        numbers, starts = np.unique(parts[order], return_index=True)
        rows_by_part = zip(numbers.tolist(), np.split(rows[order], starts[1:]), strict=False)
        return self._read(rows_by_part, columns)

    def read_masked(self, masks: RowMasks, columns: Sequence[str]) -> Iterator[pa.Table]:
        """As `read`, of the rows selected by masks."""
        rows_by_part = (
            (number, np.flatnonzero(mask)) for number, mask in masks.items() if mask.any()
        )
        return self._read(rows_by_part, columns)

    def _read(
        self, rows_by_part: Iterable[tuple[int, npt.NDArray[Any]]], columns: Sequence[str]
    ) -> Iterator[pa.Table]:
        files: dict[int, Place] = {}
        for number, rows in rows_by_part:
            files = files or {number_of(file): file for file in self.files()}
            if number not in files:
                raise _missing_part(self.folder / f"{number:06d}")
            table = _read(files[number], columns)
            all_rows = np.array_equal(rows, np.arange(table.num_rows))
            take = functools.partial(table.take, pa.array(rows))
            yield table if all_rows else translate_read_errors(files[number], take)

    def statuses(self, number: int) -> list[str]:
        """The statuses of the rows of a part; none if there is no such part.

        Raises:
            OutputError: it is damaged.
        """
        for part in self.folder.glob(f"{number:06d}-*.parquet"):
            statuses: list[str] = _read(part, ["status"])["status"].to_pylist()
            return statuses
        return []

    @contextlib.contextmanager
    def writer(self, number: int | None = None) -> Iterator[pa.BufferOutputStream]:
        """Opens a new part for writing; it is named and synced on exit.

        Args:
            number: the part's number; None means the next free one.

        Raises:
            OutputError: the disk is full, read-only, or gone.
        """
        sink = pa.BufferOutputStream()
        yield sink
        content = sink.getvalue()
        self.check()
        if number is None:  # the folder is listed once: the lock keeps other writers out
            number = self.next_number() if self._next is None else self._next
            self._next = number + self.step
        self._put(number, content)

    def _put(self, number: int, content: Any) -> None:
        shard = f"-{self.shard.name}" if self.shard else ""
        with atomic_write(self.folder / f"{number:06d}-{digest(content)}{shard}.parquet") as path:
            path.write_bytes(content)

    def renumber(self) -> None:
        """Makes part numbers unique, in case two runs have written at the same time.

        Raises:
            OutputError: the disk is full, read-only, or gone.
        """
        files = self.own()
        for previous, file in itertools.pairwise(files):
            if number_of(previous) == number_of(file):
                self._put(self.next_number(), file.read_bytes())
                with translate_write_errors(self.folder):
                    file.unlink()

    def next_number(self) -> int:
        """The number of the next part, after those of all existing parts."""
        files = self._all_files()
        last = number_of(files[-1]) if files else 0
        return last + 1 if self.shard is None else self.shard.next_part_number(last)

    @property
    def step(self) -> int:
        """Difference between the numbers of two consecutive new parts."""
        return self.shard.count if self.shard else 1

    def _all_files(self) -> list[Place]:
        files = self.folder.glob(f"{'[0-9]' * 6}*-*.parquet")
        return sorted(filter(lambda file: _NAME.fullmatch(file.name), files), key=_order)

    def _of_another_shard(self, file: Place) -> bool:
        """Whether another shard of this split wrote the part."""
        name = file.stem
        return (
            self.shard is not None
            and name.endswith(f"-of-{self.shard.count}")
            and not name.endswith(f"-{self.shard.name}")
        )


def _last_rows(table: pa.Table) -> pa.Table:
    """The last row of every path and model."""
    paths = table["path"].combine_chunks().dictionary_encode()
    models = table["model"].combine_chunks()
    keys = paths.indices.to_numpy() * np.int64(len(models.dictionary)) + models.indices.to_numpy()
    last = len(keys) - 1 - np.unique(keys[::-1], return_index=True)[1]
    return table if len(last) == len(keys) else table.take(pa.array(last))


def number_of(part: Place) -> int:
    """The number of a part, which its name begins with."""
    return int(part.name.split("-")[0])


def _order(part: Place) -> tuple[int, str]:
    return number_of(part), part.name


def digest(content: Any) -> str:
    """xxh3-64 of a part's bytes, hex; it is part of the name, to detect damage."""
    return xxhash.xxh3_64_hexdigest(content)


#: Options of the Parquet writer. Dictionary encoding is for columns with few distinct values; for
#: the others it would take a third more space and three times as long.
WRITING: dict[str, Any] = {
    "compression": "zstd",
    "write_page_checksum": True,
    "use_dictionary": ["model", "run", "since", "status", "error", "label"],
}


#: Errors in reading a part that are caused by the machine, not by damage.
_MACHINE_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOLCK}


def _open(part: Place) -> pq.ParquetFile:
    return translate_read_errors(
        part, lambda: pq.ParquetFile(open_for_arrow(part), page_checksum_verification=True)
    )


def _read(part: Place, columns: Sequence[str] | None) -> pa.Table:
    """Reads the columns that the part has; None means all."""
    file = _open(part)
    names = file.schema_arrow.names
    present = names if columns is None else [name for name in columns if name in names]
    return translate_read_errors(part, lambda: file.read(present))


def translate_read_errors(part: Place, read: Callable[[], Any]) -> Any:
    """Calls ``read``; turns errors about the part into `PartError`."""
    try:
        return read()
    except FileNotFoundError as error:
        raise _missing_part(part) from error
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        if getattr(error, "errno", None) in _MACHINE_ERRORS:
            raise OutputError(f"the part {part} cannot be read ({error}); run again.") from error
        raise PartError(
            f"the part {part} is damaged ({first_line(error)}); delete it and run again: its "
            "images will be classified again.",
            part,
        ) from error


def _missing_part(part: Place) -> PartError:
    return PartError(
        f"the part {part} has gone: a run is changing the folder; try again when it has ended.",
        part,
    )
