from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from boatinfer import images
from boatinfer.errors import Failure, ImageError
from boatinfer.images.spec import ImageSpec

SPEC = ImageSpec(height=24, width=80)


def encoded(image: Image.Image, form: str, **save: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **save)
    return file.getvalue()


def gradient(width: int = 80, height: int = 24) -> npt.NDArray[np.uint8]:
    """A smooth picture, different in every corner and channel."""
    rows, columns = np.mgrid[0:height, 0:width]
    channels = [columns * 255 / width, rows * 255 / height, 255 - columns * 255 / width]
    return np.stack(channels, axis=-1).astype(np.uint8)


def close(found: npt.NDArray[Any], wanted: npt.NDArray[Any], by: float = 6) -> bool:
    return bool(np.abs(found.astype(float) - wanted.astype(float)).mean() <= by)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM", "JPEG", "AVIF"])
def test_formats_give_the_picture(form: str) -> None:
    found = images.read(encoded(Image.fromarray(gradient()), form), SPEC)
    assert found.shape == (24, 80, 3)
    assert found.dtype == np.uint8
    assert close(found, gradient())


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_it_exactly(form: str) -> None:
    assert (images.read(encoded(Image.fromarray(gradient()), form), SPEC) == gradient()).all()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_a_jpeg_decodes_to_the_size_from_any_scale(scale: int, progressive: bool) -> None:
    picture = Image.fromarray(gradient(80 * scale, 24 * scale))
    found = images.read(encoded(picture, "JPEG", quality=95, progressive=progressive), SPEC)
    assert found.shape == (24, 80, 3)
    assert close(found, gradient(), by=3)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_grey_and_cmyk(mode: str, form: str) -> None:
    picture = Image.fromarray(gradient()).convert(mode)
    wanted = np.asarray(picture.convert("RGB"))
    assert close(images.read(encoded(picture, form), SPEC), wanted)


def test_sixteen_bits_become_eight() -> None:
    wide = (gradient()[..., 0].astype(np.uint16) << 8) + 7
    found = images.read(encoded(Image.fromarray(wide), "PNG"), SPEC)
    assert (found == gradient()[..., :1]).all()


def test_alpha_lies_over_white_and_palettes_are_colours() -> None:
    clear = Image.new("RGBA", (80, 24), (10, 20, 30, 0))
    assert (images.read(encoded(clear, "PNG"), SPEC) == 255).all()
    palette = Image.new("RGB", (80, 24), (200, 40, 10)).convert("P")
    assert (images.read(encoded(palette, "PNG"), SPEC) == palette.convert("RGB")).all()


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (80, 24), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert close(images.read(data, SPEC), np.array([255, 0, 0]))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_makes_it_upright(orientation: int, form: str) -> None:
    upright = Image.fromarray(gradient())
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, form, exif=exif)
    assert close(images.read(data, SPEC), gradient())
    assert images.size(data) == (24, 80)
    if form != "TIFF":
        as_stored = ImageSpec(height=stored.height, width=stored.width, orientation=False)
        assert close(images.read(data, as_stored), np.asarray(stored))


def test_a_png_may_say_its_orientation_after_its_pixels() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    stored = Image.fromarray(gradient()).transpose(Image.Transpose.ROTATE_180)
    data = encoded(stored, "PNG", exif=exif)
    start = data.index(b"eXIf") - 4
    length = int.from_bytes(data[start : start + 4]) + 12
    chunk, rest = data[start : start + length], data[start + length :]
    late = data[:start] + rest[:-12] + chunk + rest[-12:]
    assert close(images.read(late, SPEC), gradient())


def test_fit_stretch_crop_and_pad() -> None:
    picture = encoded(Image.fromarray(gradient(160, 24)), "PNG")
    stretched = images.read(picture, ImageSpec(24, 24, fit="stretch"))
    assert stretched[0, 0, 0] < 20
    assert stretched[0, -1, 0] > 235
    cropped = images.read(picture, ImageSpec(24, 24, fit="crop"))
    assert (cropped == gradient(160, 24)[:, 68:92]).all()
    padded = images.read(picture, ImageSpec(24, 24, fit="pad"))
    assert (padded[:10] == 0).all()
    assert (padded[-10:] == 0).all()
    assert padded[12, -1, 0] > 200


