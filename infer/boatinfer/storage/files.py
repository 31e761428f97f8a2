"""Atomic writing of files and folders, and checks before writing."""

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
    "TEMPORARY_SUFFIX",
    "atomic_folder",
    "atomic_write",
    "require_folder",
    "require_new_folder",
    "require_writable",
    "temporary_folder",
    "translate_write_errors",
]

#: Extension of files that are still being written; leftover ones may be deleted.
TEMPORARY_SUFFIX = ".tmp"


@contextlib.contextmanager
def atomic_write(path: Place) -> Iterator[Path]:
    """Yields a temporary path, which is synced and renamed to ``path`` at the end.

    For a bucket, the temporary file is on this machine, and uploaded at the end.

    Args:
        path: the final file; its folder must exist.

    Yields:
        The path to write to. If the body raises, the temporary file is removed and ``path``
        is unchanged.

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
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
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
        OutputError: there is no writable one.
    """
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        raise OutputError(
            "no folder for temporary files can be written to; make room in /tmp, or set TMPDIR to "
            "a folder with room."
        ) from error


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder, which is renamed to ``folder`` at the end.

    Args:
        folder: the final folder; it must not exist, or be empty.

    Yields:
        The folder to fill. If the body raises, it is removed with its content.

    Raises:
        OutputError: the folder could not be made, or ``folder`` is not empty.
    """
    target = Path(os.path.realpath(folder))
    temporary = target.with_name(f".{target.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        with translate_write_errors(folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            yield temporary
            if target.exists():
                target.rmdir()
            temporary.rename(target)
            _sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def translate_write_errors(path: Place) -> Iterator[None]:
    """Translates an `OSError` while ``path`` is written into an `OutputError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        is_full = error.errno in {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
        hint = "make room or " if is_full else ""
        raise OutputError(
            f"{path} could not be written: {reason}; {hint}choose another place."
        ) from error


def require_folder(path: Path) -> None:
    """Refuses a file whose folder does not exist, or that is a folder, before any long work.

    Raises:
        UsageError: the file cannot be written.
    """
    if not path.parent.is_dir():
        raise UsageError(f"the folder {path.parent} does not exist; make it or check the name.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the file another name.")


def require_writable(path: Path, *inputs: Place, force: bool = False) -> None:
    """Refuses a file that cannot or must not be written, before any long work.

    Args:
        path: the file to write.
        inputs: the files that are read, which are never overwritten.
        force: whether an existing file may be replaced.

    Raises:
        UsageError: the file cannot or must not be written.
    """
    require_folder(path)
    local_inputs = [file for file in inputs if isinstance(file, Path)]
    if any(path.exists() and file.exists() and path.samefile(file) for file in local_inputs):
        raise UsageError(f"{path} is what is to be read; give the file to write another name.")
    if path.exists() and not force:
        raise UsageError(f"{path} exists already; give another name, or --force to replace it.")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"the folder {path.parent} may not be written to; give another one.")


def require_new_folder(folder: Path) -> None:
    """Refuses a folder that is not empty, before any long work.

    Raises:
        UsageError: it is not empty, or not a folder.
    """
    try:
        first_entry = next(folder.iterdir(), None)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be used: {error.strerror}; choose another place."
        ) from error
    if first_entry is not None:
        raise UsageError(f"{folder} is not empty; choose another place, or remove it first.")


def _sync_folder(folder: Path) -> None:
    """Syncs a folder, so that renames within it survive a power cut, if the system can."""
    with contextlib.suppress(OSError):  # Windows cannot open folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
