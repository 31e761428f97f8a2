"""What the shards of a run leave, put together: the proof over all of them, and the tables.

One shard's rows are in memory at a time. The tables of all are merged as they are written.
"""

from __future__ import annotations

import bisect
import contextlib
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from boatinfer import compaction, predictions, proof
from boatinfer import svm as svms
from boatinfer.card import Card
from boatinfer.errors import TOO_MANY_FAILURES, BoatinferError, OutputError, UsageError
from boatinfer.files import replacing, writing
from boatinfer.locks import held
from boatinfer.options import RunOptions
from boatinfer.pages import report
from boatinfer.parts import OK, Parts
from boatinfer.results import MERGING, Results
from boatinfer.scan import from_text, to_text
from boatinfer.shards import Shard
from boatinfer.spreadsheet import csv_safe
from boatinfer.storage import Place, opened
from boatinfer.summary import Summary

__all__ = ["Ending", "finish", "leave", "merged"]

_ENDING = b"boatinfer.ending"
_NOTE = pa.schema(
    [("path", pa.string()), ("status", pa.string()), ("part", pa.int32()), ("row", pa.int32())]
)

#: Rows of each shard that are merged at a time.
_STEP = 16_384


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The options that matter at the end of a run; they are the same for all shards.

    The attributes are those of `RunOptions`, and ``card`` is the model's.
    """

    card: Card
    top: int
    svm: str | None
    max_failures: str
    report: bool
    looks_everywhere: bool
    min_confidence: float | None = None
    target_accuracy: float | None = None

    @classmethod
    def of(cls, options: RunOptions, card: Card, min_confidence: float | None) -> Ending:
        """Takes from a run's options, and the threshold that it found, what its end needs."""
        return cls(
            card=card,
            top=options.top,
            svm=None if options.svm is None else to_text(str(options.svm.absolute())),
            max_failures=options.max_failures,
            report=options.report,
            looks_everywhere=options.looks_everywhere,
            min_confidence=min_confidence,
            target_accuracy=options.target_accuracy,
        )


def leave(results: Results, rows: pa.Table, ending: Ending) -> None:
    """Leaves the rows of a shard, sorted by path, for `finish`.

    Args:
        results: the shard's.
        rows: `plan.current`.
        ending: how the run is to end.

    Raises:
        OutputError: the disk is full, read-only, or gone.
    """
    metadata = {_ENDING: msgspec.json.encode(ending)}
    table = rows.select(_NOTE.names).cast(_NOTE).sort_by("path").replace_schema_metadata(metadata)
    with replacing(results.run_json.with_suffix(".parquet")) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def finish(out: Place) -> Summary:
    """Ends a run that was done in shards, as an undivided run would have ended.

    Args:
        out: the results folder.

    Returns:
        The summary over all shards; its ``exit_code`` is 0 or 3.

    Raises:
        UsageError: there are no shards, or one is missing, has not come to its end, or does not
            fit to the others.
        BusyError: a shard is still running.
        OutputError: a part is damaged or gone, or the disk is full.
    """
    results = Results(out)
    if not results.notes():
        raise UsageError(
            f"no shards have run into {out} since they were last put together; run them with "
            "'boatinfer run --shard'."
        )
    with held(out, None) as results.parts.check:
        if isinstance(out, Path):
            results.clean()
        shards = _shards(results)
        summaries = [_checked(results, shard, len(shards)) for shard in shards]
        ending = _agreed(results, shards, summaries)
        summary = _summed(summaries)
        worn = _put_together(results, dict(zip(shards, summaries, strict=True)), summary, ending)
        results.write_summary(summary)
        results.supersede()
        with contextlib.suppress(BoatinferError):  # mere housekeeping
            compaction.remove(results.parts, worn)
    return summary


def _shards(results: Results) -> list[Shard]:
    """All shards; none is missing."""
    there = {Shard.parse(note.stem) for note in results.notes()}
    count = max(there).count
    missing = [str(s) for s in (Shard(count, n) for n in range(1, count + 1)) if s not in there]
    if missing:
        more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
        raise UsageError(
            f"{results.out} lacks the shard {', '.join(missing[:3])}{more}; run it with --shard."
        )
    return [Shard(count, number) for number in range(1, count + 1)]


def _checked(results: Results, shard: Shard, count: int) -> Summary:
    """The summary of a shard that came to its end."""
    summary = results.last_of(shard)
    if summary is None or not summary.complete:
        why = f" ({summary.error})" if summary is not None and summary.error else ""
        raise UsageError(
            f"the shard {shard} in {results.out} has not come to its end{why}; run it again."
        )
    return summary


