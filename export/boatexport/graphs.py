"""What several commands do to an ONNX graph."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto

from boatinfer.errors import ModelError
from boatinfer.session import open_session

__all__ = ["add_output"]

_KINDS = {"tensor(float)": TensorProto.FLOAT, "tensor(float16)": TensorProto.FLOAT16}


def add_output(graph: onnx.ModelProto, tensor: str, path: Path) -> None:
    """Makes an inner tensor an output, of the type and shape that onnxruntime finds out.

    Args:
        graph: is changed, unless the tensor is an output already.
        tensor: its name.
        path: names the file in error messages.

    Raises:
        ModelError: the tensor holds no floats, or onnxruntime cannot load the graph.
    """
    if tensor in {output.name for output in graph.graph.output}:
        return
    graph.graph.output.append(onnx.ValueInfoProto(name=tensor))
    session = open_session(graph.SerializeToString(), path, "cpu")[0]
    (found,) = (output for output in session.get_outputs() if output.name == tensor)
    if found.type not in _KINDS:
        raise ModelError(f"{path}: {tensor} is a {found.type}, and features are floats.")
    info = onnx.helper.make_tensor_value_info(tensor, _KINDS[found.type], found.shape)
    graph.graph.output[-1].CopyFrom(info)
