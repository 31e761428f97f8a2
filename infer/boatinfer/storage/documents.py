"""JSON documents read from disk: of the type that is expected, or one error that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from boatinfer.storage.base import Place

__all__ = ["DocumentError", "content_of", "decoded", "read_document"]

Document = TypeVar("Document")

#: No document of ours is larger; a file that is may be anything.
_MOST_BYTES = 256 << 20


class DocumentError(ValueError):
    """A document that cannot be read; its text says why, in a few words without a full stop."""


def decoded(content: bytes | str, kind: type[Document]) -> Document:
    """Decodes a document.

    Args:
        content: JSON in UTF-8.
        kind: a msgspec type.

    Raises:
        DocumentError: it is no JSON, or of another type.
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
    """Reads a document from its file; raises what `content_of` and `decoded` raise."""
    return decoded(content_of(file), kind)


def content_of(file: Place) -> bytes:
    """What a file holds that is to be a document.

    Raises:
        FileNotFoundError: there is no such file.
        DocumentError: it cannot be read, or is too large.
    """
    try:
        if isinstance(file, Path) and file.stat().st_size > _MOST_BYTES:
            raise DocumentError("it is too large for what it should be")
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(*error.args) from error
    except OSError as error:
        raise DocumentError(error.strerror or str(error)) from error
