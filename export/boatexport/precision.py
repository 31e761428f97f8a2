"""Converts a model to int8 or float16, and checks its accuracy before it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import onnx

from boatexport.adding import with_class_activation
from boatexport.comparison import Runner, compare, divergence
from boatexport.convert import IR_VERSION, OPSET, embed_card
from boatexport.graph.class_activation import remove_class_activation
from boatexport.graph.graphs import sort_nodes
from boatexport.graph.int8 import QuantisedGraph, quantise
from boatexport.graph.simplify import simplify
from boatexport.novelty.graph import detach, reattach, without_novelty
from boatexport.options import QuantizeOptions
from boatexport.plan import ConversionPlan, make_plan
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

__all__ = ["ConvertedModel", "convert_precision", "quantize"]

#: Images that novelty is compared on, and by how much more of them may be unknown.
_NOVELTY_IMAGES, _MAX_MORE_UNKNOWN = 400, 0.02

Say = Callable[[str], None]
ShowComparison = Callable[[Conversion], None]

#: Approximate pixels per batch, and largest batch size.
_BATCH_PIXELS, _MAX_BATCH_SIZE = 2**20, 32


@dataclass(frozen=True)
class ConvertedModel:
    """A converted model that passed the accuracy check.

    Attributes:
        content: content of the file, with its seal.
        conversion: the comparison with the original, as in its card.
    """

    content: bytes
    conversion: Conversion


def quantize(options: QuantizeOptions, say: Say, show_comparison: ShowComparison) -> ConvertedModel:
    """Writes a model file of lower precision, if its accuracy is sufficient.

    Args:
        options: the model, the image folders, and the output file.
        say: called with status messages.
        show_comparison: called with the comparison, before the accuracy is checked.

    Raises:
        UsageError: a folder or an option cannot be used.
        ModelError: the model cannot be used or converted, or its accuracy drops too much.
        OutputError: the file could not be written.
    """
    output = options.onnx_file
    if output.suffix != ".onnx":
        raise UsageError(f"{output}: the output file must end in .onnx.")
    content = read_model(options.model)
    require_writable(output, options.model, force=options.force)
    model = load(content, options.model, Device.CPU)
    plan = make_plan(
        options.precision, options.calibrate, options.labelled, options.max_drop, model.card
    )
    with atomic_write(output) as temporary:
        converted = convert_precision(content, model, plan, say, show_comparison, name=options.name)
        temporary.write_bytes(converted.content)
        load(temporary.read_bytes(), output, plan.device)
    return converted


def convert_precision(
    content: bytes,
    model: Model,
    plan: ConversionPlan,
    say: Say,
    show_comparison: ShowComparison,
    *,
    name: str | None,
) -> ConvertedModel:
    """Makes a model file of lower precision and compares it with the original.

    Args:
        content: content of the original file.
        model: the original model.
        plan: precision and images.
        say: called with status messages.
        show_comparison: called with the comparison, before the accuracy is checked.
        name: name of the new model; None to append the precision to that of the original.

    Returns:
        The converted model; its golden images have the probabilities of the original.

    Raises:
        UsageError: no image of a folder can be read.
        ModelError: the model cannot be converted, or its accuracy drops too much.
    """
    card, path = model.card, model.path
    try:
        graph = onnx.load_model_from_string(content)
        remove_class_activation(graph)
        novelty = detach(graph)
        graph = _upgrade(graph)
        if plan.precision == "int8":
            quantised = _to_int8(graph, model, plan, say)
            graph, calibration, float_layers = (
                quantised.model,
                quantised.calibration,
                quantised.float_layers,
            )
        else:
            graph, calibration, float_layers = _to_float16(graph), "", []
        if card.outputs.class_activation is not None:
            card = with_class_activation(graph, card)
        reattach(graph, novelty, card, path)
    except BoatinferError:
        raise
    except Exception as error:  # onnx, onnxslim and onnxruntime raise many types
        raise ModelError(
            f"{path} cannot be converted to {plan.precision} ({first_line(error)})."
        ) from error

    def runner(model_bytes: bytes) -> tuple[Runner, Device]:
        session, device = open_session(model_bytes, path, plan.device, threads=1)
        return Runner(session, card), device

    original, _ = runner(content)
    converted, device = runner(graph.SerializeToString())
    say(f"comparing on {len(plan.labelled.paths):,} images")
    images = batches.read_batches(
        plan.labelled, card.image, _batch_size(card.image), _report_skipped(say)
    )
    comparison = compare(original, converted, images, device)
    if comparison is None:
        raise UsageError(f"none of the images in {plan.labelled.folder} can be read.")
    golden = model.golden
    novelty_difference = _novelty_difference(original, converted, plan, model, say)
    if novelty_difference is None:
        detach(graph)
        card, golden = without_novelty(card, golden)
    conversion = Conversion(
        source=model.digest,
        images=comparison.images,
        device="cuda" if device is Device.CUDA else "cpu",
        original=msgspec.structs.replace(comparison.original, bytes=len(content)),
        converted=comparison.converted,
        agreement=comparison.agreement,
        golden_difference=_golden_difference(converted, model),
        novelty_difference=novelty_difference or 0.0,
        calibration=calibration,
        kept=float_layers,
    )
    card = msgspec.structs.replace(
        card,
        name=name or f"{card.name}-{plan.precision}",
        precision=plan.precision,
        network=None,
    )
    result = _with_card(graph, card, golden, conversion)
    show_comparison(result.conversion)
    _check_accuracy(result.conversion, plan)
    return result


def _check_accuracy(conversion: Conversion, plan: ConversionPlan) -> None:
    """Checks that the accuracy drop is allowed."""
    drop = 100 * (conversion.original.accuracy - conversion.converted.accuracy)
    if not drop <= plan.max_drop + 1e-9:
        raise ModelError(
            f"{plan.precision} costs {drop:.2f} points of accuracy, more than --max-drop "
            f"{plan.max_drop:g}, so no file was written; allow more, give other "
            "calibration images, or keep the original."
        )


def _novelty_difference(
    original: Runner, converted: Runner, plan: ConversionPlan, model: Model, say: Say
) -> float | None:
    """Compares the novelty of both models.

    Returns:
        The largest difference of a golden image's novelty; None if more images than before would
        be unknown, as where a lower precision moves the features.
    """
    novelty = model.card.novelty
    if novelty is None:
        return 0.0
    some = batches.sample_evenly(plan.labelled, _NOVELTY_IMAGES)
    shares = np.zeros(2)
    for pixels, _ in batches.read_batches(some, model.card.image, 16, lambda _: None):
        for index, runner in enumerate((original, converted)):
            shares[index] += (runner.novelty(pixels) > novelty.max_novelty).sum()
    before, after = shares / len(some.paths)
    if after - before > _MAX_MORE_UNKNOWN:
        say(
            f"novelty is left out: with {plan.precision} {after:.1%} of the images would be "
            f"unknown, before {before:.1%}; add it to the new file with 'boatinfer model know'"
        )
        return None
    tests = model.golden.images
    pixels = np.stack([images.read(test.image, model.card.image) for test in tests])
    expected = np.array([test.novelty for test in tests], np.float32)
    return float(np.abs(converted.novelty(pixels) - expected).max())


def _to_int8(
    graph: onnx.ModelProto, model: Model, plan: ConversionPlan, say: Say
) -> QuantisedGraph:
    card = model.card
    images = batches.read_batches(plan.calibrate, card.image, _MAX_BATCH_SIZE, _report_skipped(say))
    pixels = [batch for batch, _ in images]
    if not pixels:
        raise UsageError(f"none of the images in {plan.calibrate.folder} can be read.")
    all_pixels = np.concatenate(pixels)
    half = (len(all_pixels) + 1) // 2
    calibration_pixels, selection_pixels = (
        all_pixels[:half],
        all_pixels[half:] if len(all_pixels) > 1 else all_pixels,
    )
    say(
        f"calibrating on {len(calibration_pixels)} images, "
        f"choosing the method on {len(selection_pixels)}"
    )
    calibration_inputs = [
        {card.input.name: tensor}
        for image in calibration_pixels
        for tensor in input_tensors(model.session, card.input, image[None])[0]
    ]

    def probabilities(candidate: onnx.ModelProto, count: int | None) -> Any:
        session, _ = open_session(candidate.SerializeToString(), model.path, Device.CPU)
        return Runner(session, card)(selection_pixels[:count])

    expected = probabilities(graph, None)

    def measure_divergence(other: onnx.ModelProto, count: int | None) -> float:
        return divergence(expected[:count], probabilities(other, count))

    return quantise(graph, calibration_inputs, measure_divergence, say)


def _to_float16(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Converts a graph to float16, except inputs, outputs and the conversion of the pixels."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    half: onnx.ModelProto = convert_float_to_float16(
        graph,
        keep_io_types=True,
        # Before opset 19 its output is float32 only.
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, "DequantizeLinear"],
    )
    sort_nodes(half)
    return half


def _upgrade(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Simplifies a graph, and upgrades it to the opset with per-channel quantisation."""
    opset = next(o.version for o in graph.opset_import if o.domain in {"", "ai.onnx"})
    if opset < OPSET:
        graph = onnx.version_converter.convert_version(graph, OPSET)
        graph.ir_version = max(graph.ir_version, IR_VERSION)
    return simplify(graph)


def _golden_difference(converted: Runner, model: Model) -> float:
    tests = model.golden.images
    pixels = np.stack([images.read(test.image, model.card.image) for test in tests])
    expected = np.array([test.probabilities for test in tests], np.float32)
    return float(np.abs(converted(pixels) - expected).max())


def _with_card(
    graph: onnx.ModelProto, card: Card, golden: Golden, conversion: Conversion
) -> ConvertedModel:
    """Adds the card, which contains the file size, until that is stable."""
    content = b""
    while conversion.converted.bytes != len(content) or not content:
        figures = msgspec.structs.replace(conversion.converted, bytes=len(content))
        conversion = msgspec.structs.replace(conversion, converted=figures)
        card = msgspec.structs.replace(card, conversion=conversion)
        content = embed_card(graph, card, golden)
    return ConvertedModel(content, conversion)


def _batch_size(image: ImageSpec) -> int:
    return max(1, min(_MAX_BATCH_SIZE, _BATCH_PIXELS // (image.height * image.width)))


def _report_skipped(say: Say) -> Say:
    return lambda reason: say(f"left out {reason}")