def test_resize_filters_differ_as_named() -> None:
    stripes = np.zeros((24, 160, 3), np.uint8)
    stripes[:, ::2] = 255
    picture = encoded(Image.fromarray(stripes), "PNG")
    area = images.read(picture, ImageSpec(height=24, width=80, resize="area"))
    nearest = images.read(picture, ImageSpec(height=24, width=80, resize="nearest"))
    assert ((area >= 127) & (area <= 128)).all()
    assert set(np.unique(nearest)) <= {0, 255}


@settings(max_examples=60)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    fit=st.sampled_from(["stretch", "crop", "pad"]),
    resize=st.sampled_from(["area", "bilinear", "nearest"]),
    form=st.sampled_from(["JPEG", "PNG"]),
)
def test_any_size_fits_any_size(width: int, height: int, fit: Any, resize: Any, form: str) -> None:
    picture = encoded(Image.new("RGB", (width, height), (90, 160, 30)), form)
    spec = ImageSpec(height=17, width=61, fit=fit, resize=resize)
    found = images.read(picture, spec)
    assert found.shape == (17, 61, 3)
    middle = found[8, 30]  # shown by every fit
    assert close(middle, np.array([90, 160, 30]), by=4)


def test_an_array_is_fitted_as_its_png_would_be() -> None:
    pixels = gradient(200, 70)
    found = images.read(encoded(Image.fromarray(pixels), "PNG"), SPEC)
    assert (images.fit(pixels, SPEC) == found).all()


def jpeg() -> bytes:
    random = np.random.default_rng(3)
    return encoded(Image.fromarray(random.integers(0, 256, (96, 320, 3), np.uint8)), "JPEG")


@settings(max_examples=100)
@given(share=st.floats(0.001, 0.999))
def test_a_truncated_jpeg_is_never_a_picture(share: float) -> None:
    whole = jpeg()
    with pytest.raises(ImageError) as raised:
        images.read(whole[: max(3, int(len(whole) * share))], SPEC)
    assert raised.value.reason is Failure.CORRUPT


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_other_truncated_files_are_corrupt(form: str, share: float) -> None:
    random = np.random.default_rng(3)
    noise = Image.fromarray(random.integers(0, 256, (96, 320, 3), np.uint8))
    whole = encoded(noise, form)
    with pytest.raises(ImageError) as raised:
        images.read(whole[: int(len(whole) * share)], SPEC)
    assert raised.value.reason is Failure.CORRUPT


def test_a_damaged_cmyk_jpeg_is_corrupt() -> None:
    random = np.random.default_rng(3)
    noise = Image.fromarray(random.integers(0, 256, (96, 320, 4), np.uint8), "CMYK")
    whole = bytearray(encoded(noise, "JPEG"))
    whole[2000:2040] = b"\xff\xd9" * 20
    with pytest.raises(ImageError) as raised:
        images.read(bytes(whole), SPEC)
    assert raised.value.reason is Failure.CORRUPT


def test_lenient_reading_keeps_what_there_is_and_the_warning() -> None:
    whole = encoded(Image.fromarray(gradient(320, 96)), "JPEG")
    damage: list[str] = []
    found = images.read(whole[: int(len(whole) * 0.7)], SPEC, lenient=True, notes=damage)
    assert damage == ["Premature end of JPEG file"]
    assert close(found[:8], gradient()[:8])
    with pytest.raises(ImageError):
        images.read(whole[:30], SPEC, lenient=True)


@pytest.mark.parametrize("data", [b"", b"hello", b"<html></html>" * 100, b"\x00" * 5000])
def test_what_is_no_image(data: bytes) -> None:
    with pytest.raises(ImageError) as raised:
        images.read(data, SPEC)
    assert raised.value.reason is Failure.NOT_AN_IMAGE


