from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from boatinfer.errors import OutputError, UsageError
from boatinfer.quiet import native_stderr_hidden
from boatinfer.storage.files import (
    atomic_folder,
    atomic_write,
    require_new_folder,
    require_writable,
)


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, synced = tmp_path / "x.txt", list[tuple[int, bool]]()
    sync = os.fsync

    def note(handle: int) -> None:
        synced.append((os.fstat(handle).st_ino, target.exists()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", note)
    with atomic_write(target) as temporary:
        temporary.write_text("new")
    assert synced == [(target.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "; make room or choose another place."),
        (errno.EROFS, f"{os.strerror(errno.EROFS)}; choose another place."),
    ],
)
def test_what_the_disk_refuses_comes_with_what_helps(
    tmp_path: Path, number: int, advice: str
) -> None:
    with pytest.raises(OutputError) as raised, atomic_write(tmp_path / "x.txt"):
        raise OSError(number, os.strerror(number))
    assert str(raised.value).endswith(advice)


def test_what_may_not_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    there, source = tmp_path / "there.onnx", tmp_path / "source.onnx"
    there.write_text("old")
    source.write_text("source")
    (tmp_path / "link.onnx").symlink_to(source)
    (tmp_path / "folder.onnx").mkdir()
    require_writable(tmp_path / "new.onnx", source)
    require_writable(there, source, force=True)
    for path, force, said in [
        (there, False, "--force to replace it"),
        (source, True, "is what is to be read"),
        (tmp_path / "link.onnx", True, "is what is to be read"),
        (tmp_path / "folder.onnx", True, "is a folder"),
        (tmp_path / "nowhere" / "x.onnx", True, "does not exist"),
    ]:
        with pytest.raises(UsageError, match=said):
            require_writable(path, source, force=force)


def test_native_chatter_is_hidden_unless_it_explains_an_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with native_stderr_hidden():
        os.write(2, b"hello from C\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(RuntimeError), native_stderr_hidden():
        os.write(2, b"this is why\n")
        raise RuntimeError
    assert capfd.readouterr().err == "this is why\n"
    os.write(2, b"back again\n")
    sys.stderr.flush()
    assert capfd.readouterr().err == "back again\n"


def test_a_folder_gets_its_name_when_it_is_filled(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "made"
    with atomic_folder(folder) as temporary:
        (temporary / "file").write_text("all")
        assert not folder.exists()
    assert (folder / "file").read_text() == "all"
    assert [path.name for path in folder.parent.iterdir()] == ["made"]


def test_a_folder_that_is_not_filled_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), atomic_folder(tmp_path / "made") as temporary:
        (temporary / "file").write_text("half")
        raise ValueError("no")
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_filled_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    require_new_folder(tmp_path / "link")
    with atomic_folder(tmp_path / "link") as temporary:
        (temporary / "file").touch()
    assert (tmp_path / "real" / "file").exists()
    assert (tmp_path / "link").is_symlink()


def test_a_folder_that_was_filled_meanwhile_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    with pytest.raises(OutputError, match="not empty"), atomic_folder(folder) as temporary:
        (temporary / "file").touch()
        folder.mkdir()
        (folder / "mine").touch()
    assert [path.name for path in folder.iterdir()] == ["mine"]
    with pytest.raises(UsageError, match="is not empty"):
        require_new_folder(folder)
