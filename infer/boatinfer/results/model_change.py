"""What another model has changed: images whose label is not that of the model before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.results.store.keyed_arrays import KEY, Array, KeyedArrays, join_keys, keys
from boatinfer.results.tables.external_sort import batches
from boatinfer.storage.base import Place

__all__ = ["LabelChange", "ModelChange", "compare_labels"]

#: Pairs of labels that are named, at most.
_NAMED = 10

_LABELLED = np.dtype([*KEY.descr, ("label", "<i4")])


class LabelChange(msgspec.Struct, kw_only=True, frozen=True):
    """A label that has taken the place of another.

    Attributes:
        before: the label that the model before gave.
        now: the label of the model of this run.
        images: how many images.
    """

    before: str
    now: str
    images: int


class ModelChange(msgspec.Struct, kw_only=True, frozen=True):
    """What a run with another model than the run before has changed.

    Attributes:
        model: SHA-256 of the model before, hex.
        model_name: its name.
        images: images that both have labelled.
        changed: those of them whose label is another one now.
        labels: the most frequent changes.
    """

    model: str
    model_name: str
    images: int = 0
    changed: int = 0
    labels: list[LabelChange] = []


def compare_labels(
    before: pa.Table, now: pa.Table, model: str, name: str, scratch_folder: Place
) -> ModelChange:
    """Compares the labels that two models gave to the same images.

    Args:
        before: ``path`` and ``label`` of the images of the run before.
        now: the same of this run.
        model: SHA-256 of the model of the run before, hex.
        name: its name.
        scratch_folder: a folder on the disk for temporary files, if there are many images.

    Raises:
        OutputError: the disk is full.
    """
    names: dict[str, int] = {}
    old = _labelled(batches(before), names, scratch_folder)
    new = _labelled(batches(now), names, scratch_folder)
    count = max(old.partitions_needed, new.partitions_needed)
    images, changes = 0, Counter[tuple[int, int]]()
    for one, other in zip(old.slices(count), new.slices(count), strict=True):
        first, second = join_keys(one, other)
        images += len(first)
        changes.update(_changes(one["label"][first], other["label"][second]))
    known = list(names)
    return ModelChange(
        model=model,
        model_name=name,
        images=images,
        changed=changes.total(),
        labels=[
            LabelChange(before=known[was], now=known[now_is], images=number)
            for (was, now_is), number in changes.most_common(_NAMED)
        ],
    )


def _labelled(
    tables: Iterable[pa.Table], names: dict[str, int], scratch_folder: Place
) -> KeyedArrays:
    """The labels of images by the keys of their paths; ``names`` numbers the labels."""
    found = KeyedArrays(_LABELLED, scratch_folder)
    for batch in tables:
        rows = batch.select(["path", "label"]).filter(pc.is_valid(batch["label"]))
        labels = rows["label"].cast(pa.string()).combine_chunks().dictionary_encode()
        numbers = [names.setdefault(name, len(names)) for name in labels.dictionary.to_pylist()]
        indices = labels.indices.to_numpy(zero_copy_only=False)
        found.add(keys(rows["path"]), label=np.array(numbers, np.int32)[indices])
    return found


def _changes(before: Array, now: Array) -> dict[tuple[int, int], int]:
    """How often each label has become another."""
    other = before != now
    pairs = (before[other].astype(np.int64) << 32) | now[other]
    found, counts = np.unique(pairs, return_counts=True)
    return {
        (pair >> 32, pair & 0xFFFFFFFF): count
        for pair, count in zip(found.tolist(), counts.tolist(), strict=True)
    }
