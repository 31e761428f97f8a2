"""A batch of files to rows: read, hash, decode, infer."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from boatinfer import images
from boatinfer.errors import Failure, ImageError
from boatinfer.images import Pixels
from boatinfer.model import Model
from boatinfer.results import Row
from boatinfer.scan import Found, from_text

__all__ = ["MAX_BYTES", "Classifier"]

#: A larger file is refused unread.
MAX_BYTES = 2**30

# Opening a named pipe would wait for a writer for ever; this way it is seen for what it is.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Classifier:
    """Classifies batches of files; may be called from several threads at once.

    Attributes:
        model: the open model.
        folder: the folder that the paths are relative to.
        features: whether rows keep their feature vectors.
        lenient: whether a damaged JPEG is classified by what can be decoded of it.
    """

    model: Model
    folder: Path
    features: bool = False
    lenient: bool = False

    def __call__(self, batch: list[Found]) -> list[Row]:
        """Makes exactly one row of each file; one file's trouble never touches another's."""
        spec = self.model.card.image
        pixels = np.empty((len(batch), spec.height, spec.width, 3), np.uint8)
        rows: list[Row] = []
        readable: list[Row] = []
        for found in batch:
            row = Row(found.path, found.bytes, found.mtime_ns)
            rows.append(row)
            try:
                pixels[len(readable)] = self._read(row)
                readable.append(row)
            except ImageError as error:
                row.status, row.error = error.reason.value, str(error)
        if readable:
            self._infer(readable, pixels[: len(readable)])
        return rows

    def _read(self, row: Row) -> Pixels:
        data = self._load(row)
        row.content = xxhash.xxh3_128_hexdigest(data)
        damage: list[str] | None = [] if self.lenient else None
        pixels = images.read(data, self.model.card.image, damage)
        row.error = "; ".join(damage) if damage else None
        return pixels

    def _load(self, row: Row) -> bytes:
        """Reads a file and notes its size and time as of now, so a later change is seen."""
        try:
            with os.fdopen(os.open(self.folder / from_text(row.path), _FLAGS), "rb", 0) as file:
                status = os.fstat(file.fileno())
                row.bytes, row.mtime_ns = status.st_size, status.st_mtime_ns
                if not stat.S_ISREG(status.st_mode):
                    raise ImageError(Failure.UNREADABLE, "it is no regular file")
                if status.st_size > MAX_BYTES:
                    raise ImageError(Failure.TOO_LARGE, f"the file has {status.st_size:,} bytes")
                return file.read()
        except FileNotFoundError as error:
            raise ImageError(Failure.VANISHED, "the file has gone since it was listed") from error
        except OSError as error:
            raise ImageError(Failure.UNREADABLE, error.strerror or str(error)) from error

    def _infer(self, rows: list[Row], pixels: Pixels) -> None:
        try:
            probabilities, features = self.model.infer(pixels)
        except Exception as error:  # onnxruntime has a dozen exception types
            self._infer_singly(rows, pixels, str(error))
            return
        for i, row in enumerate(rows):
            if not np.isfinite(probabilities[i]).all():
                row.status, row.error = Failure.INFERENCE_FAILED.value, "the result is not a number"
                continue
            row.probabilities = probabilities[i]
            if self.features and features is not None:
                row.features = features[i]

    def _infer_singly(self, rows: list[Row], pixels: Pixels, reason: str) -> None:
        """Finds the image that a failed batch is to blame on."""
        if len(rows) == 1:
            rows[0].status, rows[0].error = Failure.INFERENCE_FAILED.value, reason.splitlines()[0]
            return
        for i, row in enumerate(rows):
            self._infer([row], pixels[i : i + 1])
