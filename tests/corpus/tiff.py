"""TIFF files written by code, over byte order, BigTIFF, layout, compression, colours and depth."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyvips
from PIL import Image

from boatinfer.errors import Failure
from corpus.png import packed
from corpus.sample import Array, Sample, over_white, scene, turned_back

__all__ = ["tiff", "tiff_samples"]

Tag = tuple[int, int, Sequence[int]]
_STRUCT = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 8: "h", 16: "Q"}


def tiff(
    blocks: list[bytes],
    tags: list[Tag],
    order: str = "<",
    *,
    big: bool = False,
    tiled: bool = False,
) -> bytes:
    """Writes blocks (strips, or tiles) and one directory, which follows them."""
    place, inline, entry = ("Q", 8, "HHQ") if big else ("I", 4, "HHI")
    start = 16 if big else 8
    offsets = [start + sum(map(len, blocks[:i])) for i in range(len(blocks))]
    where, length = (324, 325) if tiled else (273, 279)
    tags = sorted([*tags, (where, 4, offsets), (length, 4, [len(block) for block in blocks])])
    at = start + sum(map(len, blocks))
    base = at + struct.calcsize(order + ("Q" if big else "H")) + len(tags) * (20 if big else 12)
    base += inline
    directory, extra = struct.pack(order + ("Q" if big else "H"), len(tags)), b""
    for tag, kind, values in tags:
        value = struct.pack(f"{order}{len(values)}{_STRUCT[kind]}", *values)
        if len(value) > inline:
            extra_at = struct.pack(order + place, base + len(extra))
            value, extra = extra_at, extra + value + b"\0" * (len(value) % 2)
        directory += struct.pack(order + entry, tag, kind, len(values)) + value.ljust(inline, b"\0")
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "HHHQ", 43, 8, 0, at) if big else struct.pack(order + "HI", 42, at)
    return mark + head + b"".join(blocks) + directory + bytes(inline) + extra


def _rows(samples: np.ndarray, depth: int, order: str) -> bytes:
    flat = samples.reshape(samples.shape[0], -1)
    if depth == 16:
        return flat.astype(order + "u2").tobytes()
    return b"".join(packed(flat, depth))


def _pack_bits(data: bytes) -> bytes:
    return b"".join(
        bytes([len(data[i : i + 128]) - 1]) + data[i : i + 128] for i in range(0, len(data), 128)
    )


_PACKERS: dict[int, Callable[[bytes], bytes]] = {
    1: lambda data: data,
    8: zlib.compress,
    32946: zlib.compress,
    32773: _pack_bits,
}


def written(
    samples: np.ndarray,
    depth: int,
    colours: int,
    *extra: Tag,
    order: str = "<",
    big: bool = False,
    planar: bool = False,
    compression: int = 1,
    tile: int = 0,
    strip: int = 0,
) -> bytes:
    """Writes samples [H, W, channels]."""
    height, width, channels = samples.shape
    planes = np.split(samples, channels, axis=2) if planar else [samples]
    step = tile or strip or height
    blocks = []
    for plane in planes:
        for top in range(0, height, step):
            for left in range(0, width, tile or width):
                part = plane[top : top + step, left : left + (tile or width)]
                if tile:
                    short = (0, tile - part.shape[0]), (0, tile - part.shape[1]), (0, 0)
                    part = np.pad(part, short)
                blocks.append(_PACKERS[compression](_rows(part, depth, order)))
    tags: list[Tag] = [
        (256, 4, [width]), (257, 4, [height]), (258, 3, [depth] * channels),
        (259, 3, [compression]), (262, 3, [colours]), (277, 3, [channels]),
        (284, 3, [2 if planar else 1]), *extra,
    ]  # fmt: skip
    tags += [(322, 3, [tile]), (323, 3, [tile])] if tile else [(278, 4, [step])]
    return tiff(blocks, tags, order, big=big, tiled=bool(tile))


def _kinds() -> Iterator[tuple[str, np.ndarray, int, int, tuple[Tag, ...], Array]]:
    """Name, samples, depth, photometric, further tags, and the picture."""
    colour, alpha = scene(), np.ascontiguousarray(scene()[..., 1])
    for depth in (1, 2, 4, 8, 16):
        wide = colour[..., :1].astype(int)
        samples = wide * 257 if depth == 16 else wide >> (8 - depth)
        most = 2**depth - 1
        shown = np.repeat((samples * 255 // most).astype(np.uint8), 3, axis=2)
        yield f"black0-{depth}", samples, depth, 1, (), shown
        yield f"white0-{depth}", most - samples, depth, 0, (), shown
    for depth in (1, 2, 4, 8):
        table = np.random.default_rng(depth).integers(0, 256, (3, 2**depth)).astype(int)
        indices = colour[..., :1].astype(int) >> (8 - depth)
        entries = [int(value) * 257 for value in table.ravel()]
        shown = table.T[indices[..., 0]].astype(np.uint8)
        yield f"palette-{depth}", indices, depth, 3, ((320, 3, entries),), shown
    for depth, times in ((8, 1), (16, 257)):
        wide = colour.astype(int) * times
        yield f"rgb-{depth}", wide, depth, 2, (), colour
        layer = np.dstack([colour, alpha]).astype(int) * times
        shown = over_white(colour, alpha)
        yield f"rgba-{depth}", layer, depth, 2, ((338, 3, [2]),), shown
        yield f"rgbx-{depth}", layer, depth, 2, ((338, 3, [0]),), colour
        solved = (layer[..., :3] * layer[..., 3:] // (255 * times)).astype(int)
        solved = np.dstack([solved, layer[..., 3]])
        yield f"rgba-associated-{depth}", solved, depth, 2, ((338, 3, [1]),), shown
        inks = np.dstack([255 - colour.astype(int), np.full(colour.shape[:2], 51)])
        shown = (colour.astype(int) * 204 / 255).round().astype(np.uint8)
        yield f"cmyk-{depth}", inks * times, depth, 5, ((332, 3, [1]),), shown
        five = np.dstack([colour, alpha, alpha]).astype(int) * times
        yield f"rgb-and-two-{depth}", five, depth, 2, ((338, 3, [0, 0]),), colour
        pair = np.dstack([colour[..., 0], alpha]).astype(int) * times
        grey = np.repeat(colour[..., :1], 3, axis=2)
        yield f"grey-alpha-{depth}", pair, depth, 1, ((338, 3, [2]),), over_white(grey, alpha)
    luma = np.asarray(Image.fromarray(colour).convert("YCbCr")).astype(int)
    yield "ycbcr-8", luma, 8, 6, ((530, 3, [1, 1]),), colour
    yield (
        "lab-8",
        np.dstack([np.full((60, 100), 128), np.zeros((60, 100, 2), int)]),
        8,
        8,
        (),
        np.full((60, 100, 3), 120, np.uint8),
    )
    yield "lab-colour-8", _lab(8), 8, 8, (), _LAB_RGB
    yield "lab-colour-16", _lab(16), 16, 8, (), _LAB_RGB


#: CIE 1976 L*a*b* of D50: (54.29, 80.81, 69.89) is sRGB red, (29.57, 68.30, -112.03) its blue.
_LAB_RGB = np.zeros((60, 100, 3), np.uint8)
_LAB_RGB[:, :50, 0] = 255
_LAB_RGB[:, 50:, 2] = 255


def _lab(depth: int) -> np.ndarray:
    red, blue = (54.29, 80.81, 69.89), (29.57, 68.30, -112.03)
    values = np.empty((60, 100, 3))
    values[:, :50], values[:, 50:] = red, blue
    if depth == 8:
        return np.dstack([values[..., 0] * 2.55, values[..., 1:] % 256]).round().astype(int)
    return np.dstack([values[..., 0] * 655.35, values[..., 1:] * 256 % 65536]).round().astype(int)


def _subsampled() -> bytes:
    """YCbCr with 2 x 2 subsampled colours, uncompressed (TIFF 6.0, section 21)."""
    luma = np.asarray(Image.fromarray(scene()).convert("YCbCr"))
    blocks = luma[..., 0].reshape(30, 2, 50, 2).transpose(0, 2, 1, 3).reshape(30, 50, 4)
    small = luma[..., 1:].astype(int).reshape(30, 2, 50, 2, 2).mean(axis=(1, 3)).round()
    units = np.dstack([blocks, small.astype(np.uint8)])
    tags: list[Tag] = [
        (256, 4, [100]), (257, 4, [60]), (258, 3, [8, 8, 8]), (259, 3, [1]), (262, 3, [6]),
        (277, 3, [3]), (278, 4, [60]), (284, 3, [1]), (530, 3, [2, 2]), (531, 3, [1]),
    ]  # fmt: skip
    return tiff([units.tobytes()], tags)


def _saved(image: Image.Image, **save: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "TIFF", **save)
    return file.getvalue()


def _by_libtiff() -> Iterator[Sample]:
    """Compressions that need libtiff, through Pillow."""
    picture = Image.fromarray(scene())
    kinds = {"1": ["group3", "group4", "tiff_ccitt", "tiff_lzw", "packbits"]}
    common = ["tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "zstd", "lzma"]
    kinds |= dict.fromkeys(("L", "RGB", "RGBA", "CMYK", "P", "I;16"), common)
    kinds["RGB"] = [*common, "jpeg"]
    kinds["L"] = [*common, "jpeg"]
    for mode, compressions in kinds.items():
        image = (
            Image.fromarray(scene()[..., 0].astype(np.uint16) * 257)
            if mode == "I;16"
            else picture.convert(mode)
        )
        right = Image.fromarray(scene()[..., 0]) if mode == "I;16" else image
        for compression in compressions:
            quality = {"quality": 95} if compression == "jpeg" else {}
            data = _saved(image, compression=compression, **quality)
            yield Sample(f"tiff/{mode}-{compression}", data, np.asarray(right.convert("RGB")))


def tiff_samples() -> Iterator[Sample]:
    layouts: list[tuple[str, dict[str, Any]]] = [
        (f"{end}{'-big' * big}", {"order": order, "big": big})
        for end, order in (("le", "<"), ("be", ">"))
        for big in (False, True)
    ]
    layouts += [
        ("deflate-strips", {"compression": 8, "strip": 7}),
        ("packbits", {"compression": 32773}),
    ]
    layouts += [
        ("tiled", {"tile": 32}),
        ("tiled-deflate-be", {"tile": 16, "compression": 8, "order": ">"}),
    ]
    for name, samples, depth, colours, extra, right in _kinds():
        for layout, how in layouts:
            data = written(samples, depth, colours, *extra, **how)
            yield Sample(f"tiff/{name}-{layout}", data, right)
        if samples.shape[2] > 1 and depth >= 8:
            for order in "<>":
                data = written(samples, depth, colours, *extra, planar=True, order=order, strip=11)
                apart = name.startswith("grey-alpha")  # libvips mixes them up
                outcome = Failure.UNSUPPORTED if apart else right
                yield Sample(f"tiff/{name}-planar{'-be' * (order == '>')}", data, outcome)
    yield from _by_libtiff()
    by_vips = pyvips.Image.new_from_array(scene())
    data = by_vips.tiffsave_buffer(compression="webp", Q=95)
    yield Sample("tiff/RGB-webp", data, scene())
    data = by_vips.tiffsave_buffer(compression="jpeg", Q=90, tile=True, pyramid=True)
    yield Sample("tiff/pyramid", data, scene())
    yield Sample("tiff/ycbcr-2x2", _subsampled(), scene())
    whole = scene().astype(int)
    for orientation in range(1, 9):
        stored = turned_back(scene(), orientation).astype(int)
        data = written(stored, 8, 2, (274, 3, [orientation]))
        yield Sample(f"tiff/turned-{orientation}", data, scene())
    pages = [Image.fromarray(scene()), Image.new("RGB", (10, 10))]
    yield Sample("tiff/pages", _saved(pages[0], save_all=True, append_images=pages[1:]), scene())
    yield from _failing(whole)


def _failing(whole: np.ndarray) -> Iterator[Sample]:
    def as_numbers(dtype: str, form: int) -> bytes:
        plane = scene()[..., 0].astype(dtype)
        bits = plane.dtype.itemsize * 8
        tags: list[Tag] = [
            (256, 4, [100]), (257, 4, [60]), (258, 3, [bits]), (259, 3, [1]), (262, 3, [1]),
            (277, 3, [1]), (278, 4, [60]), (339, 3, [form]),
        ]  # fmt: skip
        return tiff([plane.tobytes()], tags)

    for dtype, form in [
        ("i1", 2),
        ("<i2", 2),
        ("<i4", 2),
        ("<u4", 1),
        ("<f4", 3),
        ("<f8", 3),
        ("<f2", 3),
    ]:
        yield Sample(f"tiff/numbers-{dtype[-2:]}", as_numbers(dtype, form), Failure.UNSUPPORTED)
    sound = written(whole, 8, 2)
    at = sound.index(struct.pack("<HHIH", 259, 3, 1, 1))
    for compression in (34712, 34887, 12345):
        data = sound[: at + 8] + struct.pack("<H", compression) + sound[at + 10 :]
        yield Sample(f"tiff/compression-{compression}", data, Failure.UNSUPPORTED)
    for share in (0.1, 0.5, 0.97):
        yield Sample(f"tiff/cut-{share}", sound[: int(len(sound) * share)], Failure.CORRUPT)
    for packer in ("tiff_lzw", "jpeg", "tiff_deflate", "group4", "zstd"):
        mode = "1" if packer == "group4" else "RGB"
        data = _saved(Image.fromarray(scene()).convert(mode), compression=packer)
        data = data[:48] + bytes(60) + data[108:]  # the strip begins at 8
        yield Sample(
            f"tiff/zeros-{packer}",
            data,
            Failure.CORRUPT,
        )
