"""Adds moments of the features of the new images to a run's summary."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from boatinfer.results.folder import Results
from boatinfer.results.moments import new_moments
from boatinfer.results.store.parts import RowMasks
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
        summary, new=new.with_features(*new_moments(results.parts, rows, runs, new.folders))
    )
