"""``boatinfer model``: what a model file says about itself, and its test on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from boatinfer.options import Device, OnDevice
from boatinfer.storage.base import Place
from boatinfer.storage.locations import place
from boatinfer.text import counted, decimal, printable

if TYPE_CHECKING:
    from boatinfer.models.card import Card, Conversion, InputSpec, Training
    from boatinfer.models.model import Model

__all__ = ["check", "show"]

ModelFile = Annotated[
    Place | None,
    typer.Argument(
        parser=place, metavar="FILE", help="Model file or its URI; by default the built-in model."
    ),
]

#: More classes than these are counted, and only the first are named.
_NAMED = 30


def check(
    file: ModelFile = None,
    device: OnDevice = Device.AUTO,
) -> None:
    """Check the seal of a model file, and run its self-test."""
    from boatinfer.models.model import open_model

    model = open_model(file, device)
    typer.echo(f"{model.path} is whole, and passed its self-test on {model.device}")
    typer.echo(_tested(model))


def show(
    file: ModelFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
) -> None:
    """Print the card of a model file."""
    import msgspec

    from boatinfer.models.card import encode
    from boatinfer.models.model import open_model

    model = open_model(file, Device.CPU)
    if json:
        typer.echo(msgspec.json.format(encode(model.card), indent=2))
        return
    for key, value in _lines(model):
        typer.echo(f"{key:<12}{printable(value)}")


def _lines(model: Model) -> Iterator[tuple[str, str]]:
    from boatinfer.models.model import read_model

    card = model.card
    yield "file", f"{model.path} ({model.path.stat().st_size:,} bytes, its seal is intact)"
    yield "sha256", hashlib.sha256(read_model(model.path)).hexdigest()
    if card.network is not None:
        yield "network", f"that of {card.network}, with outputs added"
    yield "name", card.name
    yield "created", card.created or "not stated"
    yield "licence", card.licence or "not stated"
    yield "notes", card.notes or "none"
    yield "classes", _names(card.classes)
    yield "images", _image(card)
    yield "input", _input(card.input, model.graph_batch_size)
    if card.thresholds is not None:
        limits = ", ".join(f"{value:g}" for value in card.thresholds[:_NAMED])
        yield "thresholds", f"of the labels of an image: {limits}"
    if card.decoding is not None:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in card.decoding.agreement.items())
        yield "decoding", f"same label as full, of {card.decoding.images} images: {shares}"
    yield "precision", card.precision
    if card.conversion is not None:
        yield from _conversion(card.conversion)
    if card.features is not None:
        yield "features", f"{card.features.dimension}, of the layer {card.features.layer}"
    if card.svm is not None:
        yield "svm", f"{card.svm.kernel}, on the features; {_names(card.svm.classes)}"
        yield "", f"fitted on the model {card.svm.model}"
    if card.training is not None:
        yield from _training(card.training)
    yield "self-test", _tested(model)


def _tested(model: Model) -> str:
    return (
        f"largest difference {model.self_test():.2g}, tolerance {model.tolerance:g}, on "
        f"{counted(len(model.golden.images), 'golden image')}"
    )


def _names(classes: list[str]) -> str:
    more = ", ..." if len(classes) > _NAMED else ""
    return f"{len(classes):,}: {', '.join(classes[:_NAMED])}{more}"


def _image(card: Card) -> str:
    image = card.image
    turned = "turned upright by EXIF, " if image.orientation else ""
    return f"{turned}{image.description}"


def _input(spec: InputSpec, batch: int | None) -> str:
    count = "any number of images" if batch is None else f"{batch or 1} at a time"
    kind = f"{spec.name}: {spec.dtype} {spec.layout} {spec.order}"
    return f"{kind}, {count}; pixels {spec.normalisation}"


def _conversion(conversion: Conversion) -> Iterator[tuple[str, str]]:
    before, after = conversion.original, conversion.converted
    yield "accuracy", f"{after.accuracy:.2%}, before the conversion {before.accuracy:.2%}"
    yield "", f"the same label for {conversion.agreement:.2%} of {conversion.images:,} images"
    times = after.images_per_second / before.images_per_second
    yield "speed", f"{times:.2f} times that of before, where it was converted ({conversion.device})"
    if conversion.calibration:
        kept = ", ".join(conversion.kept) or "none"
        yield "ranges", f"{conversion.calibration}; layers that stay in float32: {kept}"
    yield "made from", f"{conversion.source} ({before.bytes:,} bytes)"


def _training(training: Training) -> Iterator[tuple[str, str]]:
    counts = ", ".join(f"{count:,} {split}" for split, count in training.counts.items())
    metrics = ", ".join(f"{name} {decimal(value)}" for name, value in training.metrics.items())
    versions = ", ".join(f"{name} {value}" for name, value in training.versions.items())
    yield "trained on", f"{counts} images (fingerprint {training.data})"
    yield "valid", metrics
    yield "made with", versions
