"""The options of the training, declared once for Python and the command line."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from boatinfer.errors import UsageError
from boatinfer.options import Force
from boattrain.augment import (
    AUGMENTATION,
    Augmentation,
    Brightness,
    Contrast,
    Erase,
    Flip,
    Rotate,
    Saturation,
    Shift,
    Tint,
    Zoom,
)

__all__ = ["BoatsOptions", "CnnOptions", "ResnetOptions", "TrainOptions"]

_LEARNING = "How it learns"

# Named, so that a network may give an option another default.
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Model file to write; ends in .keras.")
]
Size = Annotated[str, typer.Option(metavar="HEIGHTxWIDTH", help="The network's input, pixels.")]
Optimizer = Annotated[
    Literal["adam", "adamw", "sgd"],
    typer.Option(
        help="What moves the weights; sgd has a momentum of 0.9.", rich_help_panel=_LEARNING
    ),
]
Rate = Annotated[
    float, typer.Option(min=1e-9, help="How far, at the most.", rich_help_panel=_LEARNING)
]
Schedule = Annotated[
    Literal["constant", "cosine"],
    typer.Option(
        help="Whether the rate stays, or falls to nothing along a cosine.",
        rich_help_panel=_LEARNING,
    ),
]
Warmup = Annotated[
    float,
    typer.Option(
        min=0, help="Epochs in which the rate rises from nothing.", rich_help_panel=_LEARNING
    ),
]
Decay = Annotated[
    float,
    typer.Option(
        min=0, help="Decay of adamw; biases and norms are spared.", rich_help_panel=_LEARNING
    ),
]
Smoothing = Annotated[
    float,
    typer.Option(
        min=0, max=0.9, help="Part of a target that all classes share.", rich_help_panel=_LEARNING
    ),
]
Oversampling = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        help="Show rare classes more often; 1 shows all classes as often.",
        rich_help_panel=_LEARNING,
    ),
]
Average = Annotated[
    float,
    typer.Option(
        min=0,
        max=0.99999,
        help="Keep a moving average of the weights, with this decay.",
        rich_help_panel=_LEARNING,
    ),
]
Best = Annotated[
    Literal["accuracy", "macro-f1", "loss", "last"],
    typer.Option(
        help="What, on valid, makes an epoch the best; last chooses by nothing.",
        rich_help_panel=_LEARNING,
    ),
]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the training images.")]


@dataclass(frozen=True)
class _Recipe:
    """What is learned from, how, and where it goes; the fields of `TrainOptions`."""

    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder that holds train/<class>/ and valid/<class>/, or <class>/ alone.",
        ),
    ]
    output: Output
    size: Size
    epochs: Epochs = 10
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a step.")] = 32
    optimizer: Optimizer = "adam"
    learning_rate: Rate = 1e-3
    schedule: Schedule = "constant"
    warmup: Warmup = 0.0
    weight_decay: Decay = 4e-3
    label_smoothing: Smoothing = 0.0
    class_weights: Annotated[
        Literal["none", "balanced"],
        typer.Option(
            help="balanced: a rare class's images count more, each class the same.",
            rich_help_panel=_LEARNING,
        ),
    ] = "none"
    oversampling: Oversampling = 0.0
    logit_adjustment: Annotated[
        float,
        typer.Option(
            min=0,
            help="Handicap of common classes in the loss; 1 aims at macro-F1.",
            rich_help_panel=_LEARNING,
        ),
    ] = 0.0
    average: Average = 0.0
    best: Best = "accuracy"
    patience: Annotated[
        int | None,
        typer.Option(
            min=1, help="Stop after so many epochs without a better one.", rich_help_panel=_LEARNING
        ),
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the training that was interrupted.")
    ] = False
    valid: Annotated[
        str,
        typer.Option(
            metavar="SHARE", help="Images that become valid where DATA holds <class>/ alone."
        ),
    ] = "10%"
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Makes a training repeat.")] = 0
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where large arrays are kept; if not given, in DATA/.boatinfer-cache.",
        ),
    ] = None
    force: Force = False
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write TensorBoard's log of figures.")
    ] = None
    mixup: Annotated[
        float,
        typer.Option(
            min=0, max=10, help="Blend images in pairs; 0.2 is usual.", rich_help_panel=AUGMENTATION
        ),
    ] = 0.0


@dataclass(frozen=True)
class TrainOptions(Augmentation, _Recipe):
    """What the training of every network takes; each field's help says what it does."""

    def __post_init__(self) -> None:
        """Refuses from Python what the command line refuses."""
        hints = typing.get_type_hints(type(self), include_extras=True)
        for field in dataclasses.fields(self):
            kind, parameter = typing.get_args(hints[field.name])
            value = getattr(self, field.name)
            if typing.get_origin(kind) is Literal:
                good, meant = value in typing.get_args(kind), " or ".join(typing.get_args(kind))
            else:
                good, meant = _within(value, parameter.min, parameter.max)
            if not good:
                raise UsageError(f"{field.name} must be {meant}, not {value}.")


