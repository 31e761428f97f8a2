"""The order in which images are asked for: what is worth most of a person's time first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.results.tables.predictions import UNKNOWN, UNSURE, network_labels
from boatinfer.review.candidates import Candidates

__all__ = ["REASONS", "Section", "sections"]

Rows = npt.NDArray[np.int64]

#: Why an image is asked for, in the order of the questions, and in words.
REASONS = {
    "novel": "Unlike anything in training",
    "unsure": "Unsure",
    "disagree": "Network and SVM disagree",
    "rare": "Unusual class",
    "suspect": "Likely label error",
    "changed": "Changed since it was labelled",
    "random": "Random sample",
    "rest": "All others",
}

#: Shares of the images that are most novel and, without a threshold, least confident.
_NOVEL, _UNSURE = 0.02, 0.05
#: A class is unusual if this share of the images has it, or fewer images.
_RARE, _FEW = 0.005, 3


class Section(NamedTuple):
    """Images that are asked for one reason.

    Attributes:
        reason: a key of `REASONS`.
        rows: int64 [M], rows of the candidates, the most important first.
    """

    reason: str
    rows: Rows


def sections(candidates: Candidates, suspects: pa.Array | None = None) -> list[Section]:
    """The images that something speaks for, each once; the random sample is not among them.

    Args:
        candidates: all images.
        suspects: string [L], paths of images whose label is likely wrong, the worst first.
    """
    asked = np.zeros(len(candidates), np.bool_)
    found = []
    for reason, rows in _chosen(candidates, suspects):
        fresh = rows[~asked[rows]]
        asked[fresh] = True
        found.append(Section(reason, fresh))
    return found


def _chosen(candidates: Candidates, suspects: pa.Array | None) -> Iterator[tuple[str, Rows]]:
    table = candidates.table
    confidence = candidates.numbers("confidence")
    if "novelty" in table.column_names:
        novelty = np.nan_to_num(candidates.numbers("novelty"), nan=-np.inf)
        if candidates.summary.max_novelty is None:
            yield "novel", _first(-novelty, _NOVEL)
        else:
            unknown = _where(pc.equal(table["label"].cast(pa.string()), UNKNOWN))
            yield "novel", unknown[np.argsort(-novelty[unknown], kind="stable")]
    if candidates.summary.min_confidence is not None:
        below = _where(pc.equal(table["label"].cast(pa.string()), UNSURE))
        yield "unsure", below[np.argsort(confidence[below], kind="stable")]
    else:
        yield "unsure", _first(confidence, _UNSURE)
    if "svm_label" in table.column_names:
        labels = (network_labels(table), table["svm_label"])
        other = _where(
            pc.fill_null(pc.not_equal(*(column.cast(pa.string()) for column in labels)), False)
        )
        yield "disagree", other[np.argsort(-confidence[other], kind="stable")]
    yield "rare", _of_rare_classes(candidates, confidence)
    if suspects is not None:
        rows = pc.index_in(suspects, value_set=candidates.paths.combine_chunks()).drop_null()
        yield "suspect", rows.unique().to_numpy().astype(np.int64)


def _of_rare_classes(candidates: Candidates, confidence: npt.NDArray[np.float64]) -> Rows:
    """Images of classes that hardly occur, or that the run found to be more frequent than usual."""
    labels = network_labels(candidates.table).dictionary_encode()
    codes = labels.unify_dictionaries().combine_chunks()
    numbers = codes.indices.to_numpy()
    counts = np.bincount(numbers, minlength=len(codes.dictionary))
    risen = {
        name
        for unusual in candidates.summary.unusual
        if unusual.kind == "classes"
        for name, share in unusual.now.items()
        if share > unusual.usual.get(name, 0)
    }
    rare = counts <= max(_FEW, _RARE * len(candidates))
    rare &= len(counts) > 1
    rare |= np.array([name in risen for name in codes.dictionary.to_pylist()], np.bool_)
    rows = np.flatnonzero(rare[numbers])
    return rows[np.lexsort((confidence[rows], counts[numbers[rows]]))]


def _first(keys: npt.NDArray[np.float64], share: float) -> Rows:
    """The rows with the smallest keys, in their order; equal ones by row."""
    count = int(np.ceil(share * len(keys)))
    bound = np.partition(keys, count - 1)[count - 1]
    rows = np.flatnonzero(keys <= bound)
    return rows[np.argsort(keys[rows], kind="stable")][:count]


def _where(mask: pa.ChunkedArray) -> Rows:
    return np.flatnonzero(mask.to_numpy())
