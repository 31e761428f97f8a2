"""Reads JSON documents of an expected type, with a single exception for all errors."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from boatinfer.storage.base import Place

__all__ = ["DocumentError", "decode_document", "read_content", "read_document"]

Document = TypeVar("Document")

#: Larger files are refused: no document of this program is as large.
_MAX_BYTES = 256 << 20


class DocumentError(ValueError):
    """A document cannot be read; the message says why, in a few words without a full stop."""


def decode_document(content: bytes | str, kind: type[Document]) -> Document:
    """Decodes a document.

    Args:
        content: JSON in UTF-8.
        kind: a msgspec type.

    Raises:
        DocumentError: it is not JSON, or not of this type.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise DocumentError(str(error)) from error
    except UnicodeError as error:
        raise DocumentError("it is not UTF-8") from error
    except RecursionError as error:
        raise DocumentError("it is nested too deeply") from error


def read_document(file: Place, kind: type[Document]) -> Document:
    """Reads a document from a file; raises the errors of `read_content` and `decode_document`."""
    return decode_document(read_content(file), kind)


def read_content(file: Place) -> bytes:
    """Reads the content of a document's file.

    Raises:
        FileNotFoundError: there is no such file.
        DocumentError: it cannot be read, or is too large.
    """
    try:
        if isinstance(file, Path) and file.stat().st_size > _MAX_BYTES:
            raise DocumentError("it is too large for what it should be")
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(*error.args) from error
    except OSError as error:
        raise DocumentError(error.strerror or str(error)) from error
