"""The options of the export, declared once for Python and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from boatexport.foreign.makers.likes import Like
from boatinfer.options import Force

__all__ = [
    "IMAGENET",
    "RESNET50",
    "DescribeOptions",
    "ExportOptions",
    "FuseOptions",
    "KnowOptions",
    "QuantizeOptions",
]

#: Name of the ImageNet model of Keras, in place of a model file, and of its weights.
RESNET50 = "resnet50-imagenet"
IMAGENET = "imagenet"

_GOLDEN_HELP = "Golden images for the self-test: the first of each sub-folder, at most 16 in all."

Output = Annotated[
    Path, typer.Option("-o", "--output", metavar="FILE.onnx", help="ONNX file to write.")
]
Calibrate = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Calibration images for int8, in class folders; usually training images.",
    ),
]
Labelled = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        show_default="the other images of --calibrate",
        help="Labelled images, in class folders, to compare the accuracy of both models on.",
    ),
]
MaxDrop = Annotated[
    float,
    typer.Option(
        metavar="FLOAT",
        help="Largest accuracy drop allowed, in percentage points; if it is larger, nothing is "
        "written.",
    ),
]
Train = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Training images, in class folders, to find images that are unlike them: adds the "
        "output novelty.",
    ),
]
Valid = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        show_default="a fifth of --train",
        help="Images that the model was not trained on, in class folders, to compare novelty with.",
    ),
]
Foreign = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        show_default="pictures made by the program",
        help="Images of anything else, to choose how novelty is computed, besides made ones.",
    ),
]
Licence = Annotated[str, typer.Option(metavar="TEXT", help="Licence, for the model card.")]
Notes = Annotated[str, typer.Option(metavar="TEXT", help="Notes for users, for the model card.")]


@dataclass(frozen=True)
class ExportOptions:
    """Options of `boatexport.exporting.export_model`; the help of each field describes it."""

    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="Keras model (.keras) trained by 'boatinfer train', or "
            f"{RESNET50}: ResNet50 with the 1,000 classes of ImageNet.",
        ),
    ]
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE.onnx",
            show_default="MODEL with the suffix .onnx",
            help="ONNX file to write.",
        ),
    ] = None
    golden: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=f"those of the training; for {RESNET50}, drawings",
            help=_GOLDEN_HELP,
        ),
    ] = None
    weights: Annotated[
        str,
        typer.Option(
            metavar="imagenet|FILE",
            help=f"Weights of {RESNET50}: those published by Keras, or an HDF5 file.",
        ),
    ] = IMAGENET

    precision: Annotated[
        Literal["float32", "float16", "int8"],
        typer.Option(
            help="Precision of the ONNX model: int8 for CPUs, float16 for GPUs. Either is compared "
            "with float32."
        ),
    ] = "float32"
    calibrate: Calibrate = None
    labelled: Labelled = None
    max_drop: MaxDrop = 0.5
    train: Train = None
    valid: Valid = None
    foreign: Foreign = None

    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            show_default="that of the training, with the precision unless float32",
            help="Name of the model, for the model card.",
        ),
    ] = None
    licence: Licence = ""
    notes: Notes = ""
    force: Force = False

    @property
    def is_imagenet(self) -> bool:
        """Whether the model is ResNet50 of Keras instead of a file."""
        return str(self.model) == RESNET50

    @property
    def onnx_file(self) -> Path:
        """The file to write: ``output``, or the model's name with ``.onnx``."""
        return self.output or self.model.with_suffix(".onnx")


