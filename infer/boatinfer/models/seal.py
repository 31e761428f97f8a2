"""The seal: a file's own digest, so that one changed byte is seen.

An ONNX file is a protobuf message, ``ModelProto``, and protobuf lets an element of a repeated
field stand anywhere in the message (protobuf.dev, "Encoding", on repeated elements and
concatenation). So a file is sealed by appending one more ``metadata_props`` entry: key
``boatinfer.seal``, value the SHA-256 of all bytes before the entry. Every ONNX tool reads
the file as before, and checking needs nothing but a hash function. A pickle ends itself, so what is
appended to one is read by nobody else: there the seal is a line of text.

The seal shows damage and careless editing. It is no signature: whoever wants to can make
a new one.
"""

from __future__ import annotations

import hashlib

from boatinfer.errors import ModelError
from boatinfer.storage.base import Place

__all__ = ["ONNX", "PICKLE", "is_sealed", "seal", "sealed_digest"]

SEAL_KEY = "boatinfer.seal"

_HEX = 64
_KEY = SEAL_KEY.encode()
#: Field 2 of ``StringStringEntryProto`` is the value, and follows field 1, the key.
_ENTRY = b"\x0a" + bytes([len(_KEY)]) + _KEY + b"\x12" + bytes([_HEX])
#: What a seal begins with, before the digest. In ONNX field 14 of ``ModelProto`` is
#: ``metadata_props``.
ONNX = b"\x72" + bytes([len(_ENTRY) + _HEX]) + _ENTRY
PICKLE = b"\n" + _KEY + b" "


def seal(content: bytes, start: bytes = ONNX) -> bytes:
    """Seals the content of a file; every model and SVM is written through here.

    Args:
        content: a serialised ``ModelProto``, or a pickle; a seal at its end is replaced.
        start: `ONNX` or `PICKLE`.

    Returns:
        The same content, sealed.
    """
    body = content[: -len(start) - _HEX] if is_sealed(content, start) else content
    return body + start + hashlib.sha256(body).hexdigest().encode()


def is_sealed(content: bytes, start: bytes = ONNX) -> bool:
    """Whether the content ends in a seal, true or false."""
    return content[-len(start) - _HEX : -_HEX] == start


def sealed_digest(content: bytes, path: Place, start: bytes = ONNX) -> str:
    """Checks the seal, if there is one, on the way to the file's digest.

    Args:
        content: of the file, sealed or not.
        path: names the file in error messages.
        start: `ONNX` or `PICKLE`.

    Returns:
        SHA-256 of the whole content, hex.

    Raises:
        ModelError: the seal is not that of the bytes before it.
    """
    if not is_sealed(content, start):
        return hashlib.sha256(content).hexdigest()
    length = len(start) + _HEX
    digest = hashlib.sha256(memoryview(content)[:-length])
    if digest.hexdigest().encode() != content[-_HEX:]:
        raise ModelError(
            f"{path} has been changed or damaged since it was written: its bytes do not fit its "
            "seal; copy it again from where it was made, or make it again."
        )
    digest.update(content[-length:])
    return digest.hexdigest()
