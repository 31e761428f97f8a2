"""The results folder: its lock, its runs, and its current results.

::

    OUT/parts/*.parquet    see `boatinfer.results.store.parts`
    OUT/predictions.*      one row per image found in the last run, as CSV, Parquet and XLSX
    OUT/failures.csv       the images that failed
    OUT/review.csv         images for manual review, if the run had an abstention threshold
    OUT/labels.csv         what people have said of images, see `boatinfer.results.labels`
    OUT/run.json           summary of the last run; OUT/runs/*.json of all runs
    OUT/report.html        page of the last run; OUT/reports/*.html of all runs with new images
    OUT/.unused.parquet    since when rows are not needed, see `boatinfer.results.unused`
    OUT/shards/            files of shards, see `boatinfer.pipeline.merge_shards`
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
from boatinfer.results.locks import SHARDS, lock_results, results_holder
from boatinfer.results.manifest import (
    read_manifest,
    read_summary_of,
    replace_summary,
    write_manifest,
)
from boatinfer.results.store.parts import Parts, number_of
from boatinfer.results.store.rows import OK
from boatinfer.results.store.shards import Shard, is_shard_file
from boatinfer.results.summary import Summary, read_summary
from boatinfer.storage.base import Place
from boatinfer.storage.files import TEMPORARY_SUFFIX, atomic_write, translate_write_errors
from boatinfer.storage.locations import is_folder, is_remote
from boatinfer.text import local_time, to_text

__all__ = ["DAMAGED_SUFFIX", "Results"]

_log = logging.getLogger(__name__)

#: Ending of the name of a damaged file that a run has set aside.
DAMAGED_SUFFIX = ".damaged"

#: Names in a results folder, and temporary files that a killed run may leave in it.
_OWN_NAMES = {
    *("parts", "runs", "reports", "predictions.csv", "predictions.parquet", "predictions.xlsx"),
    *("failures.csv", "review.csv", "labels.csv", "run.json", "report.html", "models"),
    *(".lock", ".holder", ".current.parquet", ".labels.csv.lock", ".unused.parquet", SHARDS),
}
_SHARD = r"(-\d+-of-\d+)?"
_LEFTOVER = re.compile(
    r"\.([1-9]\d*-of-\d+\.(json|parquet)"
    r"|(predictions|failures|review)\.csv|predictions\.(parquet|xlsx)|run\.json|report\.html"
    r"|\.(current|unused)\.parquet"
    rf"|\d{{6,}}-[0-9a-f]{{16}}{_SHARD}\.parquet|[0-9TZ.]+(-shard{_SHARD})?\.(json|html))"
    rf"\.\d+{re.escape(TEMPORARY_SUFFIX)}"
)


class Results:
    """One results folder.

    Args:
        out: the folder; `lock` creates it if needed.
        shard: restricts the results to those of a shard; other shards may write concurrently.
    """

    def __init__(self, out: Place, shard: Shard | None = None) -> None:
        self.out, self.shard = out, shard
        self.shards = out / SHARDS
        self.parts = Parts(out / "parts", shard)
        self.predictions = out / "predictions.csv"
        self.whole = out / "predictions.parquet"
        self.spreadsheet = out / "predictions.xlsx"
        self.failures = out / "failures.csv"
        self.review = out / "review.csv"
        self.report = out / "report.html"
        self.reports = out / "reports"
        self.run_json = self.shards / f"{shard.name}.json" if shard else out / "run.json"
        self._told = self._superseded = False
        self._damaged: list[Place] = []

    def exists(self) -> bool:
        """Whether this is a results folder."""
        folders = (self.parts.folder, self.out / "runs")  # other folders may have a parts/ too
        return all(is_folder(folder) for folder in folders)

    def require(self) -> None:
        """Checks that this is a results folder.

        Raises:
            UsageError: it is not.
        """
        if not self.exists():
            raise UsageError(
                f"{self.out} is no results folder; give the folder that 'boatinfer run' wrote to."
            )

    @contextlib.contextmanager
    def lock(self, folder: str) -> Iterator[None]:
        """Creates the folder if needed and locks it against other runs.

        Args:
            folder: path of the scanned folder, as text.

        Raises:
            BusyError: another run has locked it.
            UsageError: it holds the results of another folder, or other files.
            OutputError: it cannot be written.
        """
        self.require_own_folder(folder)
        with translate_write_errors(self.out):
            self.parts.folder.mkdir(parents=True, exist_ok=True)
            (self.out / "runs").mkdir(exist_ok=True)
        with lock_results(self.out, self.shard) as self.parts.check:
            self.parts.renumber()
            if self.shard is None:
                self.clean()
            yield

    def lock_holder(self) -> str | None:
        """Describes the process that has locked the folder; None if it is not locked."""
        return results_holder(self.out)

    def supersede(self) -> None:
        """Removes the files of unmerged shards that a new run makes obsolete.

        Raises:
            OutputError: it cannot be written.
        """
        with translate_write_errors(self.shards):
            for file in self.shard_files():
                shard = Shard.parse(file.stem)
                if self.shard in {None, shard} or shard.count != self.shard.count:
                    file.unlink(missing_ok=True)
        self._superseded = True

    def shard_files(self) -> list[Place]:
        """Files of shards that are not merged yet: a summary and a table of each."""
        return sorted(file for file in self.shards.glob("[1-9]*-of-*.*") if is_shard_file(file))

    def clean(self) -> None:
        """Removes the temporary files of killed runs, and nothing else; the folder must be locked.

        Raises:
            OutputError: a file cannot be removed.
        """
        if is_remote(self.out):  # no temporary files
            return
        with translate_write_errors(self.out):
            runs = self.out / "runs"
            for folder in (self.out, self.parts.folder, runs, self.shards, self.reports):
                for leftover in folder.glob(".*"):
                    if _LEFTOVER.fullmatch(leftover.name) and leftover.is_file():
                        leftover.unlink()

    def require_own_folder(self, folder: str) -> None:
        """Checks that the folder is new, empty, or holds results of the same scanned folder.

        Raises:
            UsageError: it holds those of another folder, or other files.
            OutputError: all its summaries are damaged, or it cannot be read.
        """
        try:
            str(self.out).encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"the name of the results folder {to_text(str(self.out))} is not valid UTF-8; "
                "choose another with -o."
            ) from None
        last = self._any_summary()
        if last is not None and last.folder != folder:
            raise UsageError(
                f"{self.out} holds the results of {last.folder}, not of {folder}; choose another "
                "folder with -o."
            )
        with translate_write_errors(self.out):
            names = {path.name for path in self.out.iterdir()} if self.out.exists() else set()
        if last is None and not names <= _OWN_NAMES:
            raise UsageError(
                f"{self.out} holds other files than results; choose a new or empty folder with -o."
            )

    def _any_summary(self) -> Summary | None:
        """The first readable summary of any run; None if there are none.

        Raises:
            OutputError: all are damaged.
        """
        damaged = None
        for file in itertools.chain([self.out / "run.json"], self.shard_files(), self._runs()):
            try:
                summary = read_summary(file) if file.suffix == ".json" else None
            except OutputError as error:
                damaged = error
            else:
                if summary is not None:
                    return summary
        if damaged is not None:
            raise damaged
        return None

    def last_run(self) -> Summary | None:
        """Reads ``run.json``; None if it does not exist yet.

        Raises:
            OutputError: it is damaged.
        """
        return read_summary(self.out / "run.json")

    def shard_summary(self, shard: Shard) -> Summary | None:
        """Reads the summary of a shard; None if there is none.

        Raises:
            OutputError: it is damaged.
        """
        return read_summary(self.shards / f"{shard.name}.json")

    def last_complete(self) -> Summary | None:
        """Reads the summary of the last complete run, which the results are of.

        Raises:
            OutputError: a summary, or the manifest, is damaged.
        """
        if self.manifest.exists():
            return read_summary_of(self.manifest)
        last = self.last_run()
        return last if last is not None and last.complete else None

    def history(self, run: Summary) -> Iterator[Summary]:
        """Reads the summaries of the runs before one, latest first; skips damaged ones.

        `set_aside_damaged` renames the damaged ones.
        """
        for file in self._runs():
            if file.stem < run.run:
                try:
                    summary = read_summary(file)
                except OutputError:
                    self._damaged.append(file)
                else:
                    if summary is not None:
                        yield summary

    def damaged_summaries(self) -> Iterator[str]:
        """Reads the summaries of all runs; yields an error message for each damaged one."""
        for file in [self.out / "run.json", *self.shard_files(), *self._runs()]:
            try:
                if file.suffix == ".json":
                    read_summary(file)
            except OutputError as error:
                yield str(error)

    def new_runs(self, summary: Summary) -> list[str]:
        """The runs whose new images count as new in this one.

        These are the run itself, its shards, and the incomplete runs before it, back to the last
        complete one with its model; rows of complete runs in between are of other models.
        """
        runs = [summary.run, *summary.shards]
        for earlier in self.history(summary):
            ended = earlier.complete and earlier.new  # a shard has no new images by itself
            if ended and earlier.model == summary.model:
                break
            if not ended:
                runs.append(earlier.run)
        return runs

    def set_aside_damaged(self) -> list[str]:
        """Renames the damaged summaries that `history` has skipped; returns a remark on each."""
        remarks = []
        for file in self._damaged:
            with contextlib.suppress(OSError):  # the next run tries again
                file.rename(file.parent / f"{file.name}{DAMAGED_SUFFIX}")
                remarks.append(f"The summary runs/{file.name} was damaged: it was set aside.")
        self._damaged.clear()
        return remarks

    def write_summary(self, summary: Summary) -> None:
        """Writes ``run.json`` and the run's own copy in ``runs``.

        The files of a shard stay until another run of it has started.
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
        last = max(map(number_of, self.parts.files()), default=0)  # none if nothing was ever found
        write_manifest(self.manifest, rows, summary, last)

    def is_recorded(self, run: str) -> bool:
        """Whether a run came to its very end, with its summary."""
        with contextlib.suppress(OutputError):
            summary = read_summary(self._summary_of(run))
            return summary is not None and summary.complete
        return False

    def rewrite_current(self, summary: Summary) -> None:
        """Replaces the summary in the manifest; the images stay.

        Raises:
            OutputError: the manifest is damaged, or the disk is full.
        """
        self.parts.check()
        replace_summary(self.manifest, summary)

    def current(self) -> pa.Table:
        """`Parts.index` restricted to the classified images of the last complete run.

        Rows of a later, incomplete run are left out.

        Raises:
            UsageError: there is no complete run.
            OutputError: a part or the manifest is damaged.
        """
        self.last_finished()
        manifest = read_manifest(self.manifest)
        index = self.parts.index(upto=manifest.part)
        index = index.filter(pc.equal(index["model"], manifest.summary.model))
        index = index.filter(
            pc.is_in(index["path"], value_set=manifest.images["path"].combine_chunks())
        )
        if not index.num_rows == manifest.images.num_rows == manifest.summary.found:
            if read_manifest(self.manifest).part != manifest.part:
                return self.current()  # a run has just ended, and has merged parts
            raise OutputError(
                f"parts are missing from {self.parts.folder}; run again: their images will be "
                "classified again."
            )
        return index.filter(pc.equal(index["status"], OK))

    def last_finished(self) -> Summary:
        """As `last_complete`; warns if it is not the last run.

        Raises:
            UsageError: there is no complete run here.
            OutputError: a summary is damaged.
        """
        last, complete = self.last_run(), self.last_complete()
        if last is None and complete is None and self.shard_files():
            raise UsageError(
                f"{self.out} holds shards that are not merged; merge them with 'boatinfer results "
                f"{self.out} --finish'."
            )
        if last is None and complete is None:
            raise UsageError(
                f"{self.out} is no results folder; give the folder that 'boatinfer run' wrote to."
            )
        if complete is None:
            raise UsageError(f"{self.out} holds the results of no complete run; run again first.")
        if last and not (last.complete or complete.run == last.run or self._told):
            self._told = True
            why = last.error or ("it goes on" if self.lock_holder() else "it was killed")
            _log.warning(
                "the last run into %s, started %s, is not complete (%s); this is of the last "
                "complete one, started %s.",
                *(
                    self.out,
                    local_time(last.started),
                    why.rstrip("."),
                    local_time(complete.started),
                ),
            )
        return complete

    def _runs(self) -> Iterator[Place]:
        """The summaries of all runs, latest first."""
        yield from sorted((self.out / "runs").glob("*.json"), reverse=True)

    @property
    def manifest(self) -> Place:
        """The file that says which images are current."""
        return self.out / ".current.parquet"

    def _summary_of(self, run: str) -> Place:
        return self.out / "runs" / f"{run}.json"
