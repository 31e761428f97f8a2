"""Shards: a folder split for runs on several machines, without a scheduler.

The split is by a hash of the path, so every machine computes its shard by itself, and an image
stays in its shard whichever images are added or removed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xxhash

from boatinfer.errors import UsageError
from boatinfer.storage.base import Place

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Shard", "is_shard_file"]

_MAX_SHARDS = 65_536


@dataclass(frozen=True, order=True)
class Shard:
    """One of ``count`` shards.

    Attributes:
        count: number of shards.
        number: number of this shard, from 1.
    """

    count: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Reads ``3/64``, or ``3-of-64`` as in file names.

        Raises:
            UsageError: the text is not a shard.
        """
        match = re.fullmatch(r"(\d{1,6})(?:/|-of-)(\d{1,6})", text)
        number, count = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= number <= count <= _MAX_SHARDS:
            raise UsageError(
                f"--shard {text}: give I/N, such as 3/64 for the third of 64; I is from 1 to N, "
                f"and N at most {_MAX_SHARDS:,}."
            )
        return cls(count, number)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def name(self) -> str:
        """The shard as part of a file name."""
        return f"{self.number}-of-{self.count}"

    def contains(self, path: str) -> bool:
        """Whether an image belongs to this shard, by the xxh3-64 of its path's text."""
        return xxhash.xxh3_64_intdigest(path.encode()) % self.count == self.number - 1

    def mask(self, paths: Any) -> npt.NDArray[np.bool_]:
        """Which images belong to this shard: bool [N], for N paths in an Arrow array."""
        import numpy as np

        raw = paths.cast("binary").to_numpy(zero_copy_only=False)
        digests = np.fromiter(map(xxhash.xxh3_64_intdigest, raw), np.uint64, len(raw))
        return np.asarray(digests % np.uint64(self.count) == self.number - 1)

    def next_part_number(self, last: int) -> int:
        """The number of this shard's next part: its first number after ``last``.

        Shard I of N has the numbers I, I + N, I + 2 N and so on, so that shards which write
        concurrently never use the same number.
        """
        return last + 1 + (self.number - last - 1) % self.count


def is_shard_file(file: Place) -> bool:
    """Whether the name is that of a shard's file."""
    try:
        canonical = Shard.parse(file.stem).name == file.stem
    except UsageError:
        return False
    return canonical and file.suffix in {".json", ".parquet"}
