"""Copies or links images into the folders of their splits and classes."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from boatinfer.errors import UsageError
from boatinfer.progress import map_files_in_threads
from boatinfer.text import from_text

__all__ = [
    "free_targets",
    "require_folder_names",
    "require_inside",
    "require_outside",
    "transfer",
]

#: Errors of hard links: other file system, not permitted, too many links, not supported.
_LINK_ERRORS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}


def require_folder_names(classes: Sequence[str]) -> None:
    """Refuses classes that cannot be the name of a folder.

    Raises:
        UsageError: names the first such class.
    """
    for name in classes:
        folder = from_text(name)
        if "/" in folder or "\0" in folder or folder in {"", ".", ".."}:
            raise UsageError(f"the class {name!r} cannot be the name of a folder; rename it.")


def free_targets(targets: Sequence[Path]) -> list[Path]:
    """Gives equal paths a number, so that no two are the same."""
    taken: dict[Path, None] = {}
    for target in targets:
        free, number = target, 1
        while free in taken:
            number += 1
            free = target.with_name(f"{target.stem}-{number}{target.suffix}")
        taken[free] = None
    return list(taken)


def require_inside(folder: Path, targets: Sequence[Path]) -> None:
    """Refuses targets that are not inside of the new folder.

    Raises:
        UsageError: names the first one.
    """
    for target in targets:
        if not Path(os.path.normpath(target)).is_relative_to(os.path.normpath(folder)):
            raise UsageError(f"{target} would not be inside the new folder; rename the image.")


def require_outside(source: Path, output: Path) -> None:
    """Refuses an output folder inside of the source."""
    if Path(os.path.realpath(output)).is_relative_to(os.path.realpath(source)):
        raise UsageError(f"{output} is inside {source}; give a path outside of it.")


def transfer(sources: Sequence[Path], targets: Sequence[Path], *, link: bool) -> None:
    """Copies or hard-links files; the folders of the targets are made.

    Raises:
        UsageError: a source cannot be read or linked.
    """
    for folder in {target.parent for target in targets}:
        folder.mkdir(parents=True, exist_ok=True)
    one = _link if link else _copy
    pairs = list(zip(sources, targets, strict=True))
    map_files_in_threads("linking" if link else "copying", lambda pair: one(*pair), pairs)


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copy2(source, target)
    except shutil.SpecialFileError as error:
        raise UsageError(f"{source} is not a regular file; move it away.") from error
    except OSError as error:
        if error.filename != str(source):
            raise
        raise UsageError(
            f"{source} cannot be read: {error.strerror}; repair it or move it away."
        ) from error


def _link(source: Path, target: Path) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError as error:
        if error.errno in _LINK_ERRORS:
            raise UsageError(
                f"{source} cannot be hard-linked: {error.strerror}; use --copy."
            ) from error
        raise
