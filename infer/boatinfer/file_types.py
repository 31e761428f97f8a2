"""Recognises image files and system folders by name, and image files by their first bytes."""

from __future__ import annotations

import functools
import importlib.util
import os
import re

__all__ = [
    "IMAGE_EXTENSIONS",
    "RAW_EXTENSIONS",
    "extension_of",
    "has_image_extension",
    "has_image_signature",
    "has_known_extension",
    "is_system_folder",
    "raw_is_supported",
]

#: File extensions that count as images, in lower case; also those that need an extra, so that a
#: folder of such files does not look empty.
IMAGE_EXTENSIONS = frozenset(
    {".avif", ".avifs", ".bmp", ".dib", ".gif", ".heic", ".heics", ".heif", ".heifs", ".hif"}
    | {".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl", ".mpo", ".pbm", ".pgm", ".png"}
    | {".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)

#: Extensions of cameras' raw files. They count only if the extra that reads them is installed:
#: most have a JPEG of the same picture beside them.
RAW_EXTENSIONS = frozenset(
    {".3fr", ".arw", ".cap", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr"}
    | {".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw"}
    | {".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"}
)

#: Extensions of files that are not opened: not images, or images that are still being written.
_OTHER_EXTENSIONS = frozenset(
    {".3gp", ".avi", ".bat", ".bz2", ".conf", ".crdownload", ".css", ".csv", ".db", ".doc"}
    | {".docx", ".download", ".exe", ".filepart", ".gpx", ".gz", ".htm", ".html", ".ini", ".js"}
    | {".json", ".log", ".m4a", ".m4v", ".md", ".mkv", ".mov", ".mp3", ".mp4", ".mpg", ".mts"}
    | {".npy", ".npz", ".onnx", ".parquet", ".part", ".partial", ".pdf", ".py", ".rar", ".sh"}
    | {".sqlite", ".tar", ".temp", ".thm", ".tmp", ".toml", ".tsv", ".txt", ".wav", ".xls"}
    | {".xlsx", ".xml", ".xmp", ".yaml", ".yml", ".zip", ".zst"}
)

#: Signatures (magic numbers) of the formats above, for files of other extensions.
_SIGNATURES = re.compile(
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
    """The file extension, with its dot, in lower case; empty if there is none."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot >= 0 else ""


def has_image_extension(name: str) -> bool:
    """Whether a file counts as an image by its extension."""
    extension = extension_of(name)
    return extension in IMAGE_EXTENSIONS or (extension in RAW_EXTENSIONS and raw_is_supported())


@functools.cache
def raw_is_supported() -> bool:
    """Whether the extra that reads cameras' raw files is installed."""
    return importlib.util.find_spec("rawpy") is not None


def has_image_signature(path: str) -> bool:
    """Whether a file begins with an image signature; False if it cannot be read."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            return bool(_SIGNATURES.match(os.read(handle, 16)))
        finally:
            os.close(handle)
    except OSError:
        return False


def has_known_extension(name: str) -> bool:
    """Whether the extension already says what a file is, so that it need not be opened."""
    # ExifTool keeps the unchanged file as NAME.nef_original.
    extension = extension_of(name).removesuffix("_original")
    return (
        extension in _OTHER_EXTENSIONS or extension in RAW_EXTENSIONS or has_image_extension(name)
    )


def is_system_folder(name: str) -> bool:
    """Whether a folder of this name holds a system's thumbnails, deleted files or snapshots."""
    return name.lower() in _SYSTEM_FOLDERS or name.startswith(".Trash")
