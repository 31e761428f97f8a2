"""The options of the training, declared once for Python and the command line."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from boatinfer.errors import UsageError
from boatinfer.options import Force, GroupBy, Table
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

_OPTIMISATION = "Optimisation"
_FLOAT, _INTEGER = "FLOAT", "INTEGER"

# Aliases, so that a network's options can repeat a declaration with another default.
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Keras model file to write, with the suffix .keras."
    ),
]
Size = Annotated[
    str, typer.Option(metavar="HEIGHTxWIDTH", help="Input size of the network, in pixels.")
]
Optimizer = Annotated[
    Literal["adam", "adamw", "sgd"],
    typer.Option(help="Optimizer; sgd has a momentum of 0.9.", rich_help_panel=_OPTIMISATION),
]
LearningRate = Annotated[
    float,
    typer.Option(
        min=1e-9,
        metavar=_FLOAT,
        help="Peak learning rate, reached after the warm-up.",
        rich_help_panel=_OPTIMISATION,
    ),
]
Schedule = Annotated[
    Literal["constant", "cosine"],
    typer.Option(
        help="Learning rate schedule after the warm-up: constant, or cosine decay to zero.",
        rich_help_panel=_OPTIMISATION,
    ),
]
Warmup = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="EPOCHS",
        help="Length of the linear learning rate warm-up, in epochs.",
        rich_help_panel=_OPTIMISATION,
    ),
]
WeightDecay = Annotated[
    float,
    typer.Option(
        min=0,
        metavar=_FLOAT,
        help="Weight decay; for adamw only, and not applied to biases and batch normalisation.",
        rich_help_panel=_OPTIMISATION,
    ),
]
LabelSmoothing = Annotated[
    float,
    typer.Option(
        min=0,
        max=0.9,
        metavar=_FLOAT,
        help="Label smoothing: the part of each target spread evenly over all classes.",
        rich_help_panel=_OPTIMISATION,
    ),
]
Oversampling = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        metavar=_FLOAT,
        help="Oversampling of rare classes: 0 draws every image once an epoch, 1 draws every "
        "class equally often.",
        rich_help_panel=_OPTIMISATION,
    ),
]
Average = Annotated[
    float,
    typer.Option(
        min=0,
        max=0.99999,
        metavar="DECAY",
        help="Evaluate and save the exponential moving average of the weights, with this decay; "
        "0 disables it.",
        rich_help_panel=_OPTIMISATION,
    ),
]
Best = Annotated[
    Literal["accuracy", "macro-f1", "loss", "last"],
    typer.Option(
        help="Which epoch's weights are kept: the one with the best validation accuracy, "
        "macro-F1 or loss, or the last.",
        rich_help_panel=_OPTIMISATION,
    ),
]
Epochs = Annotated[int, typer.Option(min=1, metavar=_INTEGER, help="Number of training epochs.")]


@dataclass(frozen=True)
class _TrainFields:
    """The fields of `TrainOptions`, but for augmentation: data, output, model and optimisation."""

    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Image folder with train/<class>/ and valid/<class>/, or with <class>/ only.",
        ),
    ]
    output: Output
    size: Size
    epochs: Epochs = 10
    batch_size: Annotated[
        int, typer.Option(min=1, metavar=_INTEGER, help="Images per training step.")
    ] = 32
    optimizer: Optimizer = "adam"
    learning_rate: LearningRate = 1e-3
    schedule: Schedule = "constant"
    warmup: Warmup = 0.0
    weight_decay: WeightDecay = 4e-3
    label_smoothing: LabelSmoothing = 0.0
    class_weights: Annotated[
        Literal["none", "balanced"],
        typer.Option(
            help="Class weights in the loss: balanced weights each class by the inverse of its "
            "frequency.",
            rich_help_panel=_OPTIMISATION,
        ),
    ] = "none"
    oversampling: Oversampling = 0.0
    logit_adjustment: Annotated[
        float,
        typer.Option(
            min=0,
            metavar=_FLOAT,
            help="Logit adjustment for class imbalance (Menon et al., 2021): multiple of the log "
            "class priors added to the logits in the loss; 1 optimises balanced accuracy.",
            rich_help_panel=_OPTIMISATION,
        ),
    ] = 0.0
    average: Average = 0.0
    best: Best = "accuracy"
    patience: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="EPOCHS",
            show_default="off",
            help="Early stopping: stop after this many epochs without improvement of --best.",
            rich_help_panel=_OPTIMISATION,
        ),
    ] = None
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted training from its checkpoint.")
    ] = False
    valid: Annotated[
        str,
        typer.Option(
            metavar="SHARE",
            help="Share of each class held out for validation if DATA has <class>/ only.",
        ),
    ] = "10%"
    table: Table = None
    group_by: GroupBy = None
    from_model: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="MODEL.keras",
            help="Go on from the weights of a model of the same network and size; its card is "
            "beside it. New classes begin with random weights.",
        ),
    ] = None
    drop_classes: Annotated[
        bool,
        typer.Option(
            "--drop-classes", help="With --from: the data may lack classes of that model."
        ),
    ] = False
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            max=2**32 - 1,
            metavar=_INTEGER,
            help="Random seed of initialisation, order, dropout and augmentation.",
        ),
    ] = 0
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default="DATA/.boatinfer-cache",
            help="Cache folder for decoded images and features too large for memory.",
        ),
    ] = None
    force: Force = False
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write TensorBoard logs to this folder.")
    ] = None
    mixup: Annotated[
        float,
        typer.Option(
            min=0,
            max=10,
            metavar="ALPHA",
            help="mixup (Zhang et al., 2018): alpha of the beta distribution; 0 disables it, 0.2 "
            "is usual.",
            rich_help_panel=AUGMENTATION,
        ),
    ] = 0.0


@dataclass(frozen=True)
class TrainOptions(Augmentation, _TrainFields):
    """Training options common to all networks; the help of each field describes it."""

    def __post_init__(self) -> None:
        """Checks choices and ranges, which a caller from Python does not get from Typer."""
        hints = typing.get_type_hints(type(self), include_extras=True)
        for field in dataclasses.fields(self):
            kind, parameter = typing.get_args(hints[field.name])
            value = getattr(self, field.name)
            if typing.get_origin(kind) is Literal:
                valid, expected = value in typing.get_args(kind), " or ".join(typing.get_args(kind))
            else:
                valid, expected = _check_range(value, parameter.min, parameter.max)
            if not valid:
                raise UsageError(f"{field.name} must be {expected}, not {value}.")


def _check_range(value: object, low: float | None, high: float | None) -> tuple[bool, str]:
    """Returns whether a number is within its bounds, if any, and the bound for the error."""
    if not isinstance(value, int | float):
        return True, ""
    if low is not None and not value >= low:  # NaN fails too
        return False, f"at least {low}"
    return high is None or value <= high, f"at most {high}"


@dataclass(frozen=True)
class CnnOptions(TrainOptions):
    """Options of `boattrain.training.train_cnn`."""

    output: Output = Path("boats-cnn.keras")
    size: Size = "30x100"


@dataclass(frozen=True)
class BoatsOptions(TrainOptions):
    """Options of `boattrain.training.train_boats`; the defaults train the built-in model."""

    output: Output = Path("boats.keras")
    size: Size = "120x400"
    epochs: Annotated[
        int, typer.Option(min=1, metavar=_INTEGER, help="Number of epochs at full resolution.")
    ] = 40
    half_epochs: Annotated[
        int,
        typer.Option(
            min=0,
            metavar=_INTEGER,
            help="Number of epochs at half resolution before those; each takes a quarter of the "
            "time.",
        ),
    ] = 40
    optimizer: Optimizer = "adamw"
    learning_rate: LearningRate = 3e-3
    schedule: Schedule = "cosine"
    warmup: Warmup = 2.0
    weight_decay: WeightDecay = 0.02
    label_smoothing: LabelSmoothing = 0.05
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
            help="Initial weights of ResNet50: imagenet (pretrained, downloaded if need be), none "
            "(random), or an HDF5 file.",
        ),
    ] = "imagenet"
    pooling: Annotated[
        Literal["flatten", "avg"],
        typer.Option(
            help="What the head takes: the flattened last feature map, or its global average."
        ),
    ] = "flatten"
    unfreeze: Annotated[
        str,
        typer.Option(
            metavar="N|all|none",
            help="After the head, fine-tune the last N layers of ResNet50, or all.",
        ),
    ] = "none"
    unfreeze_epochs: Annotated[
        int, typer.Option(min=1, metavar=_INTEGER, help="Number of fine-tuning epochs.")
    ] = 10
    unfreeze_rate: Annotated[
        float,
        typer.Option(min=1e-9, metavar=_FLOAT, help="Learning rate of fine-tuning, with sgd."),
    ] = 1e-4
