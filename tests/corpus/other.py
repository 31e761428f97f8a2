"""The corpus of everything but JPEG."""

from __future__ import annotations

from collections.abc import Iterator

from corpus import encoded, plain
from corpus.png import png_samples
from corpus.sample import Sample
from corpus.tiff import tiff_samples

__all__ = ["other_corpus", "other_samples"]


def other_samples() -> Iterator[Sample]:
    """Every file with what is right for it; about 700."""
    yield from png_samples()
    yield from tiff_samples()
    yield from plain.pnm_samples()
    yield from plain.bmp_samples()
    yield from plain.tga_samples()
    yield from encoded.gif_samples()
    yield from encoded.webp_samples()
    yield from encoded.avif_samples()
    yield from encoded.jp2_samples()
    yield from encoded.other_samples()


def other_corpus() -> Iterator[tuple[str, bytes]]:
    """Names and contents alone."""
    return ((sample.name, sample.data) for sample in other_samples())
