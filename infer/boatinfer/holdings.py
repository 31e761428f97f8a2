"""``boatinfer results``: what a results folder holds, and whether it is sound."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.errors import OutputError, UsageError
from boatinfer.parts import OK
from boatinfer.results import Results
from boatinfer.summary import Summary

__all__ = ["damage", "holdings"]


def holdings(results: Results) -> dict[str, str]:
    """What the folder holds, in words and figures for people.

    Raises:
        UsageError: no run has been in it.
        OutputError: a part or a summary is damaged.
    """
    _require(results)
    holder = results.held_by()  # asked first, lest a run end between the questions
    last, complete = results.last_run(), results.last_complete()
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
    if results.notes():
        done = {note.stem for note in results.notes() if note.suffix == ".parquet"}
        said["shards"] = f"{len(done):,} done; when all are, end the run with --finish"
    size = sum(file.stat().st_size for file in files)
    return said | {
        "runs": f"{len(list((results.out / 'runs').glob('*.json'))):,}",
        "parts": f"{len(files):,} files, {size:,} bytes",
        "images": f"{_different(index)} ever recorded, {_different(sound)} of them classified",
        "features": f"{_different(sound.filter(sound['has_features']))} images",
        "models": ", ".join(model[:12] for model in pc.unique(sound["model"]).to_pylist()),
    }


def damage(results: Results) -> Iterator[str]:
    """Reads everything and tells, a sentence each, what is damaged or missing.

    Raises:
        UsageError: no run has been in it.
    """
    _require(results)
    damaged = list(results.parts.damage())
    yield from damaged
    if damaged:
        return
    try:
        if results.last_complete() is not None:
            results.current()
    except OutputError as error:
        yield str(error)


def _require(results: Results) -> None:
    if not results.exists():
        raise UsageError(
            f"{results.out} is no results folder; give the folder that 'boatinfer run' wrote to."
        )


def _how_it_went(last: Summary | None, index: pa.Table, holder: str | None) -> str:
    if last is None:
        return f"in progress, by {holder}" if holder else "none yet"
    done = _different(index.filter(pc.equal(index["run"], last.run)))
    if last.finished is None and holder:
        return f"{last.run}, in progress, by {holder}; {done} images recorded so far"
    if last.finished is None:
        return f"{last.run}, killed; {done} images recorded, and the next run continues"
    error = f": {last.error}" if last.error else ""
    return f"{last.run}, exit code {last.exit_code}{error}"


def _different(index: pa.Table) -> str:
    """How many images some rows are of; an image has a row for each model."""
    return f"{pc.count_distinct(index['path']).as_py():,}"