def _agreed(results: Results, shards: list[Shard], summaries: list[Summary]) -> Ending:
    """How the run is to end, if all shards say the same."""
    first = summaries[0]
    ending = _ending(results, shards[0])
    for shard, summary in zip(shards, summaries, strict=True):
        for what, one, other in [
            ("the folder", first.folder, summary.folder),
            ("the model", first.model[:12], summary.model[:12]),
        ]:
            if one != other:
                raise UsageError(
                    f"the shard {shard} in {results.out} is of {what} {other}, and the shard "
                    f"{shards[0]} of {one}; run all of them on the same."
                )
        if _ending(results, shard) != ending:
            raise UsageError(
                f"the shard {shard} in {results.out} ran with other options (--top, --svm, "
                f"--max-failures or --report) than the shard {shards[0]}; run it again."
            )
    return ending


def _note(results: Results, shard: Shard) -> Place:
    return results.shards / f"{shard.name}.parquet"


def _ending(results: Results, shard: Shard) -> Ending:
    note = _note(results, shard)
    try:
        return msgspec.json.decode(pq.read_schema(opened(note)).metadata[_ENDING], type=Ending)
    except (OSError, pa.ArrowException, msgspec.MsgspecError, KeyError, TypeError) as error:
        raise _unreadable(note, shard) from error


def _unreadable(note: Place, shard: Shard) -> OutputError:
    return OutputError(f"{note} is damaged or missing; run the shard {shard} again.")


def _summed(summaries: list[Summary]) -> Summary:
    """One summary of all; it is not proved yet."""
    now = datetime.now(UTC)
    first = summaries[0]
    failures: Counter[str] = Counter()
    stages: defaultdict[str, float] = defaultdict(float)
    for summary in summaries:
        failures.update(summary.failures)
        for stage, seconds in summary.stages.items():
            stages[stage] += seconds
    rates = [s.images_per_second for s in summaries if s.images_per_second is not None]
    started = min(summary.started for summary in summaries)
    names = dict.fromkeys(name for summary in summaries for name in summary.versions)
    return Summary(
        run=now.strftime("%Y%m%dT%H%M%S.%fZ"),
        folder=first.folder,
        started=started,
        found=sum(summary.found for summary in summaries),
        classified=sum(summary.classified for summary in summaries),
        reused=sum(summary.reused for summary in summaries),
        failed=sum(summary.failed for summary in summaries),
        failures=dict(sorted(failures.items())),
        images_per_second=round(sum(rates), 1) if rates else None,
        model=first.model,
        model_name=first.model_name,
        classes=first.classes,
        training=first.training,
        threads=sum(summary.threads or 0 for summary in summaries),
        stages=dict(stages),
        shards=[summary.run for summary in summaries],
        device=_each(summary.device for summary in summaries),
        versions={name: _each(s.versions.get(name, "") for s in summaries) for name in names},
    )


def _each(texts: Iterable[str]) -> str:
    return ", ".join(sorted(set(texts)))


def _put_together(
    results: Results, shards: dict[Shard, Summary], summary: Summary, ending: Ending
) -> list[Place]:
    """Proves, and writes the tables and the page.

    What is to be written of each shard stands in a file of its own until all are merged, and
    the page reads the merged rows from a file too, so that memory holds one shard at a time.

    Returns:
        Parts that have been merged, and may go.
    """
    failures: list[pa.Table] = []
    worn: list[Place] = []
    unlisted = False
    with contextlib.ExitStack() as stack:
        scratch = _scratch(results, stack)
        mapped = []
        for shard, its in shards.items():
            if not its.found:
                continue
            rows, table = _proved(results, shard, its, ending)
            failures.append(predictions.failed(results, rows))
            unlisted |= bool(pc.any(pc.ends_with(rows["path"], "/")).as_py())
            file = scratch / f"{shard.name}.arrow"
            mapped.append(_on_disk(file, table.schema, [table], stack))
            worn += _merge_parts(results, shard, rows if ending.looks_everywhere else None)
            del rows, table
        if not mapped:
            raise UsageError(f"the shards in {results.out} have found no images; check the folder.")
        file = scratch / "predictions.arrow"
        table = _on_disk(file, mapped[0].schema, merged(mapped), stack)
        failed = pa.concat_tables(failures).sort_by("path")
        predictions.write_failures(results, failed)
        predictions.write_review(results, table, ending.min_confidence)
        _write_csv(results.predictions, table.drop_columns("new"))
        tables = predictions.Tables(table, failed)
        summary.min_confidence = ending.min_confidence
        summary.target_accuracy = ending.target_accuracy
        proof.count(summary, tables)
        summary.complete = True
        _close(summary, unlisted, ending)
        results.write_current(map(_table, table.to_batches()), summary)
        if ending.report:
            report.write(results, summary, tables)
        else:
            with writing(results.report):
                results.report.unlink(missing_ok=True)
    return worn


