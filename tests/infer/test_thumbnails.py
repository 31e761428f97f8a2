from __future__ import annotations

import io
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import colours
from boatinfer.pages import thumbnails
from boatinfer.pages.thumbnails import Album, thumbnail


def _opened(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((800, 240), (240, 72)), ((400, 800), (80, 160)), ((80, 24), (80, 24)), ((3000, 2), (240, 1))],
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
