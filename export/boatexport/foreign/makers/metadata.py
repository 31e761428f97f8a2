"""What a model file says itself: Ultralytics, OpenVINO's ``model_info``, PaddleX."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from boatexport.foreign.makers.configs import class_names
from boatexport.foreign.makers.likes import ultralytics_geometry
from boatexport.foreign.makers.recipe import UNIT, Geometry, Recipe, Size, triple

__all__ = ["metadata_recipes", "openvino_recipe"]

_MODEL_INFO = "model_info "
#: ``resize_type`` of OpenVINO's Model API.
_FITS = {
    "standard": {"fit": "stretch"},
    "fit_to_window": {"fit": "pad", "pad_side": "end"},
    "fit_to_window_letterbox": {"fit": "pad"},
    "crop": {"fit": "crop"},
}


def metadata_recipes(metadata: dict[str, str]) -> list[Recipe]:
    """Reads the metadata of an ONNX file; damaged values count as none."""
    info = {
        key.removeprefix(_MODEL_INFO): value
        for key, value in metadata.items()
        if key.startswith(_MODEL_INFO)
    }
    recipes = [openvino_info(info, "the file (model_info)")] if info else []
    names = _names(metadata)
    if names and "ultralytics" in " ".join(metadata.values()).lower():
        size = _imgsz(metadata)
        recipes.append(Recipe("the file", size, ultralytics_geometry, UNIT, "RGB", names))
    elif names:
        recipes.append(Recipe("the file", size=_imgsz(metadata), classes=names))
    if character := metadata.get("character", "").strip("\n"):  # PaddleX and RapidOCR
        recipes.append(Recipe("the file", classes=character.split("\n")))
    return recipes


def _names(metadata: dict[str, str]) -> list[str] | None:
    try:
        return class_names(_literal(metadata, "names") or [])
    except (ValueError, TypeError):
        return None


def _imgsz(metadata: dict[str, str]) -> Size | None:
    size = _literal(metadata, "imgsz")
    size = [size, size] if isinstance(size, int) else size
    if isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(n, int) for n in size):
        return size[0], size[1]
    return None


def _literal(metadata: dict[str, str], key: str) -> Any:
    """Parses a Python literal; None if it is not one."""
    try:
        return ast.literal_eval(metadata.get(key, "None"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def openvino_recipe(path: Path) -> Recipe | None:
    """Reads ``model_info`` of an OpenVINO model, ``.xml``; None without it.

    Raises:
        ValueError: it is no such file.
    """
    text = path.read_bytes()
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:  # entities could fill the memory
        raise ValueError("it has a document type, which OpenVINO does not write")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError("it is not XML") from error
    info = root.find("rt_info/model_info")
    if info is None:
        return None
    return openvino_info({item.tag: item.get("value", "") for item in info}, path.name)


def openvino_info(info: dict[str, str], source: str) -> Recipe:
    """Reads the values of ``model_info``."""
    mean, std = _numbers(info.get("mean_values", "")), _numbers(info.get("scale_values", ""))
    labels = info.get("labels", "").split()
    fit = _FITS.get(info.get("resize_type", ""))
    colour = _numbers(info.get("pad_value", "")) or [0]
    multi_label = info.get("multilabel", "").lower() == "true" or None
    geometry: Geometry | None = None
    if fit is not None:
        pad = (int(colour[0]),) * 3
        bars = {"pad_colour": pad} if fit["fit"] == "pad" else {}
        # OpenVINO's Model API resizes with OpenCV's INTER_LINEAR.
        geometry = lambda _: {**fit, "resize": "bilinear", "antialias": False, **bars}  # noqa: E731
    threshold = _numbers(info.get("confidence_threshold", ""))
    return Recipe(
        source,
        geometry=geometry,
        normalisation=(1.0, triple(mean or 0), triple(std or 1)) if mean or std else None,
        order="BGR" if info.get("reverse_input_channels", "").lower() == "false" else "RGB",
        classes=[label.replace("_", " ") for label in labels] or None,
        multi_label=multi_label,
        threshold=threshold[0] if multi_label and threshold else None,
    )


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"[-+0-9.eE]+", text)]