def _merge_parts(results: Results, shard: Shard, found: pa.Table | None) -> list[Place]:
    """Merges the parts of a shard if there are many; gives those that may go."""
    parts = Parts(results.parts.folder, shard)
    parts.check = results.parts.check
    if len(parts.own()) < compaction.MANY_PARTS:
        return []
    return compaction.merge(parts, parts.index().select(["part", "row"]), found)


def _scratch(results: Results, stack: contextlib.ExitStack) -> Path:
    """A folder for a while, beside the results if these are on a disk."""
    beside = results.shards if isinstance(results.shards, Path) else None
    with writing(results.shards):
        folder = tempfile.TemporaryDirectory(prefix=MERGING, dir=beside)
    return Path(stack.enter_context(folder))


def _proved(
    results: Results, shard: Shard, summary: Summary, ending: Ending
) -> tuple[pa.Table, pa.Table]:
    """What a shard has left, and what predictions.csv says of it; both sorted by path.

    Raises:
        OutputError: the parts on disk do not hold what the shard says that it has found.
    """
    note = _note(results, shard)
    try:
        rows = pq.read_table(opened(note))
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(note, shard) from error
    svm = svms.load(Path(from_text(ending.svm))) if ending.svm else None
    made = predictions.predicted(
        results,
        rows,
        ending.card,
        run=summary.run,
        top=ending.top,
        svm=svm,
        min_confidence=ending.min_confidence,
    )
    table = pa.concat_tables([_plain(part) for part in made]).sort_by("path")
    paths = rows["path"]
    sound = int(pc.sum(pc.equal(table["status"], OK)).as_py() or 0)
    if not (
        table["path"].equals(paths)
        and pc.count_distinct(paths).as_py() == len(paths) == summary.found
        and sound == summary.classified + summary.reused
        and len(paths) - sound == summary.failed
        and shard.mask(paths).all()
    ):
        raise OutputError(
            f"the parts in {results.out} do not hold what the shard {shard} has found; run it "
            "again."
        )
    return rows, table


def _plain(table: pa.Table) -> pa.Table:
    """The table with text in place of dictionaries, which files of several batches cannot mix."""
    fields = [
        pa.field(f.name, pa.string()) if pa.types.is_dictionary(f.type) else f for f in table.schema
    ]
    return table.cast(pa.schema(fields))


def _on_disk(
    file: Path, schema: pa.Schema, tables: Iterable[pa.Table], stack: contextlib.ExitStack
) -> pa.Table:
    """Writes tables one after the other, and gives them as one that stays on disk."""
    with replacing(file) as temporary, pa.ipc.new_file(temporary, schema) as writer:
        for table in tables:
            writer.write_table(table.combine_chunks())
    source = stack.enter_context(pa.memory_map(str(file)))
    return pa.ipc.open_file(source).read_all()


def _write_csv(path: Place, table: pa.Table) -> None:
    schema = csv_safe(table.slice(0, 0)).schema
    with (
        replacing(path) as temporary,
        pa.csv.CSVWriter(temporary, schema, write_options=predictions.CSV) as writer,
    ):
        for batch in table.to_batches():
            writer.write_table(csv_safe(_table(batch)))


def _table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])


def _close(summary: Summary, unlisted: bool, ending: Ending) -> None:
    now = datetime.now(UTC)
    allowed = proof.allowance(ending.max_failures)
    too_many = unlisted or summary.failed > allowed(summary.found)
    summary.exit_code = TOO_MANY_FAILURES if too_many else 0
    summary.finished = now.isoformat(timespec="milliseconds")
    summary.seconds = round((now - datetime.fromisoformat(summary.started)).total_seconds(), 3)


def merged(tables: Sequence[pa.Table], step: int = _STEP) -> Iterator[pa.Table]:
    """Merges tables that are sorted by their column ``path``, a few rows of each at a time.

    Yields:
        Tables that, one after the other, are sorted by ``path``.
    """
    places = [0] * len(tables)
    paths = [table["path"] for table in tables]
    while True:
        ends = [min(place + step, len(path)) for place, path in zip(places, paths, strict=True)]
        open_ = [i for i, end in enumerate(ends) if places[i] < end]
        if not open_:
            return
        bound = min(paths[i][ends[i] - 1].as_py() for i in open_)
        pieces = []
        for i in open_:
            end = _after(paths[i], bound, places[i], ends[i])
            pieces.append(tables[i].slice(places[i], end - places[i]))
            places[i] = end
        yield pa.concat_tables(pieces).sort_by("path")


def _after(paths: pa.ChunkedArray, path: str, start: int, end: int) -> int:
    """The first place from ``start`` to ``end`` whose path is after another."""
    return bisect.bisect_right(range(end), path, lo=start, key=lambda row: paths[row].as_py())
