"""Sentences on the files and folders that a listing left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from boatinfer.errors import install_hint
from boatinfer.file_types import RAW_EXTENSIONS, raw_is_supported
from boatinfer.text import counted, joined, printable

__all__ = ["left_out_in_words"]

#: File endings, and names of folders, that a sentence lists at most.
_LISTED = 6


class _Counts(Protocol):
    """A `boatinfer.storage.listing.LeftOut`, or a summary."""

    @property
    def other_files(self) -> Mapping[str, int]: ...

    @property
    def system_folders(self) -> Mapping[str, int]: ...


def left_out_in_words(left_out: _Counts) -> list[str]:
    """Sentences, without a full stop, on files and folders that were listed but not read.

    Args:
        left_out: numbers of ``other_files`` by ending and of ``system_folders`` by name.
    """
    sentences = []
    other_files, folders = left_out.other_files, left_out.system_folders
    if other_files:
        sentences.append(
            f"{counted(sum(other_files.values()), 'other file')}: {_listed(other_files)}"
        )
        if not raw_is_supported() and any(ending in RAW_EXTENSIONS for ending in other_files):
            sentences.append(f"raw files of cameras are read with an extra; {install_hint('raw')}")
    if folders:
        count = counted(sum(folders.values()), "folder")
        sentences.append(f"{count} of the system passed over: {_listed(folders)}")
    return sentences


def _listed(counts: Mapping[str, int]) -> str:
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return joined([f"{count:,} {printable(name)}" for name, count in largest], max_names=_LISTED)
