"""Thirteen nights on one growing folder: what exit code, terminal, run.json and page say."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

import colours
from support import Command, rows

#: New images of each class in an ordinary night.
USUAL = {"red": 30, "green": 22, "blue": 8}


class Night(NamedTuple):
    """What a run came to."""

    code: int
    printed: str
    error: str
    summary: dict[str, Any]
    page: str

    @property
    def new(self) -> tuple[int, int, int]:
        new = self.summary["new"]
        return new["found"], new["classified"], new["failed"]

    @property
    def unusual(self) -> set[str]:
        return {reason["kind"] for reason in self.summary["unusual"]}


class Season:
    """A folder that grows, and the runs over it."""

    def __init__(self, boatinfer: Command, folder: Path, model: Path) -> None:
        self._boatinfer, self._model = boatinfer, model
        self.folder, self.out = folder / "photos", folder / "out"
        self._random = np.random.default_rng(3)
        self._made = 0

    def add(self, mix: dict[str, int], camera: str = "cam1", fog: float = 0.0) -> None:
        """Adds images: so many of each class, give or take a few; fog takes their colours."""
        (self.folder / camera).mkdir(parents=True, exist_ok=True)
        for name, count in mix.items():
            for _ in range(count + int(self._random.integers(-2, 3)) * (count > 4)):
                self._made += 1
                data = colours.picture(name, self._made)
                (self.folder / camera / f"{self._made:05}.jpg").write_bytes(_fogged(data, fog))

    def add_broken(self, count: int, camera: str = "cam1") -> list[str]:
        """Adds files that end in the middle of the picture."""
        names = []
        for _ in range(count):
            self._made += 1
            names.append(f"{camera}/{self._made:05}.jpg")
            (self.folder / names[-1]).write_bytes(colours.picture("red", self._made)[:300])
        return names

    def run(self, *options: str) -> Night:
        arguments = ["run", self.folder, "-o", self.out, "-m", self._model, *options]
        done = self._boatinfer(*arguments)
        summary = json.loads((self.out / "run.json").read_text())
        page = (self.out / "report.html").read_text()
        return Night(done.code, done.out, done.err, summary, page)


def _fogged(data: bytes, fog: float) -> bytes:
    if not fog:
        return data
    image = Image.open(io.BytesIO(data))
    encoded = io.BytesIO()
    Image.blend(image, Image.new("RGB", image.size, (140, 140, 140)), fog).save(encoded, "JPEG")
    return encoded.getvalue()


@pytest.fixture
def season(boatinfer: Command, tmp_path: Path, model_file: Path) -> Season:
    return Season(boatinfer, tmp_path, model_file)


def test_thirteen_nights(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary_nights(season)
    strange_nights(season)
    broken_nights(season)
    a_lost_camera(season)
    a_resumed_night(season, monkeypatch)


def ordinary_nights(season: Season) -> None:
    """Nights 1 to 6."""
    season.add({"red": 6, "green": 5, "blue": 3}, camera="cam2")
    season.add(USUAL)
    season.add_broken(60)
    first = season.run("--features", "--max-failures", "100%")  # night 1
    assert (first.code, first.unusual, first.new[2]) == (0, set(), 60)

    for _ in range(5):  # nights 2 to 6: as usual
        season.add(USUAL)
        night = season.run("--features")
        assert (night.code, night.error, night.unusual, night.new[2]) == (0, "", set(), 0)
        assert "; 60 failed before, and again\n" in night.printed
        assert night.summary["failed"] == 60


def strange_nights(season: Season) -> None:
    """Night 7 is foggy; in night 8 the classes are others, which the fog must not hide."""
    season.add(USUAL, fog=0.72)
    foggy = season.run("--features", "--fail-on-unusual")
    assert foggy.code == 9
    assert foggy.unusual & {"confidence", "features"}
    assert "\nunusual: " in foggy.printed
    assert "Complete, but look" in foggy.page

    season.add({"red": 22, "green": 1, "blue": 38})
    shifted = season.run("--features")
    assert (shifted.code, "classes" in shifted.unusual) == (0, True)
    (sentence,) = [s["text"] for s in shifted.summary["unusual"] if s["kind"] == "classes"][:1]
    assert "blue" in sentence
    assert f"unusual: {sentence}\n" in shifted.printed
    assert sentence in shifted.page


def broken_nights(season: Season) -> None:
    """All new images of night 9 are corrupt, and one of night 10 beside eighty old ones."""
    season.add_broken(20)
    corrupt = season.run("--features")
    assert (corrupt.code, corrupt.new) == (3, (20, 0, 20))
    assert "20 of 20 new images failed, more than --max-failures 5% allows" in corrupt.error
    assert "Complete, but too many failed" in corrupt.page
    assert "nothing was skipped" not in corrupt.page

    season.add(USUAL)
    (broken,) = season.add_broken(1)
    one_more = season.run("--features")
    assert (one_more.code, one_more.unusual, one_more.new[2]) == (0, set(), 1)
    failures = one_more.page[one_more.page.index('id="failed"') :]
    assert broken in failures.split("<details>")[0]
    assert "80 images failed before" in failures
    new_ones = [row["path"] for row in rows(season.out, "failures.csv") if row["new"] == "true"]
    assert new_ones == [broken]


def a_lost_camera(season: Season) -> None:
    """In night 11 a camera's folder is not mounted."""
    shutil.rmtree(season.folder / "cam2")
    season.add(USUAL)
    lost = season.run("--features")
    assert (lost.code, lost.unusual) == (0, {"folder_gone"})
    assert lost.summary["gone"]["empty"] == ["cam2"]
    assert lost.summary["gone"]["folders"] == {"cam2": lost.summary["gone"]["images"]}
    assert "The folder cam2 has no image any more." in lost.page


def a_resumed_night(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    """Night 12 is killed when all is classified; night 13 goes on."""
    season.add(USUAL)
    with monkeypatch.context() as patch:
        patch.setattr("boatinfer.pipeline.run._publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            season.run("--features")
    season.add({"red": 2, "green": 2, "blue": 2})
    resumed = season.run("--features")
    assert (resumed.code, resumed.unusual, resumed.new[2]) == (0, set(), 0)
    assert resumed.summary["classified"] == 6
    assert resumed.new[1] > 50  # with those of the run that was killed

    quiet = season.run("--features")  # and nothing more
    assert (quiet.code, quiet.unusual, quiet.new) == (0, set(), (0, 0, 0))
    assert (
        f"new: 0 images = 0 classified + 0 failed; {81} failed before, and again\n" in quiet.printed
    )
