"""Results folders of images that never were: their features are drawn from known classes."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from boatinfer.results.folder import Results
from boatinfer.results.store.rows import Row
from boatinfer.results.summary import Summary
from boatinfer.storage.base import Place

Where = TypeVar("Where", bound=Place)

#: Features of an image.
_WIDE = 6


def write_blobs(
    out: Where, images: int, seed: int, classes: str = "abc", *, model: str = "f00d"
) -> Where:
    """Writes what a run over images with such features would have written."""
    random, results = np.random.default_rng(seed), Results(out)
    centres = np.random.default_rng(9).normal(size=(len(classes), _WIDE))
    truth = np.arange(images) % len(classes)
    features = (centres[truth] + random.normal(size=(images, _WIDE))).astype(np.float32)
    made = [
        Row(f"{classes[of]}/{number}.jpg", 1, 1, f"{seed:016x}{number:016x}", features=row)
        for number, (of, row) in enumerate(zip(truth, features, strict=True))
    ]
    for row, of in zip(made, truth, strict=True):
        row.probabilities = np.eye(len(classes), dtype=np.float32)[of]
    with results.hold("/images"):
        results.parts.append(made, list(classes), model, "night")
        index = results.parts.index()
        summary = Summary(
            run="night",
            folder="/images",
            started="2026-01-01T00:00:00Z",
            found=images,
            classified=images,
            complete=True,
            model=model,
            classes=list(classes),
            model_name="blobs",
            images_per_second=100.0,
        )
        results.write_current(index, summary)
        results.write_summary(summary)
    return out