@dataclass(frozen=True)
class DescribeOptions:
    """Options of `boatexport.foreign.describing.describe_model`."""

    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL.onnx", help="ONNX image classifier without a model card."),
    ]
    output: Output
    golden: Annotated[Path, typer.Option(metavar="DIR", help=_GOLDEN_HELP)]
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|A,B,C",
            show_default="from the metadata of the model",
            help="Class names in output order: a text file with one per line, or a comma-separated "
            "list.",
        ),
    ] = None
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHTxWIDTH",
            show_default="from the model",
            help="Input size, in pixels.",
        ),
    ] = None
    mean: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            show_default="0",
            help="Mean per channel, subtracted from the pixels after --scale.",
        ),
    ] = None
    std: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            show_default="1",
            help="Standard deviation per channel, which the pixels are divided by after --mean.",
        ),
    ] = None
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            show_default="1/255, or 1 if --mean or --std has a value above 1",
            help="Factor for pixels from 0 to 255, applied before --mean and --std.",
        ),
    ] = None
    layout: Annotated[
        Literal["NCHW", "NHWC"] | None,
        typer.Option(show_default="from the model", help="Memory layout of the input."),
    ] = None
    order: Annotated[
        Literal["RGB", "BGR"] | None,
        typer.Option(show_default="RGB", help="Channel order of the input."),
    ] = None
    like: Annotated[
        Like | None,
        typer.Option(
            help="Preprocess as this tool does by default, where its makers wrote nothing down."
        ),
    ] = None
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|DIR|NAME",
            show_default="the files beside the model",
            help="What the makers wrote: config.json, preprocessor_config.json, labels.txt, an "
            "OpenVINO .xml, a folder of these, or the name of weights of torchvision.",
        ),
    ] = None
    fit: Annotated[
        Literal["crop", "stretch", "pad"] | None,
        typer.Option(
            show_default="crop",
            help="How images of another aspect ratio are fitted: centre crop, stretch, or pad.",
        ),
    ] = None
    resize: Annotated[
        Literal["bilinear", "bicubic", "lanczos", "area", "nearest"] | None,
        typer.Option(show_default="bilinear", help="Interpolation when images are resized."),
    ] = None
    resize_to: Annotated[
        str | None,
        typer.Option(
            metavar="PIXELS|HEIGHTxWIDTH",
            show_default="the input size",
            help="Resize the shorter side, or height and width, to this; then cut out the centre.",
        ),
    ] = None
    crop_pct: Annotated[
        float | None,
        typer.Option(
            metavar="FLOAT",
            help="Share of the resized image that is cut out, as in timm, instead of --resize-to.",
        ),
    ] = None
    antialias: Annotated[
        bool | None,
        typer.Option(
            show_default="antialias",
            help="Whether shrinking averages over all pixels, as Pillow does and OpenCV does not.",
        ),
    ] = None
    pad_colour: Annotated[
        str | None,
        typer.Option(
            metavar="R,G,B", show_default="0", help="Colour of the bars, one number or three."
        ),
    ] = None
    pad_side: Annotated[
        Literal["both", "end"] | None,
        typer.Option(
            show_default="both", help="Whether bars are at both sides, or at the right and bottom."
        ),
    ] = None
    crops: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=5,
            metavar="1|5",
            show_default="1",
            help="Classify the centre, or average over the centre and the four corners.",
        ),
    ] = None
    decode: Annotated[
        Literal["full", "double", "scaled"],
        typer.Option(
            help="Decode JPEGs whole, or faster at no less than twice or once the size needed. How "
            "much that changes is measured on the images of --golden."
        ),
    ] = "full"
    multi_label: Annotated[
        bool,
        typer.Option(
            "--multi-label",
            help="Each image may have several labels, or none: the scores go through a sigmoid.",
        ),
    ] = False
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            show_default="0.5",
            help="Probability from which an image has a label; one number, or one per class.",
        ),
    ] = None
    embedding: Annotated[
        bool,
        typer.Option(
            "--embedding",
            help="The model has no classes: its output is a feature vector, for 'svm fit' and "
            "'similar'.",
        ),
    ] = False
    features: Annotated[
        str | None,
        typer.Option(
            metavar="NODE",
            show_default="no features",
            help="Inner node or tensor to output as the feature vector.",
        ),
    ] = None
    scores: Annotated[
        str | None,
        typer.Option(
            metavar="OUTPUT",
            help="Output with the class scores, if the model has several outputs.",
        ),
    ] = None
    logits: Annotated[
        bool,
        typer.Option(
            "--logits",
            help="Require that the scores are logits; by default this is found out on the golden "
            "images.",
        ),
    ] = False

    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            show_default="the file name",
            help="Name of the model, for the model card.",
        ),
    ] = None
    licence: Licence = ""
    notes: Notes = ""
    force: Force = False


@dataclass(frozen=True)
class FuseOptions:
    """Options of `boatexport.fusing.fuse`; the help of each field describes it."""

    svm: Annotated[
        Path, typer.Argument(metavar="SVM.joblib", help="SVM fitted by 'boatinfer svm fit'.")
    ]
    output: Output
    model: Annotated[
        Path | None,
        typer.Option(
            "-m",
            "--model",
            metavar="FILE.onnx",
            show_default="the built-in model",
            help="Model whose features the SVM was fitted on.",
        ),
    ] = None
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            show_default="that of the model with the suffix -svm",
            help="Name of the new model, for the model card.",
        ),
    ] = None
    force: Force = False


@dataclass(frozen=True)
class KnowOptions:
    """Options of `boatexport.adding.add_outputs`."""

    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="Model with a model card.")]
    output: Output
    train: Train = None
    valid: Valid = None
    foreign: Foreign = None
    force: Force = False


@dataclass(frozen=True)
class QuantizeOptions:
    """Options of `boatexport.precision.quantize`; the help of each field describes it."""

    model: Annotated[
        Path, typer.Argument(metavar="MODEL.onnx", help="float32 model with a model card.")
    ]
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE.onnx",
            show_default="MODEL.int8.onnx or MODEL.float16.onnx",
            help="ONNX file to write.",
        ),
    ] = None
    calibrate: Calibrate = None
    labelled: Labelled = None
    max_drop: MaxDrop = 0.5
    precision: Annotated[
        Literal["int8", "float16"],
        typer.Option(help="Precision of the new model: int8 for CPUs, float16 for GPUs."),
    ] = "int8"
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            show_default="that of MODEL with the precision appended",
            help="Name of the new model, for the model card.",
        ),
    ] = None
    force: Force = False

    @property
    def onnx_file(self) -> Path:
        """The file to write: ``output``, or the model's name with its precision."""
        return self.output or self.model.with_suffix(f".{self.precision}.onnx")
