"""``boatinfer results``: the state of a results folder."""

from __future__ import annotations

from collections import defaultdict

import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.results.folder import Results
from boatinfer.results.integrity import parts_set_aside
from boatinfer.results.locks import results_holder
from boatinfer.results.store.parts import translate_read_errors
from boatinfer.results.store.rows import OK
from boatinfer.results.store.shards import Shard
from boatinfer.results.summary import Summary
from boatinfer.text import counted, joined, local_time

__all__ = ["folder_status"]


def folder_status(results: Results) -> dict[str, str]:
    """Describes the state of the folder: text by name.

    Raises:
        UsageError: it is not a results folder.
        OutputError: a part or a summary is damaged, or a part was removed meanwhile.
    """
    results.require()
    holder = results.lock_holder()  # first, since a run may end while the folder is read
    complete = results.last_complete()
    last = results.last_run() or complete
    files, index = results.parts.files(), results.parts.index()
    classified = index.filter(pc.equal(index["status"], OK))
    facts = {"images from": last.folder} if last else {}
    facts["last run"] = _last_run_state(last, index, holder)
    if last and complete:
        if complete.run != last.run:
            facts["complete"] = f"{_named(complete)}, exit code {complete.exit_code}"
        facts["found"] = (
            f"{complete.found:,} = {complete.classified:,} classified + {complete.reused:,} reused "
            f"+ {complete.failed:,} failed"
        )
        if complete.restrictions:
            facts["restricted"] = " ".join(complete.restrictions)
    if results.shard_files():
        facts["shards"] = _shards(results)
    if damaged := parts_set_aside(results.parts):
        facts["damaged"] = f"{joined([part.name for part in damaged])}: set aside, not needed"
    size = sum(translate_read_errors(file, file.stat).st_size for file in files)
    return facts | {
        "runs": f"{len(list((results.out / 'runs').glob('*.json'))):,}",
        "parts": f"{counted(len(files), 'file')}, {size:,} bytes",
        "images": f"{_count_images(index):,} ever recorded, "
        f"{_count_images(classified):,} of them classified",
        "features": counted(_count_images(classified.filter(classified["has_features"])), "image"),
        "models": ", ".join(model[:12] for model in pc.unique(classified["model"]).to_pylist()),
    }


def _last_run_state(last: Summary | None, index: pa.Table, holder: str | None) -> str:
    if last is None:
        return f"in progress, by {holder}" if holder else "none yet"
    done = counted(_count_images(index.filter(pc.equal(index["run"], last.run))), "image")
    if last.finished is None and holder:
        return f"{_named(last)}, in progress, by {holder}; {done} recorded so far"
    if last.finished is None:
        return f"{_named(last)}, killed; {done} recorded, and the next run continues"
    error = f": {last.error}" if last.error else ""
    return f"{_named(last)}, exit code {last.exit_code}{error}"


def _named(summary: Summary) -> str:
    """The id of a run, and when it began."""
    return f"{summary.run} ({local_time(summary.started)})"


def _shards(results: Results) -> str:
    """The progress of the shards that are not merged yet."""
    # a shard that is done has a .parquet, which comes after its .json
    suffixes = {Shard.parse(file.stem): file.suffix for file in results.shard_files()}
    count = max(suffixes).count
    states: defaultdict[str, list[Shard]] = defaultdict(list)
    for shard in (Shard(count, number) for number in range(1, count + 1)):
        states[_state(results, shard, suffixes.get(shard))].append(shard)
    done = len(states.pop("done", []))
    unfinished = (f"{joined(shards)} {state}" for state, shards in states.items())
    progress = "; ".join([f"{done:,} of {count:,} done", *unfinished])
    condition = "" if done == count else "when all are, "
    return f"{progress}; {condition}end the run with --finish"


def _state(results: Results, shard: Shard, suffix: str | None) -> str:
    if suffix == ".parquet":
        return "done"
    holder = results_holder(results.out, shard)
    if holder:
        return f"in progress, by {holder}"
    if suffix is None:
        return "not begun"
    last = results.shard_summary(shard)
    return "killed" if last is None or last.finished is None else "ended early"


def _count_images(index: pa.Table) -> int:
    """Number of images in an index; an image has a row for each model."""
    return int(pc.count_distinct(index["path"]).as_py())
