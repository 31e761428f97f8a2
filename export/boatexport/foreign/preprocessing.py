"""Preprocessing of a model made elsewhere: from options, its makers, or by default."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, cast

from boatexport.foreign.foreign import ForeignModel
from boatexport.foreign.makers.files import named_recipes, recipes_beside
from boatexport.foreign.makers.likes import like_recipe
from boatexport.foreign.makers.metadata import metadata_recipes
from boatexport.foreign.makers.recipe import Recipe, Size
from boatexport.foreign.numbers import normalisation, parse_size, parse_triple
from boatexport.options import DescribeOptions
from boatinfer.errors import ModelError, UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import InputSpec
from boatinfer.models.inference import ONNX_TYPES

__all__ = ["ModelFact", "Preprocessing", "preprocessing"]

Layout = Literal["NCHW", "NHWC"]
Value = TypeVar("Value")


class ModelFact(NamedTuple):
    """A property of a model, to be checked by the user.

    Attributes:
        name: name of the property.
        value: its value, as text.
        source: where the value is from.
    """

    name: str
    value: str
    source: str


class Preprocessing(NamedTuple):
    """What is known of a model before it is run.

    Attributes:
        image: for the card.
        input: for the card.
        classes: class names by its makers, and their source; None if they wrote none.
        multi_label: whether its makers say that an image may have several labels.
        threshold: of the labels by its makers; None if they wrote none.
        facts: the preprocessing, with sources.
    """

    image: ImageSpec
    input: InputSpec
    classes: tuple[list[str], str] | None
    multi_label: bool
    threshold: float | None
    facts: list[ModelFact]


def preprocessing(options: DescribeOptions, foreign: ForeignModel) -> Preprocessing:
    """Determines the preprocessing of images.

    Args:
        options: options of the user, which must not contradict the file.
        foreign: the model.

    Returns:
        What is known of the model.

    Raises:
        ModelError: the input is not a colour image.
        UsageError: options are missing, including class names, or one contradicts the file.
    """
    dtypes = {value_type: dtype for dtype, value_type in ONNX_TYPES.items()}
    if foreign.image.value_type not in dtypes or len(foreign.image.shape) not in {3, 4}:
        raise ModelError(
            f"{foreign.path} has the input {foreign.image}, which is not an image: boatinfer needs "
            "numbers in three axes, or four with the batch."
        )
    dtype = dtypes[foreign.image.value_type]
    likely = [options.layout] if options.layout else _likely_layouts(foreign)
    declared = _declared_size(foreign, likely[0])
    recipes = _recipes(options, foreign, declared)
    _require_complete(options, foreign, recipes, likely, dtype)
    layout, layout_source = _layout(options, foreign)
    size, size_source = _size(options, foreign, declared, recipes)
    image, image_source = _geometry(options, recipes, size)
    pixels, pixels_source = normalisation(
        options, _first(recipes, lambda r: r.normalisation), dtype, foreign.path
    )
    order, order_source = _first(recipes, lambda r: r.order) or ("RGB", "default")
    if options.order is not None:
        order, order_source = options.order, "given"
    scale, mean, std = pixels
    input_spec = InputSpec(
        name=foreign.image.name,
        dtype=cast(Literal["uint8", "float32", "float16"], dtype),
        layout=layout,
        order=cast(Literal["RGB", "BGR"], order),
        scale=scale,
        mean=mean,
        std=std,
    )
    multi_label = _first(recipes, lambda r: r.multi_label)
    threshold = _first(recipes, lambda r: r.threshold)
    return Preprocessing(
        image,
        input_spec,
        _first(recipes, lambda r: r.classes),
        multi_label is not None and multi_label[0],
        None if threshold is None else threshold[0],
        [
            ModelFact("input", f"{input_spec.name}, {dtype}", "from the file"),
            ModelFact("batch", _describe_batch(foreign), "from the file"),
            ModelFact("layout", layout, layout_source),
            ModelFact("size", f"{size[0]} x {size[1]}", size_source),
            ModelFact("images", image.description, image_source),
            ModelFact("order", order, order_source),
            ModelFact("pixels", input_spec.normalisation, pixels_source),
        ],
    )


def _recipes(
    options: DescribeOptions, foreign: ForeignModel, declared: tuple[int | None, ...]
) -> list[Recipe]:
    """Returns what is known, the most reliable first."""
    height, width = declared
    size = None if height is None or width is None else (height, width)
    if options.config is not None:
        named = named_recipes(options.config, size)
    else:
        named = recipes_beside(foreign.path, size)
    like = [] if options.like is None else [like_recipe(options.like)]
    return [*named, *metadata_recipes(foreign.metadata), *like]


def _first(
    recipes: list[Recipe], field: Callable[[Recipe], Value | None]
) -> tuple[Value, str] | None:
    """Returns the first value that a recipe has, and its source."""
    for recipe in recipes:
        if (value := field(recipe)) is not None:
            return value, f"from {recipe.source}".replace("from --", "--")
    return None


def _require_complete(
    options: DescribeOptions,
    foreign: ForeignModel,
    recipes: list[Recipe],
    likely: list[Layout],
    dtype: str,
) -> None:
    """Reports all properties at once that nothing determines."""
    missing = []
    if (
        not options.embedding
        and options.classes is None
        and not _first(recipes, lambda r: r.classes)
    ):
        names = "--classes, a file with one name per line or names separated by commas"
        missing.append(("its class names", names))
    if len(likely) > 1:
        missing.append(("its layout", "--layout NCHW or NHWC"))
    if (
        options.size is None
        and None in _declared_size(foreign, likely[0])
        and not _first(recipes, lambda r: r.size)
    ):
        missing.append(("its input size", "--size HEIGHTxWIDTH"))
    given = (options.scale, options.mean, options.std)
    if dtype != "uint8" and given == (None,) * 3 and not _first(recipes, lambda r: r.normalisation):
        ways = (
            "--mean and --std (those of ImageNet are --mean 0.485,0.456,0.406 --std "
            "0.229,0.224,0.225) or --scale alone (1/255 for pixels from 0 to 1, 1 for pixels from "
            "0 to 255) or --like with the tool it was made with"
        )
        missing.append(("its pixel normalisation", ways))
    if missing:
        unknown, options_for = (" and ".join(column) for column in zip(*missing, strict=True))
        raise UsageError(
            f"{foreign.path} has the input {foreign.image} and does not define {unknown}; give "
            f"{options_for}."
        )


def _describe_batch(foreign: ForeignModel) -> str:
    shape = foreign.image.shape
    if len(shape) == 3:
        return "none: one image at a time"
    return "any number of images" if shape[0] is None else f"{shape[0]} at a time"


def _possible_layouts(foreign: ForeignModel) -> list[Layout]:
    """Returns the layouts that the input may have."""
    axes = foreign.image.shape[-3:]
    channels: dict[Layout, int | None] = {"NCHW": axes[0], "NHWC": axes[2]}
    fits = [layout for layout, axis in channels.items() if axis in {3, None}]
    if not fits:
        raise ModelError(
            f"{foreign.path} has the input {foreign.image}, without an axis of the 3 channels of a "
            "colour image; use a model for colour images."
        )
    return fits


def _likely_layouts(foreign: ForeignModel) -> list[Layout]:
    """Returns the layout if the input determines it, else both."""
    fits, axes = _possible_layouts(foreign), foreign.image.shape[-3:]
    exact = [layout for layout in fits if axes[0 if layout == "NCHW" else 2] == 3]
    return exact if len(exact) == 1 else fits


def _layout(options: DescribeOptions, foreign: ForeignModel) -> tuple[Layout, str]:
    if options.layout is None:
        return _likely_layouts(foreign)[0], "from the file"
    fits = _possible_layouts(foreign)
    if options.layout not in fits:
        raise UsageError(
            f"--layout {options.layout}: {foreign.path} has the input {foreign.image}, which is "
            f"{fits[0]}."
        )
    return options.layout, "given"


def _declared_size(foreign: ForeignModel, layout: Layout) -> tuple[int | None, ...]:
    """Returns height and width of the graph's input, each None if it is free."""
    axes = foreign.image.shape[-3:]
    return axes[1:] if layout == "NCHW" else axes[:2]