def test_what_has_no_size() -> None:
    with pytest.raises(ImageError, match="no known image format") as raised:
        images.size(b"no image")
    assert raised.value.reason is Failure.NOT_AN_IMAGE


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        sealed = kind + body
        return struct.pack(">I", len(body)) + sealed + struct.pack(">I", zlib.crc32(sealed))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    tall = bytearray(jpeg())
    frame = tall.index(b"\xff\xc0")
    tall[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    for bomb in (png, bytes(tall)):
        with pytest.raises(ImageError) as raised:
            images.read(bomb, SPEC)
        assert raised.value.reason is Failure.TOO_LARGE


def test_images_above_half_the_limit_are_read_without_a_warning() -> None:
    code = """
import sys
from boatinfer import images
from boatinfer.models import card
pixels = images.read(sys.stdin.buffer.read(), card.ImageSpec(height=2, width=2))
print(pixels.ravel().tolist())
"""
    wide = encoded(Image.new("L", (10_000, 9_500), 77), "PNG")  # 95 megapixels
    run = subprocess.run([sys.executable, "-c", code], input=wide, capture_output=True, check=True)
    assert run.stdout.split() == str([77] * 12).encode().split()
    assert run.stderr == b""


def test_a_broken_exif_block_does_not_matter() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(encoded(Image.fromarray(gradient()), "JPEG", exif=exif))
    start = data.index(b"Exif\0\0") + 6
    data[start : start + 8] = b"\xff" * 8
    assert close(images.read(bytes(data), SPEC), gradient())


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2) + content


@pytest.mark.parametrize(
    "odd",
    [segment(0xE2, b"ICC_PROFILE\0\1"), segment(0xE0, b"JFIF\0"), segment(0xEE, b"Adobe\0")],
)
def test_odd_metadata_beside_exif_does_not_matter(odd: bytes) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    data = encoded(Image.fromarray(gradient()).rotate(180), "JPEG", exif=exif, quality=95)
    assert close(images.read(data[:2] + odd + data[2:], SPEC), gradient())


def test_numbers_of_unknown_range_are_refused() -> None:
    for mode in ("F", "I"):
        picture = Image.new(mode, (80, 24), 1)
        with pytest.raises(ImageError, match="range"):
            images.read(encoded(picture, "TIFF"), SPEC)


def test_sixteen_bit_transparency_lies_over_white() -> None:
    wide = np.full((24, 80), 1000, np.uint16)
    wide[:, :40] = 60_000
    data = encoded(Image.fromarray(wide), "PNG", transparency=1000)
    found = images.read(data, SPEC)
    assert (found[:, 40:] == 255).all()
    assert (found[:, :40] == 60_000 >> 8).all()


def test_postscript_is_no_image_and_starts_no_program(tmp_path: Path) -> None:
    postscript = encoded(Image.new("RGB", (80, 24)), "EPS")
    with pytest.raises(ImageError) as raised:
        images.read(postscript, SPEC)
    assert raised.value.reason is Failure.NOT_AN_IMAGE


def test_a_jpeg_with_a_damaged_header_is_corrupt_and_nobody_guesses() -> None:
    data = jpeg()
    with pytest.raises(ImageError) as raised:
        images.read(data[:2] + b"\xff\xe1" + data[2:], SPEC)
    assert raised.value.reason is Failure.CORRUPT


def test_an_empty_segment_hides_no_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    data = encoded(Image.fromarray(gradient()).rotate(180), "JPEG", exif=exif, quality=95)
    assert close(images.read(data[:2] + b"\xff\xe2\0\0" + data[2:], SPEC), gradient())


def test_uncommon_sampling_is_left_to_pillow() -> None:
    grey = Image.fromarray(gradient()).convert("L")
    data = bytearray(encoded(grey, "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 11] = 0x33  # one channel: its sampling factors mean nothing, but are odd
    assert close(images.read(bytes(data), SPEC), np.asarray(grey)[..., None], by=6)


def test_lenient_reading_of_a_damaged_cmyk_jpeg_is_pillows() -> None:
    random = np.random.default_rng(3)
    noise = Image.fromarray(random.integers(0, 256, (96, 320, 4), np.uint8), "CMYK")
    whole = bytearray(encoded(noise, "JPEG"))
    whole[-200:-190] = bytes(10)
    damage: list[str] = []
    assert images.read(bytes(whole), SPEC, lenient=True, notes=damage).shape == (24, 80, 3)
    assert len(damage) == 1


def test_what_is_written_while_a_file_is_opened_shows_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its status is as old as its content or older, so that a change is never missed."""
    path, status = tmp_path / "a.jpg", os.fstat
    path.write_bytes(b"old")

    def write_first(handle: int) -> os.stat_result:
        path.write_bytes(b"new")
        return status(handle)

    monkeypatch.setattr(os, "fstat", write_first)
    assert images.load(path)[0] == b"new"
