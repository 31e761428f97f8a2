"""What is new in each first-level sub-folder: counts of classes and confidences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.results.mix import BINS, FolderMix, histogram
from boatinfer.results.tables.predictions import counts, network_labels

__all__ = ["MAX_FOLDERS", "MIN_IMAGES", "new_folders", "sub_folders"]

#: Sub-folders in run.json, at most.
MAX_FOLDERS = 50
#: New images that a sub-folder, or a run, needs to be compared with earlier ones.
MIN_IMAGES = 20


class _Sums:
    def __init__(self) -> None:
        self.classes: Counter[str] = Counter()
        self.confidences, self.total = np.zeros(BINS, np.int64), 0.0

    def add(self, rows: pa.Table) -> None:
        confidences = rows["confidence"].to_numpy()
        self.classes.update(counts(network_labels(rows)))
        self.confidences += histogram(confidences)
        self.total += float(confidences.sum(dtype=np.float64))

    @property
    def images(self) -> int:
        return int(self.confidences.sum())

    def mix(self) -> FolderMix:
        return FolderMix(
            classes=dict(sorted(self.classes.items())),
            confidences=self.confidences.tolist(),
            mean_confidence=round(self.total / self.images, 6),
        )


def new_folders(tables: Iterable[pa.Table]) -> dict[str, FolderMix]:
    """Counts the sub-folders with most new images: `MAX_FOLDERS` of at least `MIN_IMAGES`.

    Args:
        tables: rows of new images in batches, sorted by path, so that only the last sub-folder of
            a batch may go on in the next.

    Returns:
        Their counts by name; none if all images lie in one of them, which is the whole then.
    """
    found: dict[str, _Sums] = {}
    images = 0
    for rows in tables:
        images += rows.num_rows
        names = sub_folders(rows["path"]).combine_chunks().dictionary_encode()
        codes = pc.fill_null(names.indices, -1).to_numpy()
        each, starts, sizes = np.unique(codes, return_index=True, return_counts=True)
        for code, start, size in zip(each.tolist(), starts.tolist(), sizes.tolist(), strict=True):
            at_an_end = start == 0 or start + size == rows.num_rows
            if code >= 0 and (at_an_end or size >= MIN_IMAGES):
                name = names.dictionary[code].as_py()
                found.setdefault(name, _Sums()).add(rows.slice(start, size))
        found = _largest(found, names[-1].as_py())
    largest = _largest(found)
    if any(sums.images == images for sums in largest.values()):
        return {}
    return {name: sums.mix() for name, sums in sorted(largest.items())}


def sub_folders(paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """The first-level sub-folder of each path; null for images beside them, and absolute paths."""
    inside = pc.match_substring_regex(paths, "^[^/]+/")
    return pc.if_else(inside, pc.replace_substring_regex(paths, "(?s)/.*$", ""), None)


def _largest(found: dict[str, _Sums], unfinished: str | None = None) -> dict[str, _Sums]:
    order = sorted(found, key=lambda name: -found[name].images)
    kept = [name for name in order if found[name].images >= MIN_IMAGES][:MAX_FOLDERS]
    return {name: sums for name, sums in found.items() if name in {*kept, unfinished}}
