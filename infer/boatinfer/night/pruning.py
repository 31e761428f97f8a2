"""``boatinfer night prune``: removes what ``[keep]`` does not keep.

Everything is removed in an order in which a kill at any moment leaves a sound results folder:
links before the pages that they lead to, and rows by writing the parts that hold them again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from boatinfer.errors import BoatinferError, BusyError, UsageError
from boatinfer.night.config import Folder, Night
from boatinfer.night.index_page import write_index
from boatinfer.night.keep import Keep
from boatinfer.night.record import read_record, record_file
from boatinfer.night.running import lock_of
from boatinfer.pages.kept import KeptPages
from boatinfer.results.folder import DAMAGED_SUFFIX, Results
from boatinfer.results.locks import lock_results
from boatinfer.results.manifest import read_summary_of, replace_summary
from boatinfer.results.retention import old_summaries
from boatinfer.results.store.compaction import drop
from boatinfer.results.store.index import RowIndex
from boatinfer.results.store.parts import number_of
from boatinfer.results.summary import Summary
from boatinfer.results.unused import UnusedRows, find_unused
from boatinfer.storage.base import Place
from boatinfer.storage.connections import s3_endpoint
from boatinfer.storage.errors import StoreError
from boatinfer.storage.files import translate_write_errors
from boatinfer.storage.locks import hold_lock

__all__ = ["Pruned", "prune_night"]


class Pruned(msgspec.Struct, kw_only=True, frozen=True):
    """What was removed from a results folder, before an error if there is one, or would be.

    Attributes:
        name: of the folder.
        out: its results folder.
        files: pages, summaries and damaged files, relative to the results folder.
        gone: rows of images that are gone.
        old_models: rows of models that are not in use.
        parts: parts that hold such rows, which are written again without them.
        bytes: size of the files, and the rows' share of that of their parts.
        remark: why rows had to stay, if they had.
        exit_code: that of an error, else 0.
        error: why it could not be done.
    """

    name: str
    out: str
    files: list[str] = []
    gone: int = 0
    old_models: int = 0
    parts: list[str] = []
    bytes: int = 0
    remark: str | None = None
    exit_code: int = 0
    error: str | None = None


def prune_night(
    night: Night, names: Iterable[str] = (), *, dry_run: bool = False, now: datetime | None = None
) -> Iterator[Pruned]:
    """Removes what ``[keep]`` does not keep, folder after folder, and the links to it.

    Args:
        night: what a night is.
        names: of the folders; none for all.
        dry_run: whether to write nothing.
        now: the time; by default that of the clock.

    Raises:
        UsageError: the file has no ``[keep]``, or no folder of a name.
        OutputError: the page of all folders could not be written.
    """
    folders = night.chosen(names)
    if night.keep is None:
        raise UsageError(f"{night.file} has no [keep], so everything stays; add one to prune.")
    for folder in folders:
        yield _prune(folder, night.keep, now or datetime.now(UTC), dry_run)
    if not dry_run:
        _refresh_index(night)


def _refresh_index(night: Night) -> None:
    """Writes the page of all folders without links to what is gone; a night does so by itself."""
    with contextlib.suppress(BusyError), hold_lock(lock_of(night), night.file):
        if record_file(night).exists():
            write_index(night, read_record(night))


def _prune(folder: Folder, keep: Keep, now: datetime, dry_run: bool) -> Pruned:
    result, pruning = Pruned(name=folder.name, out=str(folder.out)), None
    try:
        with s3_endpoint(folder.options.endpoint):
            results = Results(folder.out)
            if not results.exists():
                return result
            with contextlib.ExitStack() as stack:
                if not dry_run:
                    check = stack.enter_context(lock_results(results.out, None))
                    results.parts.check = check
                pruning = _Pruning(results, keep, now)
                return pruning.done(result, dry_run)
    except (BoatinferError, StoreError) as error:
        code, said = error.exit_code, str(error)
    except OSError as error:
        code, said = BoatinferError.exit_code, str(error)
    if pruning is not None and not dry_run:
        with contextlib.suppress(OSError), s3_endpoint(folder.options.endpoint):
            result = pruning.removed(result)
    return msgspec.structs.replace(result, exit_code=code, error=said)


class _Pruning:
    """What goes from one results folder.

    Args:
        results: the folder, which is locked unless nothing is to be written.
        keep: what stays.
        now: the time.
    """

    def __init__(self, results: Results, keep: Keep, now: datetime) -> None:
        self._results, self._keep, self._now = results, keep, now
        self._complete = results.last_complete()
        self._kept = KeptPages(results)
        self._runs = sorted(set(self._kept.runs) - keep.nights.kept(self._kept.runs))
        self._pages = [file for run in self._runs for file in self._kept.files(run)]
        stay = set(self._kept.runs) - set(self._runs)
        until = None if self._complete is None else self._complete.run
        self._summaries = old_summaries(results, keep.nights, stay, until)
        self._damaged = list(self._old_damaged(keep.damaged))
        files = [*self._damaged, *self._summaries, *self._pages]
        self._sizes = {file: _size(file) for file in files}

    def done(self, result: Pruned, dry_run: bool) -> Pruned:
        """Removes what goes, or says what would go."""
        result = _with_files(result, self._sizes)
        if not dry_run:
            self._remove()
        if self._keep.rows == (None, None):
            return result
        remark = self._why_rows_stay()
        if self._complete is None or remark is not None:
            return msgspec.structs.replace(result, remark=remark)
        rows = find_unused(self._results, self._complete, self._keep.rows, self._now)
        parts, size = self._worn(rows)
        if not dry_run:
            rows.noted.write(self._results)
            if parts:
                self._drop(rows)
        return msgspec.structs.replace(
            result,
            gone=rows.gone,
            old_models=rows.old_models,
            parts=[part.name for part in parts],
            bytes=result.bytes + size,
        )

    def removed(self, result: Pruned) -> Pruned:
        """Says which of the files that go have gone."""
        gone = {file: size for file, size in self._sizes.items() if not file.exists()}
        return _with_files(result, gone)

    def _remove(self) -> None:
        """Removes files; first those that nothing links to, since pages need room on the disk."""
        results = self._results
        results.clean()
        for file in (*self._damaged, *self._summaries):
            results.parts.check()
            with translate_write_errors(file):
                file.unlink(missing_ok=True)
        if self._runs:
            results.parts.check()
            self._kept.remove(self._runs, results.report)

    def _why_rows_stay(self) -> str | None:
        """Why the rows of the last complete run cannot be told from others."""
        last, complete = self._results.last_run(), self._complete
        if complete is None or last is None or last.run != complete.run:
            return "The last run is not complete, so all rows stay until one is."
        if self._results.shard_files():
            return "There are shards that are not merged, so all rows stay until they are."
        return None

    def _worn(self, rows: UnusedRows) -> tuple[list[Place], int]:
        """Parts that hold rows that go, and the size of these."""
        parts, size = [], 0
        for file in self._results.parts.own():
            mask = rows.masks.get(number_of(file))
            if mask is not None and mask.any():
                parts.append(file)
                size += round(_size(file) * float(mask.mean()))
        return parts, size

    def _drop(self, rows: UnusedRows) -> None:
        row_index = RowIndex(self._results.parts)
        row_index.read()
        drop(row_index, rows.masks, self._recount)

    def _recount(self) -> None:
        """Notes that the rows of the last complete run are in the parts that are there now."""
        results = self._results
        results.parts.check()
        last = max(map(number_of, results.parts.files()), default=0)
        replace_summary(results.manifest, read_summary_of(results.manifest), last)

    def _old_damaged(self, limit: timedelta | None) -> Iterator[Place]:
        """Files set aside that are older than the limit, and than the last complete run."""
        if limit is None or self._complete is None:
            return
        until = min(self._now - limit, _finished(self._complete))
        for folder in (self._results.parts.folder, self._results.out / "runs"):
            for file in sorted(folder.glob(f"*{DAMAGED_SUFFIX}")):
                if _set_aside(file) <= until:
                    yield file


def _with_files(result: Pruned, sizes: Mapping[Place, int]) -> Pruned:
    files = [f"{file.parent.name}/{file.name}" for file in sizes]
    return msgspec.structs.replace(result, files=files, bytes=sum(sizes.values()))


def _finished(summary: Summary) -> datetime:
    return datetime.fromisoformat(summary.finished or summary.started)


def _set_aside(file: Place) -> datetime:
    """When a file was renamed, as far as the file system tells; else when it was written."""
    status = file.stat()
    changed = getattr(status, "st_ctime", 0.0) if isinstance(file, Path) else 0.0
    return datetime.fromtimestamp(max(changed, status.st_mtime_ns / 1e9), UTC)


def _size(file: Place) -> int:
    with contextlib.suppress(FileNotFoundError):
        return file.stat().st_size
    return 0
