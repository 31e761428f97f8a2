"""A folder for each class, with the images in it as hard links, symbolic links or copies.

``boatinfer-folders.csv`` lists what was made, of what, and how, so that `undo` can take it back.
"""

from __future__ import annotations

import csv
import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from boatinfer.errors import OutputError, UsageError
from boatinfer.formats.base import (
    Written,
    file_of,
    images,
    images_folder,
    left_out,
    new_folder,
)
from boatinfer.formats.options import ExportOptions, Link
from boatinfer.results.reader import ResultsReader
from boatinfer.storage.files import translate_write_errors
from boatinfer.text import counted, from_text, to_text

__all__ = ["LIST", "Folders", "undo"]

#: The list of what was made; its columns are ``made``, ``of`` and ``how``.
LIST = "boatinfer-folders.csv"

#: What no name of a folder may have on some system, and names that mean something there.
_UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*]|[. ]+$')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


class Folders:
    """Writes one folder; of two images of the same name one gets its folders in the name."""

    options = ("link",)

    def write(self, results: ResultsReader, options: ExportOptions) -> Written:
        """As `boatinfer.formats.base.Format.write`; images that failed are left out."""
        folder, link = images_folder(results), options.link or Link.HARDLINK
        if options.overwrite and (options.target / LIST).exists():
            raise UsageError(
                f"{options.target} holds class folders, in which files may have changed; take them "
                "back first with --undo, or give another name."
            )
        made = failed = gone = 0
        names: dict[str, str] = {}
        with new_folder(options, ()) as target, _listing(target / LIST, "w") as lines:
            rows = csv.writer(lines)
            rows.writerow(["made", "of", "how"])
            for image in images(results):
                if image.label is None:
                    failed += 1
                    continue
                source = file_of(folder, image.path)
                inside = names.get(image.label) or _new_name(image.label, names)
                (target / inside).mkdir(exist_ok=True)
                name = _make(link, source, target / inside, image.path)
                if name is None:
                    gone += 1
                    continue
                made += 1
                rows.writerow([to_text(f"{inside}/{name}"), to_text(str(source.absolute())), link])
        return Written(made, left_out(failed, "that failed") + left_out(gone, "now gone"))


def _listing(file: Path, mode: str) -> TextIO:
    return file.open(mode, encoding="utf-8", newline="")  # type: ignore[return-value]


def _new_name(label: str, names: dict[str, str]) -> str:
    """The name of the folder of a class, which all systems accept and no other class has."""
    name = plain = _UNSAFE.sub("_", label) or "_"
    if _RESERVED.fullmatch(plain):
        name = plain = f"{plain}_"
    number = 2
    while name.casefold() in {other.casefold() for other in names.values()}:
        name, number = f"{plain}_{number}", number + 1
    return names.setdefault(label, name)


def _make(link: Link, source: Path, folder: Path, path: str) -> str | None:
    """Makes the file of an image; returns its name, or None if the image is gone."""
    make = _MAKERS[link]
    flat = from_text(path).replace("\\", "/").strip("/").replace("/", "__")
    stem, ending = os.path.splitext(flat)  # noqa: PTH122 (names may be any bytes)
    name, number = source.name, 1
    while True:
        try:
            make(source, folder / name)
        except FileExistsError:
            number += 1
            name = flat if name == source.name != flat else f"{stem}~{number}{ending}"
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}:
                raise UsageError(
                    f"{folder.parent} cannot have a {link} of {source}: {error.strerror}; choose "
                    "another --link."
                ) from error
            raise
        else:
            return name


def _copy(source: Path, made: Path) -> None:
    if os.path.lexists(made):
        raise FileExistsError
    shutil.copy2(source, made)


def _symlink(source: Path, made: Path) -> None:
    source.stat()  # of what is gone no link is made
    made.symlink_to(source.absolute())


_MAKERS: dict[Link, Callable[[Path, Path], None]] = {
    Link.HARDLINK: os.link,
    Link.SYMLINK: _symlink,
    Link.COPY: _copy,
}


def undo(folder: Path) -> str:
    """Removes the files that `Folders` has made in a folder, and the folders that are then empty.

    A file that somebody has put there, or has changed, stays.

    Returns:
        A sentence on what was done.

    Raises:
        UsageError: the folder has no list of what was made.
        OutputError: a file could not be removed, or the list is damaged.
    """
    listed = folder / LIST
    if not listed.is_file():
        raise UsageError(f"{folder} holds no {LIST}; give a folder that --to folders has made.")
    removed = stayed = 0
    folders: set[Path] = set()
    try:
        with _listing(listed, "r") as lines, translate_write_errors(folder):
            for row in csv.DictReader(lines):
                made, source = (from_text(row[name]) for name in ("made", "of"))
                if not _is_inside(folder, folder / made):
                    raise ValueError(made)
                folders.add((folder / made).parent)
                removable = _is_as_made(folder / made, Path(source), Link(row["how"]))
                if removable:
                    (folder / made).unlink()
                removed += removable
                stayed += not removable and os.path.lexists(folder / made)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise OutputError(f"{listed} is damaged; remove what it lists by hand.") from error
    with translate_write_errors(folder):
        listed.unlink()
        _remove_empty([*folders, folder])
    rest = f"; {counted(stayed, 'file')} changed since stay" if stayed else ""
    return f"{counted(removed, 'file')} removed from {folder}{rest}"


def _is_inside(folder: Path, made: Path) -> bool:
    """Whether a file is in a class folder, and that is a folder of its own and no link."""
    return made.parent.parent == folder and ".." not in made.parts and not made.parent.is_symlink()


def _is_as_made(made: Path, source: Path, how: Link) -> bool:
    """Whether a file is still the one that was made, so that nothing is lost with it.

    Of a copy, size and time are compared; a hard link must have another name left.
    """
    try:
        if how is Link.SYMLINK:
            return made.is_symlink() and made.readlink() == source
        status = made.lstat()
        if how is Link.HARDLINK:
            return made.samefile(source) and status.st_nlink > 1
        of = source.stat()
        same = (status.st_size, status.st_mtime_ns) == (of.st_size, of.st_mtime_ns)
        return same and not os.path.samestat(status, of)
    except FileNotFoundError:
        return False


def _remove_empty(folders: list[Path]) -> None:
    for inside in folders:
        if inside.is_dir() and not inside.is_symlink() and not any(inside.iterdir()):
            inside.rmdir()
