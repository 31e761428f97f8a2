"""Takes weights in files beside a model into its graph."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto

from boatexport.foreign.adapting import all_tensors
from boatinfer.errors import ModelError

__all__ = ["merge_external"]

#: An ONNX file, being a protobuf message, is smaller than this.
_MAX_BYTES = 2**31


def merge_external(graph: onnx.ModelProto, path: Path) -> list[str]:
    """Reads external weights, which lie in files in the folder of the model.

    Args:
        graph: content of the model file; changed.
        path: the model file.

    Returns:
        The names of the files read.

    Raises:
        ModelError: a file is missing, too short, outside the folder, or too large in total.
    """
    tensors = [t for t in all_tensors(graph.graph) if t.data_location == TensorProto.EXTERNAL]
    total, contents = graph.ByteSize(), dict[str, memoryview]()
    for tensor in tensors:
        keys = {entry.key: entry.value for entry in tensor.external_data}
        location = keys.get("location", "")
        if location not in contents:
            contents[location] = memoryview(_read(path, location))
        try:
            start = int(keys.get("offset", 0))
            length = int(keys.get("length") or len(contents[location]) - start)
        except ValueError:
            start = length = -1
        if start < 0 or length < 0 or start + length > len(contents[location]):
            raise ModelError(
                f"{path}: {location} is too short for the weights {tensor.name}; get both files "
                "again from their source."
            )
        total += length
        if total >= _MAX_BYTES:
            raise ModelError(
                f"{path} and its weights are 2 GiB or more, which one ONNX file cannot hold; use "
                "a smaller model."
            )
        tensor.raw_data = bytes(contents[location][start : start + length])
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    return sorted(contents)


def _read(path: Path, location: str) -> bytes:
    file = path.parent / location
    if not _is_inside(file, path.parent) or Path(location).is_absolute():
        raise ModelError(
            f"{path} names weights outside its folder ({location!r}), which are never "
            "read; save the model again with its weights beside it."
        )
    try:
        if file.stat().st_size >= _MAX_BYTES:
            raise ModelError(
                f"{file} is 2 GiB or more, which one ONNX file cannot hold; use a smaller model."
            )
        return file.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(
            f"{path} has weights in {location}, which cannot be read: {reason}; put that file "
            "beside it."
        ) from error


def _is_inside(file: Path, folder: Path) -> bool:
    try:
        return folder.resolve() in file.resolve().parents
    except (OSError, ValueError):  # a name that no file has
        return False
