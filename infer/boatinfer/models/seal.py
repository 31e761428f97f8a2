"""The seal: a digest at the end of a file, which reveals any changed byte.

An ONNX file is a protobuf message, ``ModelProto``, and protobuf allows elements of a repeated field
anywhere in the message (protobuf.dev, "Encoding", on repeated elements and concatenation). So a
file is sealed by appending one more ``metadata_props`` entry: key ``boatinfer.seal``, value the
SHA-256 of all bytes before the entry. Every ONNX tool reads the file as before, and checking needs
only a hash function. Bytes after the end of a pickle are ignored, so there the seal is a line of
text.

The seal reveals damage and accidental changes. It is not a signature: anyone can make a new one.
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
#: Prefixes of a seal, before the digest. In ONNX, field 14 of ``ModelProto`` is
#: ``metadata_props``.
ONNX = b"\x72" + bytes([len(_ENTRY) + _HEX]) + _ENTRY
PICKLE = b"\n" + _KEY + b" "


def seal(content: bytes, start: bytes = ONNX) -> bytes:
    """Seals the content of a file; used for every model and SVM.

    Args:
        content: a serialised ``ModelProto``, or a pickle; a seal at its end is replaced.
        start: `ONNX` or `PICKLE`.

    Returns:
        The same content, sealed.
    """
    body = content[: -len(start) - _HEX] if is_sealed(content, start) else content
    return body + start + hashlib.sha256(body).hexdigest().encode()


def is_sealed(content: bytes, start: bytes = ONNX) -> bool:
    """Whether the content ends with a seal, be it valid or not."""
    return content[-len(start) - _HEX : -_HEX] == start


def sealed_digest(content: bytes, path: Place, start: bytes = ONNX) -> str:
    """Checks the seal, if there is one, and returns the file's digest.

    Args:
        content: content of the file, sealed or not.
        path: names the file in error messages.
        start: `ONNX` or `PICKLE`.

    Returns:
        SHA-256 of the whole content, hex.

    Raises:
        ModelError: the seal does not match the bytes before it.
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
