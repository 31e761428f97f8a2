"""What one source says about a model, as far as it does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "IMAGENET",
    "UNIT",
    "Geometry",
    "Normalisation",
    "Recipe",
    "Size",
    "Triple",
    "shorter_side_geometry",
    "timm_geometry",
    "triple",
]

Size = tuple[int, int]
Triple = tuple[float, float, float]
#: Scale, mean and standard deviation.
Normalisation = tuple[float, Triple, Triple]
#: From the size of the network's input to fields of `boatinfer.images.spec.ImageSpec`.
Geometry = Callable[[Size], dict[str, Any]]

#: ImageNet's normalisation of pixels from 0 to 1, and none.
IMAGENET: Normalisation = (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
UNIT: Normalisation = (1 / 255, (0.0,) * 3, (1.0,) * 3)

_FILTERS = ("bilinear", "bicubic", "lanczos", "nearest")


@dataclass(frozen=True)
class Recipe:
    """Preprocessing and classes by one source; None where it says nothing.

    Attributes:
        source: the source, as displayed.
        size: height and width.
        geometry: how images are resized.
        normalisation: scale, mean and standard deviation.
        order: ``RGB`` or ``BGR``.
        classes: class names in output order.
        multi_label: whether an image may have several labels.
        threshold: of the labels, if it is.
    """

    source: str
    size: Size | None = None
    geometry: Geometry | None = None
    normalisation: Normalisation | None = None
    order: str | None = None
    classes: list[str] | None = None
    multi_label: bool | None = None
    threshold: float | None = None


def triple(values: Any) -> Triple:
    """Makes three numbers of one or three.

    Raises:
        ValueError: they are neither one nor three.
    """
    numbers = [float(value) for value in (values if isinstance(values, list | tuple) else [values])]
    if len(numbers) not in {1, 3} or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{values} is not one number, or three")
    first, second, third = (numbers * 3)[:3]
    return first, second, third


def shorter_side_geometry(ratio: float, resize: str = "bilinear") -> Geometry:
    """The shorter side is resized to the size of the input times a ratio; the centre is cut out."""
    return lambda size: {
        "fit": "crop",
        "resize": resize,
        **_cover((round(size[0] * ratio), round(size[1] * ratio))),
    }


def timm_geometry(crop_pct: float, crop_mode: str, resize: str, mean: Triple) -> Geometry:
    """The evaluation transform of timm (``timm.data.transforms_factory``).

    Args:
        crop_pct: share of the resized image that is cut out.
        crop_mode: ``center``, ``squash`` or ``border``.
        resize: interpolation.
        mean: of pixels from 0 to 1, which is the colour of the borders.
    """
    resize = resize if resize in _FILTERS else "bilinear"

    def geometry(size: Size) -> dict[str, Any]:
        target = (math.floor(size[0] / crop_pct), math.floor(size[1] / crop_pct))
        if crop_mode == "squash":
            return {"fit": "stretch", "resize": resize, "resize_to": target}
        if crop_mode == "border":
            colour = tuple(round(255 * value) for value in mean)
            return {"fit": "pad", "resize": resize, "resize_to": target, "pad_colour": colour}
        return {"fit": "crop", "resize": resize, **_cover(target)}

    return geometry


def _cover(target: Size) -> dict[str, Any]:
    return {"shorter_side": target[0]} if target[0] == target[1] else {"resize_to": target}
