"""A picture drawn by code, and a JPEG encoder for what Pillow and OpenCV cannot write."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

_EOB_ALONE = bytes([1] + [0] * 15) + b"\0"  # the code 0 for the end of a block
_TWELVE = bytes([0, 0, 0, 12] + [0] * 12) + bytes(range(12))  # codes of 4 bits, 0 to 11


def scene(height: int = 96, width: int = 320, seed: int = 0) -> Pixels:
    """Sky, water, a hull and a cabin: different in every corner, so that a wrong turn shows."""
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    picture = np.where((y < 0.45)[..., None], (150, 185, 225), (60, 110, 105)).astype(float)
    picture += np.random.default_rng(seed).normal(0, 1, (height, width, 1))
    hull = (y > 0.52) & (y < 0.74) & (x > 0.15) & (x < 0.8 - (y - 0.5) / 3)
    picture[hull] = (165, 45, 40)
    picture[(y > 0.3) & (y <= 0.52) & (x > 0.24) & (x < 0.42)] = (232, 230, 225)
    return picture.clip(0, 255).astype(np.uint8)


def smooth(height: int = 96, width: int = 192) -> Pixels:
    """Colours that change slowly, for encoders that keep one value a block."""
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    channels = [90 + 80 * x, 70 + 90 * y, 200 - 80 * x * y]
    return np.stack(channels, axis=-1).astype(np.uint8)


def pillow_jpeg(pixels: Pixels, mode: str = "RGB", **save: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", **({"quality": 92} | save))
    return file.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def exif(
    orientation: int, order: str = "<", kind: int = 3, count: int = 1, lie: bool = False
) -> bytes:
    """An EXIF segment; ``lie`` adds a tag whose value lies outside."""
    value = struct.pack(
        order + ("HH" if kind == 3 else "I"), *([orientation, 0] if kind == 3 else [orientation])
    )
    entries = [struct.pack(order + "HHI", 0x112, kind, count) + value]
    if lie:
        entries.insert(0, struct.pack(order + "HHII", 0x10F, 2, 2000, 90_000))
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return segment(0xE1, b"Exif\0\0" + start + directory)


def after_start(jpeg: bytes, extra: bytes) -> bytes:
    """Puts something between the start marker and what follows."""
    return jpeg[:2] + extra + jpeg[2:]


def scan_place(jpeg: bytes) -> int:
    """Where the first scan's marker is."""
    place = 2
    while jpeg[place + 1] != 0xDA:
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4])
    return place


