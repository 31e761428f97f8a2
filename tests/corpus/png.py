"""PNG files of every colour type, depth and interlacing, and with every oddity around them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from boatinfer.errors import Failure
from corpus.sample import Array, Sample, over_white, scene, turned_back

__all__ = ["png_samples"]

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
_ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
_ADAM7 += [(1, 0, 2, 1)]


def chunk(kind: bytes, body: bytes, wrong: int = 0) -> bytes:
    return (
        struct.pack(">I", len(body))
        + kind
        + body
        + struct.pack(">I", zlib.crc32(kind + body) ^ wrong)
    )


def packed(samples: np.ndarray, depth: int) -> list[bytes]:
    """Rows of samples [H, W * channels] at this depth."""
    if depth == 16:
        return [row.astype(">u2").tobytes() for row in samples]
    if depth == 8:
        return [row.astype(np.uint8).tobytes() for row in samples]
    bits = (samples[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    return [np.packbits(row.astype(np.uint8).ravel()).tobytes() for row in bits]


def _filtered(rows: list[bytes], step: int, kind: int) -> bytes:
    out, before = b"", bytes(len(rows[0]))
    for row in rows:
        now = np.frombuffer(row, np.uint8).astype(int)
        up = np.frombuffer(before, np.uint8).astype(int)
        left, corner = (
            np.r_[np.zeros(step, int), now[:-step]],
            np.r_[np.zeros(step, int), up[:-step]],
        )
        guess = left + up - corner
        near = [abs(guess - left), abs(guess - up), abs(guess - corner)]
        paeth = np.where(
            (near[0] <= near[1]) & (near[0] <= near[2]),
            left,
            np.where(near[1] <= near[2], up, corner),
        )
        by = [np.zeros_like(now), left, up, (left + up) // 2, paeth][kind]
        out += bytes([kind]) + ((now - by) % 256).astype(np.uint8).tobytes()
        before = row
    return out


def png(
    samples: np.ndarray,
    depth: int,
    colour: int,
    *,
    interlaced: bool = False,
    before: bytes = b"",
    after: bytes = b"",
    filtering: int = 0,
    pieces: int = 1,
) -> bytes:
    """Writes samples [H, W, channels]; ``before`` and ``after`` are chunks around the picture."""
    height, width, channels = samples.shape
    passes = _ADAM7 if interlaced else [(0, 0, 1, 1)]
    raw = b""
    for top, left, down, right in passes:
        part = samples[top::down, left::right]
        if part.size:
            rows = packed(part.reshape(part.shape[0], -1), depth)
            raw += _filtered(rows, max(1, depth * channels // 8), filtering)
    packed_data = zlib.compress(raw)
    cut = -(-len(packed_data) // pieces)
    data = b"".join(
        chunk(b"IDAT", packed_data[i : i + cut]) for i in range(0, len(packed_data), cut)
    )
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data + after + chunk(b"IEND", b"")
    )


def _grey(depth: int) -> tuple[np.ndarray, Array]:
    """Samples [H, W, 1] at a depth, and their picture."""
    wide = scene()[..., :1].astype(int)
    samples = wide * 257 if depth == 16 else wide >> (8 - depth)
    shown = wide if depth == 16 else samples * 255 // (2**depth - 1)
    return samples, np.repeat(shown.astype(np.uint8), 3, axis=2)


def _palette(depth: int) -> tuple[np.ndarray, Array, bytes]:
    """Indices [H, W, 1], their picture and the palette's chunk."""
    colours = np.random.default_rng(depth).integers(0, 256, (2**depth, 3), np.uint8)
    indices = (scene()[..., :1].astype(int)) >> (8 - depth)
    return indices, colours[indices[..., 0]], chunk(b"PLTE", colours.tobytes())


def _kinds() -> Iterator[tuple[str, np.ndarray, int, int, bytes, Array]]:
    alpha = np.ascontiguousarray(scene()[..., 1])
    for depth in (1, 2, 4, 8, 16):
        samples, shown = _grey(depth)
        yield f"grey-{depth}", samples, depth, GREY, b"", shown
        clear = int(samples[30, 50, 0])
        holed = np.where(samples == clear, 255, shown).astype(np.uint8)
        yield (
            f"grey-{depth}-trns",
            samples,
            depth,
            GREY,
            chunk(b"tRNS", struct.pack(">H", clear)),
            holed,
        )
    for depth in (1, 2, 4, 8):
        indices, shown, plte = _palette(depth)
        yield f"palette-{depth}", indices, depth, PALETTE, plte, shown
        holed = np.where(indices == 0, 255, shown).astype(np.uint8)
        yield f"palette-{depth}-trns", indices, depth, PALETTE, plte + chunk(b"tRNS", b"\0"), holed
    for depth, times in ((8, 1), (16, 257)):
        wide = scene().astype(int) * times
        yield f"rgb-{depth}", wide, depth, RGB, b"", scene()
        flat = scene() // 100 * 100  # so that one colour covers much
        clear = flat[5, 7].astype(int) * times
        holed = np.where((flat == flat[5, 7]).all(axis=2, keepdims=True), 255, flat)
        trns = chunk(b"tRNS", struct.pack(">3H", *clear))
        right = holed.astype(np.uint8)
        yield f"rgb-{depth}-trns", flat.astype(int) * times, depth, RGB, trns, right
        layer = np.dstack([scene(), alpha]).astype(int) * times
        yield f"rgba-{depth}", layer, depth, RGBA, b"", over_white(scene(), alpha)
        grey = np.repeat(scene()[..., :1], 3, axis=2)
        pair = np.dstack([scene()[..., 0], alpha]).astype(int) * times
        yield f"grey-alpha-{depth}", pair, depth, GREY_ALPHA, b"", over_white(grey, alpha)


