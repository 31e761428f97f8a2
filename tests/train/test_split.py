from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from boatinfer.dataset.labelled_images import find_images
from boatinfer.errors import OutputError
from boattrain.data.options import SplitOptions
from boattrain.data.split import split
from support import Command, flat


@pytest.fixture
def source(data: Path) -> Path:
    """Three classes of 16 pictures, with one in a sub-folder, and something else."""
    source = flat(data)
    (source / "red/deeper").mkdir()
    (source / "red/train-00.jpg").rename(source / "red/deeper/00.jpg")
    (source / "red/notes.txt").write_text("no image")
    return source


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Where the split goes; it is not there yet, nor is the folder that it lies in."""
    return tmp_path / "new" / "made"


def state(folder: Path) -> dict[Path, tuple[int, int, bytes]]:
    """All there is to a folder's files; the time of their last change of any kind too."""
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_ctime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def contents(folder: Path) -> Counter[bytes]:
    return Counter(path.read_bytes() for path in folder.rglob("*.jpg"))


def test_every_image_is_copied_once_and_the_source_is_as_it_was(
    source: Path, made: Path, boatinfer: Command
) -> None:
    before = state(source)
    done = boatinfer("data", "split", source, "-o", made, "--test", "0.125")

    assert done.code == 0, done.err
    assert state(source) == before
    assert contents(made) == contents(source)
    counts = Counter(path.relative_to(made).parts[:2] for path in made.rglob("*.jpg"))
    assert counts == {
        (part, name): count
        for part, count in {"train": 12, "valid": 2, "test": 2}.items()
        for name in ("red", "green", "blue")
    }
    (deeper,) = made.glob("*/red/deeper/00.jpg")
    assert deeper.stat().st_mtime_ns == (source / "red/deeper/00.jpg").stat().st_mtime_ns
    assert not list(made.rglob("notes.txt"))
    assert ["all", "36", "6", "6"] in [line.split() for line in done.out.splitlines()]
    assert [path.name for path in made.parent.iterdir()] == ["made"]


def test_the_split_on_disk_is_the_one_on_the_fly(source: Path, made: Path) -> None:
    split(SplitOptions(source, made))
    for here, there in zip(find_images(source), find_images(made), strict=True):
        assert here.names == [name.split("/", 1)[1] for name in there.names]


def test_links_are_the_same_files(source: Path, made: Path, boatinfer: Command) -> None:
    (source / "red/zz.jpg").symlink_to("deeper/00.jpg")
    assert boatinfer("data", "split", source, "-o", made, "--link").code == 0
    linked = [path for path in made.rglob("*.jpg") if path.is_file()]
    assert len(linked) == 49
    for path in linked:
        assert not path.is_symlink()
        assert path.samefile(source.joinpath(*path.relative_to(made).parts[1:]))


def test_another_file_system_cannot_be_linked(
    source: Path, made: Path, boatinfer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")  # EXDEV

    monkeypatch.setattr(os, "link", refuse)
    done = boatinfer("data", "split", source, "-o", made, "--link")
    assert (done.code, "use --copy" in done.err) == (2, True)
    assert not list(made.parent.iterdir())


def test_a_class_of_one_image_is_told(source: Path, made: Path, boatinfer: Command) -> None:
    for file in sorted((source / "green").iterdir())[1:]:
        file.unlink()
    done = boatinfer("data", "split", source, "-o", made)
    assert done.code == 0
    assert "'green': too few different images" in done.err
    assert len(list((made / "train/green").iterdir())) == 1


def test_what_cannot_be_split(source: Path, made: Path, boatinfer: Command) -> None:
    (made / "train").mkdir(parents=True)
    before = state(source)
    empty = made.parent / "empty"
    empty.mkdir()
    for arguments, said in [
        ((source, "-o", made), "is not empty"),
        ((source, "-o", source / "red/notes.txt"), "cannot be used: Not a directory"),
        ((source, "-o", source / "split"), "is inside"),
        ((made, "-o", empty), "is split already: it holds train"),
        ((made / "nowhere", "-o", empty), "does not exist"),
        ((source / "red/notes.txt", "-o", empty), "is not a folder"),
        ((source / "red", "-o", empty), "holds only one class, deeper"),
        ((source, "-o", empty, "--valid", "10"), "--valid 10 is no share"),
        ((source, "-o", empty, "--test", "none"), "--test none is no share"),
        ((source, "-o", empty, "--valid", "60%", "--test", "0.4"), "leave nothing for train"),
    ]:
        done = boatinfer("data", "split", *arguments)
        assert (done.code, done.out) == (2, "")
        assert said in done.err
        assert done.err.startswith("boatinfer: ")
        assert done.err.count("\n") == 1
    assert state(source) == before
    assert not list(empty.iterdir())


def test_a_dangling_link_ends_it_and_nothing_is_made(
    source: Path, made: Path, boatinfer: Command
) -> None:
    (source / "red/gone.jpg").symlink_to("nowhere.jpg")
    done = boatinfer("data", "split", source, "-o", made)
    assert (done.code, "gone.jpg cannot be read: No such file" in done.err) == (2, True)
    assert not list(made.parent.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes")
def test_a_named_pipe_ends_it_and_nothing_waits(
    source: Path, made: Path, boatinfer: Command
) -> None:
    os.mkfifo(source / "red/pipe.jpg")
    done = boatinfer("data", "split", source, "-o", made)
    assert (done.code, "pipe.jpg is not a regular file" in done.err) == (2, True)
    assert not list(made.parent.iterdir())


def test_a_full_disk_is_one_sentence_and_nothing_is_made(
    source: Path, made: Path, boatinfer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", fail)
    done = boatinfer("data", "split", source, "-o", made)
    assert (done.code, "No space left on device" in done.err) == (OutputError.exit_code, True)
    assert not list(made.parent.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize(("number", "code"), [(2, 130), (9, -9)])
def test_a_split_that_is_ended_leaves_nothing_that_looks_whole(
    source: Path, made: Path, number: int, code: int
) -> None:
    slow = (
        "import sys, time, shutil; from boatinfer import cli; copy = shutil.copy2\n"
        "def slowly(*paths): time.sleep(0.2); print('copied', flush=True); copy(*paths)\n"
        "shutil.copy2 = slowly; sys.argv[0] = 'boatinfer'; cli.main()"
    )
    command = [sys.executable, "-c", slow, "data", "split", str(source), "-o", str(made)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        process.wait(30)
        assert process.returncode == code
    assert not made.exists()
    assert contents(source).total() == 48
    assert split(SplitOptions(source, made)).classes == ["blue", "green", "red"]
