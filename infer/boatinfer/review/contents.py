"""The contents of all candidates, which take longer to read than what the first questions need."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.analysis.sampling import positions
from boatinfer.results.folder import Results
from boatinfer.review.candidates import Candidates

__all__ = ["Contents", "read_contents"]


class Contents(NamedTuple):
    """What is recorded of the candidates' contents.

    Attributes:
        hashes: string [N], xxh3-128 in hex.
        places: float64 [N], their places in the random order.
    """

    hashes: pa.Array
    places: npt.NDArray[np.float64]

    def rows(self, contents: Collection[str]) -> npt.NDArray[np.int64]:
        """The rows that have one of these contents."""
        mask = pc.is_in(self.hashes, value_set=pa.array(list(contents), pa.string()))
        return np.flatnonzero(mask.to_numpy(zero_copy_only=False))


def read_contents(results: Results, candidates: Candidates) -> Contents:
    """Reads them from the parts.

    Raises:
        OutputError: a part is damaged, or a run is changing the folder.
    """
    images = results.current()
    parts = list(results.parts.read(images, ["path", "content"]))
    table = pa.concat_tables(parts).combine_chunks()
    order = pc.index_in(candidates.paths.combine_chunks(), value_set=table["path"].combine_chunks())
    hashes = pc.fill_null(table["content"].combine_chunks().take(order), "0" * 32)
    return Contents(hashes, positions(hashes))
