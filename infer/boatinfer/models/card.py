"""The model card: the metadata of a model file.

An ONNX file carries two JSON documents in its ``metadata_props``:

* ``boatinfer.card`` (`Card`): classes, preprocessing, tensor names, origin;
* ``boatinfer.golden`` (`Golden`): a few encoded images with the trained model's probabilities,
  which are compared before every run.

Beside a Keras model the same documents are the files ``NAME.card.json`` and
``NAME.golden.json``. Both are strict: unknown keys and newer formats are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, field

from boatinfer.errors import ModelError
from boatinfer.images.spec import FORMAT_1_FIELDS, ImageSpec, Positive, Strict
from boatinfer.models.figures import Conversion, Decoding, Figures, Fraction, Novelty, Rejection
from boatinfer.models.kernel import Kernel
from boatinfer.storage.documents import DocumentError, decode_document

__all__ = [
    "CARD_KEY",
    "FORMAT",
    "GOLDEN_KEY",
    "LATEST_FORMAT",
    "NOVELTY_TOLERANCE",
    "TOLERANCE",
    "Card",
    "Conversion",
    "Decoding",
    "Features",
    "Figures",
    "FusedSVM",
    "Golden",
    "GoldenImage",
    "InputSpec",
    "Novelty",
    "Outputs",
    "Rejection",
    "Training",
    "decode_card",
    "decode_golden",
    "encode",
    "from_metadata",
]

#: The format of documents without anything that only newer versions know, and of all others.
FORMAT, LATEST_FORMAT = 1, 2
CARD_KEY = "boatinfer.card"
GOLDEN_KEY = "boatinfer.golden"

#: Largest allowed difference of a golden image's probabilities. Wrong pixels or weights change
#: them by far more; another CPU or GPU by far less.
TOLERANCE = {"float32": 1e-3, "float16": 1e-2, "int8": 5e-2}

#: Largest allowed difference of a golden image's novelty.
NOVELTY_TOLERANCE = 0.05

Triple = tuple[float, float, float]
#: A SHA-256 in hexadecimal digits.
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
ClassNames = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)]


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
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        """Refuses a normalisation that would be ignored or divide by zero."""
        is_neutral = (self.scale, self.mean, self.std) == (1.0, (0.0,) * 3, (1.0,) * 3)
        if self.dtype == "uint8" and not is_neutral:
            raise ValueError("a uint8 input takes pixels as they are: no scale, mean or std")
        if 0.0 in self.std:
            raise ValueError("std must not be zero")

    @property
    def normalisation(self) -> str:
        """The normalisation of a pixel as a formula, for display."""
        if self.dtype == "uint8":
            return "as they are"
        scaled = "pixel / 255" if self.scale == 1 / 255 else f"pixel * {self.scale:g}"
        mean, std = (" ".join(f"{value:g}" for value in v) for v in (self.mean, self.std))
        return f"({scaled} - ({mean})) / ({std})"


class Outputs(Strict, frozen=True):
    """Names of the output tensors.

    ``probabilities`` or ``logits`` [N, C], ``features`` [N, D], ``svm`` [N, K], the scores
    of an SVM that is part of the graph, ``class_activation`` [N, h, w], where in the image
    the predicted class was seen, and ``novelty`` [N, 1], how unlike the training images it is.
    """

    probabilities: str | None = None
    logits: str | None = None
    features: str | None = None
    svm: str | None = None
    class_activation: str | None = None
    novelty: str | None = None

    def __post_init__(self) -> None:
        """Refuses a card that does not specify exactly one source of probabilities."""
        if (self.probabilities is None) == (self.logits is None):
            raise ValueError("exactly one of outputs.probabilities and outputs.logits is needed")


class Features(Strict, frozen=True):
    """The feature vector: its length D and the layer that it comes from."""

    dimension: Positive
    layer: str


class FusedSVM(Strict, frozen=True):
    """The SVM inside the graph: an image's label is the class of its highest score.

    Attributes:
        classes: class names, in the order of the scores; they may differ from the network's.
        kernel: ``rbf`` or ``linear``.
        model: SHA-256 of the model file without the SVM, on whose features it was fitted, hex.
    """

    classes: ClassNames
    kernel: Kernel
    model: str

    def __post_init__(self) -> None:
        """Refuses duplicate class names."""
        _refuse_duplicates(self.classes)


class Training(Strict, frozen=True):
    """Origin of the weights.

    Attributes:
        data: fingerprint of the training data, xxh3-128 over paths and contents, hex.
        counts: images per split.
        metrics: figures on the valid split, fractions of 1.
        versions: library names to versions.
        labels: training images per class, with which the classes of a run are compared; empty if
            unknown.
        temperature: what the logits were divided by, so that confidence is the share that is right
            on valid; None if unknown. The weights have it already.
    """

    data: str
    counts: dict[str, int]
    metrics: dict[str, float]
    versions: dict[str, str]
    labels: dict[str, int] = field(default_factory=dict)
    temperature: float | None = None


#: The fields of `Card` that came with format 2.
_LATER_FIELDS = ("thresholds", "decoding")


class Card(Strict, frozen=True, kw_only=True):
    """One model's card; the fields are described in docs/model-card.md.

    ``network`` is the SHA-256 of the model file to which outputs were added, that change none of
    the others: what either file says of an image is the same. None if there is none.
    ``thresholds`` and ``decoding`` came with format 2. Thresholds [C] are those of a multi-label
    model, whose probabilities are independent: an image has all labels that reach theirs.
    """

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
    novelty: Novelty | None = None
    training: Training | None = None
    precision: Literal["float32", "float16", "int8"] = "float32"
    conversion: Conversion | None = None
    network: Digest | None = None
    thresholds: list[Fraction] | None = None
    decoding: Decoding | None = None

    def __post_init__(self) -> None:
        """Refuses duplicate class names and incomplete descriptions of outputs."""
        _refuse_duplicates(self.classes)
        if len(self.classes) < 2 and self.format == FORMAT:
            raise ValueError("classes must be two or more")
        if (self.features is None) != (self.outputs.features is None):
            raise ValueError("features and outputs.features go together")
        if (self.svm is None) != (self.outputs.svm is None):
            raise ValueError("svm and outputs.svm go together")
        if (self.novelty is None) != (self.outputs.novelty is None):
            raise ValueError("novelty and outputs.novelty go together")
        if self.thresholds is not None and len(self.thresholds) != len(self.classes):
            raise ValueError("thresholds must be as many as classes")
        later = [*self.image.later_fields, *(n for n in _LATER_FIELDS if getattr(self, n))]
        if self.format == FORMAT and later:
            raise ValueError(f"{', '.join(later)}: only in cards of format {LATEST_FORMAT}")


def _refuse_duplicates(classes: list[str]) -> None:
    if len(set(classes)) != len(classes):
        raise ValueError("two classes have the same name")


class GoldenImage(Strict, frozen=True):
    """One encoded image (any format the reader knows), and what the model gives for it.

    Attributes:
        image: content of the file.
        probabilities: [C].
        svm: SVM scores [K]; None without an SVM.
        novelty: its novelty; None without such an output.
    """

    image: bytes
    probabilities: list[float]
    svm: list[float] | None = None
    novelty: float | None = None


class Golden(Strict, frozen=True, kw_only=True):
    """The model's self-test: at least one image with its expected probabilities."""

    format: int = FORMAT
    images: Annotated[list[GoldenImage], Meta(min_length=1)]


