"""``boatinfer results``: what a results folder holds, in words."""

from __future__ import annotations

from collections import defaultdict

import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.results.folder import Results
from boatinfer.results.integrity import aside
from boatinfer.results.locks import held_by
from boatinfer.results.store.parts import translate_read_errors
from boatinfer.results.store.rows import OK
from boatinfer.results.store.shards import Shard
from boatinfer.results.summary import Summary
from boatinfer.text import counted, joined

__all__ = ["holdings"]


def holdings(results: Results) -> dict[str, str]:
    """What the folder holds, in words and figures for people.

    Raises:
        UsageError: no run has been in it.
        OutputError: a part or a summary is damaged, or a part has gone meanwhile.
    """
    results.require()
    holder = results.held_by()  # asked first, lest a run end between the questions
    complete = results.last_complete()
    last = results.last_run() or complete
    files, index = results.parts.files(), results.parts.index()
    sound = index.filter(pc.equal(index["status"], OK))
    said = {"images from": last.folder} if last else {}
    said["last run"] = _how_it_went(last, index, holder)
    if last and complete:
        if complete.run != last.run:
            said["complete"] = f"{complete.run}, exit code {complete.exit_code}"
        said["found"] = (
            f"{complete.found:,} = {complete.classified:,} classified + {complete.reused:,} reused "
            f"+ {complete.failed:,} failed"
        )
        if complete.restrictions:
            said["restricted"] = " ".join(complete.restrictions)
    if results.notes():
        said["shards"] = _shards(results)
    if damaged := aside(results.parts):
        said["damaged"] = f"{joined([part.name for part in damaged])}: set aside, not needed"
    size = sum(translate_read_errors(file, file.stat).st_size for file in files)
    return said | {
        "runs": f"{len(list((results.out / 'runs').glob('*.json'))):,}",
        "parts": f"{counted(len(files), 'file')}, {size:,} bytes",
        "images": f"{_different(index):,} ever recorded, {_different(sound):,} of them classified",
        "features": counted(_different(sound.filter(sound["has_features"])), "image"),
        "models": ", ".join(model[:12] for model in pc.unique(sound["model"]).to_pylist()),
    }


def _how_it_went(last: Summary | None, index: pa.Table, holder: str | None) -> str:
    if last is None:
        return f"in progress, by {holder}" if holder else "none yet"
    done = counted(_different(index.filter(pc.equal(index["run"], last.run))), "image")
    if last.finished is None and holder:
        return f"{last.run}, in progress, by {holder}; {done} recorded so far"
    if last.finished is None:
        return f"{last.run}, killed; {done} recorded, and the next run continues"
    error = f": {last.error}" if last.error else ""
    return f"{last.run}, exit code {last.exit_code}{error}"


def _shards(results: Results) -> str:
    """How far each of the shards is that are not put together yet."""
    noted = {Shard.parse(note.stem): note.suffix for note in results.notes()}  # .parquet comes last
    count = max(noted).count
    states: defaultdict[str, list[Shard]] = defaultdict(list)
    for shard in (Shard(count, number) for number in range(1, count + 1)):
        states[_state(results, shard, noted.get(shard))].append(shard)
    done = len(states.pop("done", []))
    said = [f"{done:,} of {count:,} done", *(f"{joined(of)} {how}" for how, of in states.items())]
    when = "" if done == count else "when all are, "
    return f"{'; '.join(said)}; {when}end the run with --finish"


def _state(results: Results, shard: Shard, noted: str | None) -> str:
    if noted == ".parquet":
        return "done"
    holder = held_by(results.out, shard)
    if holder:
        return f"in progress, by {holder}"
    if noted is None:
        return "not begun"
    last = results.last_of(shard)
    return "killed" if last is None or last.finished is None else "ended early"


def _different(index: pa.Table) -> int:
    """How many images some rows are of; an image has a row for each model."""
    return int(pc.count_distinct(index["path"]).as_py())