def _size(
    options: DescribeOptions,
    foreign: ForeignModel,
    declared: tuple[int | None, ...],
    recipes: list[Recipe],
) -> tuple[Size, str]:
    if options.size is not None:
        size, source = parse_size("--size", options.size), "given"
        if any(axis not in {None, value} for axis, value in zip(declared, size, strict=True)):
            raise UsageError(
                f"--size {options.size}: {foreign.path} has the input {foreign.image}; give that "
                "size, or omit --size."
            )
        return size, source
    size, source = _first(recipes, lambda r: r.size) or ((0, 0), "")
    height, width = (axis or other for axis, other in zip(declared, size, strict=True))
    return (height, width), "from the file" if None not in declared else source


def _geometry(options: DescribeOptions, recipes: list[Recipe], size: Size) -> tuple[ImageSpec, str]:
    """Returns how images are resized: options change what the makers wrote."""
    known = _first(recipes, lambda r: r.geometry)
    given = _given_geometry(options, size)
    fields: dict[str, Any] = {"fit": "crop", "resize": "bilinear"}
    source = "default"
    if known is not None and options.fit is None:
        fields, source = known[0](size), known[1]
    if "shorter_side" in given or "resize_to" in given:
        fields = {k: v for k, v in fields.items() if k not in {"shorter_side", "resize_to"}}
    if given:
        source = "given" if source == "default" else f"given, the rest {source}"
    fields = fields | given
    if isinstance(fields.get("resize_to"), tuple) and fields["resize_to"] == size:
        del fields["resize_to"]
    try:
        return ImageSpec(*size, **fields, decode=options.decode), source
    except ValueError as error:
        raise UsageError(
            f"the resizing cannot be {', '.join(f'{k} {v}' for k, v in fields.items())}: {error}; "
            "correct --fit, --resize, --resize-to, --antialias or --crops."
        ) from error


