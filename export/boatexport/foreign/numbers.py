"""Numbers in the options of ``model describe``."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from boatexport.foreign.makers.recipe import Normalisation, Size, Triple
from boatexport.options import DescribeOptions
from boatinfer.errors import UsageError

__all__ = ["normalisation", "parse_numbers", "parse_size", "parse_triple"]


def normalisation(
    options: DescribeOptions, known: tuple[Normalisation, str] | None, dtype: str, path: Path
) -> tuple[Normalisation, str]:
    """Determines scale, mean and standard deviation.

    Args:
        options: of the user.
        known: those by the makers, and their source.
        dtype: of the input.
        path: the model file, for error messages.

    Returns:
        Scale, mean and standard deviation, and their source.

    Raises:
        UsageError: an option is no number, or contradicts the file.
    """
    given = [text for text in (options.scale, options.mean, options.std) if text is not None]
    if dtype == "uint8":
        if given:
            raise UsageError(
                f"{path} takes unnormalised pixels (integers); omit --scale, --mean and --std."
            )
        return (1.0, (0.0,) * 3, (1.0,) * 3), "from the file"
    if not given and known is not None:
        return known
    mean = parse_triple("--mean", options.mean or "0")
    std = parse_triple("--std", options.std or "1")
    if min(std) <= 0:
        raise UsageError(f"--std {options.std}: it must be above 0.")
    if options.scale is None:
        # A mean or deviation above 1 refers to pixels from 0 to 255.
        return (1.0 if max(*map(abs, mean), *std) > 1 else 1 / 255, mean, std), "given"
    scales = parse_triple("--scale", options.scale)
    if min(scales) <= 0:
        raise UsageError(f"--scale {options.scale}: it must be above 0.")
    if len(set(scales)) == 1:
        return (scales[0], mean, std), "given"
    # (p * s - m) / d is (p - m / s) / (d / s), channel by channel.
    return (1.0, _divided(mean, scales), _divided(std, scales)), "given"


def _divided(values: Triple, scales: Triple) -> Triple:
    first, second, third = (v / s for v, s in zip(values, scales, strict=True))
    return first, second, third


def parse_size(option: str, text: str) -> Size:
    """Reads HEIGHTxWIDTH, or one number for both."""
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)
    size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not all(size):
        raise UsageError(f"{option} {text} is not HEIGHTxWIDTH in pixels; write it like 224x224.")
    return size


def parse_triple(option: str, text: str) -> Triple:
    """Reads one number, or three."""
    values = parse_numbers(option, text)
    if len(values) not in {1, 3}:
        raise UsageError(f"{option} {text}: give one number, or three separated by commas.")
    first, second, third = (values * 3)[:3]
    return first, second, third


def parse_numbers(option: str, text: str) -> list[float]:
    """Reads numbers or fractions, separated by commas or spaces."""
    try:
        return [float(Fraction(item)) for item in re.split(r"[,\s]+", text.strip())]
    except (ValueError, ZeroDivisionError, OverflowError):
        raise UsageError(f"{option} {text}: write numbers like 0.485 or 1/255.") from None
