"""Files of the makers beside a model, and files of class names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from boatexport.foreign.makers.configs import class_names, config_recipe, processor_recipe
from boatexport.foreign.makers.metadata import openvino_recipe
from boatexport.foreign.makers.recipe import Recipe, Size
from boatexport.foreign.makers.torchvision import torchvision_recipe
from boatinfer.errors import UsageError

__all__ = ["named_recipes", "read_class_file", "recipes_beside"]

_CONFIG, _PROCESSOR, _LABELS = "config.json", "preprocessor_config.json", "labels.txt"
_MAX_BYTES = 64 * 2**20
_NUMBERED = re.compile(r"(\d+) (\S.*)")


def recipes_beside(model: Path, size: Size | None) -> list[Recipe]:
    """Reads the files that the makers put beside a model.

    Args:
        model: the model file.
        size: height and width of its input, None if they are free.

    Raises:
        UsageError: a file cannot be used.
    """
    names = (_PROCESSOR, _CONFIG, _LABELS, f"{model.stem}.xml")
    paths = [model.parent / name for name in names]
    return [recipe for path in paths if path.is_file() for recipe in _read(path, size)]


def named_recipes(config: str, size: Size | None) -> list[Recipe]:
    """Reads what ``--config`` names: a file, a folder, or weights of torchvision.

    Raises:
        UsageError: there is no such file or name, or it cannot be used.
    """
    if (recipe := torchvision_recipe(config)) is not None:
        return [recipe]
    path = Path(config)
    if path.is_dir():
        found = recipes_beside(path / "model.onnx", size)
    else:
        found = _read(path, size) if path.is_file() else []
    if not found:
        raise UsageError(
            f"--config {config}: give a folder with {_CONFIG}, {_PROCESSOR} or {_LABELS}, such a "
            "file, or weights of torchvision for ImageNet such as ResNet50_Weights.IMAGENET1K_V2."
        )
    return found


def _read(path: Path, size: Size | None) -> list[Recipe]:
    try:
        if path.suffix == ".xml":
            recipe = openvino_recipe(path)
            return [] if recipe is None else [recipe]
        if path.suffix != ".json":
            return [Recipe(path.name, classes=read_class_file(path, str(path)))]
        document = json.loads(_text(path))
        if not isinstance(document, dict):
            return [Recipe(path.name, classes=class_names(document))]
        if "image_mean" in document or path.name == _PROCESSOR:
            return [processor_recipe(document, path.name)]
        return [config_recipe(document, path.name, size)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path} cannot be used ({type(error).__name__}: {error}); correct it, or move it "
            "away and give options instead."
        ) from error


def read_class_file(path: Path, option: str) -> list[str]:
    """Reads class names: one per line, numbered as by Teachable Machine or not, or JSON.

    Args:
        path: the file.
        option: how it was given, for error messages.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        text = _text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(
            f"{option}: the file cannot be read: {reason}; give a file with one name per line or "
            "a JSON list, or names separated by commas."
        ) from error
    if (names := _json_names(text, option)) is not None:
        return names
    lines = [line.strip() for line in text.rstrip().splitlines()]
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if all(match and int(match[1]) == i for i, match in enumerate(numbered)):
        return [match[2] for match in numbered if match]
    return lines


def _json_names(text: str, option: str) -> list[str] | None:
    """Class names of JSON; None if it is not JSON."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        document: Any = json.loads(text)
    except ValueError:
        return None
    try:
        return class_names(document) or []
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{option}: its JSON is not a list of names, nor names by index; correct it."
        ) from error


def _text(path: Path) -> str:
    if path.stat().st_size > _MAX_BYTES:
        raise OSError(0, "it is larger than 64 MiB")
    return path.read_text(encoding="utf-8-sig")
