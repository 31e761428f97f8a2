"""A batch of files to rows: read, hash, decode, infer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xxhash

from boatinfer import images
from boatinfer.errors import BoatinferError, Failure, ImageError, first_line
from boatinfer.images import Pixels
from boatinfer.isolation.journal import WHOLE_BATCH, begin_item
from boatinfer.models.model import Model
from boatinfer.pipeline.timings import Stages
from boatinfer.results.store.rows import Row
from boatinfer.storage.base import Place
from boatinfer.storage.listing import ListedFile
from boatinfer.text import from_text

if TYPE_CHECKING:
    from boatinfer.results.store.duplicates import ContentIndex

__all__ = ["Classifier", "Loaded"]

#: A row and the content of its file, or why it could not be read; None if that is still to come.
_Fetched = tuple[Row, bytes | ImageError | None]


class Loaded(NamedTuple):
    """A batch that has been read.

    Attributes:
        rows: one per file.
        readable: those of them that the network is to see.
        pixels: uint8 [size, H, W, 3]; the first are those of ``readable``, the rest are zeros.
    """

    rows: list[Row]
    readable: list[Row]
    pixels: Pixels


@dataclass(frozen=True)
class Classifier:
    """Classifies batches of files; may be called from several threads at once.

    Attributes:
        model: the open model.
        folder: the folder that the paths are relative to.
        size: the most files that a batch has.
        features: whether rows keep their feature vectors.
        lenient: whether a damaged JPEG is classified by what can be decoded of it.
        contents: rows of images that are known already, to be found by their content.
        stages: counts the seconds of ``read``, ``decode`` and ``infer``.
    """

    model: Model
    folder: Place
    size: int
    features: bool = False
    lenient: bool = False
    contents: ContentIndex | None = None
    stages: Stages = field(default_factory=Stages)

    def __call__(self, batch: list[ListedFile]) -> list[Row]:
        """Makes exactly one row of each file; one file's trouble never touches another's."""
        return self.infer(self.read(batch))

    def read(self, batch: list[ListedFile]) -> Loaded:
        """Reads, hashes and decodes the files."""
        return self.decode((Row(*found), None) for found in batch)

    def classify(self, fetched: Iterable[_Fetched]) -> list[Row]:
        """Makes exactly one row of each file that has been read."""
        return self.infer(self.decode(fetched))

    def fetch(self, found: ListedFile) -> _Fetched:
        """Reads a file ahead of the work, if it is not too large for that."""
        row = Row(*found)
        try:
            return row, self._load(row) if self.takes_ahead(row.bytes) else None
        except ImageError as error:
            return row, error

    def takes_ahead(self, size: int) -> bool:
        """Whether a file of so many bytes is small enough to be read ahead of the work."""
        return 0 <= size <= images.current_limits().read_ahead_size / self.size

    def _load(self, row: Row) -> bytes:
        try:
            with self.stages.working("read"):
                data, status = images.load_from_folder(self.folder, from_text(row.path), row.bytes)
        except ImageError:
            raise
        except Exception as error:  # whatever it is, it is this file's trouble alone
            message = f"{type(error).__name__}: {error}"
            raise ImageError(Failure.CORRUPT, message) from error
        _, row.bytes, row.mtime_ns = ListedFile.from_status(row.path, status)
        return data

    def decode(self, fetched: Iterable[_Fetched]) -> Loaded:
        """Hashes and decodes files, at most ``size``; reads those that have not been."""
        spec = self.model.card.image
        pixels = np.zeros((self.size, *spec.shape), np.uint8)
        rows: list[Row] = []
        readable: list[Row] = []
        for row, data in _one_in_hand(fetched):
            rows.append(row)
            with images.LargeFileSlot():
                if self._row(row, data, pixels[len(readable)]):
                    readable.append(row)
        return Loaded(rows, readable, pixels)

    def infer(self, loaded: Loaded) -> list[Row]:
        """Gives the rows what the network says of the pictures."""
        if loaded.readable:
            with self.stages.working("infer"):
                self._infer(loaded.readable, loaded.pixels)
        return loaded.rows

    def _is_known(self, row: Row, data: bytes) -> bool:
        row.content = xxhash.xxh3_128_hexdigest(data)
        if self.contents is not None:
            row.duplicate_of = self.contents.find(row.content)
        return row.duplicate_of is not None

    def _row(self, row: Row, data: bytes | ImageError | None, pixels: Pixels) -> bool:
        """Gives an image's pixels, or the row why there are none; whether there are any."""
        try:
            return self._decode(row, data, pixels)
        except ImageError as error:
            row.status, row.error = error.reason.value, str(error)
        except BoatinferError:  # a part with known contents cannot be read
            raise
        except MemoryError:
            row.status = Failure.TOO_LARGE.value
            row.error = "not enough memory; allow more with --memory"
        except Exception as error:  # whatever it is, it is this file's trouble alone
            row.status, row.error = Failure.CORRUPT.value, f"{type(error).__name__}: {error}"
        return False

    def _decode(self, row: Row, data: bytes | ImageError | None, pixels: Pixels) -> bool:
        """Gives an image's pixels, unless it is known."""
        if isinstance(data, ImageError):
            raise data
        if data is None:
            data = self._load(row)
        with self.stages.working("read"):
            if self._is_known(row, data):
                return False
        notes: list[str] = []
        with self.stages.working("decode"):
            spec = self.model.card.image
            pixels[:] = images.read(data, spec, lenient=self.lenient, notes=notes)
        row.error = "; ".join(notes) or None
        return True

    def _infer(self, rows: list[Row], pixels: Pixels) -> None:
        """Fills in what the network says; ``pixels`` may be longer than ``rows``."""
        try:
            found = self.model.infer(pixels[: len(rows)])
        except Exception as error:  # onnxruntime has a dozen exception types
            self._infer_singly(rows, pixels, first_line(error))
            return
        given = [array for array in found if array is not None]
        numbers = np.all([np.isfinite(array).all(axis=1) for array in given], axis=0)
        for i, row in enumerate(rows):
            if not numbers[i]:
                row.status, row.error = Failure.INFERENCE_FAILED.value, "the result is not a number"
                continue
            row.probabilities = found.probabilities[i]
            if self.features and found.features is not None:
                row.features = found.features[i]
            if found.svm is not None:
                row.svm = found.svm[i]
            if found.novelty is not None:
                row.novelty = float(found.novelty[i, 0])

    def _infer_singly(self, rows: list[Row], pixels: Pixels, reason: str) -> None:
        """Finds the image that a failed batch is to blame on."""
        if len(rows) == 1:
            rows[0].status, rows[0].error = Failure.INFERENCE_FAILED.value, reason
            return
        for i, row in enumerate(rows):
            self._infer([row], pixels[i : i + 1])


def _one_in_hand(fetched: Iterable[_Fetched]) -> Iterator[_Fetched]:
    """Notes in the journal which file of a batch is being read, hashed and decoded."""
    begin_item(0)
    for index, one in enumerate(fetched, 1):
        yield one
        begin_item(index)
    begin_item(WHOLE_BATCH)
