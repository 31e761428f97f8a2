"""The model card: what a model file says about itself.

An ONNX file carries two JSON documents in its ``metadata_props``:

* ``boatinfer.card`` (`Card`): classes, preprocessing, tensor names, origin;
* ``boatinfer.golden`` (`Golden`): a few encoded images with the probabilities that the
  trained model gave them, replayed before every run.

Beside a Keras model the same documents are the files ``NAME.card.json`` and
``NAME.golden.json``. Both are strict: unknown keys and newer formats are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, field

from boatinfer.errors import ModelError
from boatinfer.images.spec import ImageSpec, Positive, Strict
from boatinfer.models.kernel import Kernel
from boatinfer.storage.documents import DocumentError, decode_document

__all__ = [
    "CARD_KEY",
    "FORMAT",
    "GOLDEN_KEY",
    "TOLERANCE",
    "Card",
    "Conversion",
    "Features",
    "Figures",
    "FusedSVM",
    "Golden",
    "GoldenImage",
    "InputSpec",
    "Outputs",
    "Training",
    "decode_card",
    "decode_golden",
    "encode",
    "from_metadata",
]

FORMAT = 1
CARD_KEY = "boatinfer.card"
GOLDEN_KEY = "boatinfer.golden"

#: Largest difference of a golden image's probabilities that is still the same model.
#: Wrong pixels or weights move them by far more; another CPU or GPU by far less.
TOLERANCE = {"float32": 1e-3, "float16": 1e-2, "int8": 5e-2}

Three = tuple[float, float, float]
ClassNames = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=2)]


class InputSpec(Strict, frozen=True):
    """The network's input tensor.

    A ``uint8`` input takes the pixels as read. For a float input a pixel ``p`` is given as
    ``(p * scale - mean) / std``, channels in ``order``.
    """

    name: str
    dtype: Literal["uint8", "float32", "float16"] = "uint8"
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    order: Literal["RGB", "BGR"] = "RGB"
    scale: float = 1.0
    mean: Three = (0.0, 0.0, 0.0)
    std: Three = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        """Refuses a normalisation that would silently be ignored or divide by zero."""
        neutral = (self.scale, self.mean, self.std) == (1.0, (0.0,) * 3, (1.0,) * 3)
        if self.dtype == "uint8" and not neutral:
            raise ValueError("a uint8 input takes pixels as they are: no scale, mean or std")
        if 0.0 in self.std:
            raise ValueError("std must not be zero")

    @property
    def normalisation(self) -> str:
        """What becomes of a pixel, for people."""
        if self.dtype == "uint8":
            return "as they are"
        scaled = "pixel / 255" if self.scale == 1 / 255 else f"pixel * {self.scale:g}"
        mean, std = (" ".join(f"{value:g}" for value in v) for v in (self.mean, self.std))
        return f"({scaled} - ({mean})) / ({std})"


class Outputs(Strict, frozen=True):
    """Names of the output tensors.

    ``probabilities`` or ``logits`` [N, C], ``features`` [N, D], and ``svm`` [N, K], the scores
    of an SVM that is part of the graph.
    """

    probabilities: str | None = None
    logits: str | None = None
    features: str | None = None
    svm: str | None = None

    def __post_init__(self) -> None:
        """Refuses a card that leaves open where the probabilities come from."""
        if (self.probabilities is None) == (self.logits is None):
            raise ValueError("exactly one of outputs.probabilities and outputs.logits is needed")


class Features(Strict, frozen=True):
    """The feature vector: its length D and the layer that it comes from."""

    dimension: Positive
    layer: str


class FusedSVM(Strict, frozen=True):
    """The SVM inside the graph: an image's label is the class of its highest score.

    Attributes:
        classes: names, in the order of the scores; they may differ from the network's.
        kernel: ``rbf`` or ``linear``.
        model: SHA-256 of the file without the SVM, whose features it was fitted on, hex.
    """

    classes: ClassNames
    kernel: Kernel
    model: str

    def __post_init__(self) -> None:
        """Refuses class names that could not be told apart."""
        _refuse_twins(self.classes)


class Training(Strict, frozen=True):
    """Where the weights come from.

    Attributes:
        data: fingerprint of the training data, xxh3-128 over paths and contents, hex.
        counts: images per split.
        metrics: figures on the valid split, fractions of 1.
        versions: library names to versions.
        labels: training images per class, against which a night's classes are compared; empty
            where nobody counted them.
    """

    data: str
    counts: dict[str, int]
    metrics: dict[str, float]
    versions: dict[str, str]
    labels: dict[str, int] = field(default_factory=dict)


class Figures(Strict, frozen=True):
    """How good, fast and large a model file is.

    Attributes:
        accuracy: share of the labelled images whose likeliest class is the true one.
        macro_f1: mean F1 over the classes, each counting the same.
        calibration_error: how far confidence is from the share that is right, see
            `boatinfer.analysis.metrics.calibration_error`.
        images_per_second: of the network alone, on one thread or one GPU.
        bytes: size of the file.
    """

    accuracy: float
    macro_f1: float
    calibration_error: float
    images_per_second: float
    bytes: int


class Conversion(Strict, frozen=True):
    """How a file of lower precision compares with the one it was made from.

    Attributes:
        source: SHA-256 of the file it was made from, hex.
        images: how many labelled images both were run over.
        device: where both were run; their speed is that of one machine.
        original: figures of the file it was made from.
        converted: figures of this file.
        agreement: share of the images that both give the same label.
        golden_difference: largest difference of a golden image's probability, which is what
            the original gave. The self-test allows for it.
        calibration: how the ranges of int8 were chosen.
        kept: layers of an int8 model that stay in float32.
    """

    source: str
    images: int
    device: Literal["cpu", "cuda"]
    original: Figures
    converted: Figures
    agreement: float
    golden_difference: Annotated[float, Meta(ge=0, le=1)]
    calibration: str = ""
    kept: list[str] = field(default_factory=list)


class Card(Strict, frozen=True, kw_only=True):
    """One model's card; the fields are described in docs/model-card.md."""

    format: int = FORMAT
    name: str
    created: str
    licence: str = ""
    notes: str = ""
    classes: ClassNames
    image: ImageSpec
    input: InputSpec
    outputs: Outputs
    features: Features | None = None
    svm: FusedSVM | None = None
    training: Training | None = None
    precision: Literal["float32", "float16", "int8"] = "float32"
    conversion: Conversion | None = None

    def __post_init__(self) -> None:
        """Refuses class names that could not be told apart and half-described outputs."""
        _refuse_twins(self.classes)
        if (self.features is None) != (self.outputs.features is None):
            raise ValueError("features and outputs.features go together")
        if (self.svm is None) != (self.outputs.svm is None):
            raise ValueError("svm and outputs.svm go together")


