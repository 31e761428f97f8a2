"""What was measured of a model, as its card has it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from boatinfer.images.spec import Positive, Strict

__all__ = ["Conversion", "Decoding", "Figures", "Fraction", "Novelty", "Rejection"]

Fraction = Annotated[float, Meta(ge=0, le=1)]


class Rejection(Strict, frozen=True):
    """How well foreign pictures are told from valid images.

    Attributes:
        auroc: probability that a foreign picture is more novel than a valid image.
        let_through: share of the foreign pictures that are less novel than the most novel 5 % of
            the valid images.
    """

    auroc: float
    let_through: float


class Novelty(Strict, frozen=True):
    """How novelty is computed, and how well that was measured to work.

    The novelty of an image is the share of the valid images that are less novel.

    Attributes:
        method: the method, one of those of ``figures``.
        images: number of images, ``train`` and ``valid``.
        figures: for each method that was tried, and each kind of foreign pictures.
        max_novelty: images above it are called unknown, unless another limit is given.
    """

    method: str
    images: dict[str, int]
    figures: dict[str, dict[str, Rejection]]
    max_novelty: Fraction = 0.99


class Figures(Strict, frozen=True):
    """Accuracy, speed and size of a model file.

    Attributes:
        accuracy: share of the labelled images whose likeliest class is the true one.
        macro_f1: mean F1 over the classes, each counting the same.
        calibration_error: difference between confidence and accuracy, see
            `boatinfer.analysis.metrics.calibration_error`.
        images_per_second: speed of the network alone, on one thread or one GPU.
        bytes: size of the file.
    """

    accuracy: float
    macro_f1: float
    calibration_error: float
    images_per_second: float
    bytes: int


class Conversion(Strict, frozen=True):
    """Comparison of a file of lower precision with its original.

    Attributes:
        source: SHA-256 of the original file, hex.
        images: number of labelled images that both classified.
        device: where both were run, on the same machine.
        original: figures of the original file.
        converted: figures of this file.
        agreement: share of the images that both give the same label.
        golden_difference: largest difference of a golden image's probability from the original.
            The self-test adds it to its tolerance.
        calibration: how the int8 ranges were chosen.
        kept: layers of an int8 model that stay in float32.
        novelty_difference: largest difference of a golden image's novelty from the original.
    """

    source: str
    images: int
    device: Literal["cpu", "cuda"]
    original: Figures
    converted: Figures
    agreement: float
    golden_difference: Fraction
    calibration: str = ""
    kept: list[str] = field(default_factory=list)
    novelty_difference: Fraction = 0.0


class Decoding(Strict, frozen=True):
    """How much JPEGs decoded at reduced size change, measured against whole ones.

    Attributes:
        images: number of images.
        agreement: for ``double`` and ``scaled`` (see `ImageSpec.decode`), the share of the images
            that get the same label.
        difference: likewise, the largest difference of a probability.
    """

    images: Positive
    agreement: dict[str, Fraction]
    difference: dict[str, Fraction]