def _given_geometry(options: DescribeOptions, size: Size) -> dict[str, Any]:
    values = {
        "fit": options.fit,
        "resize": options.resize,
        "antialias": options.antialias,
        "pad_side": options.pad_side,
        "crops": options.crops,
    }
    given: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    if options.pad_colour is not None:
        colour = parse_triple("--pad-colour", options.pad_colour)
        if not all(0 <= value <= 255 and value == int(value) for value in colour):
            raise UsageError(f"--pad-colour {options.pad_colour}: give numbers from 0 to 255.")
        given["pad_colour"] = tuple(map(int, colour))
    if options.crops not in {None, 1, 5}:
        raise UsageError(f"--crops {options.crops}: give 1 or 5.")
    return given | _given_target(options, size)


def _given_target(options: DescribeOptions, size: Size) -> dict[str, Any]:
    if options.resize_to is not None and options.crop_pct is not None:
        raise UsageError("--resize-to and --crop-pct say the same; give one of them.")
    if options.crop_pct is not None:
        if not 0 < options.crop_pct <= 1:
            raise UsageError(f"--crop-pct {options.crop_pct}: give a number above 0, at most 1.")
        height, width = (int(side / options.crop_pct) for side in size)
        is_crop = options.fit in {None, "crop"}
        if is_crop and height == width:
            return {"fit": "crop", "shorter_side": height}
        return {"resize_to": (height, width)}
    if options.resize_to is None:
        return {}
    if re.fullmatch(r"[1-9]\d*", options.resize_to):
        return {"fit": "crop", "shorter_side": int(options.resize_to)} | (
            {"fit": options.fit} if options.fit else {}
        )
    return {"resize_to": parse_size("--resize-to", options.resize_to)}
