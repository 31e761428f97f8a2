"""What a model is to become, and which images it is made and judged with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from boatinfer.dataset import batches
from boatinfer.dataset.class_folders import LabelledFiles
from boatinfer.errors import UsageError
from boatinfer.models.card import Card
from boatinfer.models.device import Device

__all__ = ["CALIBRATION_IMAGES", "Plan", "plan"]

#: Images that the ranges of int8 are calibrated on, and as many to choose the best ranges by.
#: Large ones have so many places each that fewer do: this many pixels in all, at least a third.
CALIBRATION_IMAGES = 96
_CALIBRATION_PIXELS = 2**22


@dataclass(frozen=True)
class Plan:
    """What a model is to become, and the images to make and judge it with.

    Attributes:
        precision: ``float16`` or ``int8``.
        calibrate: images for the ranges of int8.
        labelled: images that the model and what becomes of it are compared on.
        max_drop: points of accuracy that it may lose.
    """

    precision: Literal["float16", "int8"]
    calibrate: LabelledFiles
    labelled: LabelledFiles
    max_drop: float

    @property
    def device(self) -> Device:
        """8 bits are for CPUs, 16 for GPUs."""
        return Device.CPU if self.precision == "int8" else Device.AUTO


def plan(
    precision: Literal["float16", "int8"],
    calibrate: Path | None,
    labelled_folder: Path | None,
    max_drop: float,
    card: Card,
) -> Plan:
    """Looks at everything that a conversion needs, before any long work.

    Without a labelled folder those images of the other are taken that do not calibrate.

    Args:
        precision: what the model is to become.
        calibrate: folder of training images, in class folders.
        labelled_folder: folder of class folders that the models are compared on.
        max_drop: points of accuracy that may be lost.
        card: of the model.

    Raises:
        UsageError: a folder or an option cannot be used.
    """
    if card.precision != "float32":
        raise UsageError(
            f"the model is {card.precision} already; convert the float32 one it was made from."
        )
    if card.svm is not None:
        raise UsageError(
            "the model has an SVM inside, which was fitted on its float32 features; quantise the "
            "model without it first, then fit an SVM on the features of what you get, and put that "
            "one inside with 'boatinfer svm export'."
        )
    if not 0 <= max_drop <= 100:
        raise UsageError(f"--max-drop {max_drop:g} is not a number of points from 0 to 100.")
    if calibrate is None and (precision == "int8" or labelled_folder is None):
        wanted = "--calibrate" if precision == "int8" else "--labelled"
        raise UsageError(
            f"{precision} needs {wanted} and a folder of images in folders of their classes."
        )
    given = (
        None
        if labelled_folder is None
        else batches.list_class_files(labelled_folder, card.classes, "--labelled")
    )
    if calibrate is None:
        assert given is not None
        return Plan(precision, given, given, max_drop)
    whole = batches.list_class_files(calibrate, card.classes, "--calibrate")
    most = _CALIBRATION_PIXELS // (card.image.height * card.image.width)
    count = max(CALIBRATION_IMAGES // 3, min(CALIBRATION_IMAGES, most))
    chosen = batches.sample_evenly(whole, 2 * count)
    if given is None:
        taken = set(chosen.paths)
        rest = whole.select([path not in taken for path in whole.paths])
        given = rest if len(rest.paths) >= len(chosen.paths) else whole
    return Plan(precision, chosen, given, max_drop)
