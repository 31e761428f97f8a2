"""ONNX files that no exporter writes: each is to be opened, or refused in a sentence."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import colours
from boatinfer.models.card import CARD_KEY, GOLDEN_KEY, encode
from boatinfer.models.seal import seal

_info = helper.make_tensor_value_info
_Model = onnx.ModelProto


def odd_graphs() -> Iterator[tuple[str, bytes]]:
    """Gives names and files."""
    return _made([*_inputs(), *_outputs(), *_structures(), *_metadata()])


def endless_graphs() -> Iterator[tuple[str, bytes]]:
    """Those that take for ever."""
    return _made(_loops())


def large_graphs() -> Iterator[tuple[str, bytes]]:
    """Those that take more memory than there is."""
    return _made(_giants())


def _made(changes: Iterable[tuple[str, Callable[[_Model], Any]]]) -> Iterator[tuple[str, bytes]]:
    for name, change in changes:
        model = colours.graph()
        documents = {CARD_KEY: encode(colours.card()), GOLDEN_KEY: encode(colours.golden())}
        helper.set_model_props(model, documents)
        changed = change(model)
        content = changed if isinstance(changed, bytes) else model.SerializeToString()
        yield name, seal(content)


def _inputs() -> Iterator[tuple[str, Callable[[_Model], Any]]]:
    shapes: list[Any] = [
        *(None, [], ["b"], ["b", 3], ["b", 12, 40], [12, 40, 3], ["b", 12, 40, 3, 1]),
        *([0, 12, 40, 3], [-1, 12, 40, 3], [2**40, 12, 40, 3], ["b", 0, 40, 3]),
        *(["b", -1, -1, -1], ["b", "h", "w", "c"], ["b", 12, 40, 4], ["b"] * 4, [None] * 4),
        *([7, 12, 40, 3], [2**62, 2**62, 2**62, 3]),
    ]
    for shape in shapes:
        yield f"input of shape {shape}", _fed(TensorProto.UINT8, shape)
    for kind in TensorProto.DataType.values():
        yield f"input of type {TensorProto.DataType.Name(kind)}", _fed(kind, ["b", 12, 40, 3])
    tensor = helper.make_tensor_type_proto(TensorProto.UINT8, ["b", 12, 40, 3])
    kinds = {
        "sequence": helper.make_sequence_type_proto(tensor),
        "optional": helper.make_optional_type_proto(tensor),
        "map": helper.make_map_type_proto(TensorProto.INT64, tensor),
        "sparse": helper.make_sparse_tensor_type_proto(TensorProto.UINT8, ["b", 12, 40, 3]),
        "nothing": onnx.TypeProto(),
    }
    for name, kind in kinds.items():
        yield f"input that is a {name}", _set(lambda model: model.graph.input[0].type, kind)


def _fed(kind: int, shape: Any) -> Callable[[_Model], None]:
    return lambda model: model.graph.input[0].CopyFrom(_info("image", kind, shape))


def _set(part: Callable[[_Model], Any], value: Any) -> Callable[[_Model], None]:
    return lambda model: part(model).CopyFrom(value)


def _outputs() -> Iterator[tuple[str, Callable[[_Model], Any]]]:
    for kind in ("INT64", "STRING", "BOOL", "DOUBLE", "FLOAT16", "BFLOAT16", "INT4", "COMPLEX64"):
        number = TensorProto.DataType.Value(kind)
        cast = [helper.make_node("Cast", ["softmax"], ["probabilities"], to=number)]
        yield f"output of type {kind}", _ending(cast, number)
    constant = helper.make_node
    ends: dict[str, list[onnx.NodeProto]] = {
        "that is a scalar": [_node("ReduceSum", ["softmax"], keepdims=0)],
        "of rank 1": [_node("ReduceSum", ["softmax", "one"], keepdims=0)],
        "of rank 3": [_node("Unsqueeze", ["softmax", "one"])],
        "turned": [_node("Transpose", ["softmax"], perm=[1, 0])],
        "without columns": [_node("Slice", ["softmax", "zero", "zero", "one"])],
        "without rows": [_node("Slice", ["softmax", "zero", "zero", "zero"])],
        "of NaN": [constant("Sub", ["softmax", "softmax"], ["z"]), _node("Div", ["z", "z"])],
        "of infinities": [constant("Sub", ["softmax", "softmax"], ["z"]),
                          _node("Div", ["softmax", "z"])],
        "of a sequence": [_node("SequenceConstruct", ["softmax"])],
        "of an optional": [_node("Optional", ["softmax"])],
        "of one column": [_node("ReduceMax", ["softmax"], axes=[1], keepdims=1)],
        "that fails": [_node("Reshape", ["softmax", "seven"])],
        "that is as many": [_node("NonZero", ["softmax"])],
        "of a bad axis": [_node("Softmax", ["softmax"], axis=99)],
    }  # fmt: skip
    for name, nodes in ends.items():
        yield f"output {name}", _ending(nodes)
    yield "output without a shape", lambda m: m.graph.output[0].type.tensor_type.ClearField("shape")
    yield "output without a type", lambda m: m.graph.output[0].ClearField("type")
    yield (
        "output of zero columns said",
        _set(lambda m: m.graph.output[0], _info("probabilities", TensorProto.FLOAT, ["batch", 0])),
    )
    yield (
        "features of rank 4",
        lambda m: m.graph.output[1].CopyFrom(
            _info("features", TensorProto.FLOAT, ["batch", 1, 1, 3])
        ),
    )


def _node(kind: str, inputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, ["probabilities"], **attributes)


def _ending(nodes: list[onnx.NodeProto], kind: int = 0) -> Callable[[_Model], None]:
    """Puts nodes after the softmax; the output's type is left to be inferred."""

    def change(model: _Model) -> None:
        softmax = next(n for n in model.graph.node if n.op_type == "Softmax")
        softmax.output[0] = "softmax"
        model.graph.node.extend(nodes)
        _constants(model, zero=[0], one=[1], seven=[7, 7])
        output = model.graph.output[0]
        output.ClearField("type")
        if kind:
            output.CopyFrom(_info("probabilities", kind, ["batch", 3]))

    return change


