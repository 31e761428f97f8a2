from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from boatinfer import images
from boatinfer.card import ImageSpec
from boattrain.data import find_images, fingerprint, load_images

SPEC = ImageSpec(height=12, width=40)


def fingerprint_of(data: Path) -> str:
    return fingerprint(*(load_images(files, SPEC) for files in find_images(data)))


def test_pixels_are_those_of_the_one_reader(data: Path) -> None:
    files, _ = find_images(data)

    split = load_images(files, SPEC)

    assert split.pixels.dtype == np.uint8
    assert split.pixels.shape == (36, 12, 40, 3)
    for path, pixels in zip(split.paths, split.pixels, strict=True):
        np.testing.assert_array_equal(pixels, images.read(path.read_bytes(), SPEC))


def test_classes_and_files_are_sorted(data: Path) -> None:
    train, valid = find_images(data)

    assert train.classes == valid.classes == ["blue", "green", "red"]
    assert train.paths == sorted(train.paths)
    assert [train.classes[label] for label in valid.labels] == [
        path.parent.name for path in valid.paths
    ]


def test_images_that_cannot_be_read_are_left_out_with_the_reason(data: Path) -> None:
    (data / "train/green/03.jpg").write_text("no image")
    (data / "train/green/03b.jpg").symlink_to("missing.jpg")

    split = load_images(find_images(data)[0], SPEC)

    assert list(split.left_out) == ["train/green/03.jpg", "train/green/03b.jpg"]
    assert split.left_out["train/green/03.jpg"].startswith("not_an_image: ")
    assert split.left_out["train/green/03b.jpg"].startswith("unreadable: ")
    assert len(split.pixels) == len(split.paths) == len(split.digests) == 35
    assert np.bincount(split.labels).tolist() == [12, 11, 12]
    assert data / "train/green/03.jpg" not in split.paths


def test_fingerprint_depends_on_names_and_contents_alone(data: Path, tmp_path: Path) -> None:
    before = fingerprint_of(data)
    elsewhere = shutil.copytree(data, tmp_path / "copy")
    assert fingerprint_of(elsewhere) == before
    assert len(bytes.fromhex(before)) == 16

    (data / "valid/red/00.jpg").rename(data / "valid/red/renamed.jpg")
    assert fingerprint_of(data) != before

    Image.new("RGB", (40, 16)).save(elsewhere / "train/blue/00.jpg")
    assert fingerprint_of(elsewhere) != before
