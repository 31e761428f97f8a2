"""The usual preprocessing of tools that write nothing down, for ``--like``."""

from __future__ import annotations

from typing import Any, Literal, get_args

from boatexport.foreign.makers.recipe import (
    IMAGENET,
    UNIT,
    Geometry,
    Recipe,
    Size,
    shorter_side_geometry,
    timm_geometry,
)

__all__ = ["LIKE", "Like", "like_recipe", "ultralytics_geometry"]

Like = Literal[
    "timm",
    "torchvision",
    "huggingface",
    "ultralytics",
    "keras-tf",
    "keras-torch",
    "keras-caffe",
]
LIKE = get_args(Like)


def ultralytics_geometry(size: Size) -> dict[str, Any]:
    """``classify_transforms`` of Ultralytics: it stretches to sizes that are not square."""
    if size[0] != size[1]:
        return {"fit": "stretch", "resize": "bilinear"}
    return {"fit": "crop", "resize": "bilinear", "shorter_side": size[0]}


def _stretched(resize: str) -> Geometry:
    return lambda _: {"fit": "stretch", "resize": resize}


#: ``keras.utils.load_img`` takes the nearest pixels; ``preprocess_input`` of keras.applications
#: has three modes.
_KERAS = _stretched("nearest")


def like_recipe(like: Like) -> Recipe:
    """Returns the usual preprocessing of a tool."""
    half = (1 / 255, (0.5,) * 3, (0.5,) * 3)
    geometry, normalisation, order = {
        "timm": (timm_geometry(0.875, "center", "bicubic", IMAGENET[1]), IMAGENET, "RGB"),
        "torchvision": (shorter_side_geometry(256 / 224), IMAGENET, "RGB"),
        "huggingface": (_stretched("bilinear"), half, "RGB"),
        "ultralytics": (ultralytics_geometry, UNIT, "RGB"),
        "keras-tf": (_KERAS, (1.0, (127.5,) * 3, (127.5,) * 3), "RGB"),
        "keras-torch": (_KERAS, IMAGENET, "RGB"),
        "keras-caffe": (_KERAS, (1.0, (103.939, 116.779, 123.68), (1.0,) * 3), "BGR"),
    }[like]
    return Recipe(f"--like {like}", None, geometry, normalisation, order)