def _constants(model: _Model, **values: list[int]) -> None:
    for name, value in values.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))


def _structures() -> Iterator[tuple[str, Callable[[_Model], Any]]]:
    def twice(model: _Model) -> None:
        model.graph.node.append(model.graph.node[0])

    def version(domain: str, number: int) -> Callable[[_Model], None]:
        return lambda m: m.opset_import[0].CopyFrom(helper.make_opsetid(domain, number))

    def custom(model: _Model) -> None:
        model.graph.node[0].domain = "com.example"
        model.opset_import.append(helper.make_opsetid("com.example", 1))

    def itself(model: _Model) -> None:
        model.graph.node[0].input[0] = "probabilities"

    def elsewhere(model: _Model) -> None:
        tensor = model.graph.initializer[0]
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")

    yield "no graph", lambda m: m.ClearField("graph")
    yield "no nodes", lambda m: m.graph.ClearField("node")
    yield "no inputs", lambda m: m.graph.ClearField("input")
    yield "no outputs", lambda m: m.graph.ClearField("output")
    yield "two inputs", lambda m: m.graph.input.append(_info("b", TensorProto.FLOAT, [1]))
    yield "an input twice", lambda m: m.graph.input.append(m.graph.input[0])
    yield "an output twice", lambda m: m.graph.output.append(m.graph.output[0])
    yield "a node twice", twice
    yield "a circle", itself
    yield (
        "an initializer as input",
        lambda m: m.graph.initializer.append(
            numpy_helper.from_array(np.zeros((1, 12, 40, 3), np.uint8), "image")
        ),
    )
    yield "an initializer without data", lambda m: m.graph.initializer[0].ClearField("float_data")
    yield "an initializer that is too large", lambda m: m.graph.initializer[0].dims.extend([2**40])
    yield "an initializer of another file", elsewhere
    yield "names without letters", lambda m: m.graph.input[0].ClearField("name")
    yield "the future", version("", 9999)
    yield "the past", version("", 1)
    yield "version 0", version("", 0)
    yield "no versions", lambda m: m.ClearField("opset_import")
    yield "IR of the future", lambda m: setattr(m, "ir_version", 9999)
    yield "IR 0", lambda m: setattr(m, "ir_version", 0)
    yield "a custom operator", custom
    yield "an unknown operator", lambda m: setattr(m.graph.node[0], "op_type", "Sail")
    yield "a function of itself", _recursion
    yield "branches eleven deep", _branches


