"""A Keras model and its card to a verified ONNX file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from boatexport import resnet50
from boatexport.options import IMAGENET, RESNET50, ExportOptions
from boatexport.plan import Plan, plan
from boatexport.verify import BATCH_SIZES, keras_outputs, tolerance_of, verify
from boatinfer.errors import ModelError, UsageError, first_line
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import Card, Conversion, Golden, decode_card, decode_golden
from boatinfer.models.golden import golden_images_of_folder, make_golden
from boatinfer.models.model import load
from boatinfer.storage.files import atomic_write, require_writable
from boattrain.backend import load_keras

__all__ = ["Exported", "export_model"]


@dataclass(frozen=True)
class Exported:
    """An ONNX file that was verified.

    Attributes:
        path: the file.
        golden_images: how many images its self-test has.
        batch_sizes: the batch sizes it was compared with Keras at.
        difference: the largest difference of a probability found then.
    """

    path: Path
    golden_images: int
    batch_sizes: tuple[int, ...]
    difference: float


def export_model(
    options: ExportOptions,
    say: Callable[[str], None] = lambda _: None,
    show: Callable[[Conversion], None] = lambda _: None,
) -> Exported:
    """Exports a Keras model; the file gets its name only once it is verified.

    Args:
        options: the model, the file to write, and where its golden images come from.
        say: is told what a conversion to a lower precision does and finds.
        show: is given its comparison with float32, before the gate decides.

    Returns:
        What was written.

    Raises:
        UsageError: a folder is missing or holds no images.
        ModelError: the model or its card cannot be used, the verification failed, or a lower
            precision costs too much accuracy.
        OutputError: the file could not be written.
    """
    output = options.onnx_file
    _require_names(options)
    if not options.is_imagenet:
        _card(options.model)  # a mistyped name is told before a file that is in the way
    require_writable(output, options.model, Path(options.weights), force=options.force)
    weights = resnet50.find_weights(options.weights) if options.is_imagenet else None
    card = _named(resnet50.describe(weights) if weights else _card(options.model), options)
    images = _golden_images(options, card.image)
    planned = _plan(options, card)
    load_keras()
    from boatexport.convert import convert, describe, with_features
    from boatexport.precision import convert_precision

    model = resnet50.build(weights) if weights else _load(options.model)
    reference = with_features(model, card, options.model)
    golden = _golden(options.model, images, card, reference)
    graph = convert(reference, card)
    with atomic_write(output) as temporary:
        content = describe(graph, card, golden)
        temporary.write_bytes(content)
        written = load(temporary.read_bytes(), output, "cpu")
        difference = verify(written, reference, tolerance_of(reference))
        if planned is not None:
            made = convert_precision(content, written, planned, say, show, name=options.name)
            content = made.content
            temporary.write_bytes(content)
            load(temporary.read_bytes(), output, planned.device)
    return Exported(output, len(golden.images), BATCH_SIZES, difference)


def _plan(options: ExportOptions, card: Card) -> Plan | None:
    folders = (options.calibrate, options.labelled)
    if options.precision != "float32":
        return plan(options.precision, *folders, options.max_drop, card)
    if folders != (None, None):
        raise UsageError(
            "--calibrate and --labelled are for another precision; add --precision int8 or float16."
        )
    return None


def _require_names(options: ExportOptions) -> None:
    if not options.is_imagenet and options.model.suffix != ".keras":
        raise UsageError(f"{options.model}: the model must end in .keras, or be {RESNET50}.")
    if options.onnx_file.suffix != ".onnx":
        raise UsageError(f"{options.onnx_file}: the file to write must end in .onnx.")
    if options.weights != IMAGENET and not options.is_imagenet:
        raise UsageError(
            f"--weights is for {RESNET50}; {options.model} holds its own, so leave it out."
        )


def _card(model: Path) -> Card:
    return decode_card(*_beside(model, ".card.json"))


def _named(card: Card, options: ExportOptions) -> Card:
    return msgspec.structs.replace(
        card,
        name=options.name or card.name,
        licence=options.licence or card.licence,
        notes=options.notes or card.notes,
    )


def _beside(model: Path, ending: str) -> tuple[bytes, str]:
    """Reads a document that the training writes beside the model."""
    if not model.is_file():
        raise ModelError(f"the model {model} does not exist; check the name.")
    path = model.with_suffix(ending)
    try:
        return path.read_bytes(), str(path)
    except OSError as error:
        raise ModelError(
            f"{model} is without {path.name}, which 'boatinfer train' writes beside it; put that "
            "file back, or train again."
        ) from error


def _load(path: Path) -> Any:
    import keras

    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # keras raises whatever it stumbles over in a damaged file
        raise ModelError(
            f"{path} cannot be loaded as a Keras model ({first_line(error)}); train again."
        ) from error


def _golden(model: Path, images: Iterable[bytes] | None, card: Card, reference: Any) -> Golden:
    if images is None:
        return decode_golden(*_beside(model, ".golden.json"))
    name = str(card.outputs.probabilities)
    return make_golden(images, card.image, lambda pixels: keras_outputs(reference, pixels)[name])


def _golden_images(options: ExportOptions, spec: ImageSpec) -> Iterable[bytes] | None:
    """Finds the images of the self-test; None where the training kept a test."""
    if options.golden is not None:
        return golden_images_of_folder(options.golden, spec).values()
    return resnet50.drawn() if options.is_imagenet else None
