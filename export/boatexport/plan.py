"""Plans a conversion to a lower precision, and chooses its images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from boatinfer.dataset import batches
from boatinfer.dataset.class_folders import LabelledFiles
from boatinfer.errors import UsageError
from boatinfer.models.card import Card
from boatinfer.models.device import Device

__all__ = ["CALIBRATION_IMAGES", "ConversionPlan", "make_plan"]

#: Number of calibration images for int8; as many again choose the calibration method. Of large
#: images fewer are enough: this many pixels in all, but at least a third of the images.
CALIBRATION_IMAGES = 96
_CALIBRATION_PIXELS = 2**22


@dataclass(frozen=True)
class ConversionPlan:
    """A conversion to a lower precision.

    Attributes:
        precision: ``float16`` or ``int8``.
        calibrate: calibration images for int8.
        labelled: labelled images to compare both models on.
        max_drop: largest accuracy drop allowed, in percentage points.
    """

    precision: Literal["float16", "int8"]
    calibrate: LabelledFiles
    labelled: LabelledFiles
    max_drop: float

    @property
    def device(self) -> Device:
        """The device to compare both models on."""
        return Device.CPU if self.precision == "int8" else Device.AUTO


def make_plan(
    precision: Literal["float16", "int8"],
    calibrate: Path | None,
    labelled_folder: Path | None,
    max_drop: float,
    card: Card,
) -> ConversionPlan:
    """Checks everything that a conversion needs, before any long work.

    Without a labelled folder, the models are compared on the images of the calibration folder
    that are not used for calibration.

    Args:
        precision: precision of the new model.
        calibrate: folder of calibration images, in class folders.
        labelled_folder: folder of labelled images, in class folders.
        max_drop: largest accuracy drop allowed, in percentage points.
        card: card of the model.

    Raises:
        UsageError: a folder or an option cannot be used.
    """
    if card.precision != "float32":
        raise UsageError(f"the model is {card.precision} already; convert its float32 original.")
    if card.svm is not None:
        raise UsageError(
            "the model includes an SVM fitted on its float32 features; quantise the model without "
            "it, then fit an SVM on the features of the quantised model and embed it with "
            "'boatinfer svm export'."
        )
    if not 0 <= max_drop <= 100:
        raise UsageError(f"--max-drop {max_drop:g} is not a number of points from 0 to 100.")
    if calibrate is None and (precision == "int8" or labelled_folder is None):
        missing = "--calibrate" if precision == "int8" else "--labelled"
        raise UsageError(f"{precision} needs {missing} with a folder of images in class folders.")
    labelled = (
        None
        if labelled_folder is None
        else batches.list_class_files(labelled_folder, card.classes, "--labelled")
    )
    if calibrate is None:
        assert labelled is not None
        return ConversionPlan(precision, labelled, labelled, max_drop)
    all_images = batches.list_class_files(calibrate, card.classes, "--calibrate")
    affordable = _CALIBRATION_PIXELS // (card.image.height * card.image.width)
    count = max(CALIBRATION_IMAGES // 3, min(CALIBRATION_IMAGES, affordable))
    calibration = batches.sample_evenly(all_images, 2 * count)
    if labelled is None:
        used = set(calibration.paths)
        others = all_images.select([path not in used for path in all_images.paths])
        labelled = others if len(others.paths) >= len(calibration.paths) else all_images
    return ConversionPlan(precision, calibration, labelled, max_drop)
