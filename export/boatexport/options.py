"""The options of the export, declared once for Python and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from boatinfer.options import Force

__all__ = [
    "IMAGENET",
    "RESNET50",
    "DescribeOptions",
    "ExportOptions",
    "FuseOptions",
    "QuantizeOptions",
]

#: What the model that Keras publishes is called where a file could stand, and its weights.
RESNET50 = "resnet50-imagenet"
IMAGENET = "imagenet"

Calibrate = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Training images in class folders, which set the ranges of int8."
    ),
]
Labelled = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Labelled images in class folders that both models are compared on; if not given, "
        "those of --calibrate that do not calibrate.",
    ),
]
MaxDrop = Annotated[
    float, typer.Option(metavar="POINTS", help="Points of accuracy that may be lost.")
]


@dataclass(frozen=True)
class ExportOptions:
    """Options of `boatexport.exporting.export_model`; each field's help says what it does."""

    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="Keras model made by 'boatinfer train', which ends in .keras; or "
            f"{RESNET50}, the 1,000 classes of ImageNet.",
        ),
    ]
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="ONNX file to write; if not given, beside the model."),
    ] = None
    golden: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Images for the self-test, the first of each sub-folder and at most 16; if not "
            f"given, those that the training kept (of {RESNET50}, drawings).",
        ),
    ] = None
    weights: Annotated[
        str,
        typer.Option(
            metavar="imagenet|FILE",
            help=f"Weights of {RESNET50}: those that Keras publishes, or a file of them.",
        ),
    ] = IMAGENET

    precision: Annotated[
        Literal["float32", "float16", "int8"],
        typer.Option(help="float16 is for GPUs, int8 for CPUs; both are compared with float32."),
    ] = "float32"
    calibrate: Calibrate = None
    labelled: Labelled = None
    max_drop: MaxDrop = 0.5

    name: Annotated[
        str | None,
        typer.Option(
            help="Name, for the card; if not given, as in the training, with the precision behind "
            "it unless that is float32."
        ),
    ] = None
    licence: Annotated[str, typer.Option(help="Licence, for the card.")] = ""
    notes: Annotated[str, typer.Option(help="What people should know, for the card.")] = ""
    force: Force = False

    @property
    def is_imagenet(self) -> bool:
        """Whether the model is the named one and no file."""
        return str(self.model) == RESNET50

    @property
    def onnx_file(self) -> Path:
        """The file to write: ``output``, or the model's name with ``.onnx``."""
        return self.output or self.model.with_suffix(".onnx")


@dataclass(frozen=True)
class DescribeOptions:
    """Options of `boatexport.foreign.describing.describe_model`."""

    model: Annotated[
        Path, typer.Argument(metavar="FILE.onnx", help="Image classifier made elsewhere.")
    ]
    output: Annotated[Path, typer.Option("-o", "--output", help="ONNX file to write.")]
    golden: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Images for the self-test, the first of each sub-folder and at most 16.",
        ),
    ]
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|a,b,c",
            help="Class names in the order of the scores: a file with one on each line, or names "
            "with commas between; not needed if the file tells.",
        ),
    ] = None
    size: Annotated[
        str | None,
        typer.Option(metavar="HEIGHTxWIDTH", help="Input, pixels; not needed if the file tells."),
    ] = None
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C", help="What is subtracted from the scaled pixels, for each channel."
        ),
    ] = None
    std: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="What they are then divided by.")
    ] = None
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help="What pixels from 0 to 255 are multiplied by first; if not given, 1/255, or 1 "
            "where mean or std are above 1.",
        ),
    ] = None
    layout: Annotated[
        Literal["NCHW", "NHWC"] | None,
        typer.Option(help="Order of the axes; not needed if the file tells."),
    ] = None
    order: Annotated[Literal["RGB", "BGR"], typer.Option(help="Order of the channels.")] = "RGB"
    fit: Annotated[
        Literal["crop", "stretch", "pad"],
        typer.Option(help="How an image of another shape is made to fit."),
    ] = "crop"
    resize: Annotated[
        Literal["bilinear", "area", "nearest"], typer.Option(help="How it is made smaller.")
    ] = "bilinear"
    features: Annotated[
        str | None,
        typer.Option(metavar="NODE", help="Inner node or tensor to give as the feature vector."),
    ] = None
    scores: Annotated[
        str | None,
        typer.Option(
            metavar="OUTPUT", help="Output with the score of each class, if there are several."
        ),
    ] = None
    logits: Annotated[
        bool,
        typer.Option(
            "--logits", help="Insist that the scores are logits; if not given, they are looked at."
        ),
    ] = False

    name: Annotated[
        str | None, typer.Option(help="Name, for the card; if not given, that of the file.")
    ] = None
    licence: Annotated[str, typer.Option(help="Licence, for the card.")] = ""
    notes: Annotated[str, typer.Option(help="What people should know, for the card.")] = ""
    force: Force = False


@dataclass(frozen=True)
class FuseOptions:
    """Options of `boatexport.fusing.fuse`; each field's help says what it does."""

    svm: Annotated[
        Path, typer.Argument(metavar="SVM.joblib", help="SVM made by 'boatinfer svm fit'.")
    ]
    output: Annotated[Path, typer.Option("-o", "--output", help="ONNX file to write.")]
    model: Annotated[
        Path | None,
        typer.Option(
            "-m",
            "--model",
            help="Model whose features it was fitted on; if not given, the built-in boats model.",
        ),
    ] = None
    name: Annotated[
        str | None,
        typer.Option(help="Name, for the card; if not given, that of the model and -svm."),
    ] = None
    force: Force = False


@dataclass(frozen=True)
class QuantizeOptions:
    """Options of `boatexport.precision.quantize`; each field's help says what it does."""

    model: Annotated[
        Path, typer.Argument(metavar="FILE.onnx", help="Model file with a card, float32.")
    ]
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="ONNX file to write; if not given, FILE.int8.onnx beside it."
        ),
    ] = None
    calibrate: Calibrate = None
    labelled: Labelled = None
    max_drop: MaxDrop = 0.5
    precision: Annotated[
        Literal["int8", "float16"], typer.Option(help="int8 is for CPUs, float16 for GPUs.")
    ] = "int8"
    name: Annotated[
        str | None,
        typer.Option(help="Name, for the card; if not given, FILE's with the precision behind it."),
    ] = None
    force: Force = False

    @property
    def onnx_file(self) -> Path:
        """The file to write: ``output``, or the model's name with its precision."""
        return self.output or self.model.with_suffix(f".{self.precision}.onnx")
