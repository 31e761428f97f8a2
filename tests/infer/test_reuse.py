from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import xxhash

import colours
from boatinfer import images
from boatinfer.errors import (
    UsageError,
)
from boatinfer.results.summary import Summary
from support import counts, rows


def test_unchanged_pictures_are_not_opened_again(
    night: Callable[..., Summary], pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    night()
    (pictures / "red" / "new.jpg").write_bytes(colours.picture("red", seed=99))
    (pictures / "blue" / "000.jpg").write_bytes(colours.picture("green", seed=99))
    opened = []
    load = images.load

    def note(path: str) -> tuple[bytes, os.stat_result]:
        opened.append(str(Path(path).relative_to(pictures)))
        return load(path)

    monkeypatch.setattr("boatinfer.images.files.load", note)
    assert counts(night(report=False)) == (13, 2, 11, 0)
    assert sorted(opened) == ["blue/000.jpg", "red/new.jpg"]


def test_a_changed_picture_gets_its_new_label(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    night()
    (pictures / "blue" / "000.jpg").write_bytes(colours.picture("green", seed=99))
    night()
    labels = {row["path"]: row["label"] for row in rows(tmp_path / "out")}
    assert labels["blue/000.jpg"] == "green"


def test_pictures_that_have_gone_leave_the_table(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    night()
    (pictures / "red" / "000.jpg").unlink()
    assert counts(night()) == (11, 0, 11, 0)
    assert "red/000.jpg" not in {row["path"] for row in rows(tmp_path / "out")}


def test_failures_are_tried_again(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    path = pictures / "red" / "late.jpg"
    whole = colours.picture("red", seed=50)
    path.write_bytes(whole[:500])
    summary = night(max_failures="1")
    assert summary.failures == {"corrupt": 1}
    assert [row["path"] for row in rows(tmp_path / "out", "failures.csv")] == ["red/late.jpg"]
    path.write_bytes(whole)
    assert counts(night()) == (13, 1, 12, 0)
    assert rows(tmp_path / "out", "failures.csv") == []


def test_a_new_model_makes_all_rows_stale(night: Callable[..., Summary], tmp_path: Path) -> None:
    night()
    other = colours.write_model(tmp_path / "other.onnx", card=colours.card(notes="another"))
    assert counts(night(model=other)) == (12, 12, 0, 0)


def test_features_are_added_where_they_are_missing(night: Callable[..., Summary]) -> None:
    night()
    assert night(features=True).classified == 12
    assert night(features=True).reused == 12
    assert night().reused == 12


def test_two_folders_never_share_their_results(
    night: Callable[..., Summary], tmp_path: Path
) -> None:
    night()
    colours.write_pictures(tmp_path / "others", each=1)
    with pytest.raises(UsageError, match="holds the results of"):
        night(folder=tmp_path / "others")


def test_every_content_is_found_again(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    """Digests that end in zeros too."""
    image = colours.picture("red")
    seeds = (image + struct.pack(">I", n) for n in itertools.count())
    odd = next(s for s in seeds if xxhash.xxh3_128_hexdigest(s).endswith("00"))
    (pictures / "odd.jpg").write_bytes(odd)
    night()
    (pictures / "odd.jpg").rename(pictures / "moved.jpg")
    assert counts(night()) == (13, 0, 13, 0)


def test_copies_renamed_and_touched_images_need_no_inference(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path, inferred: list[int]
) -> None:
    night(features=True)
    (pictures / "copy.jpg").write_bytes((pictures / "red" / "000.jpg").read_bytes())
    (pictures / "red" / "001.jpg").rename(pictures / "renamed.jpg")
    os.utime(pictures / "red" / "002.jpg")
    inferred.clear()
    assert counts(night(features=True)) == (13, 0, 13, 0)
    assert inferred == [3]  # the self-test
    found = {row["path"]: row for row in rows(tmp_path / "out")}
    assert found["copy.jpg"]["label"] == found["renamed.jpg"]["label"] == "red"
    assert found["copy.jpg"]["confidence"] == found["red/000.jpg"]["confidence"]
    assert counts(night(features=True)) == (13, 0, 13, 0)
    assert night(features=True, fresh=True).classified == 13


def test_a_strict_run_judges_again_what_a_lenient_one_let_pass(
    night: Callable[..., Summary], pictures: Path
) -> None:
    whole = colours.picture("red", size=(320, 96))
    (pictures / "cut.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    assert night(lenient=True).failed == 0
    assert night(lenient=True).reused == 13
    assert night(max_failures="1").failures == {"corrupt": 1}


def test_an_image_that_soon_comes_back_is_remembered(
    night: Callable[..., Summary],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("boatinfer.results.store.compaction.MANY_PARTS", 1)
    image, elsewhere = pictures / "red" / "000.jpg", tmp_path / "elsewhere.jpg"
    night()
    for nights_away, classified in [(1, 0), (3, 1)]:
        image.rename(elsewhere)
        for _ in range(nights_away):
            assert counts(night()) == (11, 0, 11, 0)
        elsewhere.rename(image)
        assert counts(night()) == (12, classified, 12 - classified, 0)
    for _ in range(3):  # what these do not look at has not gone
        night(include=["blue/*"])
        night(limit=2)
    assert counts(night()) == (12, 0, 12, 0)
