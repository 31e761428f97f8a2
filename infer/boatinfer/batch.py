"""A batch of files to rows: read, hash, decode, infer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xxhash

from boatinfer import images
from boatinfer.errors import Failure, ImageError, first_line
from boatinfer.images import Pixels
from boatinfer.model import Model
from boatinfer.network import Inferred
from boatinfer.options import Device
from boatinfer.parts import Contents, Row
from boatinfer.scan import Found, from_text

__all__ = ["Classifier"]


@dataclass(frozen=True)
class Classifier:
    """Classifies batches of files; may be called from several threads at once.

    On a GPU one batch is inferred at a time, always of the full size, so that no second
    shape is compiled; the other threads read and decode meanwhile, a batch each.

    Attributes:
        model: the open model.
        folder: the folder that the paths are relative to.
        size: the most files that a batch has.
        features: whether rows keep their feature vectors.
        lenient: whether a damaged JPEG is classified by what can be decoded of it.
        contents: rows of images that are known already, to be found by their content.
    """

    model: Model
    folder: Path
    size: int
    features: bool = False
    lenient: bool = False
    contents: Contents | None = None
    gpu: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, batch: list[Found]) -> list[Row]:
        """Makes exactly one row of each file; one file's trouble never touches another's."""
        spec = self.model.card.image
        pixels = np.empty((self.size, spec.height, spec.width, 3), np.uint8)
        rows: list[Row] = []
        readable: list[Row] = []
        for found in batch:
            row = Row(*found)
            rows.append(row)
            try:
                data, status = images.load(f"{self.folder}/{from_text(row.path)}")
                row.bytes, row.mtime_ns = status.st_size, status.st_mtime_ns
                if self._is_known(row, data):
                    continue
                pixels[len(readable)] = self._decode(row, data)
                readable.append(row)
            except ImageError as error:
                row.status, row.error = error.reason.value, str(error)
            except Exception as error:  # whatever it is, it is this file's trouble alone
                row.status, row.error = Failure.CORRUPT.value, f"{type(error).__name__}: {error}"
        if readable:
            self._infer(readable, pixels)
        return rows

    def _is_known(self, row: Row, data: bytes) -> bool:
        row.content = xxhash.xxh3_128_hexdigest(data)
        if self.contents is not None:
            row.known = self.contents.find(row.content)
        return row.known is not None

    def _decode(self, row: Row, data: bytes) -> Pixels:
        damage: list[str] | None = [] if self.lenient else None
        pixels = images.read(data, self.model.card.image, damage)
        row.error = "; ".join(damage) if damage else None
        return pixels

    def _infer(self, rows: list[Row], pixels: Pixels) -> None:
        """Fills in what the network says; ``pixels`` may be longer than ``rows``."""
        try:
            found = self._outputs(pixels, len(rows))
        except Exception as error:  # onnxruntime has a dozen exception types
            self._infer_singly(rows, pixels, first_line(error))
            return
        for i, row in enumerate(rows):
            if not np.isfinite(found.probabilities[i]).all():
                row.status, row.error = Failure.INFERENCE_FAILED.value, "the result is not a number"
                continue
            row.probabilities = found.probabilities[i]
            if self.features and found.features is not None:
                row.features = found.features[i]
            if found.svm is not None:
                row.svm = found.svm[i]

    def _outputs(self, pixels: Pixels, count: int) -> Inferred:
        if self.model.device is not Device.CUDA:
            return self.model.infer(pixels[:count])
        padded = np.zeros((self.size, *pixels.shape[1:]), np.uint8)
        padded[:count] = pixels[:count]
        with self.gpu:
            return self.model.infer(padded).first(count)

    def _infer_singly(self, rows: list[Row], pixels: Pixels, reason: str) -> None:
        """Finds the image that a failed batch is to blame on."""
        if len(rows) == 1:
            rows[0].status, rows[0].error = Failure.INFERENCE_FAILED.value, reason
            return
        for i, row in enumerate(rows):
            self._infer([row], pixels[i : i + 1])
