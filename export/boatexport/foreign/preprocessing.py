"""Preprocessing of a model made elsewhere: from options, from the file, or by default."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Literal, NamedTuple, cast

from boatexport.foreign.foreign import ForeignModel
from boatexport.options import DescribeOptions
from boatinfer.errors import ModelError, UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import InputSpec
from boatinfer.models.inference import ONNX_TYPES

__all__ = ["ModelFact", "preprocessing"]

Layout = Literal["NCHW", "NHWC"]
Source = Literal["given", "from the file", "from the golden images", "default"]
Triple = tuple[float, float, float]


class ModelFact(NamedTuple):
    """A property of a model, to be checked by the user.

    Attributes:
        name: name of the property.
        value: its value, as text.
        source: where the value is from.
    """

    name: str
    value: str
    source: Source


def preprocessing(
    options: DescribeOptions, foreign: ForeignModel
) -> tuple[ImageSpec, InputSpec, list[ModelFact]]:
    """Determines the preprocessing of images.

    Args:
        options: options of the user, which must not contradict the file.
        foreign: the model.

    Returns:
        Image and input specification for the card, and the facts with their sources.

    Raises:
        ModelError: the input is not a colour image.
        UsageError: options are missing, including class names, or one contradicts the file.
    """
    dtypes = {value_type: dtype for dtype, value_type in ONNX_TYPES.items()}
    if foreign.image.value_type not in dtypes or len(foreign.image.shape) not in {3, 4}:
        raise ModelError(
            f"{foreign.path} has the input {foreign.image}, which is not an image: boatinfer needs "
            "uint8, float32 or float16, with three axes, or four with the batch."
        )
    dtype = dtypes[foreign.image.value_type]
    _require_complete(options, foreign, dtype)
    layout, layout_source = _layout(options, foreign)
    height, width, size_source = _size(options, foreign, layout)
    scale, mean, std, pixels_source = _normalisation(options, foreign, dtype)
    image = ImageSpec(height=height, width=width, resize=options.resize, fit=options.fit)
    input_spec = InputSpec(
        name=foreign.image.name,
        dtype=cast(Literal["uint8", "float32", "float16"], dtype),
        layout=layout,
        order=options.order,
        scale=scale,
        mean=mean,
        std=std,
    )
    return (
        image,
        input_spec,
        [
            ModelFact("input", f"{input_spec.name}, {dtype}", "from the file"),
            ModelFact("batch", _describe_batch(foreign), "from the file"),
            ModelFact("layout", layout, layout_source),
            ModelFact("size", f"{height} x {width}", size_source),
            ModelFact("fit", image.fit, _source(options, "fit")),
            ModelFact("resize", image.resize, _source(options, "resize")),
            ModelFact("order", input_spec.order, _source(options, "order")),
            ModelFact("pixels", input_spec.normalisation, pixels_source),
        ],
    )


def _require_complete(options: DescribeOptions, foreign: ForeignModel, dtype: str) -> None:
    """Reports all properties at once that neither the file nor an option determines."""
    missing = []
    if options.classes is None and not foreign.names:
        names = "--classes, a file with one name per line or names separated by commas"
        missing.append(("its class names", names))
    likely = [options.layout] if options.layout else _likely_layouts(foreign)
    if len(likely) > 1:
        missing.append(("its layout", "--layout NCHW or NHWC"))
    if options.size is None and None in _declared_size(foreign, likely[0]):
        missing.append(("its input size", "--size HEIGHTxWIDTH"))
    given = (options.scale, options.mean, options.std)
    if dtype != "uint8" and given == (None,) * 3 and not foreign.is_ultralytics:
        normalisation = (
            "--mean and --std (those of ImageNet are --mean 0.485,0.456,0.406 --std "
            "0.229,0.224,0.225) or --scale alone (1/255 for pixels from 0 to 1, 1 for pixels from "
            "0 to 255)"
        )
        missing.append(("its pixel normalisation", normalisation))
    if missing:
        unknown, options_for = (" and ".join(column) for column in zip(*missing, strict=True))
        raise UsageError(
            f"{foreign.path} has the input {foreign.image} and does not define {unknown}; give "
            f"{options_for}."
        )


def _source(options: DescribeOptions, name: str) -> Source:
    default = DescribeOptions.__dataclass_fields__[name].default
    return "default" if getattr(options, name) == default else "given"


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


def _layout(options: DescribeOptions, foreign: ForeignModel) -> tuple[Layout, Source]:
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
    """Returns height and width, each None if neither the input nor the metadata has it."""
    axes = foreign.image.shape[-3:]
    declared = axes[1:] if layout == "NCHW" else axes[:2]
    from_metadata = foreign.size or (None, None)
    return tuple(axis or other for axis, other in zip(declared, from_metadata, strict=True))


def _size(
    options: DescribeOptions, foreign: ForeignModel, layout: Layout
) -> tuple[int, int, Source]:
    axes = foreign.image.shape[-3:]
    declared = axes[1:] if layout == "NCHW" else axes[:2]
    if options.size is None:
        height, width = (int(axis or 0) for axis in _declared_size(foreign, layout))
        return height, width, "from the file"
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", options.size)
    size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not all(size):
        raise UsageError(
            f"--size {options.size} is not HEIGHTxWIDTH in pixels; write it like 224x224."
        )
    if any(axis not in {None, given} for axis, given in zip(declared, size, strict=True)):
        raise UsageError(
            f"--size {options.size}: {foreign.path} has the input {foreign.image}; give that size, "
            "or omit --size."
        )
    return *size, "given"


def _normalisation(
    options: DescribeOptions, foreign: ForeignModel, dtype: str
) -> tuple[float, Triple, Triple, Source]:
    """Returns scale, mean and standard deviation, and their source."""
    given = [text for text in (options.scale, options.mean, options.std) if text is not None]
    if dtype == "uint8":
        if given:
            raise UsageError(
                f"{foreign.path} takes unnormalised pixels (uint8); omit --scale, --mean and --std."
            )
        return 1.0, (0.0,) * 3, (1.0,) * 3, "from the file"
    mean = _parse_triple("--mean", options.mean or "0")
    std = _parse_triple("--std", options.std or "1")
    if min(std) <= 0:
        raise UsageError(f"--std {options.std}: it must be above 0.")
    if options.scale is not None:
        scale = _parse_number("--scale", options.scale)
        if scale <= 0:
            raise UsageError(f"--scale {options.scale}: it must be above 0.")
        return scale, mean, std, "given"
    # A mean or deviation above 1 refers to pixels from 0 to 255.
    scale = 1.0 if max(*map(abs, mean), *std) > 1 else 1 / 255
    return scale, mean, std, "given" if given else "from the file"


def _parse_triple(option: str, text: str) -> Triple:
    values = [_parse_number(option, item) for item in re.split(r"[,\s]+", text.strip())]
    if len(values) not in {1, 3}:
        raise UsageError(f"{option} {text}: give one number, or three separated by commas.")
    return cast(Triple, tuple(values * 3)[:3])


def _parse_number(option: str, text: str) -> float:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise UsageError(f"{option} {text}: write numbers like 0.485 or 1/255.") from None
