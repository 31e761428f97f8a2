from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import colours
import killers
from boatinfer import images
from boatinfer.images.spec import ImageSpec
from boattrain.augment import augment
from boattrain.data.options import ShowOptions
from boattrain.data.show import DEFAULT_AUGMENTATION, ImageGrid, show
from support import COUNTS, Command, Shell, flat


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return tmp_path / "batch.png"


def shown(data: Path, picture: Path, **options: object) -> ImageGrid:
    chosen = ShowOptions(data, picture, size="24x80", force=True, **options)  # type: ignore[arg-type]
    return show(chosen)


def test_the_picture_holds_each_image_pixel_by_pixel_under_its_class(
    data: Path, picture: Path
) -> None:
    batch = shown(data, picture, rows=2, columns=4)
    assert len(batch.labels) == 8
    assert len(set(batch.labels)) > 1
    with Image.open(picture) as opened:
        assert opened.format == "PNG"
        drawn = np.asarray(opened)
    height, width = 3 * 24, 3 * 80  # drawn larger, as they are small
    assert drawn.shape[1] >= 4 * width
    title = drawn.shape[0] // 2 - height
    for place, pixels in enumerate(batch.pixels):
        row, column = divmod(place, 4)
        top, left = row * (height + title), column * (drawn.shape[1] + 10) // 4
        image = drawn[top + title : top + title + height, left : left + width]
        np.testing.assert_array_equal(image[1::3, 1::3], pixels)
        assert drawn[top : top + title, left : left + width].min() < 50


def test_every_class_is_in_the_picture(data: Path, picture: Path) -> None:
    for number in range(30):
        shutil.copy(data / "train/red/00.jpg", data / f"train/red/more-{number:02}.jpg")
    grid = show(ShowOptions(data, picture, rows=2, columns=3))
    assert Counter(grid.labels) == {"red": 2, "green": 2, "blue": 2}


def test_pixels_are_those_of_the_one_reader(data: Path, picture: Path) -> None:
    batch = shown(data, picture)
    spec = ImageSpec(height=24, width=80)
    for pixels, label, name in zip(batch.pixels, batch.labels, batch.names, strict=True):
        assert name.startswith(f"train/{label}/")
        np.testing.assert_array_equal(pixels, images.read((data / name).read_bytes(), spec))


def test_the_seed_repeats_the_picture_and_another_one_does_not(data: Path, picture: Path) -> None:
    first = shown(data, picture).names
    content = picture.read_bytes()
    assert shown(data, picture).names == first
    assert picture.read_bytes() == content
    assert shown(data, picture, seed=1).names != first


def test_augmented_images_are_the_same_images_changed(data: Path, picture: Path) -> None:
    plain, moderate = shown(data, picture), shown(data, picture, augment=True)
    assert moderate.names == plain.names
    wanted = augment(plain.pixels, DEFAULT_AUGMENTATION, np.random.default_rng(0))
    np.testing.assert_array_equal(moderate.pixels, wanted)
    bright = shown(data, picture, brightness=1.0)
    assert bright.names == plain.names
    mirrored = shown(data, picture, augment=True, flip=True).pixels
    flipped = [
        not np.array_equal(a, b) and np.array_equal(a, b[:, ::-1])
        for a, b in zip(mirrored, plain.pixels, strict=True)
    ]
    assert 0 < sum(flipped) < len(flipped)
    unchanged = np.array(flipped) ^ True
    np.testing.assert_array_equal(mirrored[unchanged], plain.pixels[unchanged])


def test_the_documents_say_what_moderate_is() -> None:
    documented = (Path(__file__).parents[2] / "docs/data.md").read_text()
    amounts = {
        name: value
        for name, value in dataclasses.asdict(DEFAULT_AUGMENTATION).items()
        if name != "flip" and value
    }
    options = " ".join(f"--{name} {value:g}" for name, value in amounts.items())
    assert f"`--flip {options}`" in documented


@pytest.mark.parametrize("split", ["train", "valid"])
def test_splits_of_both_kinds_of_folder(data: Path, picture: Path, split: str) -> None:
    batch = shown(data, picture, split=split, rows=12)
    each = dict.fromkeys(colours.CLASSES, COUNTS[split])
    assert Counter(batch.labels) == each
    assert all(name.startswith(f"{split}/") for name in batch.names)
    on_the_fly = shown(flat(data), picture, split=split, rows=12, valid="25%")
    assert Counter(on_the_fly.labels) == each


def test_a_broken_image_is_named_and_another_one_taken(
    data: Path, picture: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, *others = shown(data, picture).names
    (data / first).write_text("no image")
    batch = shown(data, picture)
    assert len(batch.names) == 12
    assert batch.names[:11] == others
    assert caplog.messages == [f"left out {first}: not_an_image: no known image format"]


def test_any_class_name_can_be_drawn(data: Path, picture: Path, boatinfer: Command) -> None:
    for name, odd in zip(colours.CLASSES, ["$x^", "水上バス", "[red]"], strict=True):
        (data / "train" / name).rename(data / "train" / odd)
    done = boatinfer("data", "show", data, "-o", picture, "--size", "12x40")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"12 images of train: {picture}\n"


def test_what_cannot_be_shown(
    data: Path, picture: Path, tmp_path: Path, boatinfer: Command
) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty" / "train" / "red").mkdir(parents=True)
    (tmp_path / "there.png").touch()
    before = sorted(tmp_path.rglob("*"))
    for arguments, said in [
        ((data, "-o", tmp_path / "batch.tiff"), "must end in .png"),
        ((data, "-o", tmp_path / "folder.png"), "is a folder"),
        ((data, "-o", tmp_path / "there.png"), "exists already"),
        ((data, "-o", tmp_path / "missing" / "batch.png"), "does not exist"),
        ((data, "-o", data / "train" / "red" / "batch.png"), "is inside"),
        ((data, "-o", picture, "--split", "test"), "test does not exist"),
        ((data, "-o", picture, "--size", "120"), "is not HEIGHTxWIDTH"),
        ((data, "-o", picture, "--size", "0x9"), "is not HEIGHTxWIDTH"),
        ((data, "-o", picture, "--size", "4000x4000"), "would have more than"),
        ((tmp_path / "nowhere", "-o", picture), "does not exist"),
        ((tmp_path / "empty", "-o", picture), "holds no images in class folders"),
    ]:
        done = boatinfer("data", "show", *arguments)
        assert (done.code, done.out) == (2, "")
        assert said in done.err
        assert done.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
    for path in (data / "train").rglob("*.jpg"):
        path.write_text("no image")
    done = boatinfer("data", "show", data, "-o", picture)
    assert (done.code, "can be read." in done.err.splitlines()[-1]) == (2, True)
    assert boatinfer("data", "show", flat(data), "-o", picture, "--split", "test").code == 2


def test_an_image_that_crashes_the_decoder_is_named_and_another_taken(
    data: Path, picture: Path, unsafe_shell: Shell
) -> None:
    killers.write_killer(data / "train" / "red" / "killer.jpg", "segfault")
    done = unsafe_shell("data", "show", data, "-o", picture, "--rows", 37, "--columns", 1)
    assert done.returncode == 0, done.stderr
    assert "left out train/red/killer.jpg: crashed: the process that worked on" in done.stderr
    assert done.stdout.startswith("36 images of train")
