"""The results folder: who holds it, what its last run was, and what is current.

::

    OUT/parts/*.parquet    see `boatinfer.results.store.parts`
    OUT/predictions.csv    one row per image found in the last run
    OUT/failures.csv       those that failed
    OUT/review.csv         those left to people, if the run was told how sure is sure enough
    OUT/run.json           the last run's summary; OUT/runs/*.json are all runs'
    OUT/report.html
    OUT/shards/            what shards leave to `boatinfer.pipeline.merge_shards`
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.errors import OutputError, UsageError
from boatinfer.results.locks import SHARDS, held, held_by
from boatinfer.results.manifest import read_manifest, replace_summary, write_manifest
from boatinfer.results.store.parts import Parts, number_of
from boatinfer.results.store.rows import OK
from boatinfer.results.store.shards import Shard
from boatinfer.results.summary import Summary, read_summary
from boatinfer.storage.base import Place
from boatinfer.storage.files import TEMPORARY_SUFFIX, atomic_write, translate_write_errors
from boatinfer.storage.locations import is_folder, is_remote
from boatinfer.text import to_text

_log = logging.getLogger(__name__)

__all__ = ["ASIDE", "Results"]

#: What ends the name of something damaged that a run has set aside.
ASIDE = ".damaged"


#: What a results folder has, and what a killed run may leave in it.
_OURS = {
    *("parts", "runs", "predictions.csv", "failures.csv", "review.csv", "run.json", "report.html"),
    *(".lock", ".holder", ".current.parquet", SHARDS),
}
_SHARD = r"(-\d+-of-\d+)?"
_LEFTOVER = re.compile(
    r"\.([1-9]\d*-of-\d+\.(json|parquet)"
    r"|(predictions|failures|review)\.csv|run\.json|report\.html|\.current\.parquet"
    rf"|\d{{6,}}-[0-9a-f]{{16}}{_SHARD}\.parquet|[0-9TZ.]+(-shard{_SHARD})?\.json)"
    rf"\.\d+{re.escape(TEMPORARY_SUFFIX)}"
)


class Results:
    """One results folder.

    Args:
        out: the folder; `hold` makes it if need be.
        shard: narrows the results to those of a shard, which others may write beside.
    """

    def __init__(self, out: Place, shard: Shard | None = None) -> None:
        self.out, self.shard = out, shard
        self.shards = out / SHARDS
        self.parts = Parts(out / "parts", shard)
        self.predictions = out / "predictions.csv"
        self.failures = out / "failures.csv"
        self.review = out / "review.csv"
        self.report = out / "report.html"
        self.run_json = self.shards / f"{shard.name}.json" if shard else out / "run.json"
        self._told = self._superseded = False
        self._damaged: list[Place] = []

    def exists(self) -> bool:
        """Whether a run has been here."""
        folders = (self.parts.folder, self.out / "runs")  # anybody's folder may have a parts/
        return all(is_folder(folder) for folder in folders)

    def require(self) -> None:
        """Refuses a folder that no run has been in.

        Raises:
            UsageError: it is one.
        """
        if not self.exists():
            raise UsageError(
                f"{self.out} is no results folder; give the folder that 'boatinfer run' wrote to."
            )

    @contextlib.contextmanager
    def hold(self, folder: str) -> Iterator[None]:
        """Makes the folder if need be and holds it against other runs.

        Args:
            folder: text of the scanned folder's path, which the results belong to.

        Raises:
            BusyError: another run holds it.
            UsageError: it holds the results of another folder, or something else.
            OutputError: it cannot be written.
        """
        self._refuse_other(folder)
        with translate_write_errors(self.out):
            self.parts.folder.mkdir(parents=True, exist_ok=True)
            (self.out / "runs").mkdir(exist_ok=True)
        with held(self.out, self.shard) as self.parts.check:
            self.parts.renumber()
            if self.shard is None:
                self.clean()
            yield

    def held_by(self) -> str | None:
        """Which process holds the folder, in words; None if none does."""
        return held_by(self.out)

    def supersede(self) -> None:
        """Forgets what a run that begins puts out of date: shards that nobody has finished.

        Raises:
            OutputError: it cannot be written.
        """
        with translate_write_errors(self.shards):
            for note in self.notes():
                shard = Shard.parse(note.stem)
                if self.shard in {None, shard} or shard.count != self.shard.count:
                    note.unlink(missing_ok=True)
        self._superseded = True

    def notes(self) -> list[Place]:
        """What shards have left since the last `finish`: a summary and a table each."""
        return sorted(note for note in self.shards.glob("[1-9]*-of-*.*") if _is_note(note))

    def clean(self) -> None:
        """Removes what killed runs left half-written, and nothing else; to be held meanwhile.

        Raises:
            OutputError: it cannot be removed.
        """
        if is_remote(self.out):  # where nothing is ever half-written
            return
        with translate_write_errors(self.out):
            for folder in (self.out, self.parts.folder, self.out / "runs", self.shards):
                for leftover in folder.glob(".*"):
                    if _LEFTOVER.fullmatch(leftover.name) and leftover.is_file():
                        leftover.unlink()

    def _refuse_other(self, folder: str) -> None:
        """Refuses a folder that is not ours to fill."""
        try:
            str(self.out).encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"the name of the results folder {to_text(str(self.out))} is not valid UTF-8; "
                "choose another with -o."
            ) from None
        last = self._any_run()
        if last is not None and last.folder != folder:
            raise UsageError(
                f"{self.out} holds the results of {last.folder}, not of {folder}; choose another "
                "folder with -o."
            )
        with translate_write_errors(self.out):
            names = {path.name for path in self.out.iterdir()} if self.out.exists() else set()
        if last is None and not names <= _OURS:
            raise UsageError(
                f"{self.out} holds something else than results; choose a new or empty folder "
                "with -o."
            )

    def _any_run(self) -> Summary | None:
        """The summary of any run that has been here; a damaged one does not matter among others.

        Raises:
            OutputError: all are damaged.
        """
        damaged = None
        for file in itertools.chain([self.out / "run.json"], self.notes(), self._runs()):
            try:
                found = read_summary(file) if file.suffix == ".json" else None
            except OutputError as error:
                damaged = error
            else:
                if found is not None:
                    return found
        if damaged is not None:
            raise damaged
        return None

    def last_run(self) -> Summary | None:
        """Reads ``run.json``; None where there is none yet.

        Raises:
            OutputError: it is damaged.
        """
        return read_summary(self.out / "run.json")

    def last_of(self, shard: Shard) -> Summary | None:
        """Reads what a shard has left; None where there is nothing.

        Raises:
            OutputError: it is damaged.
        """
        return read_summary(self.shards / f"{shard.name}.json")

    def last_complete(self) -> Summary | None:
        """Reads the summary of the run that the results are of: the last one that is complete.

        Raises:
            OutputError: a summary, or the manifest, is damaged.
        """
        if self._current.exists():
            return read_manifest(self._current).summary
        last = self.last_run()
        return last if last is not None and last.complete else None

    def history(self, before: Summary) -> Iterator[Summary]:
        """Reads the summaries of the runs before one, latest first; a damaged one is left out.

        A run sets it aside in the end, with `set_aside_damaged`.
        """
        for file in self._runs():
            if file.stem < before.run:
                try:
                    found = read_summary(file)
                except OutputError:
                    self._damaged.append(file)
                else:
                    if found is not None:
                        yield found

    def damaged_summaries(self) -> Iterator[str]:
        """Reads the summaries of all runs and tells, a sentence each, of those that are damaged."""
        for file in [self.out / "run.json", *self.notes(), *self._runs()]:
            try:
                if file.suffix == ".json":
                    read_summary(file)
            except OutputError as error:
                yield str(error)

    def new_runs(self, summary: Summary) -> list[str]:
        """The runs whose new images are one night's: this one, and what it went on from.

        These are its shards, and the runs before it back to the last complete one with its model.
        """
        runs = [summary.run, *summary.shards]
        for before in self.history(summary):
            if before.complete and before.new and before.model == summary.model:
                break
            runs.append(before.run)
        return runs

    def set_aside_damaged(self) -> list[str]:
        """Renames the damaged summaries that `history` has met; gives a remark on each."""
        remarks = []
        for file in self._damaged:
            with contextlib.suppress(OSError):  # the next run tries again
                file.rename(file.parent / f"{file.name}{ASIDE}")
                remarks.append(f"The summary runs/{file.name} was damaged: it was set aside.")
        self._damaged.clear()
        return remarks

    def write_summary(self, summary: Summary) -> None:
        """Writes ``run.json`` and the run's own copy in ``runs``.

        What a shard has left stays until a run of it that can start has superseded it.
        """
        self.parts.check()
        stays = self.shard is not None and not self._superseded
        for path in (self._summary_of(summary.run), *([] if stays else [self.run_json])):
            with atomic_write(path) as temporary:
                temporary.write_text(summary.text(), encoding="utf-8")

    def write_current(self, rows: pa.Table, summary: Summary) -> None:
        """Notes which images are current: those of these rows, in the parts that are there.

        From then on the other commands read this run.

        Args:
            rows: ``path`` and ``status`` of each.
            summary: of the run that found them; it is complete.

        Raises:
            OutputError: the disk is full, read-only, or gone.
        """
        self.parts.check()
        write_manifest(self._current, rows, summary, number_of(self.parts.files()[-1]))

    def rewrite_current(self, summary: Summary) -> None:
        """Has the manifest name another summary; the images stay.

        Raises:
            OutputError: the manifest is damaged, or the disk is full.
        """
        self.parts.check()
        replace_summary(self._current, summary)

    def current(self) -> pa.Table:
        """`Parts.index` narrowed to the classified images of the last complete run.

        What a later run recorded that was not completed is left out.

        Raises:
            UsageError: there is no complete run here.
            OutputError: a part or the manifest is damaged.
        """
        self.last_finished()
        manifest = read_manifest(self._current)
        index = self.parts.index(upto=manifest.part)
        index = index.filter(pc.equal(index["model"], manifest.summary.model))
        index = index.filter(
            pc.is_in(index["path"], value_set=manifest.found["path"].combine_chunks())
        )
        if not index.num_rows == manifest.found.num_rows == manifest.summary.found:
            if read_manifest(self._current).part != manifest.part:
                return self.current()  # a run that has just ended merged parts
            raise OutputError(
                f"parts are missing from {self.parts.folder}; run again: their images will be "
                "classified anew."
            )
        return index.filter(pc.equal(index["status"], OK))

    def last_finished(self) -> Summary:
        """As `last_complete`; warns if it is not the last run.

        Raises:
            UsageError: there is no complete run here.
            OutputError: a summary is damaged.
        """
        last, complete = self.last_run(), self.last_complete()
        if last is None and complete is None and self.notes():
            raise UsageError(
                f"shards have run into {self.out}; put them together with 'boatinfer results "
                f"{self.out} --finish'."
            )
        if last is None and complete is None:
            raise UsageError(
                f"{self.out} is no results folder; give the folder that 'boatinfer run' wrote to."
            )
        if complete is None:
            raise UsageError(
                f"{self.out} holds the results of no complete run; run it again first."
            )
        if last and not (last.complete or complete.run == last.run or self._told):
            self._told = True
            why = last.error or ("it goes on" if self.held_by() else "it was killed")
            _log.warning(
                "the last run into %s, started %s, is not complete (%s); this is of the last "
                "complete one, started %s.",
                *(self.out, last.started, why.rstrip("."), complete.started),
            )
        return complete

    def _runs(self) -> Iterator[Place]:
        """The summaries of all runs, latest first."""
        yield from sorted((self.out / "runs").glob("*.json"), reverse=True)

    @property
    def _current(self) -> Place:
        return self.out / ".current.parquet"

    def _summary_of(self, run: str) -> Place:
        return self.out / "runs" / f"{run}.json"


def _is_note(file: Place) -> bool:
    """Whether a file has the name of what a shard leaves, and not one of somebody's own."""
    try:
        named = Shard.parse(file.stem).name == file.stem
    except UsageError:
        return False
    return named and file.suffix in {".json", ".parquet"}