class _Format(msgspec.Struct):
    """The key that is read before all others."""

    format: int


Document = TypeVar("Document", Card, Golden)


def encode(document: Card | Golden) -> str:
    """Encodes a document as JSON; bytes become base64."""
    if isinstance(document, Card) and document.format == FORMAT:
        return msgspec.json.encode(_without_later_fields(document)).decode()
    return msgspec.json.encode(document).decode()


def _without_later_fields(card: Card) -> dict[str, Any]:
    """The content of a card of format 1, as versions write it that know no other."""
    document: dict[str, Any] = msgspec.to_builtins(card)
    document["image"] = {name: document["image"][name] for name in FORMAT_1_FIELDS}
    return {name: value for name, value in document.items() if name not in _LATER_FIELDS}


def decode_card(text: str | bytes, file_name: str) -> Card:
    """Reads a card.

    Args:
        text: the JSON document.
        file_name: names the file in error messages.

    Raises:
        ModelError: the document is damaged, of a newer format, or has unknown keys.
    """
    return _decode(text, Card, "card", file_name)


def decode_golden(text: str | bytes, file_name: str) -> Golden:
    """Reads golden images; otherwise as `decode_card`."""
    return _decode(text, Golden, "golden images", file_name)


def from_metadata(metadata: Mapping[str, str], file_name: str) -> tuple[Card, Golden]:
    """Reads card and golden images from an ONNX file's ``metadata_props``.

    Raises:
        ModelError: one is missing, damaged, or they contradict each other.
    """
    if CARD_KEY not in metadata:
        raise ModelError(
            f"{file_name} has no model card, so its classes and preprocessing are unknown; "
            "give it one with 'boatinfer model describe', or use a file made by 'boatinfer export'."
        )
    if GOLDEN_KEY not in metadata:
        raise ModelError(f"{file_name} has lost its golden images; export the model again.")
    card = decode_card(metadata[CARD_KEY], file_name)
    golden = decode_golden(metadata[GOLDEN_KEY], file_name)
    widths = (len(card.classes), _svm_width(card), card.novelty is not None)
    if any(_vector_lengths(image) != widths for image in golden.images):
        raise ModelError(
            f"{file_name}: its golden images do not fit its {len(card.classes)} classes; "
            "export the model again."
        )
    return card, golden


def _vector_lengths(image: GoldenImage) -> tuple[int, int, bool]:
    return len(image.probabilities), len(image.svm or []), image.novelty is not None


def _svm_width(card: Card) -> int:
    return 0 if card.svm is None else len(card.svm.classes)


def _decode(text: str | bytes, kind: type[Document], description: str, file_name: str) -> Document:
    try:
        format_number = decode_document(text, _Format).format
        if not FORMAT <= format_number <= LATEST_FORMAT:
            raise ModelError(
                f"{file_name}: its {description} has format {format_number}, and this boatinfer "
                f"reads formats {FORMAT} and {LATEST_FORMAT}; use the version that wrote it, or a "
                "newer one."
            )
        return decode_document(text, kind)
    except DocumentError as error:
        raise ModelError(
            f"{file_name}: its {description} cannot be used ({error}); export the model again."
        ) from error
