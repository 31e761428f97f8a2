"""What a shard leaves on disk for the end of the run: its rows, and how the run is to end."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from boatinfer.errors import OutputError
from boatinfer.i18n import resolved
from boatinfer.models.card import Card
from boatinfer.models.svm import SVM
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.selection import Listing
from boatinfer.results.folder import Results
from boatinfer.results.store.parts import RowMasks
from boatinfer.results.store.shards import Shard
from boatinfer.storage.base import Place
from boatinfer.storage.documents import decode_document
from boatinfer.storage.files import atomic_write
from boatinfer.storage.locations import open_for_arrow
from boatinfer.text import to_text

__all__ = ["RunSettings", "ShardManifest", "read_manifest", "read_rows", "write_manifest"]

_KEY = b"boatinfer.handover"
_ROWS = pa.schema([("part", pa.int32()), ("row", pa.int32())])


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The options that matter at the end of a run; they are the same for all shards.

    The attributes are those of `RunOptions`; ``card`` is the model's, and ``svm_digest`` that of
    the SVM's file, for which another must not be taken.
    """

    card: Card
    top: int
    svm: str | None
    svm_digest: str | None
    features: bool
    lenient: bool
    sniff: bool | None
    system_folders: bool
    max_failures: str
    report: bool
    restrictions: list[str]
    fail_on_unusual: bool = False
    min_confidence: float | None = None
    max_novelty: float | None = None
    target_accuracy: float | None = None
    allow_empty: bool = False
    parquet: bool = True
    xlsx: bool = False
    title: str | None = None
    language: str = "en"
    link_prefix: str | None = None
    gallery: bool = False

    @classmethod
    def of(
        cls,
        options: RunOptions,
        card: Card,
        svm: SVM | None,
        min_confidence: float | None,
        max_novelty: float | None,
    ) -> RunSettings:
        """Takes from a run's options, and the limits that it found, what its end needs."""
        return cls(
            card=card,
            top=options.top,
            svm=None if options.svm is None else to_text(str(options.svm.absolute())),
            svm_digest=None if svm is None else svm.digest,
            features=options.features,
            lenient=options.lenient,
            sniff=options.sniff,
            system_folders=options.system_folders,
            max_failures=options.max_failures,
            fail_on_unusual=options.fail_on_unusual,
            report=options.report,
            restrictions=options.restrictions,
            min_confidence=min_confidence,
            max_novelty=max_novelty,
            target_accuracy=options.target_accuracy,
            allow_empty=options.allow_empty,
            parquet=options.parquet,
            xlsx=options.xlsx,
            title=options.title,
            language=resolved(options.language),
            link_prefix=options.link_prefix,
            gallery=options.gallery,
        )

    def unlike(self, other: RunSettings) -> list[str]:
        """The options that are not the same, as they are written on the command line."""
        return list(self._unlike(other))

    def _unlike(self, other: RunSettings) -> Iterator[str]:
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if name == "restrictions":
                yield from sorted(set(mine) ^ set(theirs))
            elif mine != theirs:
                yield f"--{name.replace('_', '-')}"


class ShardManifest(msgspec.Struct, frozen=True, rename={"settings": "ending"}):
    """What a shard says beside its rows.

    Attributes:
        settings: how the run is to end.
        listing: what it has seen of the folder, all shards' files together.
        digest: of its own files, `boatinfer.results.proof.Proof.digest`.
    """

    settings: RunSettings
    listing: Listing
    digest: int


def write_manifest(results: Results, rows: RowMasks, manifest: ShardManifest) -> None:
    """Leaves word of the rows of a shard, for `boatinfer.pipeline.merge_shards`.

    Args:
        results: the shard's.
        rows: of the images that it has found.
        manifest: what else there is to say.

    Raises:
        OutputError: the disk is full, read-only, or gone.
    """
    assert results.shard is not None
    results.parts.check()
    schema = _ROWS.with_metadata({_KEY: msgspec.json.encode(manifest)})
    with (
        atomic_write(_file(results, results.shard)) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for part, mark in rows.items():
            row = np.flatnonzero(mark).astype(np.int32)
            writer.write_table(pa.table([np.full_like(row, part), row], schema=schema))


def read_manifest(results: Results, shard: Shard) -> ShardManifest:
    """Reads what a shard has left beside its rows.

    Raises:
        OutputError: it is damaged or missing.
    """
    file = _file(results, shard)
    try:
        said = pq.read_schema(open_for_arrow(file)).metadata[_KEY]
        return decode_document(said, ShardManifest)
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise _unreadable(file, shard) from error


def read_rows(results: Results, shard: Shard) -> pa.Table:
    """Reads which rows a shard has found: ``part`` and ``row``, in this order.

    Raises:
        OutputError: they are damaged or missing.
    """
    file = _file(results, shard)
    try:
        return pq.read_table(open_for_arrow(file)).cast(_ROWS)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise _unreadable(file, shard) from error


def _file(results: Results, shard: Shard) -> Place:
    return results.shards / f"{shard.name}.parquet"


def _unreadable(file: Place, shard: Shard) -> OutputError:
    return OutputError(f"{file} is damaged or missing; run the shard {shard} again.")
