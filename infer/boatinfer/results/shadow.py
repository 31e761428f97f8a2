"""What challengers say of images: ``OUT/models/shadow/``, parts that no table is made of."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.results.registry import MODELS
from boatinfer.results.store.parts import Parts
from boatinfer.results.store.rows import OK
from boatinfer.storage.base import Place

__all__ = ["shadow_parts", "shadow_rows"]


def shadow_parts(out: Place) -> Parts:
    """The parts with the rows of challengers; the folder need not exist."""
    return Parts(out / MODELS / "shadow")


def shadow_rows(out: Place, run: str) -> pa.Table | None:
    """What a challenger says of the new images of a run; None if none ran beside it.

    Returns:
        ``path``, ``model`` (its digest), ``label`` and ``confidence``.

    Raises:
        OutputError: a part is damaged.
    """
    parts = shadow_parts(out)
    index = parts.index()
    index = index.filter(pc.and_(pc.equal(index["run"], run), pc.equal(index["status"], OK)))
    if not index.num_rows:
        return None
    columns = ["path", "model", "label", "confidence"]
    return pa.concat_tables(parts.read(index, columns))
