"""Sentences on the files and folders that a listing left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from boatinfer.errors import install_hint
from boatinfer.file_types import RAW_EXTENSIONS, raw_is_supported
from boatinfer.i18n import ENGLISH, Language
from boatinfer.text import printable

__all__ = ["left_out_in_words"]

#: File endings, and names of folders, that a sentence lists at most.
_LISTED = 6


class _Counts(Protocol):
    """A `boatinfer.storage.listing.LeftOut`, or a summary."""

    @property
    def other_files(self) -> Mapping[str, int]: ...

    @property
    def system_folders(self) -> Mapping[str, int]: ...


def left_out_in_words(left_out: _Counts, language: Language = ENGLISH) -> list[str]:
    """Sentences, without a full stop, on files and folders that were listed but not read.

    Args:
        left_out: numbers of ``other_files`` by ending and of ``system_folders`` by name.
        language: of the sentences.
    """
    sentences = []
    other_files, folders = left_out.other_files, left_out.system_folders
    if other_files:
        sentences.append(
            language.ngettext(
                "%(num)s other file: %(endings)s",
                "%(num)s other files: %(endings)s",
                sum(other_files.values()),
                endings=_listed(other_files, language),
            )
        )
        if not raw_is_supported() and any(ending in RAW_EXTENSIONS for ending in other_files):
            sentences.append(
                language.gettext(
                    "raw files of cameras are read with an extra; %(how)s", how=install_hint("raw")
                )
            )
    if folders:
        sentences.append(
            language.ngettext(
                "%(num)s folder of the system passed over: %(names)s",
                "%(num)s folders of the system passed over: %(names)s",
                sum(folders.values()),
                names=_listed(folders, language),
            )
        )
    return sentences


def _listed(counts: Mapping[str, int], language: Language) -> str:
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    names = [f"{language.number(count)} {printable(name)}" for name, count in largest]
    return language.joined(names, max_names=_LISTED)