def _texts() -> Iterator[tuple[str, bytes]]:
    """Ancillary chunks that must change nothing."""
    noise = np.random.default_rng(0).bytes(2**21)
    yield "iccp-2mb", chunk(b"iCCP", b"scanner\0\0" + zlib.compress(noise))
    yield "iccp-broken", chunk(b"iCCP", b"scanner\0\0nothing")
    yield "iccp-cut", chunk(b"iCCP", b"scanner\0\0" + zlib.compress(noise)[:999])
    yield "ztxt-2mb", chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(2**21)))
    yield "itxt-2mb", chunk(b"iTXt", b"XMP\0\1\0\0\0" + zlib.compress(b" " * 2**21))
    yield "text-2mb", chunk(b"tEXt", b"notes\0" + b"x" * 2**21)
    yield "ztxt-24mb", 6 * chunk(b"zTXt", b"w\0\0" + zlib.compress(bytes(2**22)))
    yield "text-empty", chunk(b"tEXt", b"")
    bodies = {
        b"pHYs": struct.pack(">IIB", 2835, 2835, 1),
        b"gAMA": struct.pack(">I", 45455),
        b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
        b"sRGB": b"\0",
        b"tIME": struct.pack(">HBBBBB", 2024, 2, 30, 0, 0, 0),
        b"tEXt": b"Software\0x",
        b"sBIT": b"\5\6\5",
        b"bKGD": b"\0\1\0\2\0\3",
        b"eXIf": b"II*\0\x08\0\0\0\1\0",
        b"vpAg": b"\0" * 9,
        b"hIST": b"\0\1",
        b"acTL": struct.pack(">II", 5, 0),
    }
    for kind, body in bodies.items():
        name = kind.decode().lower()
        yield name, chunk(kind, body)
        yield f"{name}-crc", chunk(kind, body, wrong=1)
        yield f"{name}-short", chunk(kind, body[: len(body) // 2])


def png_samples() -> Iterator[Sample]:
    for name, samples, depth, colour, before, right in _kinds():
        for interlaced in (False, True):
            data = png(samples, depth, colour, before=before, interlaced=interlaced)
            yield Sample(f"png/{name}{'-interlaced' * interlaced}", data, right)
    whole = scene().astype(int)
    for filtering in range(1, 5):
        yield Sample(f"png/filter-{filtering}", png(whole, 8, RGB, filtering=filtering), scene())
    for name, extra in _texts():
        yield Sample(f"png/{name}", png(whole, 8, RGB, before=extra), scene())
    yield Sample("png/text-after", png(whole, 8, RGB, after=chunk(b"tEXt", b"a\0b", 1)), scene())
    yield Sample("png/idat-50", png(whole, 8, RGB, pieces=50), scene())
    yield Sample("png/trailing", png(whole, 8, RGB) + b"\0" * 999, scene())
    for orientation in range(1, 9):
        exif = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHHI", 0x112, 3, 1, orientation, 0, 0)
        stored = turned_back(scene(), orientation).astype(int)
        yield Sample(
            f"png/turned-{orientation}", png(stored, 8, RGB, before=chunk(b"eXIf", exif)), scene()
        )
    yield from _failing(png(whole, 8, RGB, pieces=9))


def _failing(whole: bytes) -> Iterator[Sample]:
    for share in (0.05, 0.3, 0.6, 0.9):
        yield Sample(f"png/cut-{share}", whole[: int(len(whole) * share)], Failure.CORRUPT)
    for kind in (b"IHDR", b"IDAT"):
        at = whole.index(kind) + 8
        data = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        yield Sample(f"png/flipped-{kind.decode()}", data, Failure.CORRUPT)
    at = whole.index(b"IDAT", len(whole) // 2)
    yield Sample("png/zeros", whole[:at] + bytes(len(whole) - at), Failure.CORRUPT)
