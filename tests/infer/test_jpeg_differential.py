"""The pixels of JPEGs against two other decoders, OpenCV and libvips."""

from __future__ import annotations

import re
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import pyvips

from boatinfer import images
from boatinfer.errors import Failure, ImageError
from boatinfer.images import Pixels
from boatinfer.images.spec import ImageSpec
from corpus.jpeg import UNSUPPORTED, jpeg_corpus

CORPUS = dict(jpeg_corpus())

#: Files of which only one of the others gives the right pixels: libvips takes inks by a colour
#: profile of its own, OpenCV knows no orientation as a LONG, nor beside a tag that lies.
ONE_IS_WRONG = re.compile(r"pillow-CMYK|inks|exif-\d->-4|exif-lie")

SPECS = [ImageSpec(height=48, width=160), ImageSpec(height=96, width=192)]


def judges(data: bytes) -> Iterator[Pixels]:
    """What the other decoders make of it, in full size, upright."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if found is not None:
        yield np.ascontiguousarray(found[..., ::-1])
    try:
        image = pyvips.Image.new_from_buffer(data, "", fail_on="none").autorot()
        yield np.asarray(image.colourspace("srgb").numpy().reshape(image.height, image.width, -1))
    except pyvips.Error:
        pass


def difference(found: Pixels, judge: Pixels, spec: ImageSpec) -> float:
    wanted = images.fit(np.broadcast_to(judge, (*judge.shape[:2], 3)).copy(), spec)
    return float(np.abs(found.astype(float) - wanted).mean())


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 150


@pytest.mark.parametrize("name", CORPUS)
def test_pixels_are_those_of_other_decoders(name: str) -> None:
    data = CORPUS[name]
    if name.startswith(UNSUPPORTED):
        with pytest.raises(ImageError) as raised:
            images.read(data, SPECS[0])
        assert raised.value.reason is Failure.UNSUPPORTED
        return
    seen = list(judges(data))
    assert seen
    for spec in SPECS:
        notes: list[str] = []
        found = images.read(data, spec, notes=notes)
        differences = [difference(found, judge, spec) for judge in seen]
        agree = min if ONE_IS_WRONG.match(name) else max
        assert agree(differences) < 2, differences
        assert [note[:9] for note in notes] == ["warning: "] * name.startswith("warned")
