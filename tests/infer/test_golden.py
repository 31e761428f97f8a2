from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from boatinfer import images
from boatinfer.errors import ImageError, UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.models.golden import golden_image_bytes, golden_images_of_folder, make_golden

SPEC = ImageSpec(height=16, width=40)


def encoded(size: tuple[int, int], form: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("size", "stored"),
    [((800, 240), (80, 24)), ((100, 320), (10, 32)), ((80, 32), (80, 32)), ((5, 4), (5, 4))],
    ids=["too wide", "too high", "just small enough", "small"],
)
def test_stored_image_is_at_most_twice_the_target(
    size: tuple[int, int], stored: tuple[int, int]
) -> None:
    with Image.open(io.BytesIO(golden_image_bytes(encoded(size), SPEC))) as image:
        assert image.format == "JPEG"
        assert image.size == stored


def test_stored_image_is_upright_and_has_no_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a maker"
    data = encoded((240, 800), exif=exif)

    with Image.open(io.BytesIO(golden_image_bytes(data, SPEC))) as image:
        assert image.size == (80, 24)
        assert not image.getexif()


def test_damaged_exif_does_no_harm() -> None:
    text = PngInfo()
    text.add_text("Raw profile type exif", "\n\n\nnot hexadecimal")
    data = encoded((800, 240), "PNG", pnginfo=text)

    with Image.open(io.BytesIO(golden_image_bytes(data, SPEC))) as image:
        assert image.size == (80, 24)


def test_stored_image_looks_like_the_original() -> None:
    data = encoded((160, 64), "PNG")

    difference = images.read(golden_image_bytes(data, SPEC), SPEC) - images.read(data, SPEC).astype(
        float
    )

    assert np.abs(difference).mean() < 2


def test_unreadable_image_is_refused_by_the_reader() -> None:
    with pytest.raises(ImageError):
        golden_image_bytes(encoded((160, 64))[:-200], SPEC)


def test_golden_probabilities_are_those_of_the_stored_bytes() -> None:
    stored = [golden_image_bytes(encoded(size), SPEC) for size in [(160, 64), (400, 100)]]

    golden = make_golden(stored, SPEC, lambda pixels: pixels.mean(axis=(1, 2)) / 255)

    assert [image.image for image in golden.images] == stored
    for image in golden.images:
        expected = images.read(image.image, SPEC).mean(axis=(0, 1)) / 255
        np.testing.assert_allclose(image.probabilities, expected)


def test_one_golden_image_a_sub_folder_and_sixteen_at_most(tmp_path: Path) -> None:
    for name in range(20):
        (tmp_path / f"{name:02}").mkdir()
        for number in range(2):
            path = tmp_path / f"{name:02}" / f"{number}.jpg"
            path.write_bytes(encoded((80 + name, 30)))
    chosen = golden_images_of_folder(tmp_path, SPEC)
    assert list(chosen) == [f"{name:02}/0.jpg" for name in range(16)]
    assert len(set(chosen.values())) > 1
    assert list(golden_images_of_folder(tmp_path / "03", SPEC)) == ["0.jpg", "1.jpg"]


def test_a_folder_without_readable_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no image files"):
        golden_images_of_folder(tmp_path, SPEC)
    (tmp_path / "x.jpg").write_text("hello")
    with pytest.raises(UsageError, match=r"x\.jpg cannot be read: no known image format"):
        golden_images_of_folder(tmp_path, SPEC)
