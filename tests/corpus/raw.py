"""TIFF-like RAW files as cameras lay them out: thumbnail, preview, the sensor's data."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from corpus.sample import scene, turned_back

__all__ = ["dng_with_thumbnail_only", "raw_files"]

_STRUCT = {1: "B", 2: "B", 3: "H", 4: "I", 5: "I", 10: "i"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 10: 8}
Tag = tuple[int, int, Sequence[int]]


class _File:
    """A little-endian TIFF that grows at its end."""

    def __init__(self, head: bytes) -> None:
        self.content = bytearray(head)

    def add(self, data: bytes) -> int:
        self.content += b"\0" * (len(self.content) % 2)
        at = len(self.content)
        self.content += data
        return at

    def add_directory(self, tags: list[Tag], following: int = 0) -> int:
        entries = b""
        for tag, kind, values in sorted(tags):
            value = struct.pack(f"<{len(values)}{_STRUCT[kind]}", *values)
            count = len(value) // _SIZES[kind]
            if len(value) > 4:
                value = struct.pack("<I", self.add(value))
            entries += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
        return self.add(struct.pack("<H", len(tags)) + entries + struct.pack("<I", following))


def _jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=95)
    return file.getvalue()


def _sensor(file: _File, extra: list[Tag]) -> list[Tag]:
    """Tags of 200 x 120 samples behind a colour filter."""
    samples = np.full((120, 200), 3000, "<u2").tobytes()
    return [
        (254, 4, [0]), (256, 4, [200]), (257, 4, [120]), (258, 3, [16]), (259, 3, [1]),
        (262, 3, [32803]), (273, 4, [file.add(samples)]), (277, 3, [1]), (278, 4, [120]),
        (279, 4, [len(samples)]), (284, 3, [1]), (33421, 3, [2, 2]), (33422, 1, [0, 1, 1, 2]),
        *extra,
    ]  # fmt: skip


def _text(text: str) -> list[int]:
    return [*text.encode(), 0]


def _thumbnail(file: _File, make: str, model: str, orientation: int) -> list[Tag]:
    """Tags of a picture of 16 x 12 grey pixels, which is not the photograph."""
    grey = bytes([90]) * 16 * 12 * 3
    return [
        (254, 4, [1]), (256, 4, [16]), (257, 4, [12]), (258, 3, [8, 8, 8]), (259, 3, [1]),
        (262, 3, [2]), (271, 2, _text(make)), (272, 2, _text(model)), (273, 4, [file.add(grey)]),
        (274, 3, [orientation]), (277, 3, [3]), (278, 4, [12]), (279, 4, [len(grey)]),
    ]  # fmt: skip


def _preview(file: _File, orientation: int) -> tuple[int, int]:
    data = _jpeg(turned_back(scene(), orientation))
    return file.add(data), len(data)


def dng(orientation: int) -> bytes:
    """Adobe DNG 1.4: previews and the sensor's data in sub-directories."""
    file = _File(b"II*\0\0\0\0\0")
    at, length = _preview(file, orientation)
    stored = turned_back(scene(), orientation)
    preview = file.add_directory([
        (254, 4, [1]), (256, 4, [stored.shape[1]]), (257, 4, [stored.shape[0]]),
        (258, 3, [8, 8, 8]), (259, 3, [7]), (262, 3, [6]), (273, 4, [at]), (277, 3, [3]),
        (278, 4, [stored.shape[0]]), (279, 4, [length]), (284, 3, [1]),
    ])  # fmt: skip
    sensor = file.add_directory(_sensor(file, []))
    matrix = [value for i in range(9) for value in (int(i % 4 == 0), 1)]
    first = file.add_directory([
        *_thumbnail(file, "Make", "Model", orientation),
        (330, 4, [sensor, preview]), (50706, 1, [1, 4, 0, 0]), (50708, 2, _text("Make Model")),
        (50721, 10, matrix), (50778, 3, [21]),
    ])  # fmt: skip
    file.content[4:8] = struct.pack("<I", first)
    return bytes(file.content)


def dng_with_thumbnail_only() -> bytes:
    """A DNG whose only picture is far smaller than what the sensor saw."""
    file = _File(b"II*\0\0\0\0\0")
    sensor = file.add_directory(_sensor(file, []))
    tags = _thumbnail(file, "Make", "Model", 1)
    first = file.add_directory([*tags, (330, 4, [sensor]), (50706, 1, [1, 4, 0, 0])])
    file.content[4:8] = struct.pack("<I", first)
    return bytes(file.content)


def nef(orientation: int, make: str = "NIKON CORPORATION", model: str = "NIKON D850") -> bytes:
    """As Nikon and Sony do: a JPEG by offset and length in a sub-directory."""
    file = _File(b"II*\0\0\0\0\0")
    at, length = _preview(file, orientation)
    preview = file.add_directory([(254, 4, [1]), (259, 3, [6]), (513, 4, [at]), (514, 4, [length])])
    sensor = file.add_directory(_sensor(file, []))
    tags = _thumbnail(file, make, model, orientation)
    first = file.add_directory([*tags, (330, 4, [preview, sensor])])
    file.content[4:8] = struct.pack("<I", first)
    return bytes(file.content)


def cr2(orientation: int) -> bytes:
    """As Canon does: the preview in the first directory, the sensor's data in a later one."""
    file = _File(b"II*\0\0\0\0\0CR\x02\0\0\0\0\0")
    at, length = _preview(file, orientation)
    stored = turned_back(scene(), orientation)
    sensor = file.add_directory(_sensor(file, []))
    first = file.add_directory([
        (256, 3, [stored.shape[1]]), (257, 3, [stored.shape[0]]), (258, 3, [8, 8, 8]),
        (259, 3, [6]), (271, 2, _text("Canon")), (272, 2, _text("Canon EOS 80D")),
        (273, 4, [at]), (274, 3, [orientation]), (279, 4, [length]),
    ], sensor)  # fmt: skip
    file.content[4:8] = struct.pack("<I", first)
    file.content[12:16] = struct.pack("<I", sensor)
    return bytes(file.content)


def raw_files(orientation: int = 1) -> Iterator[tuple[str, bytes]]:
    """Names and contents; the preview of each is the corpus's scene."""
    yield "dng", dng(orientation)
    yield "nef", nef(orientation)
    yield "arw", nef(orientation, "SONY", "ILCE-7M3")
    yield "cr2", cr2(orientation)
