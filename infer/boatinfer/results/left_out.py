"""What a listing left out, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from boatinfer.errors import install_hint
from boatinfer.file_types import RAW_EXTENSIONS, raw_is_supported
from boatinfer.text import counted, joined, printable

__all__ = ["left_out_in_words"]

#: Endings, and names of folders, that are named.
_NAMED = 6


class _Counts(Protocol):
    """A `boatinfer.storage.listing.LeftOut`, or a summary."""

    @property
    def other_files(self) -> Mapping[str, int]: ...

    @property
    def system_folders(self) -> Mapping[str, int]: ...


def left_out_in_words(left_out: _Counts) -> list[str]:
    """Sentences, without a full stop, on files and folders that were seen and not taken.

    Args:
        left_out: numbers of ``other_files`` by ending and of ``system_folders`` by name.
    """
    said = []
    others, folders = left_out.other_files, left_out.system_folders
    if others:
        said.append(f"{counted(sum(others.values()), 'other file')}: {_named(others)}")
        if not raw_is_supported() and any(ending in RAW_EXTENSIONS for ending in others):
            said.append(f"raw files of cameras are read with an extra; {install_hint('raw')}")
    if folders:
        count = counted(sum(folders.values()), "folder")
        said.append(f"{count} of the system passed over: {_named(folders)}")
    return said


def _named(counts: Mapping[str, int]) -> str:
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return joined([f"{count:,} {printable(name)}" for name, count in largest], max_names=_NAMED)
