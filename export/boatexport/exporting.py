"""Exports a Keras model and its card to a verified ONNX file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from boatexport import resnet50
from boatexport.options import IMAGENET, RESNET50, ExportOptions
from boatexport.plan import ConversionPlan, make_plan
from boatexport.verify import BATCH_SIZES, keras_outputs, probability_tolerance, verify
from boatinfer.errors import ModelError, UsageError, first_line
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import Card, Conversion, Golden, decode_card, decode_golden
from boatinfer.models.golden import golden_images_of_folder, make_golden
from boatinfer.models.model import load
from boatinfer.storage.files import atomic_write, require_writable
from boattrain.backend import load_keras

if TYPE_CHECKING:
    from boatexport.novelty.fitting import Sources

__all__ = ["ExportResult", "export_model"]


@dataclass(frozen=True)
class ExportResult:
    """A verified ONNX file.

    Attributes:
        path: the file.
        golden_images: number of golden images in it.
        batch_sizes: batch sizes at which it was compared with Keras.
        difference: largest difference of a probability in that comparison.
    """

    path: Path
    golden_images: int
    batch_sizes: tuple[int, ...]
    difference: float


def export_model(
    options: ExportOptions,
    say: Callable[[str], None] = lambda _: None,
    show_comparison: Callable[[Conversion], None] = lambda _: None,
) -> ExportResult:
    """Exports a Keras model; the file appears only once it is verified.

    Args:
        options: the model, the output file, golden images and precision.
        say: called with what the next step is, before it begins.
        show_comparison: called with the comparison with float32, before the accuracy is checked.

    Returns:
        The file written.

    Raises:
        UsageError: a folder is missing or has no images.
        ModelError: the model or its card cannot be used, the verification failed, or a lower
            precision costs too much accuracy.
        OutputError: the file could not be written.
    """
    output = options.onnx_file
    _check_arguments(options)
    if not options.is_imagenet:
        _read_card(options.model)  # report a wrong name before an existing output file
    require_writable(output, options.model, Path(options.weights), force=options.force)
    weights = resnet50.find_weights(options.weights) if options.is_imagenet else None
    card = _apply_overrides(
        resnet50.make_card(weights) if weights else _read_card(options.model), options
    )
    images = _find_golden_images(options, card.image)
    plan = _make_conversion_plan(options, card)
    sources = _find_sources(options, card)
    say("loading TensorFlow")
    load_keras()
    from boatexport.adding import with_class_activation
    from boatexport.convert import convert, embed_card, with_features
    from boatexport.novelty.fitting import add_novelty
    from boatexport.precision import convert_precision

    model = resnet50.build(weights) if weights else _load_keras_model(options.model)
    reference = with_features(model, card, options.model)
    golden = _make_golden(options.model, images, card, reference)
    say("converting the model to ONNX, which takes up to 4 minutes for a ResNet50")
    graph = convert(reference, card)
    card = with_class_activation(graph, card)
    with atomic_write(output) as temporary:
        content = embed_card(graph, card, golden)
        temporary.write_bytes(content)
        exported = load(temporary.read_bytes(), output, "cpu")
        say("comparing the outputs of both models")
        difference = verify(exported, reference, probability_tolerance(reference))
        if sources is not None:
            card, golden = add_novelty(graph, exported, sources, say)
            content = embed_card(graph, card, golden)
            temporary.write_bytes(content)
            exported = load(content, output, "cpu")
        if plan is not None:
            converted = convert_precision(
                content, exported, plan, say, show_comparison, name=options.name
            )
            content = converted.content
            temporary.write_bytes(content)
            load(temporary.read_bytes(), output, plan.device)
    return ExportResult(output, len(golden.images), BATCH_SIZES, difference)


def _make_conversion_plan(options: ExportOptions, card: Card) -> ConversionPlan | None:
    folders = (options.calibrate, options.labelled)
    if options.precision != "float32":
        return make_plan(options.precision, *folders, options.max_drop, card)
    if folders != (None, None):
        raise UsageError("--calibrate and --labelled need --precision int8 or float16.")
    return None


def _find_sources(options: ExportOptions, card: Card) -> Sources | None:
    if options.train is not None:
        from boatexport.novelty.fitting import find_sources

        return find_sources(card, options.train, options.valid, options.foreign)
    if options.valid or options.foreign:
        raise UsageError("--valid and --foreign are for novelty, which needs --train.")
    return None


def _check_arguments(options: ExportOptions) -> None:
    if not options.is_imagenet and options.model.suffix != ".keras":
        raise UsageError(f"{options.model}: the model must end in .keras, or be {RESNET50}.")
    if options.onnx_file.suffix != ".onnx":
        raise UsageError(f"{options.onnx_file}: the output file must end in .onnx.")
    if options.weights != IMAGENET and not options.is_imagenet:
        raise UsageError(
            f"--weights is for {RESNET50} only; {options.model} has its own, so omit it."
        )


def _read_card(model: Path) -> Card:
    return decode_card(*_read_beside(model, ".card.json"))


def _apply_overrides(card: Card, options: ExportOptions) -> Card:
    return msgspec.structs.replace(
        card,
        name=options.name or card.name,
        licence=options.licence or card.licence,
        notes=options.notes or card.notes,
    )


def _read_beside(model: Path, suffix: str) -> tuple[bytes, str]:
    """Reads a file that the training wrote beside the model."""
    if not model.is_file():
        raise ModelError(f"the model {model} does not exist; check the name.")
    path = model.with_suffix(suffix)
    try:
        return path.read_bytes(), str(path)
    except OSError as error:
        raise ModelError(
            f"{path.name}, which 'boatinfer train' writes beside {model}, is missing; restore "
            "it, or train again."
        ) from error


def _load_keras_model(path: Path) -> Any:
    import keras

    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # keras raises many types for a damaged file
        raise ModelError(
            f"{path} cannot be loaded as a Keras model ({first_line(error)}); train again."
        ) from error


def _make_golden(model: Path, images: Iterable[bytes] | None, card: Card, reference: Any) -> Golden:
    if images is None:
        return decode_golden(*_read_beside(model, ".golden.json"))
    name = str(card.outputs.probabilities)
    return make_golden(images, card.image, lambda pixels: keras_outputs(reference, pixels)[name])


def _find_golden_images(options: ExportOptions, spec: ImageSpec) -> Iterable[bytes] | None:
    """Returns the golden images; None to use those of the training."""
    if options.golden is not None:
        return golden_images_of_folder(options.golden, spec).values()
    return resnet50.golden_drawings() if options.is_imagenet else None
