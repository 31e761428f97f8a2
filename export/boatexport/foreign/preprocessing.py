"""How a foreign network wants its images: what is given, what its file tells, what is usual."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Literal, NamedTuple, cast

from boatexport.foreign.foreign import Foreign
from boatexport.options import DescribeOptions
from boatinfer.errors import ModelError, UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import InputSpec
from boatinfer.models.inference import ONNX_TYPES

__all__ = ["Known", "preprocessing"]

Layout = Literal["NCHW", "NHWC"]
Source = Literal["given", "told by the file", "seen on the images", "the default"]
Three = tuple[float, float, float]


class Known(NamedTuple):
    """Something known of a model, for people to check.

    Attributes:
        what: its name.
        value: for people.
        source: how it is known.
    """

    what: str
    value: str
    source: Source


def preprocessing(
    options: DescribeOptions, foreign: Foreign
) -> tuple[ImageSpec, InputSpec, list[Known]]:
    """Settles what is done to an image.

    Args:
        options: what the user gives; it must not contradict the file.
        foreign: what the file tells.

    Returns:
        The parts of the card, and how each figure is known.

    Raises:
        ModelError: the input is no colour image.
        UsageError: options are needed, those of the class names too, or one contradicts the file.
    """
    kinds = {kind: dtype for dtype, kind in ONNX_TYPES.items()}
    if foreign.image.kind not in kinds or len(foreign.image.shape) not in {3, 4}:
        raise ModelError(
            f"{foreign.path} takes {foreign.image}, and that is no image: boatinfer gives pixels "
            "as uint8, float32 or float16, with three axes, or four with the batch."
        )
    dtype = kinds[foreign.image.kind]
    _require_told(options, foreign, dtype)
    layout, layout_source = _layout(options, foreign)
    height, width, size_source = _size(options, foreign, layout)
    scale, mean, std, pixels_source = _pixels(options, foreign, dtype)
    image = ImageSpec(height=height, width=width, resize=options.resize, fit=options.fit)
    feed = InputSpec(
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
        feed,
        [
            Known("input", f"{feed.name}, {dtype}", "told by the file"),
            Known("batch", _batch(foreign), "told by the file"),
            Known("layout", layout, layout_source),
            Known("size", f"{height} x {width}", size_source),
            Known("fit", image.fit, _source(options, "fit")),
            Known("resize", image.resize, _source(options, "resize")),
            Known("order", feed.order, _source(options, "order")),
            Known("pixels", feed.normalisation, pixels_source),
        ],
    )


def _require_told(options: DescribeOptions, foreign: Foreign, dtype: str) -> None:
    """Names at once all that the file leaves open and no option tells."""
    missing = []
    if options.classes is None and not foreign.names:
        names = "--classes, a file with a name on each line or names with commas between"
        missing.append(("the names of its classes", names))
    likely = [options.layout] if options.layout else _likely(foreign)
    if len(likely) > 1:
        missing.append(("where its channels are", "--layout NCHW or NHWC"))
    if options.size is None and None in _told_size(foreign, likely[0]):
        missing.append(("the size of its images", "--size HEIGHTxWIDTH"))
    given = (options.scale, options.mean, options.std)
    if dtype != "uint8" and given == (None,) * 3 and not foreign.is_ultralytics:
        normalisation = (
            "--mean and --std (those of ImageNet are --mean 0.485,0.456,0.406 --std "
            "0.229,0.224,0.225) or --scale alone (1/255 for pixels from 0 to 1, 1 for pixels from "
            "0 to 255)"
        )
        missing.append(("how its pixels are normalised", normalisation))
    if missing:
        untold, options_for = (" and ".join(column) for column in zip(*missing, strict=True))
        raise UsageError(
            f"{foreign.path} takes {foreign.image} and does not tell {untold}; give {options_for}."
        )


def _source(options: DescribeOptions, name: str) -> Source:
    default = DescribeOptions.__dataclass_fields__[name].default
    return "the default" if getattr(options, name) == default else "given"


def _batch(foreign: Foreign) -> str:
    shape = foreign.image.shape
    if len(shape) == 3:
        return "none: one image at a time"
    return "any number of images" if shape[0] is None else f"{shape[0]} at a time"


def _fitting(foreign: Foreign) -> list[Layout]:
    """The layouts that the input can have."""
    axes = foreign.image.shape[-3:]
    channels: dict[Layout, int | None] = {"NCHW": axes[0], "NHWC": axes[2]}
    fits = [layout for layout, axis in channels.items() if axis in {3, None}]
    if not fits:
        raise ModelError(
            f"{foreign.path} takes {foreign.image}, where no axis has the 3 channels of a colour "
            "image; use a model for colour images."
        )
    return fits


def _likely(foreign: Foreign) -> list[Layout]:
    """The layout, if the input tells it, or both."""
    fits, axes = _fitting(foreign), foreign.image.shape[-3:]
    exact = [one for one in fits if axes[0 if one == "NCHW" else 2] == 3]
    return exact if len(exact) == 1 else fits


def _layout(options: DescribeOptions, foreign: Foreign) -> tuple[Layout, Source]:
    if options.layout is None:
        return _likely(foreign)[0], "told by the file"
    fits = _fitting(foreign)
    if options.layout not in fits:
        raise UsageError(
            f"--layout {options.layout}: {foreign.path} takes {foreign.image}, which is {fits[0]}."
        )
    return options.layout, "given"


def _told_size(foreign: Foreign, layout: Layout) -> tuple[int | None, ...]:
    """Height and width, None for what neither the input nor the metadata tells."""
    axes = foreign.image.shape[-3:]
    told = axes[1:] if layout == "NCHW" else axes[:2]
    usual = foreign.size or (None, None)
    return tuple(axis or other for axis, other in zip(told, usual, strict=True))


def _size(options: DescribeOptions, foreign: Foreign, layout: Layout) -> tuple[int, int, Source]:
    axes = foreign.image.shape[-3:]
    told = axes[1:] if layout == "NCHW" else axes[:2]
    if options.size is None:
        height, width = (int(axis or 0) for axis in _told_size(foreign, layout))
        return height, width, "told by the file"
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", options.size)
    size = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not all(size):
        raise UsageError(
            f"--size {options.size} is not HEIGHTxWIDTH in pixels; write it like 224x224."
        )
    if any(axis not in {None, given} for axis, given in zip(told, size, strict=True)):
        raise UsageError(
            f"--size {options.size}: {foreign.path} takes {foreign.image}; give its own size, or "
            "leave --size out."
        )
    return *size, "given"


def _pixels(
    options: DescribeOptions, foreign: Foreign, dtype: str
) -> tuple[float, Three, Three, Source]:
    """Scale, mean and standard deviation."""
    given = [text for text in (options.scale, options.mean, options.std) if text is not None]
    if dtype == "uint8":
        if given:
            raise UsageError(
                f"{foreign.path} takes pixels as they are (uint8); leave --scale, --mean and "
                "--std out."
            )
        return 1.0, (0.0,) * 3, (1.0,) * 3, "told by the file"
    mean = _three("--mean", options.mean or "0")
    std = _three("--std", options.std or "1")
    if min(std) <= 0:
        raise UsageError(f"--std {options.std}: it must be above 0.")
    if options.scale is not None:
        scale = _number("--scale", options.scale)
        if scale <= 0:
            raise UsageError(f"--scale {options.scale}: it must be above 0.")
        return scale, mean, std, "given"
    # A mean or deviation above 1 is that of pixels from 0 to 255.
    scale = 1.0 if max(*map(abs, mean), *std) > 1 else 1 / 255
    return scale, mean, std, "given" if given else "told by the file"


def _three(option: str, text: str) -> Three:
    values = [_number(option, one) for one in re.split(r"[,\s]+", text.strip())]
    if len(values) not in {1, 3}:
        raise UsageError(f"{option} {text}: give one number, or three with commas between.")
    return cast(Three, tuple(values * 3)[:3])


def _number(option: str, text: str) -> float:
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise UsageError(f"{option} {text}: write numbers like 0.485 or 1/255.") from None
