"""What a file or folder is by its name, and a file of unknown ending by its first bytes."""

from __future__ import annotations

import functools
import importlib.util
import os
import re

__all__ = [
    "IMAGE_EXTENSIONS",
    "RAW_EXTENSIONS",
    "begins_as_image",
    "extension_of",
    "has_image_extension",
    "has_known_extension",
    "is_system_folder",
    "raw_is_read",
]

#: Endings that count as images, in lower case; those that need an extra too, so that a folder
#: of such files does not look empty.
IMAGE_EXTENSIONS = frozenset(
    {".avif", ".avifs", ".bmp", ".dib", ".gif", ".heic", ".heics", ".heif", ".heifs", ".hif"}
    | {".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl", ".mpo", ".pbm", ".pgm", ".png"}
    | {".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)

#: Endings of the raw files of cameras. They count only if the extra that reads them is
#: installed: most have a JPEG of the same picture beside them.
RAW_EXTENSIONS = frozenset(
    {".3fr", ".arw", ".cap", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr"}
    | {".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw"}
    | {".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"}
)

#: Endings of files that are not looked into: no images, or images that are still being written.
_OTHER_EXTENSIONS = frozenset(
    {".3gp", ".avi", ".bat", ".bz2", ".conf", ".crdownload", ".css", ".csv", ".db", ".doc"}
    | {".docx", ".download", ".exe", ".filepart", ".gpx", ".gz", ".htm", ".html", ".ini", ".js"}
    | {".json", ".log", ".m4a", ".m4v", ".md", ".mkv", ".mov", ".mp3", ".mp4", ".mpg", ".mts"}
    | {".npy", ".npz", ".onnx", ".parquet", ".part", ".partial", ".pdf", ".py", ".rar", ".sh"}
    | {".sqlite", ".tar", ".temp", ".thm", ".tmp", ".toml", ".tsv", ".txt", ".wav", ".xls"}
    | {".xlsx", ".xml", ".xmp", ".yaml", ".yml", ".zip", ".zst"}
)

#: First bytes of the formats above, for files of other endings.
_MAGIC = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM.{4}\0\0\0\0|II[*+]\0|MM\0[*+]"
    rb"|RIFF.{4}WEBP|.{4}ftyp(avi|hei|hev|mif1|msf1)|\0\0\0\x0cjP  |\xff\x4f\xff\x51"
    rb"|\0\0\0\x0cJXL |P[1-6]\s+[#\d]",
    re.DOTALL,
)

#: Folders in which storage devices and desktop systems keep thumbnails, deleted files and
#: snapshots, in lower case: Synology, QNAP, NetApp, Windows, macOS, Linux.
_SYSTEM_FOLDERS = frozenset(
    {"@eadir", "@tmp", "@sharebin", "@sharesnap", "@synoresource", "#recycle", "#snapshot"}
    | {"@recycle", "@recently-snapshot", "~snapshot", ".snapshot", "$recycle.bin", "recycler"}
    | {"system volume information", "network trash folder", "lost+found"}
)


def extension_of(name: str) -> str:
    """The ending of a file's name, with its dot, in lower case; empty where there is none."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot >= 0 else ""


def has_image_extension(name: str) -> bool:
    """Whether a file counts as an image by its name."""
    ending = extension_of(name)
    return ending in IMAGE_EXTENSIONS or (ending in RAW_EXTENSIONS and raw_is_read())


@functools.cache
def raw_is_read() -> bool:
    """Whether the extra is installed that reads the raw files of cameras."""
    return importlib.util.find_spec("rawpy") is not None


def begins_as_image(path: str) -> bool:
    """Whether a file is an image by its first bytes; not if it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            return bool(_MAGIC.match(os.read(handle, 16)))
        finally:
            os.close(handle)
    except OSError:
        return False


def has_known_extension(name: str) -> bool:
    """Whether a file's ending says already what it is, so that nobody need look into it."""
    # ExifTool keeps the file before its change as NAME.nef_original.
    ending = extension_of(name).removesuffix("_original")
    return ending in _OTHER_EXTENSIONS or ending in RAW_EXTENSIONS or has_image_extension(name)


def is_system_folder(name: str) -> bool:
    """Whether a system keeps thumbnails, deleted files or snapshots in a folder of this name."""
    return name.lower() in _SYSTEM_FOLDERS or name.startswith(".Trash")
