"""JSON files that are written item by item, so that they take no memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

__all__ = ["Members", "write_array", "write_object"]

#: Bytes that are gathered before they are written.
_BUFFER = 2**20


class Members(NamedTuple):
    """The members of an object, as they come."""

    pairs: Iterator[tuple[str, Any]]


def write_object(path: Path, members: Mapping[str, Any]) -> None:
    """Writes an object, a line for each member; an iterator becomes an array, item by item.

    `Members` become an object, likewise.

    Raises:
        OSError: it could not be written.
    """
    with path.open("wb", buffering=_BUFFER) as file:
        separator = b"{\n"
        for name, value in members.items():
            file.write(separator + msgspec.json.encode(name) + b": ")
            if isinstance(value, Members):
                _write_members(file, value.pairs)
            elif isinstance(value, Iterator):
                _write_items(file, value)
            else:
                file.write(msgspec.json.encode(value))
            separator = b",\n"
        file.write(b"\n}\n")


def write_array(path: Path, items: Iterable[Any]) -> None:
    """Writes an array, a line for each item.

    Raises:
        OSError: it could not be written.
    """
    with path.open("wb", buffering=_BUFFER) as file:
        _write_items(file, iter(items))
        file.write(b"\n")


def _write_items(file: BinaryIO, items: Iterator[Any]) -> None:
    encode = msgspec.json.Encoder().encode
    file.write(b"[")
    separator = b"\n"
    for item in items:
        file.write(separator + encode(item))
        separator = b",\n"
    file.write(b"\n]")


def _write_members(file: BinaryIO, pairs: Iterator[tuple[str, Any]]) -> None:
    encode = msgspec.json.Encoder().encode
    file.write(b"{")
    separator = b"\n"
    for name, value in pairs:
        file.write(separator + encode(name) + b": " + encode(value))
        separator = b",\n"
    file.write(b"\n}")