def _refuse_twins(classes: list[str]) -> None:
    if len(set(classes)) != len(classes):
        raise ValueError("two classes have the same name")


class GoldenImage(Strict, frozen=True):
    """One encoded image (any format the reader knows), its probabilities [C], SVM scores [K]."""

    image: bytes
    probabilities: list[float]
    svm: list[float] | None = None


class Golden(Strict, frozen=True, kw_only=True):
    """The model's own test: at least one image with its expected probabilities."""

    format: int = FORMAT
    images: Annotated[list[GoldenImage], Meta(min_length=1)]


class _Format(msgspec.Struct):
    """The one key that is read before anything else."""

    format: int


Document = TypeVar("Document", Card, Golden)


def encode(document: Card | Golden) -> str:
    """Returns the document as JSON; bytes within it are base64."""
    return msgspec.json.encode(document).decode()


def decode_card(text: str | bytes, where: str) -> Card:
    """Reads a card.

    Args:
        text: the JSON document.
        where: names the file in error messages.

    Raises:
        ModelError: the document is damaged, of a newer format, or has unknown keys.
    """
    return _decode(text, Card, "card", where)


def decode_golden(text: str | bytes, where: str) -> Golden:
    """Reads golden images; as `decode_card`."""
    return _decode(text, Golden, "golden images", where)


def from_metadata(metadata: Mapping[str, str], where: str) -> tuple[Card, Golden]:
    """Reads card and golden images from an ONNX file's ``metadata_props``.

    Raises:
        ModelError: one is missing, damaged, or they contradict each other.
    """
    if CARD_KEY not in metadata:
        raise ModelError(
            f"{where} has no model card, so nobody can know its classes and preprocessing; "
            "give it one with 'boatinfer model describe', or use a file made by 'boatinfer export'."
        )
    if GOLDEN_KEY not in metadata:
        raise ModelError(f"{where} has lost its golden images; export the model again.")
    card = decode_card(metadata[CARD_KEY], where)
    golden = decode_golden(metadata[GOLDEN_KEY], where)
    if any(_widths(image) != (len(card.classes), _svm_width(card)) for image in golden.images):
        raise ModelError(
            f"{where}: its golden images do not fit its {len(card.classes)} classes; "
            "export the model again."
        )
    return card, golden


def _widths(image: GoldenImage) -> tuple[int, int]:
    return len(image.probabilities), len(image.svm or [])


def _svm_width(card: Card) -> int:
    return 0 if card.svm is None else len(card.svm.classes)


def _decode(text: str | bytes, kind: type[Document], what: str, where: str) -> Document:
    try:
        found = decode_document(text, _Format).format
        if found != FORMAT:
            raise ModelError(
                f"{where}: its {what} has format {found}, and this boatinfer reads format "
                f"{FORMAT}; use the boatinfer version that wrote it, or a newer one."
            )
        return decode_document(text, kind)
    except DocumentError as error:
        raise ModelError(
            f"{where}: its {what} cannot be used ({error}); export the model again."
        ) from error
