"""PNM, BMP and TGA files, written by code."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from boatinfer.errors import Failure
from corpus.sample import Array, Sample, over_white, scene

__all__ = ["bmp_samples", "pnm_samples", "tga_samples"]


def _grey(pixels: Array) -> Array:
    return np.repeat(pixels[..., :1], 3, axis=2)


def pnm_samples() -> Iterator[Sample]:
    height, width, _ = scene().shape
    for most in (1, 100, 254, 255, 256, 1000, 4095, 65535):
        for colours in (1, 3):
            samples = (scene()[..., :colours].astype(np.int64) * most) // 255
            shown = (np.repeat(samples, 3 // colours, axis=2) * 255 / most).round().astype(np.uint8)
            raw = samples.astype(np.uint8 if most < 256 else ">u2").tobytes()
            text = "\n".join(" ".join(map(str, row)) for row in samples.reshape(-1, 10)).encode()
            size = b"%d %d\n%d\n" % (width, height, most)
            plain, packed = (b"P2", b"P5") if colours == 1 else (b"P3", b"P6")
            yield Sample(f"pnm/{packed.decode()}-{most}", packed + b"\n" + size + raw, shown)
            yield Sample(f"pnm/{plain.decode()}-{most}", plain + b" " + size + text, shown)
    bits = (scene()[..., 0] < 128).astype(np.uint8)
    right = np.repeat((255 - bits * 255)[..., None], 3, axis=2).astype(np.uint8)
    digits = "".join(map(str, bits.ravel())).encode()
    yield Sample("pnm/P4", b"P4 100 60\n" + np.packbits(bits, axis=1).tobytes(), right)
    yield Sample("pnm/P1", b"P1\n100 60\n" + digits, right)
    spaced = b"# first\n" + b"\n".join(b" ".join(b"%d" % bit for bit in row) for row in bits)
    yield Sample("pnm/P1-spaced", b"P1\n# a 3 4\n100 60 " + spaced, right)
    raw = scene().tobytes()
    for name, header in {
        "comments": b"P6\n# by a camera 7 8\n100 # width\n60\n#\n255\n",
        "comment-at-once": b"P6#x\n100 60 255\n",
        "spaces": b"P6 \t\r\n 100 \n\n 60\t255 ",
        "zeros-in-front": b"P6 0100 060 00255\n",
    }.items():
        yield Sample(f"pnm/{name}", header + raw, scene())
    sound = b"P6 100 60 255\n" + raw
    yield Sample("pnm/two", sound + b"P6 1 1 255\n\0\0\0", scene())
    yield Sample("pnm/cut", sound[:-100], Failure.CORRUPT)
    yield Sample("pnm/cut-16", b"P5 100 60 65535\n" + bytes(11_000), Failure.CORRUPT)
    yield Sample("pnm/cut-plain", b"P2 100 60 255\n" + b"1 " * 5000, Failure.CORRUPT)
    yield Sample("pnm/letters", b"P2 100 60 255\n" + b"1 x " * 5000, Failure.CORRUPT)
    yield Sample("pnm/no-size", b"P6 0 60 255\n" + raw, Failure.CORRUPT)
    yield Sample("pnm/header-cut", b"P6 100", Failure.CORRUPT)
    yield Sample("pnm/float", b"PF\n100 60\n-1.0\n" + bytes(72_000), Failure.UNSUPPORTED)


def _bmp(
    pixels: bytes,
    depth: int,
    *,
    head: int = 40,
    compression: int = 0,
    masks: tuple[int, ...] = (),
    palette: bytes = b"",
    downwards: bool = False,
) -> bytes:
    """Writes rows of 100 x 60 pixels (Microsoft's BITMAPINFOHEADER, V4 and V5)."""
    if head == 12:
        info = struct.pack("<IHHHH", 12, 100, 60, 1, depth)
    else:
        height = -60 if downwards else 60
        size = (head, 100, height, 1, depth, compression, len(pixels), 2835, 2835)
        info = struct.pack("<IiiHHIIii", *size) + struct.pack("<II", len(palette) // 4, 0)
        info += struct.pack(f"<{len(masks)}I", *masks) + (b"BGRs" if head > 56 else b"")
        info = info.ljust(head, b"\0")
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + info + palette + pixels


def _rows(samples: np.ndarray, *, downwards: bool = False) -> bytes:
    """Rows from the bottom, each filled up to four bytes."""
    rows = samples.reshape(samples.shape[0], -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    return (rows if downwards else rows[::-1]).tobytes()


def _run_lengths(indices: np.ndarray, depth: int) -> bytes:
    """RLE8 or RLE4, in runs of one value."""
    out = b""
    for row in indices[::-1]:
        ends = [*(np.flatnonzero(np.diff(row.astype(int))) + 1), len(row)]
        start = 0
        for end in ends:
            value = int(row[start]) * (17 if depth == 4 else 1)
            for first in range(start, end, 254):
                out += bytes([min(254, end - first), value])
            start = end
        out += b"\0\0"
    return out + b"\0\1"


def bmp_samples() -> Iterator[Sample]:
    bgr, alpha = scene()[..., ::-1], np.ascontiguousarray(scene()[..., 1])
    for depth in (1, 4, 8):
        table = np.random.default_rng(depth).integers(0, 256, (2**depth, 3), np.uint8)
        indices = scene()[..., 0] >> (8 - depth)
        right = table[indices]
        bits = (indices[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(bits.reshape(60, -1).astype(np.uint8), axis=1)
        quads = np.pad(table[:, ::-1], ((0, 0), (0, 1))).tobytes()
        yield Sample(f"bmp/palette-{depth}", _bmp(_rows(packed), depth, palette=quads), right)
        triples = table[:, ::-1].tobytes()
        yield Sample(
            f"bmp/os2-{depth}", _bmp(_rows(packed), depth, head=12, palette=triples), right
        )
        if depth > 1:
            runs = _run_lengths(indices, depth)
            data = _bmp(runs, depth, compression=3 - depth // 4, palette=quads)
            yield Sample(f"bmp/rle{depth}", data, right)
    yield Sample("bmp/24", _bmp(_rows(np.ascontiguousarray(bgr)), 24), scene())
    data = _bmp(_rows(np.ascontiguousarray(bgr), downwards=True), 24, downwards=True)
    yield Sample("bmp/24-downwards", data, scene())
    yield Sample("bmp/os2-24", _bmp(_rows(np.ascontiguousarray(bgr)), 24, head=12), scene())
    yield Sample("dib/24", _bmp(_rows(np.ascontiguousarray(bgr)), 24)[14:], scene())
    red, green, blue = (scene()[..., i].astype(np.uint16) for i in range(3))
    five = (red >> 3 << 10) | (green >> 3 << 5) | (blue >> 3)
    six = (red >> 3 << 11) | (green >> 2 << 5) | (blue >> 3)
    yield Sample("bmp/555", _bmp(_rows(five), 16), scene())
    masks = (0xF800, 0x7E0, 0x1F)
    yield Sample("bmp/565", _bmp(_rows(six), 16, head=52, compression=3, masks=masks), scene())
    four_masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    for name, fourth, right in (
        ("alpha", alpha, over_white(scene(), alpha)),
        ("empty-alpha", alpha * 0, scene()),
        ("full-alpha", alpha * 0 + 255, scene()),
    ):
        four = np.dstack([bgr, fourth])
        for head in (56, 108, 124):
            data = _bmp(_rows(four), 32, head=head, compression=3, masks=four_masks)
            yield Sample(f"bmp/{name}-{head}", data, right)
    yield Sample("bmp/32", _bmp(_rows(np.dstack([bgr, alpha])), 32), scene())
    whole = _bmp(_rows(np.ascontiguousarray(bgr)), 24)
    for share in (0.001, 0.5, 0.98):
        yield Sample(f"bmp/cut-{share}", whole[: int(len(whole) * share)], Failure.CORRUPT)
    yield Sample("bmp/jpeg-inside", _bmp(bytes(999), 24, compression=4), Failure.UNSUPPORTED)


def _tga(  # noqa: PLR0917
    samples: Array, kind: int, depth: int, attributes: int, origin: int, palette: bytes = b""
) -> bytes:
    """Writes samples [H, W, bytes] (Truevision TGA 2.0)."""
    if not origin & 2:
        samples = samples[::-1]
    if origin & 1:
        samples = samples[:, ::-1]
    entries = len(palette) // 3
    head = struct.pack("<BBBHHB", 0, bool(palette), kind, 0, entries, 24 if palette else 0)
    head += struct.pack("<HHHHBB", 0, 0, 100, 60, depth, attributes | origin << 4)
    return head + palette + (_tga_runs(samples) if kind > 8 else samples.tobytes())


def _tga_runs(samples: Array) -> bytes:
    """Packets of raw pixels and of runs, in turn."""
    out = b""
    for row in samples:
        for at in range(0, len(row), 10):
            part = row[at : at + 10]
            same = bool((part == part[0]).all())
            out += bytes([len(part) - 1 | same << 7]) + (part[0] if same else part).tobytes()
    return out


def tga_samples() -> Iterator[Sample]:
    bgr, alpha = np.ascontiguousarray(scene()[..., ::-1]), np.ascontiguousarray(scene()[..., 1])
    four = np.dstack([bgr, alpha])
    table = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)
    indices = scene()[..., :1]
    red, green, blue = (scene()[..., i].astype("<u2") for i in range(3))
    five = ((red >> 3 << 10) | (green >> 3 << 5) | (blue >> 3))[..., None].view(np.uint8)
    for runs in (0, 8):
        for origin in range(4):
            name = f"{'rle-' * bool(runs)}{origin}"
            yield Sample(f"tga/24-{name}", _tga(bgr, 2 + runs, 24, 0, origin), scene())
            yield Sample(f"tga/32-attr0-{name}", _tga(four, 2 + runs, 32, 0, origin), scene())
            layer = _tga(four, 2 + runs, 32, 8, origin)
            yield Sample(f"tga/32-attr8-{name}", layer, over_white(scene(), alpha))
            yield Sample(f"tga/grey-{name}", _tga(indices, 3 + runs, 8, 0, origin), _grey(scene()))
            data = _tga(indices, 1 + runs, 8, 0, origin, table[:, ::-1].tobytes())
            yield Sample(f"tga/palette-{name}", data, table[indices[..., 0]])
            yield Sample(f"tga/16-{name}", _tga(five, 2 + runs, 16, 0, origin), scene())
    empty = np.dstack([bgr, alpha * 0])
    yield Sample("tga/32-empty-alpha", _tga(empty, 2, 32, 8, 2), scene())
    yield Sample("tga/cut", _tga(bgr, 2, 24, 0, 2)[:-5000], Failure.CORRUPT)
    yield Sample("tga/rle-cut", _tga(bgr, 10, 24, 0, 2)[:-5000], Failure.CORRUPT)