def _within(value: object, least: float | None, most: float | None) -> tuple[bool, str]:
    """Whether a number lies between two bounds, where there are any, and how to say that."""
    if not isinstance(value, int | float):
        return True, ""
    if least is not None and not value >= least:  # NaN fails too
        return False, f"at least {least}"
    return most is None or value <= most, f"at most {most}"


@dataclass(frozen=True)
class CnnOptions(TrainOptions):
    """Options of `boattrain.training.train_cnn`."""

    output: Output = Path("boats-cnn.keras")
    size: Size = "30x100"


@dataclass(frozen=True)
class BoatsOptions(TrainOptions):
    """Options of `boattrain.training.train_boats`: the recipe of the built-in model."""

    output: Output = Path("boats.keras")
    size: Size = "120x400"
    epochs: Annotated[int, typer.Option(min=1, help="Passes at the whole size.")] = 40
    half_epochs: Annotated[
        int, typer.Option(min=0, help="Passes at half the size before these, which take a quarter.")
    ] = 40
    optimizer: Optimizer = "adamw"
    learning_rate: Rate = 3e-3
    schedule: Schedule = "cosine"
    warmup: Warmup = 2.0
    weight_decay: Decay = 0.02
    label_smoothing: Smoothing = 0.05
    oversampling: Oversampling = 0.5
    average: Average = 0.995
    best: Best = "last"
    flip: Flip = True
    shift: Shift = 0.12
    zoom: Zoom = 0.25
    rotate: Rotate = 4.0
    brightness: Brightness = 0.12
    contrast: Contrast = 0.35
    saturation: Saturation = 0.7
    tint: Tint = 0.12
    erase: Erase = 0.4


@dataclass(frozen=True)
class ResnetOptions(TrainOptions):
    """Options of `boattrain.training.train_resnet`."""

    output: Output = Path("boats-resnet.keras")
    size: Size = "240x800"
    weights: Annotated[
        str,
        typer.Option(
            metavar="imagenet|none|FILE",
            help="What ResNet50 begins with: its published weights, chance, or an HDF5 file.",
        ),
    ] = "imagenet"
    pooling: Annotated[
        Literal["flatten", "avg"],
        typer.Option(help="Whether the head sees all of the last map, or its average."),
    ] = "flatten"
    unfreeze: Annotated[
        str,
        typer.Option(
            metavar="N|all|none",
            help="Train the last N layers, or all, end to end when the head is trained.",
        ),
    ] = "none"
    unfreeze_epochs: Annotated[int, typer.Option(min=1, help="Epochs of that.")] = 10
    unfreeze_rate: Annotated[
        float, typer.Option(min=1e-9, help="Learning rate of that; the optimizer is sgd.")
    ] = 1e-4