class _Bits:
    """Entropy-coded data (ITU T.81, F.1.2.3)."""

    def __init__(self) -> None:
        self.text: list[str] = []

    def put(self, value: int, length: int) -> None:
        if length:
            self.text.append(f"{value:0{length}b}")

    def difference(self, value: int) -> None:
        """A difference of DC values, or of samples, with the codes of `_TWELVE`."""
        size = abs(value).bit_length()
        self.put(size, 4)
        self.put(value if value >= 0 else value + (1 << size) - 1, size)

    def bytes(self) -> bytes:
        text = "".join(self.text)
        text += "1" * (-len(text) % 8)
        data = int(text or "1", 2).to_bytes(len(text) // 8) if text else b""
        return data.replace(b"\xff", b"\xff\0")


def mosaic(
    pixels: Pixels,
    factors: Sequence[int] = (0x11, 0x11, 0x11),
    *,
    ids: Sequence[int] = (1, 2, 3),
    process: int = 0xC0,
    precision: int = 8,
    restart: int = 0,
    interleaved: bool = True,
    middle: bytes = b"",
) -> bytes:
    """Encodes a picture with one value a block, in any sampling.

    Args:
        pixels: uint8 [H, W, 3], RGB.
        factors: of each component horizontal * 16 + vertical.
        ids: of the components.
        process: the second byte of the frame's marker.
        precision: bits of a sample, as the header says.
        restart: interval in units (MCUs); 0 means none.
        interleaved: one scan, or one for each component.
        middle: segments to put before the frame.
    """
    height, width = pixels.shape[:2]
    planes = np.asarray(Image.fromarray(pixels).convert("YCbCr")).astype(float) - 128
    across, down = max(f >> 4 for f in factors), max(f & 15 for f in factors)
    grid = (-(-height // (8 * down)), -(-width // (8 * across)))
    blocks = []
    for i, f in enumerate(factors):
        shape = grid[0] * (f & 15), grid[1] * (f >> 4)
        tall, wide = 8 * down // (f & 15), 8 * across // (f >> 4)
        room = ((0, shape[0] * tall - height), (0, shape[1] * wide - width))
        plane = np.pad(planes[..., i % 3], room, mode="edge")
        means = plane.reshape(shape[0], tall, shape[1], wide).mean(axis=(1, 3))
        blocks.append(np.rint(means * 8 / 16).astype(int))
    frame = struct.pack(">BHHB", precision, height, width, len(ids))
    frame += b"".join(bytes([i, f, 0]) for i, f in zip(ids, factors, strict=True))
    out = b"\xff\xd8" + segment(0xDB, b"\0" + b"\x10" * 64) + middle + segment(process, frame)
    out += segment(0xC4, b"\0" + _TWELVE) + segment(0xC4, b"\x10" + _EOB_ALONE)
    out += segment(0xDD, struct.pack(">H", restart)) if restart else b""
    every = range(len(ids))
    for scan in [list(every)] if interleaved else [[i] for i in every]:
        out += segment(0xDA, bytes([len(scan), *(x for i in scan for x in (ids[i], 0)), 0, 63, 0]))
        out += _scan(blocks, factors, scan, (height, width), grid, restart=restart)
    return out + b"\xff\xd9"


def _part(size: int, factor: int, most: int) -> int:
    """How many samples a component has along a side (A.1.1)."""
    return -(-size * factor // most)


def _scan(
    blocks: list[npt.NDArray[np.int_]],
    factors: Sequence[int],
    scan: list[int],
    size: tuple[int, int],
    grid: tuple[int, int],
    *,
    restart: int,
) -> bytes:
    units: list[list[tuple[int, int]]] = []
    if len(scan) == 1:
        f = factors[scan[0]]
        across, down = max(f >> 4 for f in factors), max(f & 15 for f in factors)
        rows = -(-_part(size[0], f & 15, down) // 8)
        columns = -(-_part(size[1], f >> 4, across) // 8)
        units = [
            [(scan[0], int(blocks[scan[0]][r, c]))] for r in range(rows) for c in range(columns)
        ]
    else:
        for r in range(grid[0]):
            for c in range(grid[1]):
                units.append(
                    [
                        (i, int(blocks[i][r * (factors[i] & 15) + v, c * (factors[i] >> 4) + h]))
                        for i in scan
                        for v in range(factors[i] & 15)
                        for h in range(factors[i] >> 4)
                    ]
                )
    out, bits, last = b"", _Bits(), dict.fromkeys(scan, 0)
    for number, unit in enumerate(units):
        if restart and number and number % restart == 0:
            out += bits.bytes() + bytes([0xFF, 0xD0 + (number // restart - 1) % 8])
            bits, last = _Bits(), dict.fromkeys(scan, 0)
        for i, value in unit:
            bits.difference(value - last[i])
            bits.put(0, 1)  # the end of the block
            last[i] = value
    return out + bits.bytes()


def lossless(pixels: Pixels, precision: int = 8) -> bytes:
    """Encodes RGB or grey samples with the lossless process, predictor 1 (T.81, annex H).

    Args:
        pixels: uint8 [H, W, 3] or [H, W].
        precision: bits of a sample; the samples stay what they are.
    """
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width, count = planes.shape
    ids = b"RGB" if count == 3 else b"\1"
    frame = struct.pack(">BHHB", precision, height, width, count)
    frame += b"".join(bytes([i, 0x11, 0]) for i in ids)
    wide = planes.astype(int)
    before = np.roll(wide, 1, axis=1)
    before[1:, 0] = wide[:-1, 0]
    before[0, 0] = 1 << (precision - 1)
    bits = _Bits()
    for value in (wide - before).ravel().tolist():
        bits.difference(value)
    scan = bytes([count, *(x for i in ids for x in (i, 0)), 1, 0, 0])
    head = b"\xff\xd8" + segment(0xC3, frame) + segment(0xC4, b"\0" + _TWELVE) + segment(0xDA, scan)
    return head + bits.bytes() + b"\xff\xd9"
