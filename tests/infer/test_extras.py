"""HEIC, JPEG XL and RAW, which need extras."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from boatinfer import images
from boatinfer.errors import Failure, ImageError
from boatinfer.images.jxl import jxl_size
from boatinfer.images.spec import ImageSpec
from corpus.encoded import saved
from corpus.raw import dng_with_thumbnail_only, raw_files
from corpus.sample import Array, over_white, scene, turned_back

SPEC = ImageSpec(height=60, width=100)


def close(data: bytes, right: Array) -> bool:
    return bool(np.abs(images.read(data, SPEC).astype(int) - right).mean() < 3)


def reason(data: bytes) -> tuple[Failure, str]:
    with pytest.raises(ImageError) as raised:
        images.read(data, SPEC)
    return raised.value.reason, str(raised.value)


def with_alpha() -> Array:
    return np.dstack([scene(), scene()[..., 1]])


def heic(pixels: Array, **save: Any) -> bytes:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(Image.fromarray(pixels)).save(file, quality=95, **save)
    return file.getvalue()


def jxl(pixels: npt.NDArray[Any], **save: Any) -> bytes:
    pytest.importorskip("pillow_jxl")
    return saved(pixels, "JXL", lossless=True, **save)


HEADS = {
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "heic-hif": b"\0\0\0\x18ftypheix\0\0\0\0mif1heix",
    "heic-mif1": b"\0\0\0\x14ftypmif1\0\0\0\0mif1",
    "jxl": b"\xff\x0a\xfa\x1f\x41",
    "jxl-container": b"\0\0\0\x0cJXL \r\n\x87\n",
    "raw-cr3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    "raw-raf": b"FUJIFILMCCD-RAW 0201",
    "raw-rw2": b"IIU\0\x18\0\0\0",
    "raw-orf": b"IIRO\x08\0\0\0",
    "raw-cr2": b"II*\0\x10\0\0\0CR\2\0",
}


@pytest.mark.parametrize("name", HEADS)
def test_without_the_extra_it_is_unsupported_and_the_extra_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pillow_heif", "pillow_jxl", "rawpy"):
        monkeypatch.setitem(sys.modules, module, None)
    found, said = reason(HEADS[name] + bytes(200))
    assert found is Failure.UNSUPPORTED
    assert f"[{name.partition('-')[0]}]" in said
    assert "pip install" in said


@pytest.mark.parametrize("kind", ["dng", "nef", "arw", "cr2"])
def test_a_raw_is_never_taken_for_its_thumbnail(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    assert reason(dict(raw_files())[kind])[0] is Failure.UNSUPPORTED


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = heic(turned_back(scene(), orientation), exif=exif.tobytes())
    assert close(data, scene())
    assert images.size(data) == (60, 100)


def test_heic_with_alpha_and_damaged() -> None:
    assert close(heic(with_alpha()), over_white(scene(), scene()[..., 1]))
    whole = heic(scene())
    for share in (0.05, 0.3, 0.6, 0.95):
        assert reason(whole[: int(len(whole) * share)])[0] is Failure.CORRUPT


def test_jpeg_xl() -> None:
    assert close(jxl(scene()), scene())
    assert close(jxl(scene(), use_container=True), scene())
    assert close(jxl(with_alpha()), over_white(scene(), scene()[..., 1]))
    grey = np.repeat(scene()[..., :1], 3, axis=2)
    assert close(jxl(scene()[..., 0]), grey)
    assert close(jxl(scene()[..., 0].astype(np.uint16) * 257), grey)
    whole = jxl(scene())
    for share in (0.05, 0.3, 0.6, 0.95):
        assert reason(whole[: int(len(whole) * share)])[0] is Failure.CORRUPT


@pytest.mark.parametrize("size", [(8, 8), (60, 100), (64, 256), (300, 300), (9, 600), (1200, 40)])
@pytest.mark.parametrize("container", [False, True])
def test_the_size_of_a_jpeg_xl_by_its_header(size: tuple[int, int], container: bool) -> None:
    data = jxl(np.zeros((*size, 3), np.uint8), use_container=container)
    assert jxl_size(data) == images.size(data) == size


def test_a_bomb_of_jpeg_xl_is_refused_by_its_header() -> None:
    pytest.importorskip("pillow_jxl")
    bits = 3 << 1 | (99_999 << 3) | (0 << 33) | (3 << 36) | (99_999 << 38)
    assert reason(b"\xff\x0a" + bits.to_bytes(40, "little"))[0] is Failure.TOO_LARGE


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_preview_of_a_raw(orientation: int) -> None:
    pytest.importorskip("rawpy")
    for _, data in raw_files(orientation):
        notes: list[str] = []
        assert np.abs(images.read(data, SPEC, notes=notes).astype(int) - scene()).mean() < 3
        assert notes == ["warning: only the embedded preview of a RAW file is read"]
        assert images.size(data) == (60, 100)


def test_a_raw_without_a_preview() -> None:
    pytest.importorskip("rawpy")
    found, said = reason(dng_with_thumbnail_only())
    assert (found, said) == (
        Failure.UNSUPPORTED,
        "a RAW file with no more than a thumbnail of 16 x 12",
    )
    assert reason(HEADS["raw-raf"] + bytes(500))[0] in {Failure.CORRUPT, Failure.UNSUPPORTED}
