"""Resizing as the pipelines of other tools do it, against their steps in plain Pillow and numpy."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from boatinfer import images
from boatinfer.images.interpolation import interpolate
from boatinfer.images.spec import ImageSpec

Pixels = npt.NDArray[np.uint8]
FILTERS = ["bilinear", "bicubic", "lanczos", "nearest"]
sides = st.integers(1, 90)


def noise(height: int, width: int) -> Image.Image:
    random = np.random.default_rng(height * 1000 + width)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))


def read(picture: Image.Image, spec: ImageSpec, form: str = "PNG") -> Pixels:
    file = io.BytesIO()
    picture.save(file, form)
    return images.read(file.getvalue(), spec)


def resized(picture: Image.Image, size: tuple[int, int], how: str) -> Image.Image:
    return picture.resize(size[::-1], Image.Resampling[how.upper()])


@settings(max_examples=80, deadline=None)
@given(sides, sides, st.sampled_from(FILTERS[:3]))
def test_shorter_side_then_centre_crop_is_that_of_torchvision(
    height: int, width: int, how: Any
) -> None:
    spec = ImageSpec(20, 20, how, "crop", shorter_side=27, decode="full")
    picture = noise(height, width)
    shorter, longer = sorted((height, width))
    long_side = int(27 * longer / shorter)
    size = (27, long_side) if height <= width else (long_side, 27)
    top, left = (round((side - 20) / 2.0) for side in size)
    wanted = np.asarray(resized(picture, size, how))[top : top + 20, left : left + 20]
    assert np.array_equal(read(picture, spec), wanted)


def test_a_very_long_picture_takes_little_memory() -> None:
    spec = ImageSpec(224, 224, "bicubic", "crop", shorter_side=256, decode="full")
    picture = noise(2, 60_000)
    middle = picture.crop((29_990, 0, 30_010, 2))  # resized to 256 x 2560
    wanted = np.asarray(resized(middle, (256, 2560), "bicubic"))[16:240, 1168:1392]
    assert np.abs(read(picture, spec) - wanted.astype(int)).max() <= 1


def test_exact_size_then_centre_crop() -> None:
    picture = noise(50, 80)
    spec = ImageSpec(16, 20, "bicubic", "stretch", resize_to=(24, 31), decode="full")
    wanted = np.asarray(resized(picture, (24, 31), "bicubic"))[4:20, 6:26]  # 5.5 is rounded to 6
    assert np.array_equal(read(picture, spec), wanted)


def test_a_crop_larger_than_the_picture_is_padded() -> None:
    picture = noise(10, 12)
    spec = ImageSpec(20, 20, "bilinear", "crop", shorter_side=10, pad_colour=(1, 2, 3))
    found = read(picture, spec)
    assert (found[5:15, 4:16] == np.asarray(picture)).all()
    assert (found[:5] == (1, 2, 3)).all()
    assert (found[:, -4:] == (1, 2, 3)).all()


@pytest.mark.parametrize(("side", "top"), [("both", 6), ("end", 0)])
def test_letterbox(side: Any, top: int) -> None:
    picture = noise(30, 100)
    spec = ImageSpec(
        25, 40, "bilinear", "pad", antialias=False, pad_colour=(114,) * 3, pad_side=side
    )
    found = read(picture, spec)
    inner = interpolate(np.asarray(picture), (12, 40), (0, 0, 12, 40), resize="bilinear")
    assert (found[top : top + 12] == inner).all()
    bars = np.concatenate([found[:top], found[top + 12 :]])
    assert bars.shape[0] == 13
    assert (bars == 114).all()


def test_five_crops_are_one_below_the_other() -> None:
    picture = noise(64, 90)
    spec = ImageSpec(20, 24, "bilinear", "stretch", resize_to=(30, 40), decode="full", crops=5)
    whole = np.asarray(resized(picture, (30, 40), "bilinear"))
    found = read(picture, spec)
    assert found.shape == spec.shape == (100, 24, 3)
    corners = [(0, 0), (0, 16), (10, 0), (10, 16), (5, 8)]
    for number, (top, left) in enumerate(corners):
        wanted = whole[top : top + 20, left : left + 24]
        assert np.array_equal(found[20 * number : 20 * (number + 1)], wanted)


OPENCV = {
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


@pytest.mark.parametrize("resize", OPENCV)
@settings(max_examples=80, deadline=None)
@given(height=sides, width=sides, rows=sides, columns=sides)
def test_without_antialias_it_is_opencv(
    resize: str, height: int, width: int, rows: int, columns: int
) -> None:
    pixels = np.asarray(noise(height, width))
    wanted = cv2.resize(pixels, (columns, rows), interpolation=OPENCV[resize])
    found = interpolate(pixels, (rows, columns), (0, 0, rows, columns), resize=resize)
    assert np.abs(found - wanted.astype(int)).max() <= 1


@pytest.mark.parametrize("resize", OPENCV)
@settings(max_examples=50, deadline=None)
@given(height=sides, width=sides, rows=sides, columns=sides)
def test_a_part_is_that_of_the_whole(
    resize: str, height: int, width: int, rows: int, columns: int
) -> None:
    pixels = np.asarray(noise(height, width))
    whole = interpolate(pixels, (rows, columns), (0, 0, rows, columns), resize=resize)
    top, left = rows // 3, columns // 4
    part = interpolate(pixels, (rows, columns), (top, left, rows, columns), resize=resize)
    assert (part == whole[top:, left:]).all()
    if (height, width) == (rows, columns):
        assert (whole == pixels).all()


@pytest.mark.parametrize("decode", ["scaled", "double", "full"])
def test_how_large_a_jpeg_is_decoded(decode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import simplejpeg

    asked = {}
    original = simplejpeg.decode_jpeg

    def spy(data: bytes, *arguments: Any, **options: Any) -> Any:
        pixels = original(data, *arguments, **options)
        asked["shape"] = pixels.shape[:2]
        return pixels

    monkeypatch.setattr(simplejpeg, "decode_jpeg", spy)
    spec = ImageSpec(25, 25, "bilinear", "crop", shorter_side=30, decode=decode)
    read(noise(240, 800), spec, "JPEG")
    assert asked["shape"] == {"scaled": (30, 100), "double": (60, 200), "full": (240, 800)}[decode]


@settings(max_examples=80, deadline=None)
@given(sides, sides, st.data())
def test_every_geometry_gives_its_shape(height: int, width: int, data: st.DataObject) -> None:
    fit: Any = data.draw(st.sampled_from(["stretch", "crop", "pad"]))
    direct = data.draw(st.booleans())
    shorter = not direct and fit == "crop" and data.draw(st.booleans())
    target = None if direct or shorter else data.draw(st.tuples(sides, sides))
    antialias = data.draw(st.booleans())
    spec = ImageSpec(
        height=data.draw(sides),
        width=data.draw(sides),
        resize=data.draw(st.sampled_from([*FILTERS, "area"] if antialias else FILTERS[:3])),
        fit=fit,
        shorter_side=data.draw(sides) if shorter else None,
        resize_to=target,
        antialias=antialias,
        decode=data.draw(st.sampled_from(["scaled", "double", "full"])),
        crops=1 if direct or fit == "pad" else data.draw(st.sampled_from([1, 5])),
    )
    for form in ("PNG", "JPEG"):
        found = read(Image.new("RGB", (width, height), (90, 160, 30)), spec, form)
        assert found.shape == spec.shape
    assert "x" in spec.description
