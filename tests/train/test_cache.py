from __future__ import annotations

import os
import shutil
import threading
from collections import namedtuple
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from boatinfer.dataset.labelled_images import find_images
from boatinfer.errors import OutputError
from boattrain.fitting.array_cache import CACHE_FOLDER, Array, cache_folder, cached_array

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)

Usage = namedtuple("Usage", "total used free")


def write(file: BinaryIO) -> list[str]:
    file.write(ROWS.data)
    return ["a note"]


def fail(_: BinaryIO) -> list[str]:
    raise AssertionError("the array is there already")


def keep(folder: Path, key: str = "key", make: Any = write, **more: Any) -> tuple[Array, list[str]]:
    return cached_array(
        folder, "array", key, dtype=np.float32, shape=(3,), max_rows=4, write_rows=make, **more
    )


def test_what_was_made_once_is_found(tmp_path: Path) -> None:
    for make in (write, fail):
        rows, notes = keep(tmp_path, make=make)
        np.testing.assert_array_equal(rows, ROWS)
        assert notes == ["a note"]


def test_another_key_or_a_doubt_makes_it_again(tmp_path: Path) -> None:
    def write_more(file: BinaryIO) -> list[str]:
        file.write((ROWS + 1).data)
        return []

    keep(tmp_path)
    np.testing.assert_array_equal(keep(tmp_path, "other", write_more)[0], ROWS + 1)
    np.testing.assert_array_equal(
        keep(tmp_path, "other", write, is_valid=lambda *_: False)[0], ROWS
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "array.json",
        "array.lock",
        "array.raw",
    ]


def test_an_array_in_use_outlives_its_successor(tmp_path: Path) -> None:
    rows, _ = keep(tmp_path)
    keep(tmp_path, "other", lambda file: [str(file.write(bytes(48)))])
    np.testing.assert_array_equal(rows, ROWS)


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".array.raw.123.tmp").write_text("half")
    keep(tmp_path)
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_is_seen_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 53, 47))
    with pytest.raises(OutputError, match=r"GB free; free some space, give --cache"):
        keep(tmp_path, make=fail)
    assert not list(tmp_path.glob("*.raw"))


def test_a_disk_that_fills_up_leaves_no_half_array(tmp_path: Path) -> None:
    def fill(file: BinaryIO) -> list[str]:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"array\.raw could not be written: No space left"):
        keep(tmp_path, make=fill)
    assert [path.name for path in tmp_path.iterdir()] == ["array.lock"]


def test_of_two_at_once_one_waits_for_the_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def write_slowly(file: BinaryIO) -> list[str]:
        begun.set()
        assert go_on.wait(10)
        return write(file)

    first = threading.Thread(target=keep, args=(tmp_path, "key", write_slowly))
    first.start()
    assert begun.wait(10)
    found: list[Array] = []
    second = threading.Thread(target=lambda: found.append(keep(tmp_path, make=fail)[0]))
    second.start()
    second.join(0.2)
    assert second.is_alive()
    go_on.set()
    first.join(10)
    second.join(10)
    np.testing.assert_array_equal(found[0], ROWS)
    assert "waiting for another training" in caplog.text


def test_it_lies_beside_the_data_where_nobody_takes_it_for_images(data: Path) -> None:
    before = find_images(data)
    folder = cache_folder(data)
    (folder / "x").mkdir()
    shutil.copy(data / "train/red/00.jpg", folder / "x" / "x.jpg")
    assert folder == data / CACHE_FOLDER
    assert find_images(data) == before
    single = data / "train"
    shutil.copytree(folder, cache_folder(single), dirs_exist_ok=True)
    assert find_images(single)[0].classes == before[0].classes


def test_data_that_may_not_be_written_has_its_cache_elsewhere(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: not Path(path).is_relative_to(data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    folder = cache_folder(data)
    assert folder.is_dir()
    assert folder.is_relative_to(tmp_path / "home")
    assert cache_folder(data / "train") != folder
    assert not (data / CACHE_FOLDER).exists()


def test_a_chosen_folder_is_made(data: Path, tmp_path: Path) -> None:
    assert cache_folder(data, tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        cache_folder(data, tmp_path / "file" / "b")
