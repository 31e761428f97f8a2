"""What the shards of a run leave, put together: the proof over all of them, and the tables.

The rows are read part by part, and sorted on disk where they are many.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from boatinfer.analysis.unusual import mark_unusual
from boatinfer.errors import BoatinferError, ModelError, OutputError, UsageError
from boatinfer.models import svm as svms
from boatinfer.models.svm import SVM
from boatinfer.pages import report
from boatinfer.pipeline.shard_manifest import RunSettings, read_manifest, read_rows
from boatinfer.results import proof, published_tables
from boatinfer.results.folder import Results
from boatinfer.results.locks import lock_results
from boatinfer.results.new_features import with_new_features
from boatinfer.results.reviewed import read_reviewed
from boatinfer.results.store import compaction
from boatinfer.results.store.index import RowIndex
from boatinfer.results.store.keyed_arrays import keys
from boatinfer.results.store.parts import Parts, RowMasks
from boatinfer.results.store.rows import OK
from boatinfer.results.store.shards import Shard
from boatinfer.results.summary import Summary
from boatinfer.results.tables import predictions
from boatinfer.storage.base import Place
from boatinfer.text import from_text, joined

__all__ = ["finish"]


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
    if not results.shard_files():
        raise UsageError(
            f"no shards have run into {out} since they were last put together; run them with "
            "'boatinfer run --shard'."
        )
    with lock_results(out, None) as results.parts.check:
        results.clean()
        shards = {shard: _checked(results, shard) for shard in _shards(results)}
        settings, remarks = _agreed(results, shards)
        summary = _summed(list(shards.values()), remarks, settings)
        summary, worn = _put_together(results, shards, summary, settings)
        damaged = results.set_aside_damaged()
        summary = replace(summary, remarks=[*summary.remarks, *damaged])
        results.write_summary(summary)
        results.supersede()
        with contextlib.suppress(BoatinferError, OSError):  # mere housekeeping
            compaction.remove(results.parts, worn)
    return summary


def _shards(results: Results) -> list[Shard]:
    """All shards; none is missing."""
    there = {Shard.parse(note.stem) for note in results.shard_files()}
    count = max(there).count
    every = [Shard(count, number) for number in range(1, count + 1)]
    missing = [shard for shard in every if shard not in there]
    if missing:
        which, them = ("shard", "it") if len(missing) == 1 else ("shards", "each")
        raise UsageError(
            f"{results.out} lacks the {which} {joined(missing)}; run {them} with --shard "
            f"{missing[0]}{'' if len(missing) == 1 else ' and so on'}."
        )
    return every


def _checked(results: Results, shard: Shard) -> Summary:
    """The summary of a shard that came to its end."""
    summary = results.shard_summary(shard)
    if summary is None or not summary.complete:
        why = f" ({summary.error})" if summary is not None and summary.error else ""
        raise UsageError(
            f"the shard {shard} in {results.out} has not come to its end{why}; run it again."
        )
    return summary


def _agreed(results: Results, shards: dict[Shard, Summary]) -> tuple[RunSettings, list[str]]:
    """How the run is to end, if all shards say the same; and what to remark on them."""
    (first, its), *others = shards.items()
    begun = read_manifest(results, first)
    fewest = most = begun.listing.files
    alike = True
    for shard, summary in others:
        for what, one, other in [
            ("the folder", its.folder, summary.folder),
            ("the model", its.model[:12], summary.model[:12]),
        ]:
            if one != other:
                raise UsageError(
                    f"the shard {shard} in {results.out} is of {what} {other}, and the shard "
                    f"{first} of {one}; run all of them on the same."
                )
        here = read_manifest(results, shard)
        if unlike := here.settings.unlike(begun.settings):
            raise UsageError(
                f"the shard {shard} in {results.out} ran with other options than the shard "
                f"{first} ({', '.join(unlike)}); run it again with the same."
            )
        alike = alike and here.listing == begun.listing
        fewest, most = min(fewest, here.listing.files), max(most, here.listing.files)
    return begun.settings, [] if alike else [_moved(fewest, most)]


def _moved(fewest: int, most: int) -> str:
    seen = f"{fewest:,} to {most:,}" if fewest < most else f"{most:,}, not the same,"
    return (
        f"Files came or went between the listings of the shards, which saw {seen} images; the "
        "next run does what came too late for its shard."
    )


def _summed(summaries: list[Summary], remarks: list[str], settings: RunSettings) -> Summary:
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
        warnings=sum(summary.warnings for summary in summaries),
        other_files=first.other_files,  # every shard lists the whole folder
        system_folders=first.system_folders,
        images_per_second=round(sum(rates), 1) if rates else None,
        restrictions=first.restrictions,
        remarks=[*dict.fromkeys(text for s in summaries for text in s.remarks), *remarks],
        min_confidence=settings.min_confidence,
        max_novelty=settings.max_novelty,
        title=settings.title,
        language=settings.language,
        link_prefix=settings.link_prefix,
        gallery=settings.gallery,
        target_accuracy=settings.target_accuracy,
        model=first.model,
        model_name=first.model_name,
        model_file=first.model_file,
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
    results: Results, shards: dict[Shard, Summary], summary: Summary, settings: RunSettings
) -> tuple[Summary, list[Place]]:
    """Proves, and writes the tables and the page.

    Returns:
        The summary, and parts that have been merged and may go.
    """
    if not summary.found and not settings.allow_empty:
        raise UsageError(f"the shards in {results.out} have found no images; check the folder.")
    svm = _svm_of(settings)
    features = settings.features and settings.parquet
    reviewed, remarks = read_reviewed(results)
    summary = replace(summary, remarks=[*summary.remarks, *remarks])
    columns = predictions.required_columns(settings.card, svm, features, reviewed)
    tables = predictions.build_tables(
        itertools.chain.from_iterable(
            _proved(results, shard, its, columns) for shard, its in shards.items() if its.found
        ),
        settings.card,
        new_runs=results.new_runs(summary),
        top=settings.top,
        svm=svm,
        min_confidence=settings.min_confidence,
        max_novelty=settings.max_novelty,
        parquet=settings.parquet,
        features=features,
        scratch_folder=results.out,
        reviewed=reviewed,
    )
    summary = published_tables.write_tables(results, tables, summary, settings.xlsx)
    summary = proof.count_labels(summary, tables, results)
    if settings.features or settings.svm is not None:
        rows = (_masks(read_rows(results, shard)) for shard, its in shards.items() if its.found)
        summary = with_new_features(results, summary, rows)
    summary = replace(summary, complete=True)
    summary = mark_unusual(summary, results.history(summary))
    summary = proof.set_exit_code(summary, settings.max_failures, settings.fail_on_unusual)
    whole = not settings.restrictions
    worn = [file for shard in shards for file in _merge_parts(results, shard, whole)]
    summary = _closed(summary)
    results.write_current(tables.predictions, summary)
    results.parts.check()
    report.write(results, summary, tables, settings.report)
    return summary, worn


def _masks(rows: pa.Table) -> RowMasks:
    """Masks of the rows in a table of ``part`` and ``row``."""
    parts, numbers = rows["part"].to_numpy(), rows["row"].to_numpy()
    masks = {}
    for part in np.unique(parts).tolist():
        its = numbers[parts == part]
        masks[part] = np.zeros(int(its.max()) + 1, np.bool_)
        masks[part][its] = True
    return masks


def _svm_of(settings: RunSettings) -> SVM | None:
    """The SVM that the shards ran with.

    Raises:
        ModelError: its file is not what it was.
    """
    if settings.svm is None:
        return None
    path = Path(from_text(settings.svm))
    svm = svms.load(path)
    if svm.digest != settings.svm_digest:
        raise ModelError(
            f"{path} is not the SVM that the shards ran with; put that one back, or run them again."
        )
    return svm


def _proved(
    results: Results, shard: Shard, summary: Summary, columns: Sequence[str]
) -> Iterator[pa.Table]:
    """Reads what the parts on disk hold of a shard, and compares it with what the shard says.

    Raises:
        OutputError: they differ, a part is damaged or gone.
    """
    rows, digest = read_rows(results, shard), read_manifest(results, shard).digest
    found = sound = 0
    for part in results.parts.read(rows, columns):
        found += part.num_rows
        sound += int(pc.sum(pc.equal(part["status"], OK)).as_py() or 0)
        digest -= int(keys(part["path"])["low"].sum())
        yield part
    if not (
        found == summary.found
        and sound == summary.classified + summary.reused == found - summary.failed
        and digest % 2**64 == 0
    ):
        raise OutputError(
            f"the parts in {results.out} do not hold what the shard {shard} has found; run it "
            "again."
        )


def _merge_parts(results: Results, shard: Shard, whole: bool) -> list[Place]:
    """Merges the parts of a shard if there are many; gives those that may go.

    Args:
        results: of all shards.
        shard: which one.
        whole: whether it looked for all images.
    """
    parts = Parts(results.parts.folder, shard)
    parts.check = results.parts.check
    if len(parts.own()) < compaction.MANY_PARTS:
        return []
    row_index = RowIndex(parts)
    row_index.read()
    used = row_index.masks_of(read_rows(results, shard))
    last = row_index.row_masks()
    if any((used[number] & ~last[number]).any() for number in used):
        return []  # merged before, when this merge did not come to its end; a later run merges
    return compaction.merge(row_index, used if whole else None)


def _closed(summary: Summary) -> Summary:
    now = datetime.now(UTC)
    return replace(
        summary,
        finished=now.isoformat(timespec="milliseconds"),
        seconds=round((now - datetime.fromisoformat(summary.started)).total_seconds(), 3),
    )
