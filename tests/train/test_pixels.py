from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from boatinfer import images
from boatinfer.dataset.class_folders import LabelledFiles
from boatinfer.dataset.labelled_images import find_images
from boatinfer.images.spec import ImageSpec
from boattrain.fitting import pixels as module
from boattrain.fitting.pixels import Split, fingerprint, load_images

SPEC = ImageSpec(height=12, width=40)


def mapped(files: LabelledFiles, cache: Path, **more: Any) -> Split:
    """Loads by way of a file, however little there is."""
    cache.mkdir(exist_ok=True)
    return load_images(files, SPEC, lambda: cache, name="train", max_in_memory=0, **more)


def fingerprint_of(data: Path) -> str:
    return fingerprint(*(load_images(files, SPEC) for files in find_images(data)))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The image files that are read from here on."""
    paths: list[Path] = []
    read = images.IsolatedReader.map

    def record(self: images.IsolatedReader[Path, Any], items: Sequence[Path]) -> list[Any]:
        paths.extend(items)
        return read(self, items)

    monkeypatch.setattr(images.IsolatedReader, "map", record)
    return paths


def same(one: Split, other: Split) -> bool:
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_array_equal(one.labels, other.labels)
    return (one.paths, one.digests, one.unreadable) == (
        other.paths,
        other.digests,
        other.unreadable,
    )


def test_pixels_are_those_of_the_one_reader(data: Path) -> None:
    files, _ = find_images(data)

    split = load_images(files, SPEC)

    assert split.pixels.dtype == np.uint8
    assert split.pixels.shape == (36, 12, 40, 3)
    for path, pixels in zip(split.paths, split.pixels, strict=True):
        np.testing.assert_array_equal(pixels, images.read(path.read_bytes(), SPEC))


def test_images_that_cannot_be_read_are_left_out_with_the_reason(data: Path) -> None:
    (data / "train/green/03.jpg").write_text("no image")
    (data / "train/green/03b.jpg").symlink_to("missing.jpg")

    split = load_images(find_images(data)[0], SPEC)

    assert list(split.unreadable) == ["train/green/03.jpg", "train/green/03b.jpg"]
    assert split.unreadable["train/green/03.jpg"].startswith("not_an_image: ")
    assert split.unreadable["train/green/03b.jpg"].startswith("vanished: ")
    assert len(split.pixels) == len(split.paths) == len(split.digests) == 35
    assert np.bincount(split.labels).tolist() == [12, 11, 12]
    assert data / "train/green/03.jpg" not in split.paths


def test_many_images_are_read_in_several_goes(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_BYTES", 5 * SPEC.height * SPEC.width * 3)
    monkeypatch.setattr(module, "_MIN_CHUNK_IMAGES", 1)
    files, _ = find_images(data)
    (data / "train/blue/05.jpg").write_text("no image")
    steps: list[int] = []

    split = load_images(files, SPEC, advance=steps.append)

    assert steps == [5] * 7 + [1]
    for path, pixels in zip(split.paths, split.pixels, strict=True):
        np.testing.assert_array_equal(pixels, images.read(path.read_bytes(), SPEC))


def test_fingerprint_depends_on_names_and_contents_alone(data: Path, tmp_path: Path) -> None:
    before = fingerprint_of(data)
    elsewhere = shutil.copytree(data, tmp_path / "copy")
    assert fingerprint_of(elsewhere) == before
    assert len(bytes.fromhex(before)) == 16

    (data / "valid/red/00.jpg").rename(data / "valid/red/renamed.jpg")
    assert fingerprint_of(data) != before

    Image.new("RGB", (40, 16)).save(elsewhere / "train/blue/00.jpg")
    assert fingerprint_of(elsewhere) != before


def test_large_arrays_are_mapped_and_the_same(data: Path, tmp_path: Path, read: list[Path]) -> None:
    (data / "train/green/03.jpg").write_text("no image")
    files, _ = find_images(data)
    expected = load_images(files, SPEC)

    first = mapped(files, tmp_path / "cache")
    read.clear()
    second = mapped(files, tmp_path / "cache")

    assert isinstance(second.pixels, np.memmap)
    assert same(first, expected)
    assert same(second, expected)
    assert len(read) == 4  # the samples
    with pytest.raises(ValueError, match="read-only"):
        second.pixels[0] = 0


def test_a_folder_of_nothing_readable_can_be_kept(data: Path, tmp_path: Path) -> None:
    files, _ = find_images(data)
    for path in files.paths:
        path.write_text("no image")
    for _ in range(2):
        assert len(mapped(files, tmp_path / "cache").unreadable) == 36


def other_image(data: Path, _: Path) -> None:
    Image.new("RGB", (40, 16)).save(data / "train/blue/00.jpg")


def other_name(data: Path, _: Path) -> None:
    (data / "train/blue/00.jpg").rename(data / "train/blue/0.jpg")


def one_less(data: Path, _: Path) -> None:
    (data / "train/blue/00.jpg").unlink()


def unseen_change(data: Path, _: Path) -> None:
    """Size and time are as before: only a look at the pixels tells."""
    path = data / "train/blue/00.jpg"
    status = path.stat()
    content = bytearray((data / "train/red/00.jpg").read_bytes())
    path.write_bytes(content[: status.st_size].ljust(status.st_size, b"\0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def cut_off(_: Path, cache: Path) -> None:
    raw = cache / "train-12x40.raw"
    raw.write_bytes(raw.read_bytes()[:-1])


def damaged_description(_: Path, cache: Path) -> None:
    (cache / "train-12x40.json").write_text("{")


def other_pixels(_: Path, cache: Path) -> None:
    raw = cache / "train-12x40.raw"
    raw.write_bytes(bytes(raw.stat().st_size))


@pytest.mark.parametrize(
    "change",
    [
        other_image,
        other_name,
        one_less,
        unseen_change,
        cut_off,
        damaged_description,
        other_pixels,
    ],
)
def test_a_cache_of_other_data_is_made_again(data: Path, tmp_path: Path, change: Any) -> None:
    mapped(find_images(data)[0], tmp_path / "cache")
    change(data, tmp_path / "cache")
    files, _ = find_images(data)

    assert same(mapped(files, tmp_path / "cache"), load_images(files, SPEC))


def test_another_size_is_another_array(data: Path, tmp_path: Path, read: list[Path]) -> None:
    files, _ = find_images(data)
    mapped(files, tmp_path / "cache")
    (tmp_path / "cache").mkdir(exist_ok=True)
    wide = ImageSpec(height=12, width=41)
    load_images(files, wide, lambda: tmp_path / "cache", name="train", max_in_memory=0)
    read.clear()

    mapped(files, tmp_path / "cache")

    assert len(read) == 4


def test_an_interrupted_reading_leaves_nothing(data: Path, tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    files, _ = find_images(data)
    with pytest.raises(KeyboardInterrupt):
        mapped(files, tmp_path / "cache", advance=stop)

    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]
    assert same(mapped(files, tmp_path / "cache"), load_images(files, SPEC))
