"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from boatinfer.errors import OutputError, UsageError
from boatinfer.storage.base import Place
from boatinfer.storage.locations import is_remote

__all__ = [
    "TEMPORARY",
    "atomic_write",
    "making_folder",
    "require_folder",
    "require_new_folder",
    "require_writable",
    "temporary_folder",
    "translate_write_errors",
]

#: Ending of a file that is still being written; whoever finds one may delete it.
TEMPORARY = ".tmp"


@contextlib.contextmanager
def atomic_write(path: Place) -> Iterator[Path]:
    """Gives a temporary path beside ``path``, which takes its name once written and synced.

    What goes into a bucket is written to a temporary file of this machine, and sent at the end.

    Args:
        path: the final file; its folder must exist.

    Yields:
        The path to write to. If the body raises, the temporary file is removed and what
        stood at ``path`` before still stands there.

    Raises:
        OutputError: the file could not be written or renamed.
    """
    if is_remote(path):
        with (
            translate_write_errors(path),
            tempfile.TemporaryDirectory(prefix="boatinfer-", dir=temporary_folder()) as folder,
        ):
            file = Path(folder) / path.name
            yield file
            path.upload(file)
        return
    assert isinstance(path, Path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with translate_write_errors(path):
            yield temporary
            with temporary.open("r+b") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def temporary_folder() -> Path:
    """The machine's folder for temporary files.

    Raises:
        OutputError: there is none that can be written to.
    """
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        raise OutputError(
            "no folder for temporary files can be written to; make room in /tmp, or set TMPDIR to "
            "a folder with room."
        ) from error


@contextlib.contextmanager
def making_folder(folder: Path) -> Iterator[Path]:
    """Gives a temporary folder beside ``folder``, which takes its name once filled.

    Args:
        folder: the final folder; it must not exist, or be empty.

    Yields:
        The folder to fill. If the body raises, it is removed with all that is in it.

    Raises:
        OutputError: the folder could not be made, or something else came to stand there.
    """
    final = Path(os.path.realpath(folder))
    temporary = final.with_name(f".{final.name}.{os.getpid()}{TEMPORARY}")
    try:
        with translate_write_errors(folder):
            final.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            yield temporary
            if final.exists():
                final.rmdir()
            temporary.rename(final)
            _sync_folder(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def translate_write_errors(path: Place) -> Iterator[None]:
    """Turns what the disk refuses while ``path`` is written into an `OutputError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        full = error.errno in {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
        room = "make room or " if full else ""
        raise OutputError(
            f"{path} could not be written: {reason}; {room}choose another place."
        ) from error


def require_folder(path: Path) -> None:
    """Refuses a file whose folder does not exist, or that is a folder, before any long work.

    Raises:
        UsageError: it cannot be written.
    """
    if not path.parent.is_dir():
        raise UsageError(f"the folder {path.parent} does not exist; make it or check the name.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the file another name.")


def require_writable(path: Path, *inputs: Place, force: bool = False) -> None:
    """Refuses a file that cannot or must not be written, before any long work.

    Args:
        path: the file to write.
        inputs: files that it is made from, which are never overwritten.
        force: whether a file that is there already may be replaced.

    Raises:
        UsageError: it may not be written.
    """
    require_folder(path)
    on_disk = [one for one in inputs if isinstance(one, Path)]
    if any(path.exists() and one.exists() and path.samefile(one) for one in on_disk):
        raise UsageError(f"{path} is what is to be read; give the file to write another name.")
    if path.exists() and not force:
        raise UsageError(f"{path} exists already; give another name, or --force to replace it.")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"the folder {path.parent} may not be written to; give another one.")


def require_new_folder(folder: Path) -> None:
    """Refuses a folder that holds something already, before any long work.

    Raises:
        UsageError: it does, or is no folder.
    """
    try:
        held = next(folder.iterdir(), None)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be used: {error.strerror}; choose another place."
        ) from error
    if held is not None:
        raise UsageError(f"{folder} is not empty; choose another place, or remove it first.")


def _sync_folder(folder: Path) -> None:
    """Makes renames within a folder survive a power cut, where the system can do that."""
    with contextlib.suppress(OSError):  # Windows has no handle on a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
