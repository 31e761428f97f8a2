"""A challenger in the shadow: after a run it classifies a share of the new images.

Its rows go to parts of their own, ``OUT/models/shadow/``, which no table is made of.
"""

from __future__ import annotations

import time

import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.dataset.held_back import in_share
from boatinfer.errors import BoatinferError
from boatinfer.models.device import Device
from boatinfer.pipeline.beside import Beside, classify_beside
from boatinfer.pipeline.context import RunContext
from boatinfer.results.proof import Proof
from boatinfer.results.registry import Registry
from boatinfer.results.shadow import shadow_parts
from boatinfer.results.store.compaction import compact
from boatinfer.results.store.index import RowIndex
from boatinfer.results.store.rows import OK, Row
from boatinfer.storage.listing import ListedFile
from boatinfer.text import counted

__all__ = ["run_challenger"]

#: Seconds that a challenger may take at least, and as a share of the run's own time.
_SECONDS, _SHARE = 60.0, 1.0


def run_challenger(context: RunContext, proved: Proof) -> None:
    """Runs the challenger, if there is one; whatever happens to it, the run goes on.

    It takes no more time than the run has taken, or a minute.

    Args:
        context: a run whose tables and manifest are written.
        proved: its rows.
    """
    try:
        registry = Registry(context.results.out)
        challenger = registry.challenger
        if challenger is None:
            return
        model, share = challenger
        if model.network == context.summary.model:
            return
        files = _chosen(context, proved, share)
        how = Beside(
            registry.file_of(model),
            context.folder,
            Device(context.options.device),
            context.options.memory,
            context.options.threads,
            context.options.image_timeout,
            context.options.lenient,
            context.options.endpoint,
        )
        done = _classify(context, how, files) if files else 0
    except (BoatinferError, OSError) as error:
        sentence = str(error).rstrip(".")
        context.remark(f"The challenger did not run: {sentence}.")
        return
    if done < len(files):
        context.remark(
            f"The challenger {model} classified {done:,} of {counted(len(files), 'new image')}; "
            "then its time was over."
        )


def _chosen(context: RunContext, proved: Proof, share: float) -> list[ListedFile]:
    """The new images of the share, by the hash of their content: a part of them is a sample."""
    columns = ["path", "bytes", "mtime_ns", "content", "status", "run"]
    runs = pa.array(context.results.new_runs(context.summary), pa.string())
    chosen: dict[str, ListedFile] = {}
    for part in context.results.parts.read_masked(proved.masks, columns):
        new = pc.and_(pc.is_in(part["run"], runs), pc.equal(part["status"], OK))
        for row in part.filter(new).to_pylist():
            if in_share(row["content"], share):
                file = ListedFile(row["path"], row["bytes"], row["mtime_ns"])
                chosen.setdefault(row["content"], file)
    return [chosen[content] for content in sorted(chosen)]


def _classify(context: RunContext, how: Beside, files: list[ListedFile]) -> int:
    """Classifies and records; returns how many there was time for."""
    spent = time.monotonic() - context.started
    end = time.monotonic() + max(_SECONDS, _SHARE * spent)
    rows: list[Row] = []
    info = None
    stopped = lambda: context.stop.signal_number or time.monotonic() > end  # noqa: E731
    for info, batch in classify_beside(how, files, stopped):  # noqa: B007
        rows += batch
    if info is not None and rows:
        parts = shadow_parts(context.results.out)
        parts.folder.mkdir(exist_ok=True)
        parts.append(rows, info.card.classes, info.digest, context.summary.run)
        index = RowIndex(parts, info.digest, context.summary.run)
        index.read()
        compact(index)
    return len(rows)
