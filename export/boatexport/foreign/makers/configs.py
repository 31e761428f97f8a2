"""The ``config.json`` of timm, and those of Hugging Face's transformers."""

from __future__ import annotations

from typing import Any

from boatexport.foreign.makers.recipe import (
    Geometry,
    Normalisation,
    Recipe,
    Size,
    timm_geometry,
    triple,
)

__all__ = ["class_names", "config_recipe", "processor_recipe"]

#: ``PIL.Image.Resampling``.
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "area"}

#: Parts of the names of the processors that take a bare number as the shorter side.
_SHORTER_SIDE = ("CLIP", "ConvNext", "Bit", "MobileNet", "MobileViT", "Levit")

Document = dict[str, Any]


def config_recipe(document: Document, source: str, size: Size | None) -> Recipe:
    """Reads a ``config.json``: classes, and of timm the preprocessing.

    Args:
        document: its content.
        source: its name, for display.
        size: height and width of the graph's input, None if they are free.

    Raises:
        KeyError, TypeError, ValueError: it has other values than the tool writes.
    """
    classes = class_names(document.get("id2label") or document.get("label_names") or [])
    multi_label = document.get("problem_type") == "multi_label_classification" or None
    cfg = document.get("pretrained_cfg") or (document if "crop_pct" in document else None)
    if not isinstance(cfg, dict):
        return Recipe(source, classes=classes, multi_label=multi_label)
    classes = classes or class_names(cfg.get("label_names") or [])
    declared = _last_two(cfg["input_size"])
    tested = _last_two(cfg.get("test_input_size") or cfg["input_size"])
    crop_pct = cfg.get("crop_pct") or 0.875
    if size is not None and size == tested != declared:  # exported at the larger test size
        declared, crop_pct = tested, cfg.get("test_crop_pct") or crop_pct
    mean = triple(list(cfg["mean"]))
    return Recipe(
        source,
        size=declared,
        geometry=timm_geometry(
            float(crop_pct),
            cfg.get("crop_mode") or "center",
            cfg.get("interpolation") or "bilinear",
            mean,
        ),
        normalisation=(1 / 255, mean, triple(list(cfg["std"]))),
        order="RGB",
        classes=classes,
        multi_label=multi_label,
    )


def processor_recipe(document: Document, source: str) -> Recipe:
    """Reads a ``preprocessor_config.json``.

    Args:
        document: its content.
        source: its name, for display.

    Raises:
        KeyError, TypeError, ValueError: it has other values than the tool writes.
    """
    kind = str(document.get("image_processor_type") or document.get("feature_extractor_type") or "")
    target = _target(document.get("size"), shorter=kind.startswith(_SHORTER_SIDE))
    crop = _target(document.get("crop_size"), shorter=False)
    crops = document.get("do_center_crop", bool(crop) and "DeiT" not in kind) and crop
    frame = crop if crops else target
    size = (frame, frame) if isinstance(frame, int) else frame
    resize = _RESAMPLING.get(document.get("resample", 2), "bilinear")
    flips = document.get("do_flip_channel_order", False)
    return Recipe(
        source,
        size=size,
        geometry=_geometry(document, kind, target, resize, crops=bool(crops)),
        normalisation=_normalisation(document, kind),
        order="BGR" if flips else "RGB",
    )


def _geometry(
    document: Document, kind: str, target: Size | int | None, resize: str, *, crops: bool
) -> Geometry | None:
    if target is None or not document.get("do_resize", True):
        return None
    if kind.startswith("ConvNext") and isinstance(target, int):
        if target >= 384:
            return lambda _: {"fit": "stretch", "resize": resize}
        target = int(target / document.get("crop_pct", 224 / 256))
        return lambda _: {"fit": "crop", "resize": resize, "shorter_side": target}
    if kind.startswith("Levit") and isinstance(target, int):
        target = int(256 / 224 * target)
    if isinstance(target, int):
        return lambda _: {"fit": "crop", "resize": resize, "shorter_side": target}
    return lambda size: {
        "fit": "stretch",
        "resize": resize,
        **({"resize_to": target} if crops and target != size else {}),
    }


def _normalisation(document: Document, kind: str) -> Normalisation:
    scale = document.get("rescale_factor", 1 / 255) if document.get("do_rescale", True) else 1.0
    mean, std = triple(0), triple(1)
    normalises = document.get("do_normalize", not kind.startswith("MobileViT"))
    if normalises:
        mean, std = triple(document.get("image_mean", 0.5)), triple(document.get("image_std", 0.5))
    if kind.startswith("EfficientNet"):
        if document.get("rescale_offset"):  # pixels are from -1 to 1 before
            mean = triple([value + 1 for value in mean])
        if document.get("include_top") and normalises:  # it divides twice
            std = triple([value * value for value in std])
    return float(scale), mean, std


def _target(size: Any, *, shorter: bool) -> Size | int | None:
    """Height and width, or the length of the shorter side."""
    if isinstance(size, int):
        return size if shorter else (size, size)
    if isinstance(size, list | tuple):
        return _last_two(size)
    if not isinstance(size, dict):
        return None
    if "shortest_edge" in size:
        return int(size["shortest_edge"])
    return int(size["height"]), int(size["width"])


def _last_two(size: Any) -> Size:
    height, width = list(size)[-2:]
    return int(height), int(width)


def class_names(names: Any) -> list[str] | None:
    """Class names of a JSON document: a list, index to name, or name to index.

    ImageNet's ``{"0": ["n01440764", "tench"]}`` is understood too; None without names.
    """
    if isinstance(names, dict):
        names = names.get("id2label", names)
    if isinstance(names, dict) and names and all(isinstance(v, int) for v in names.values()):
        names = {index: name for name, index in names.items()}
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    names = [name[-1] if isinstance(name, list | tuple) and name else name for name in names]
    if not all(isinstance(name, str | int | float) for name in names):
        raise ValueError("the class names are not text")
    return [str(name) for name in names] or None
