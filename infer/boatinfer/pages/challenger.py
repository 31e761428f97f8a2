"""How the challenger differs from the model in service, on the new images of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.errors import OutputError
from boatinfer.pages.thumbnails import Album
from boatinfer.results.folder import Results
from boatinfer.results.registry import Registry
from boatinfer.results.shadow import shadow_rows
from boatinfer.results.summary import Summary
from boatinfer.results.tables.predictions import Tables, network_labels

__all__ = ["challenger_section"]

#: Pairs of labels, and pictures, at most.
_PAIRS, _PICTURES = 10, 6


def challenger_section(
    results: Results, summary: Summary, tables: Tables, album: Album
) -> Mapping[str, Any] | None:
    """What the page says of the challenger.

    Args:
        results: the results folder.
        summary: the run.
        tables: its tables.
        album: makes the pictures.

    Returns:
        ``name`` of the challenger; ``images`` that both classified, and in how many they ``agree``;
        ``pairs`` of labels in which they differ (``label``, ``other``, ``images``), the most
        frequent first, and how many images differ in ``others``; ``pictures`` of those of which the
        challenger is surest. None if no challenger ran beside the run.
    """
    try:
        rows = shadow_rows(results.out, summary.run)
    except OutputError:  # it is not what the page is for
        return None
    if rows is None:
        return None
    joined = _beside(rows, tables)
    differing = [row for row in joined if row["label"] != row["other"]]
    pairs = Counter((row["label"], row["other"]) for row in differing)
    digest = rows["model"][0].as_py()
    names = [model.name for model in Registry(results.out).models if model.network == digest]
    differing.sort(key=lambda row: -row["other_confidence"])
    return {
        "name": f"{names[-1] if names else 'a model'} ({digest[:12]})",
        "images": len(joined),
        "agree": len(joined) - len(differing),
        "pairs": [
            {"label": label, "other": other, "images": images}
            for (label, other), images in pairs.most_common(_PAIRS)
        ],
        "others": sum(images for _, images in pairs.most_common()[_PAIRS:]),
        "pictures": album.pictures(differing[:_PICTURES]),
    }


def _beside(rows: pa.Table, tables: Tables) -> list[dict[str, Any]]:
    """What both models say of each image."""
    predictions = tables.predictions
    mask = pc.is_in(predictions["path"].cast(pa.string()), rows["path"].combine_chunks())
    predictions = predictions.filter(mask)
    columns = {
        "path": predictions["path"].cast(pa.string()),
        "label": network_labels(predictions).cast(pa.string()),
        "confidence": predictions["confidence"],
    }
    known = {row["path"]: row for row in pa.table(columns).to_pylist() if row["label"] is not None}
    return [
        known[row["path"]] | {"other": row["label"], "other_confidence": row["confidence"]}
        for row in rows.to_pylist()
        if row["path"] in known
    ]
