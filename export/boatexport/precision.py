"""A model to a smaller and faster one, which a gate compares with it before it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import onnx

from boatexport.comparison import Runner, compare, divergence
from boatexport.convert import IR_VERSION, OPSET, describe
from boatexport.graph.graphs import sort_nodes
from boatexport.graph.int8 import Quantised, quantise
from boatexport.graph.simplify import tidy
from boatexport.options import QuantizeOptions
from boatexport.plan import Plan, plan
from boatinfer import images
from boatinfer.dataset import batches
from boatinfer.errors import BoatinferError, ModelError, UsageError, first_line
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import Card, Conversion, Golden
from boatinfer.models.device import Device
from boatinfer.models.inference import input_tensors
from boatinfer.models.model import Model, load, read_model
from boatinfer.models.session import open_session
from boatinfer.storage.files import atomic_write, require_writable

__all__ = ["Converted", "convert_precision", "quantize"]

Say = Callable[[str], None]
Show = Callable[[Conversion], None]

#: Pixels in a batch, and the most images.
_BATCH_PIXELS, _MOST_IN_BATCH = 2**20, 32


@dataclass(frozen=True)
class Converted:
    """A model file of lower precision that passed the gate.

    Attributes:
        content: of the file, sealed.
        conversion: as in its card.
    """

    content: bytes
    conversion: Conversion


def quantize(options: QuantizeOptions, say: Say, show: Show) -> Converted:
    """Writes a model file of lower precision, if it is good enough.

    Args:
        options: the model, the folders, and the file to write.
        say: is told what is done and found on the way.
        show: is given the comparison, before the gate decides.

    Raises:
        UsageError: a folder or an option cannot be used.
        ModelError: the model cannot be used or converted, or its accuracy drops too far.
        OutputError: the file could not be written.
    """
    output = options.onnx_file
    if output.suffix != ".onnx":
        raise UsageError(f"{output}: the file to write must end in .onnx.")
    content = read_model(options.model)
    require_writable(output, options.model, force=options.force)
    model = load(content, options.model, Device.CPU)
    planned = plan(
        options.precision, options.calibrate, options.labelled, options.max_drop, model.card
    )
    with atomic_write(output) as temporary:
        converted = convert_precision(content, model, planned, say, show, name=options.name)
        temporary.write_bytes(converted.content)
        load(temporary.read_bytes(), output, planned.device)
    return converted


def convert_precision(
    content: bytes, model: Model, planned: Plan, say: Say, show: Show, *, name: str | None
) -> Converted:
    """Makes a model file of lower precision and compares it with the original.

    Args:
        content: of the original's file.
        model: the original, opened.
        planned: what to make, and with which images.
        say: is told what is done and found on the way.
        show: is given the comparison, before the gate decides.
        name: of the new model; None for the original's with the precision behind it.

    Returns:
        The new file's content; its golden images keep the original's probabilities.

    Raises:
        UsageError: none of a folder's images can be read.
        ModelError: the model cannot be converted, or its accuracy drops too far.
    """
    card, path = model.card, model.path
    try:
        graph = _modern(onnx.load_model_from_string(content))
        if planned.precision == "int8":
            found = _to_int8(graph, model, planned, say)
            graph, calibration, kept = found.model, found.calibration, found.kept
        else:
            graph, calibration, kept = _to_float16(graph), "", []
    except BoatinferError:
        raise
    except Exception as error:  # onnx, onnxslim and onnxruntime raise whatever they stumble over
        raise ModelError(
            f"{path} cannot be made {planned.precision} ({first_line(error)}); use it as it is."
        ) from error

    def runner(of: bytes) -> tuple[Runner, Device]:
        session, device = open_session(of, path, planned.device, threads=1)
        return Runner(session, card), device

    original, _ = runner(content)
    converted, device = runner(graph.SerializeToString())
    say(f"comparing on {len(planned.labelled.paths):,} images")
    images = batches.read_batches(
        planned.labelled, card.image, _batch_size(card.image), _left_out(say)
    )
    comparison = compare(original, converted, images, device)
    if comparison is None:
        raise UsageError(f"none of the images in {planned.labelled.folder} can be read.")
    conversion = Conversion(
        source=model.digest,
        images=comparison.images,
        device="cuda" if device is Device.CUDA else "cpu",
        original=msgspec.structs.replace(comparison.original, bytes=len(content)),
        converted=comparison.converted,
        agreement=comparison.agreement,
        golden_difference=_golden_difference(converted, model),
        calibration=calibration,
        kept=kept,
    )
    card = msgspec.structs.replace(
        card, name=name or f"{card.name}-{planned.precision}", precision=planned.precision
    )
    result = _described(graph, card, model.golden, conversion)
    show(result.conversion)
    _require(result.conversion, planned)
    return result


def _require(conversion: Conversion, planned: Plan) -> None:
    """The gate."""
    drop = 100 * (conversion.original.accuracy - conversion.converted.accuracy)
    if not drop <= planned.max_drop + 1e-9:
        raise ModelError(
            f"{planned.precision} costs {drop:.2f} points of accuracy, more than --max-drop "
            f"{planned.max_drop:g}, so no file was written; allow more, give other images to "
            "calibrate on, or keep the model as it is."
        )


def _to_int8(graph: onnx.ModelProto, model: Model, planned: Plan, say: Say) -> Quantised:
    card = model.card
    images = batches.read_batches(planned.calibrate, card.image, _MOST_IN_BATCH, _left_out(say))
    pixels = [batch for batch, _ in images]
    if not pixels:
        raise UsageError(f"none of the images in {planned.calibrate.folder} can be read.")
    every = np.concatenate(pixels)
    half = (len(every) + 1) // 2
    calibrating, judging = every[:half], every[half:] if len(every) > 1 else every
    say(f"calibrating on {len(calibrating)} images, choosing by {len(judging)} others")
    fed = [
        {card.input.name: tensor}
        for image in calibrating
        for tensor in input_tensors(model.session, card.input, image[None])[0]
    ]

    def probabilities(of: onnx.ModelProto, most: int | None) -> Any:
        session, _ = open_session(of.SerializeToString(), model.path, Device.CPU)
        return Runner(session, card)(judging[:most])

    expected = probabilities(graph, None)

    def diverges(other: onnx.ModelProto, most: int | None) -> float:
        return divergence(expected[:most], probabilities(other, most))

    return quantise(graph, fed, diverges, say)


def _to_float16(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Turns all to float16 but inputs, outputs, and what makes floats of the pixels."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    half: onnx.ModelProto = convert_float_to_float16(
        graph,
        keep_io_types=True,
        # Before opset 19 it gives float32 alone.
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, "DequantizeLinear"],
    )
    sort_nodes(half)
    return half


def _modern(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Tidies a graph, and lifts it to the opset that has scales for each channel."""
    opset = next(o.version for o in graph.opset_import if o.domain in {"", "ai.onnx"})
    if opset < OPSET:
        graph = onnx.version_converter.convert_version(graph, OPSET)
        graph.ir_version = max(graph.ir_version, IR_VERSION)
    return tidy(graph)


def _golden_difference(converted: Runner, model: Model) -> float:
    tests = model.golden.images
    pixels = np.stack([images.read(test.image, model.card.image) for test in tests])
    expected = np.array([test.probabilities for test in tests], np.float32)
    return float(np.abs(converted(pixels) - expected).max())


def _described(
    graph: onnx.ModelProto, card: Card, golden: Golden, conversion: Conversion
) -> Converted:
    """Writes the card, in which the size of the file stands, whose size it changes."""
    content = b""
    while conversion.converted.bytes != len(content) or not content:
        figures = msgspec.structs.replace(conversion.converted, bytes=len(content))
        conversion = msgspec.structs.replace(conversion, converted=figures)
        card = msgspec.structs.replace(card, conversion=conversion)
        content = describe(graph, card, golden)
    return Converted(content, conversion)


def _batch_size(image: ImageSpec) -> int:
    return max(1, min(_MOST_IN_BATCH, _BATCH_PIXELS // (image.height * image.width)))


def _left_out(say: Say) -> Say:
    return lambda reason: say(f"left out {reason}")
