"""The manifest, ``OUT/.current.parquet``: the images and the summary of the last complete run.

Commands that read results use the run named here until a later run is complete, so that a run
that is killed at any point does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from boatinfer.errors import OutputError, first_line
from boatinfer.results.store.rows import OK
from boatinfer.results.summary import Summary, parsed
from boatinfer.results.tables.external_sort import batches
from boatinfer.storage.base import Place
from boatinfer.storage.files import atomic_write
from boatinfer.storage.locations import open_for_arrow

__all__ = [
    "Manifest",
    "read_manifest",
    "read_paths",
    "read_summary_of",
    "replace_summary",
    "write_manifest",
]

_SCHEMA = pa.schema([("path", pa.string()), ("classified", pa.bool_())])
_SUMMARY, _PART = b"boatinfer.summary", b"boatinfer.part"


class Manifest(NamedTuple):
    """The manifest of a complete run.

    Attributes:
        summary: the summary of the run.
        part: number of the last part when it ended.
        images: ``path`` of each image, and whether it is ``classified``.
    """

    summary: Summary
    part: int
    images: pa.Table


def write_manifest(file: Place, rows: pa.Table, summary: Summary, part: int) -> None:
    """Writes the manifest.

    Args:
        file: the file to write.
        rows: ``path`` and ``status`` of each image.
        summary: the summary of the run.
        part: number of the last part.

    Raises:
        OutputError: the disk is full, read-only, or gone.
    """
    schema = _SCHEMA.with_metadata({_SUMMARY: summary.text(), _PART: str(part)})
    with (
        atomic_write(file) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for table in batches(rows):
            columns = [table["path"], pc.equal(table["status"], OK)]
            writer.write_table(pa.table(columns, schema=schema))


def replace_summary(file: Place, summary: Summary, part: int | None = None) -> None:
    """Replaces the summary in the manifest; the images stay.

    Args:
        file: the manifest.
        summary: the new summary.
        part: number of the last part, if it has changed.

    Raises:
        OutputError: it is damaged, or the disk is full.
    """
    manifest = read_manifest(file)
    metadata = {_SUMMARY: summary.text(), _PART: str(manifest.part if part is None else part)}
    with atomic_write(file) as temporary:
        table = manifest.images.replace_schema_metadata(metadata)
        pq.write_table(table, temporary, compression="zstd")


def read_paths(file: Place) -> Iterator[pa.Table]:
    """Reads ``path`` of the images of a manifest, in batches.

    Raises:
        OutputError: it is damaged or missing.
    """
    try:
        with pq.ParquetFile(open_for_arrow(file)) as reader:
            for batch in reader.iter_batches(columns=["path"]):
                yield pa.table({"path": batch["path"].cast(pa.string())})
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise _unreadable(file, error) from error


def read_summary_of(file: Place) -> Summary:
    """Reads the summary of a manifest alone.

    Raises:
        OutputError: it is damaged or missing.
    """
    try:
        metadata = pq.read_schema(open_for_arrow(file)).metadata
        int(metadata[_PART])
        return parsed(metadata[_SUMMARY])
    except (OSError, TypeError, KeyError, ValueError, pa.ArrowException) as error:
        raise _unreadable(file, error) from error


def read_manifest(file: Place) -> Manifest:
    """Reads the manifest.

    Raises:
        OutputError: it is damaged or missing.
    """
    try:
        table = pq.read_table(open_for_arrow(file))
        metadata = table.schema.metadata
        table = table.cast(_SCHEMA)
        return Manifest(parsed(metadata[_SUMMARY]), int(metadata[_PART]), table)
    except (OSError, TypeError, KeyError, ValueError, pa.ArrowException) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Place, error: Exception) -> OutputError:
    return OutputError(f"{file} cannot be read ({first_line(error)}); run again to rewrite it.")
