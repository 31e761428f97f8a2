"""Moments of the features of the new images, of the whole and of its sub-folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from boatinfer.results.folder import Results
from boatinfer.results.folder_mixes import sub_folders
from boatinfer.results.moments import Accumulator, Moments, projected
from boatinfer.results.store.parts import Parts, RowMasks
from boatinfer.results.store.rows import OK, matrix
from boatinfer.results.summary import Summary

__all__ = ["with_new_features"]


def with_new_features(results: Results, summary: Summary, rows: Iterable[RowMasks]) -> Summary:
    """The summary with moments of the features of its new images.

    Args:
        results: the results folder.
        summary: the run's summary, with counts of its new images.
        rows: masks of the rows of all images found.

    Raises:
        OutputError: a part is damaged.
    """
    new = summary.new
    if new is None or not new.classified:
        return summary
    runs = results.new_runs(summary)
    return replace(
        summary, new=new.with_features(*_new_moments(results.parts, rows, runs, new.folders))
    )


def _new_moments(
    parts: Parts, rows: Iterable[RowMasks], new_runs: list[str], folders: Iterable[str]
) -> tuple[Moments | None, dict[str, Moments]]:
    """Moments of the features of the new images; reads the features of no others.

    Args:
        parts: the parts.
        rows: masks of the rows of all images found.
        new_runs: the runs whose images are new.
        folders: sub-folders to tell apart.

    Returns:
        The moments of all new images, None if none has features or some are infinite, and those
        of the sub-folders.

    Raises:
        OutputError: a part is damaged.
    """
    whole: Accumulator | None = None
    by_folder: dict[str, Accumulator] = {name: Accumulator(0) for name in folders}
    for table in _new_rows(parts, rows, new_runs):
        points = projected(matrix(table["features"]))
        if not np.isfinite(points).all():  # JSON has no word for them
            return None, {}
        whole = whole or Accumulator(points.shape[1])
        whole.add(points)
        names = sub_folders(table["path"]).dictionary_encode().combine_chunks()
        codes = pc.fill_null(names.indices, -1).to_numpy()
        for code, name in enumerate(names.dictionary.to_pylist()):
            if name in by_folder:
                if not by_folder[name].images:
                    by_folder[name] = Accumulator(points.shape[1])
                by_folder[name].add(points[codes == code])
    return (
        None if whole is None else whole.moments(diagonal=False),
        {name: sums.moments(diagonal=True) for name, sums in by_folder.items() if sums.images},
    )


def _new_rows(parts: Parts, rows: Iterable[RowMasks], new_runs: list[str]) -> Iterator[pa.Table]:
    """``path`` and ``features`` of the new images that have them, part by part."""
    for masks in rows:
        for table in parts.read_masked(_new(parts, masks, new_runs), ["path", "features"]):
            if "features" in table.column_names:
                with_features = table.filter(pc.is_valid(table["features"]))
                if with_features.num_rows:
                    yield with_features


def _new(parts: Parts, masks: RowMasks, new_runs: list[str]) -> RowMasks:
    """Restricts masks to the classified images of some runs."""
    used = {number: mask for number, mask in masks.items() if mask.any()}
    wanted, chosen = pa.array(new_runs, pa.string()), {}
    tables = parts.read_masked(used, ["status", "run"])
    for (number, mask), table in zip(used.items(), tables, strict=True):
        new = pc.and_(pc.equal(table["status"], OK), pc.is_in(table["run"], wanted))
        chosen[number] = np.zeros(len(mask), np.bool_)
        chosen[number][np.flatnonzero(mask)[new.to_numpy()]] = True
    return chosen
