"""GIF, WebP, AVIF and JPEG 2000 files, most by Pillow's encoders, and files not read here."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyvips
from PIL import Image

from boatinfer.errors import Failure
from corpus.sample import Array, Sample, over_white, scene, turned_back

__all__ = ["avif_samples", "gif_samples", "jp2_samples", "other_samples", "webp_samples"]


def saved(pixels: npt.NDArray[Any] | Image.Image, form: str, **save: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, form, **save)
    return file.getvalue()


def grey_of(pixels: Array) -> Array:
    return np.repeat(pixels[..., :1], 3, axis=2)


def with_alpha() -> tuple[Array, Array]:
    """RGBA pixels, and how they look over white."""
    alpha = np.ascontiguousarray(scene()[..., 1])
    return np.dstack([scene(), alpha]), over_white(scene(), alpha)


def _turned(form: str, **save: Any) -> Iterator[Sample]:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = saved(turned_back(scene(), orientation), form, exif=exif, **save)
        yield Sample(f"{form.lower()}/turned-{orientation}", data, scene())


def _cut(form: str, data: bytes) -> Iterator[Sample]:
    for share in (0.2, 0.5, 0.8, 0.95):
        name = f"{form}/cut-{share}"
        yield Sample(name, data[: int(len(data) * share)], Failure.CORRUPT)


def _lzw_codes(indices: bytes) -> bytes:
    """GIF's LZW without compression: a clear code before the table grows."""
    codes = []
    for i, index in enumerate(indices):
        codes += [256, index] if i % 200 == 0 else [index]
    bits = sum(code << 9 * i for i, code in enumerate([*codes, 257]))
    packed = bits.to_bytes((9 * (len(codes) + 1) + 7) // 8, "little")
    blocks = [packed[i : i + 255] for i in range(0, len(packed), 255)]
    return b"\x08" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def _gif(
    *, interlaced: bool = False, local: bool = False, clear: int = -1, part: bool = False
) -> bytes:
    """Writes the scene's red, as indices of a grey palette."""
    palette = bytes(value for i in range(256) for value in (i, i, i))
    rows = scene()[..., 0]
    left, top = (20, 10) if part else (0, 0)
    rows = rows[top : 60 - top, left : 100 - left]
    height, width = rows.shape
    if interlaced:
        rows = np.concatenate([rows[0::8], rows[4::8], rows[2::4], rows[1::2]])
    data = b"GIF89a" + struct.pack("<HHBBB", 100, 60, 0x70 if local else 0xF7, 0, 0)
    data += b"" if local else palette
    if clear >= 0:
        data += b"!\xf9\x04" + struct.pack("<BHBB", 1, 0, clear, 0)
    flags = (0x87 if local else 0) | (0x40 if interlaced else 0)
    data += b"," + struct.pack("<HHHHB", left, top, width, height, flags)
    return data + (palette if local else b"") + _lzw_codes(rows.tobytes()) + b";"


def gif_samples() -> Iterator[Sample]:
    grey = grey_of(scene())
    for interlaced in (False, True):
        for local in (False, True):
            data = _gif(interlaced=interlaced, local=local)
            name = f"gif/grey{'-interlaced' * interlaced}{'-local' * local}"
            yield Sample(name, data, grey)
            clear = int(grey[0, 50, 0])
            holed = np.where(grey == clear, 255, grey).astype(np.uint8)
            data = _gif(interlaced=interlaced, local=local, clear=clear)
            yield Sample(f"{name}-clear", data, holed)
    part = np.full_like(grey, 255)
    part[10:50, 20:80] = grey[10:50, 20:80]
    yield Sample("gif/part-clear", _gif(part=True, clear=0), part)
    palette = Image.fromarray(scene()).quantize(64)
    right = np.asarray(palette.convert("RGB"))
    yield Sample("gif/64", saved(palette, "GIF"), right)
    frames = [Image.new("P", (100, 60), 3)] * 3
    animated = saved(palette, "GIF", save_all=True, append_images=frames, duration=50)
    yield Sample("gif/animated", animated, right)
    yield Sample("gif/comment", saved(palette, "GIF", comment=b"x" * 999), right)
    yield from _cut("gif", saved(palette, "GIF"))


def webp_samples() -> Iterator[Sample]:
    layer, right = with_alpha()
    for quality in (85, 95, 100):
        yield Sample(f"webp/lossy-{quality}", saved(scene(), "WEBP", quality=quality), scene())
        data = saved(layer, "WEBP", quality=quality)
        yield Sample(f"webp/alpha-{quality}", data, right)
    yield Sample("webp/lossless", saved(scene(), "WEBP", lossless=True), scene())
    data = saved(layer, "WEBP", lossless=True, exact=True)
    yield Sample("webp/alpha-lossless", data, right)
    frames = [Image.new("RGB", (100, 60), "red")] * 2
    kinds: dict[str, dict[str, Any]] = {
        "animated": {"quality": 95},
        "animated-lossless": {"lossless": True},
    }
    for name, how in kinds.items():
        data = saved(scene(), "WEBP", save_all=True, append_images=frames, duration=90, **how)
        yield Sample(f"webp/{name}", data, scene())
    profile = {"icc_profile": bytes(2**21), "xmp": b"<x/>" * 1000}
    yield Sample("webp/metadata", saved(scene(), "WEBP", **profile), scene())
    yield from _turned("WEBP", quality=95)
    yield from _cut("webp", saved(scene(), "WEBP"))
    yield from _cut("webp-lossless", saved(scene(), "WEBP", lossless=True))


def avif_samples() -> Iterator[Sample]:
    layer, right = with_alpha()
    for sampling in ("4:4:4", "4:2:2", "4:2:0"):
        name = f"avif/{sampling.replace(':', '')}"
        yield Sample(name, saved(scene(), "AVIF", subsampling=sampling, quality=90), scene())
    yield Sample("avif/400", saved(scene()[..., 0], "AVIF", quality=90), grey_of(scene()))
    yield Sample("avif/limited", saved(scene(), "AVIF", range="limited", quality=90), scene())
    yield Sample("avif/alpha", saved(layer, "AVIF", quality=95), right)
    frames = [Image.new("RGB", (100, 60), "red")]
    data = saved(scene(), "AVIF", save_all=True, append_images=frames, quality=90)
    yield Sample("avif/animated", data, scene())
    wide = pyvips.Image.new_from_array(scene().astype(np.uint16) * 257, interpretation="rgb16")
    for bits in (10, 12):
        data = wide.heifsave_buffer(compression="av1", bitdepth=bits, Q=90)
        yield Sample(f"avif/{bits}-bit", data, scene())
    yield from _turned("AVIF", quality=90)
    yield from _cut("avif", saved(scene(), "AVIF"))


def _subsampled_jp2() -> bytes:
    """A code stream of three components, of which two have half the width and height.

    Packets of several components follow each other (progression CPRL), so those of three code
    streams of one component each can be put one after the other (ITU T.800, B.12.1.5).
    """
    luma = np.asarray(Image.fromarray(scene()).convert("YCbCr"))
    planes = [luma[..., 0], luma[::2, ::2, 1], luma[::2, ::2, 2]]
    streams = [
        saved(plane, "JPEG2000", no_jp2=True, progression="CPRL", num_resolutions=3)
        for plane in planes
    ]
    main, _, _ = streams[0].partition(b"\xff\x90")
    tiles = [stream.partition(b"\xff\x93")[2].removesuffix(b"\xff\xd9") for stream in streams]
    body = b"".join(tiles)
    size = main.index(b"\xff\x51")
    components = b"\x07\1\1" + b"\x07\2\2" * 2
    head = main[:size] + b"\xff\x51" + struct.pack(">H", 47) + main[size + 4 : size + 38]
    head += struct.pack(">H", 3) + components + main[size + 43 :]
    tile = struct.pack(">HHHIBB", 0xFF90, 10, 0, 14 + len(body), 0, 1)
    return head + tile + b"\xff\x93" + body + b"\xff\xd9"


def _jp2(stream: bytes, colours: int) -> bytes:
    """Wraps a code stream of three components of 8 bits (ITU T.800, annex I)."""

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", 8 + len(body)) + kind + body

    header = box(b"ihdr", struct.pack(">IIHBBBB", 60, 100, 3, 7, 7, 0, 0))
    header += box(b"colr", struct.pack(">BBBI", 1, 0, 0, colours))
    return (
        box(b"jP  ", b"\r\n\x87\n")
        + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
        + box(b"jp2h", header)
        + box(b"jp2c", stream)
    )


def jp2_samples() -> Iterator[Sample]:
    layer, right = with_alpha()
    kinds: dict[str, dict[str, Any]] = {
        "lossless": {},
        "9-7": {"irreversible": True, "quality_layers": [10], "quality_mode": "rates"},
        "tiles": {"tile_size": (32, 32)},
        "layers": {"quality_layers": [40, 10, 1]},
        "levels-1": {"num_resolutions": 1},
        "mct-0": {"mct": 0},
    }
    kinds |= {order: {"progression": order} for order in ("LRCP", "RLCP", "RPCL", "PCRL", "CPRL")}
    for name, how in kinds.items():
        for stream in (False, True):
            data = saved(scene(), "JPEG2000", no_jp2=stream, **how)
            yield Sample(f"jp2/{name}{'-stream' * stream}", data, scene())
    wide = scene()[..., 0].astype(np.uint16) * 257
    for stream in (False, True):
        end = "-stream" * stream
        grey = saved(scene()[..., 0], "JPEG2000", no_jp2=stream)
        yield Sample(f"jp2/grey{end}", grey, grey_of(scene()))
        yield Sample(f"jp2/grey-16{end}", saved(wide, "JPEG2000", no_jp2=stream), grey_of(scene()))
    colours = np.ascontiguousarray(scene()[..., ::-1].astype(np.uint16) * 257)
    _, encoded = cv2.imencode(".jp2", colours)
    yield Sample("jp2/rgb-16", encoded.tobytes(), Failure.UNSUPPORTED)
    yield Sample("jp2/alpha", saved(layer, "JPEG2000"), right)
    pair = Image.fromarray(layer).convert("LA")
    over = over_white(grey_of(np.asarray(pair)[..., :1]), layer[..., 3])
    yield Sample("jp2/grey-alpha", saved(pair, "JPEG2000"), over)
    yield Sample("jp2/subsampled", _jp2(_subsampled_jp2(), 18), scene())
    yield from _cut("jp2", saved(scene(), "JPEG2000"))


def other_samples() -> Iterator[Sample]:
    """What is sound and not read, and what is no image."""
    for name, data in {
        "psd": b"8BPS\0\1" + bytes(200),
        "exr": b"v/1\x01\2\0\0\0" + bytes(200),
        "jxr": b"II\xbc\1" + bytes(200),
        "hdr": b"#?RADIANCE\n" + bytes(200),
        "qoi": b"qoif" + bytes(200),
        "fits": b"SIMPLE  =                    T".ljust(2880),
        "ico": saved(Image.fromarray(scene()), "ICO"),
        "dds": saved(Image.fromarray(scene()), "DDS"),
    }.items():
        yield Sample(f"unsupported/{name}", data, Failure.UNSUPPORTED)
    for name, data in {
        "text": b"hello, world\n" * 50,
        "zeros": bytes(5000),
        "html": b"<!DOCTYPE html><html></html>" * 20,
        "pdf": saved(Image.fromarray(scene()), "PDF"),
        "eps": saved(Image.fromarray(scene()), "EPS"),
        "zip": b"PK\3\4" + bytes(200),
        "mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(200),
        "one-byte": b"\xff",
    }.items():
        yield Sample(f"no-image/{name}", data, Failure.NOT_AN_IMAGE)