def _recursion(model: _Model) -> None:
    body = [helper.make_node("Twice", ["x"], ["y"], domain="own")]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model.functions.append(helper.make_function("own", "Twice", ["x"], ["y"], body, imports))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("Twice", ["features"], ["end"], domain="own"))


def _branches(model: _Model) -> None:
    flag = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    value = helper.make_tensor("value", TensorProto.FLOAT, [], [1.0])
    inner = helper.make_node("Constant", [], ["deep0"], value=value)
    for depth in range(1, 12):
        output = _info(f"deep{depth - 1}", TensorProto.FLOAT, None)
        graph = helper.make_graph([inner], f"branch{depth}", [], [output])
        inner = helper.make_node(
            "If", ["yes"], [f"deep{depth}"], then_branch=graph, else_branch=graph
        )
    model.graph.initializer.append(flag)
    model.graph.node.append(inner)


def _loops() -> Iterator[tuple[str, Callable[[_Model], Any]]]:
    yield "a loop for ever", _loop(_node("Add", ["state", "state"]))
    yield "a loop of two to the power of 62", _loop(_node("Neg", ["state"]), trips=2**62)


def _loop(step: onnx.NodeProto, trips: int | None = None) -> Callable[[_Model], None]:
    """A loop over the probabilities that does not end."""

    def change(model: _Model) -> None:
        softmax = next(n for n in model.graph.node if n.op_type == "Softmax")
        softmax.output[0] = "softmax"
        step.output[0] = "next"
        body = helper.make_graph(
            [helper.make_node("Identity", ["on"], ["goes"]), step],
            "body",
            [
                _info("trip", TensorProto.INT64, []),
                _info("on", TensorProto.BOOL, []),
                _info("state", TensorProto.FLOAT, None),
            ],
            [_info("goes", TensorProto.BOOL, []), _info("next", TensorProto.FLOAT, None)],
        )
        model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
        if trips is not None:
            _constants(model, trips=[trips])
        fed = ["" if trips is None else "trips", "yes", "softmax"]
        model.graph.node.append(helper.make_node("Loop", fed, ["probabilities"], body=body))

    return change


def _giants() -> Iterator[tuple[str, Callable[[_Model], Any]]]:
    def constant(model: _Model) -> None:
        _constants(model, shape=[2**34])
        _added(model, [helper.make_node("ConstantOfShape", ["shape"], ["large"])])

    def many(model: _Model) -> None:
        """Of a shape that is known only when it runs, a thousand times."""
        _constants(model, times=[2**24], size=[1])
        nodes = [
            helper.make_node("Shape", ["image"], ["shape"]),
            helper.make_node("Mul", ["shape", "times"], ["shapes"]),
            helper.make_node("ReduceMax", ["shapes"], ["most"], keepdims=1),
            *(helper.make_node("ConstantOfShape", ["most"], [f"part{n}"]) for n in range(100)),
            helper.make_node("Sum", [f"part{n}" for n in range(100)], ["large"]),
        ]
        _added(model, nodes)

    yield "a constant of 64 GB", constant
    yield "a hundred times 2.5 GB", many
    yield (
        "a loop that doubles",
        _loop(helper.make_node("Concat", ["state", "state"], ["next"], axis=0)),
    )


