from __future__ import annotations

import io
import itertools
import os
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import colours
from boatinfer.pages import thumbnails
from boatinfer.pages.thumbnails import Album, look, thumbnail


def _opened(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((800, 240), (340, 102)),
        ((400, 800), (127, 255)),
        ((80, 24), (80, 24)),
        ((3000, 2), (340, 1)),
    ],
)
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_it_is_small_and_keeps_its_proportions(
    size: tuple[int, int], expected: tuple[int, int], form: str
) -> None:
    small = _opened(thumbnail(colours.picture("green", size=size, form=form)))
    assert (small.format, small.size) == ("JPEG", expected)
    red, green, blue = np.asarray(small).mean(axis=(0, 1))
    assert green > 150 > max(red, blue)


def test_it_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = colours.picture("red", size=(80, 24), exif=exif)
    assert _opened(thumbnail(lying)).size == (24, 80)


def test_what_cannot_be_shown_says_why(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("hello")
    (tmp_path / "good.jpg").write_bytes(colours.picture("red"))
    rows = [{"path": name} for name in ("bad.jpg", "gone.jpg", "good.jpg")]
    bad, gone, good = Album(str(tmp_path)).pictures(rows)
    assert (bad.source, gone.source) == (None, None)
    assert "no known image format" in bad.missing
    assert "no such file" in gone.missing
    assert good.source is not None
    kind, encoded = good.source.split(",")
    assert kind == "data:image/jpeg;base64"
    assert _opened(b64decode(encoded)).size == (80, 24)
    assert good.address == (tmp_path / "good.jpg").as_uri()


def test_there_are_no_more_than_the_page_has_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.jpg").write_bytes(colours.picture("red"))
    monkeypatch.setattr(thumbnails, "_BUDGET", 10_000)
    pictures = Album(str(tmp_path)).pictures([{"path": "a.jpg"}] * 50)
    assert 1 <= len(pictures) < 20


def _scene(seed: int, colour: tuple[int, int, int] = (90, 90, 90)) -> Image.Image:
    """A picture of some large blocks, as different as photographs of different things."""
    blocks = np.random.default_rng(seed).integers(-60, 60, (6, 8, 3)) + np.array(colour)
    return Image.fromarray(blocks.astype(np.uint8)).resize((800, 240), Image.Resampling.BICUBIC)


def test_nearly_identical_pictures_are_shown_once_with_their_number(tmp_path: Path) -> None:
    for number in range(4):  # frames of one passing: moved a little, lighter, another quality
        frame = _scene(1).crop((2 * number, 0, 800, 240)).point(lambda v, n=number: v + 2 * n)
        frame.save(tmp_path / f"frame-{number}.jpg", quality=90 - 10 * number)
    _scene(2).save(tmp_path / "other.jpg")
    (tmp_path / "bad.jpg").write_text("hello")
    (tmp_path / "bad-too.jpg").write_text("hello")
    names = ["frame-0", "other", "frame-1", "bad", "frame-2", "bad-too", "frame-3"]
    pictures = Album(str(tmp_path)).distinct({"path": f"{name}.jpg"} for name in names)
    assert [(p.name, p.alike) for p in pictures] == [
        *(("frame-0.jpg", 3), ("other.jpg", 0), ("bad.jpg", 0), ("bad-too.jpg", 0)),
    ]


def test_pictures_of_one_colour_are_alike_only_in_the_same_colour() -> None:
    plain = {name: np.full((24, 80, 3), value, np.uint8) for name, value in colours.COLOURS.items()}
    assert look(plain["red"]).is_like(look(plain["red"] + 3))
    assert not look(plain["red"]).is_like(look(plain["green"]))
    assert not look(np.asarray(_scene(1))).is_like(look(np.asarray(_scene(2))))
    assert look(np.zeros((1, 2, 3), np.uint8)).is_like(look(np.zeros((2, 1, 3), np.uint8)))


def test_photographs_of_different_things_are_seldom_alike() -> None:
    """Of 200 photographs of boats, from different days and places in the canal."""
    folder = os.environ.get("MARDCT")
    if folder is None:
        pytest.skip("MARDCT names no folder of photographs")
    files = sorted((Path(folder) / "valid").rglob("*.jpg"))[::2]
    looks = [look(np.asarray(Image.open(file).convert("RGB"))) for file in files]
    pairs = list(itertools.combinations(looks, 2))
    assert sum(one.is_like(other) for one, other in pairs) < 0.005 * len(pairs)


def test_a_page_that_is_full_has_some_pictures_of_each_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"path": f"{number}.jpg"} for number in range(20)]
    for row in rows:
        (tmp_path / row["path"]).write_bytes(colours.picture("red"))
    monkeypatch.setattr(thumbnails, "_BUDGET", 20_000)
    album = Album(str(tmp_path))
    album.prepare(rows)
    pictures = [album._picture(row, 0) for row in rows]
    first, second = album.fit([pictures[:17], pictures[17:]])
    assert 2 <= len(second) <= 3
    assert 2 <= len(first) < 17