def _added(model: _Model, nodes: list[onnx.NodeProto]) -> None:
    """Adds the first number of the tensor ``large`` to the probabilities."""
    softmax = next(n for n in model.graph.node if n.op_type == "Softmax")
    softmax.output[0] = "softmax"
    _constants(model, first=[0])
    ends = [
        helper.make_node("Gather", ["large", "first"], ["number"]),
        helper.make_node("Add", ["softmax", "number"], ["probabilities"]),
    ]
    model.graph.node.extend([*nodes, *ends])


def _metadata() -> Iterator[tuple[str, Callable[[_Model], Any]]]:
    card, golden = encode(colours.card()), encode(colours.golden())
    for text in (
        "",
        "[]",
        "null",
        "1",
        "{}",
        '"' * 3,
        "[" * 100_000,
        '{"a":' * 100_000,
        "\0",
        "1e999",
    ):
        yield f"card {text[:9]!r} ({len(text)})", _said(CARD_KEY, text)
        yield f"golden images {text[:9]!r} ({len(text)})", _said(GOLDEN_KEY, text)
    changes = {
        '"height":12': ['"height":' + v for v in ("-1", "0", "1e30", str(10**30), "1" * 9)],
        '"format":1': ['"format":' + v for v in ("1.5", "true", str(10**400), "[]", "-1")],
        '"scale":1.0': ['"scale":' + v for v in ("NaN", "1e999", '"1"', "1e300")],
        '["red","green","blue"]': ["[]", "{}", '["red","red","blue"]', '["red",null,"blue"]',
                                   '["red","green"]', '["\\ud800","green","blue"]'],
        '"name":"colours"': ['"name":7', '"name":"colours","name":"b"', '"x":1'],
        '"name":"image"': ['"name":"features"', '"name":""', '"name":"\\u0000"'],
        '"dimension":3': ['"dimension":0', '"dimension":4', '"dimension":9223372036854775807',
                          '"dimension":9223372036854775808'],
    }  # fmt: skip
    for old, others in changes.items():
        assert old in card, old
        for new in others:
            yield f"card with {new[:40]}", _said(CARD_KEY, card.replace(old, new, 1))
    yield "no card", lambda m: m.ClearField("metadata_props")
    yield (
        "card twice",
        lambda m: m.metadata_props.append(onnx.StringStringEntryProto(key=CARD_KEY, value="{}")),
    )
    yield (
        "card that is no text",
        _no_text,
    )
    yield (
        "golden probabilities of two classes",
        _said(GOLDEN_KEY, '{"format":1,"images":[{"image":"","probabilities":[0.5,0.5]}]}'),
    )
    yield (
        "golden probabilities that are too large",
        _said(GOLDEN_KEY, golden.replace("0.", "1e308", 1)),
    )
    for name, image in _bombs().items():
        text = base64.b64encode(image).decode()
        yield (
            f"golden image that is {name}",
            _said(
                GOLDEN_KEY,
                f'{{"format":1,"images":[{{"image":"{text}","probabilities":[0.2,0.3,0.5]}}]}}',
            ),
        )


def _no_text(model: _Model) -> bytes:
    content: bytes = model.SerializeToString()
    return content.replace(b"colours", b"col\xff\xfers")


def _said(key: str, text: str) -> Callable[[_Model], None]:
    def change(model: _Model) -> None:
        for entry in model.metadata_props:
            if entry.key == key:
                entry.value = text

    return change


def _bombs() -> dict[str, bytes]:
    """Images that are small files and large pictures, or none."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    )
    gif = io.BytesIO()
    Image.new("P", (1, 1)).save(gif, "GIF")
    whole = bytearray(gif.getvalue())
    whole[6:10] = b"\xff\xff\xff\xff"
    jpeg = bytearray(colours.picture("red"))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = b"\xff\xff\xff\xff"
    return {
        "a large PNG": png + chunk(b"IEND", b""),
        "a large GIF": bytes(whole),
        "a large JPEG": bytes(jpeg),
        "nothing": b"",
        "no image": b"hello" * 100,
    }
