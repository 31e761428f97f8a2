"""How well what a model was never taught is told from what it knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer import images
from boatinfer.errors import ImageError, ModelError, UsageError
from boatinfer.models.model import Model, load, read_model
from boatinfer.results.folder import Results
from boatinfer.results.store.rows import matrix, modernised
from boatinfer.results.summary import Summary
from boatinfer.storage.listing import scan
from boatinfer.storage.locations import place
from boatinfer.text import counted, from_text

__all__ = ["KEPT", "RejectionResult", "auroc", "evaluate_rejection", "let_through"]

#: Share of the known images that are kept where `let_through` is measured.
KEPT = 0.95

_Values = npt.NDArray[Any]


def auroc(known: _Values, foreign: _Values) -> float:
    """Probability that a foreign image has the larger value; equal values count one half.

    This is the area under the receiver operating characteristic.

    Args:
        known: values of known images, [N].
        foreign: values of foreign ones, [M].
    """
    ordered = np.sort(known)
    below = np.searchsorted(ordered, foreign, "left") + np.searchsorted(ordered, foreign, "right")
    return float(below.mean() / 2 / len(known))


def let_through(known: _Values, foreign: _Values, kept: float = KEPT) -> float:
    """Share of the foreign images that are kept with a share of the known ones (FPR at 95 %).

    Args:
        known: values of known images, [N]; those with the smallest are kept.
        foreign: values of foreign ones, [M].
        kept: share of the known images that are kept.
    """
    return float((foreign <= np.quantile(known, kept)).mean())


@dataclass(frozen=True)
class RejectionResult:
    """Figures of telling foreign images from those of known class.

    Attributes:
        known: number of images of the model's classes.
        foreign: number of foreign images.
        figures: by ``novelty``, if the model has it, and by ``confidence``: the `auroc`, and the
            share that is `let_through`.
        unknown: shares above the run's limit of novelty, of ``known`` and of ``foreign`` images;
            empty without a limit.
    """

    known: int
    foreign: int
    figures: dict[str, tuple[float, float]]
    unknown: dict[str, float]

    def document(self) -> dict[str, Any]:
        """All figures, for JSON."""
        figures = {
            name: {"auroc": area, "let_through": through}
            for name, (area, through) in self.figures.items()
        }
        counts = {"known": self.known, "foreign": self.foreign}
        return {**counts, **figures, "unknown": self.unknown}

    def text(self) -> str:
        """All figures, for a terminal."""
        lines = [
            f"Rejection: {counted(self.foreign, 'foreign image')} beside {self.known:,} of known "
            "class",
            f"{'':<12}{'AUROC':>8}  let through where {KEPT:.0%} of the known are kept",
        ]
        for name, (area, through) in self.figures.items():
            lines.append(f"{name:<12}{area:>8.3f}  {through:.1%}")
        if self.unknown:
            lines.append(
                f"unknown by the limit of the run: {self.unknown['foreign']:.1%} of the foreign, "
                f"{self.unknown['known']:.1%} of the known"
            )
        return "\n".join(lines)


def evaluate_rejection(
    results: Results,
    run: Summary,
    rows: pa.Table,
    truth_indices: pa.Array,
    truth: pa.Array,
    *,
    folder: Path | None,
) -> RejectionResult | None:
    """Evaluates how well foreign images are rejected.

    Foreign are the images of a class that the model does not have, and those of a folder.

    Args:
        results: the results folder.
        run: the run.
        rows: its images, in the order in which the parts are read.
        truth_indices: the true class of each, null if the model does not have it.
        truth: the name of its true class, null if that is not known.
        folder: foreign images; None for none.

    Returns:
        The figures; None if there are no foreign images, or none of known class.

    Raises:
        UsageError: the folder has no images that can be read, or the model file has gone.
    """
    known = truth_indices.is_valid().to_numpy(zero_copy_only=False)
    other = truth.is_valid().to_numpy(zero_copy_only=False) & ~known
    if folder is None and not other.any():
        return None
    values = _values(results, rows)
    foreign = {name: its[other] for name, its in values.items()}
    if folder is not None:
        measured = _measure(folder, run)
        foreign = {name: np.concatenate([foreign[name], measured[name]]) for name in values}
    figures: dict[str, tuple[float, float]] = {}
    for name, its in values.items():
        inside, outside = (column[~np.isnan(column)] for column in (its[known], foreign[name]))
        if len(inside) and len(outside):
            figures[name] = (auroc(inside, outside), let_through(inside, outside))
    if not figures:
        return None
    unknown = {}
    if run.max_novelty is not None and "novelty" in figures:
        shares = {"known": values["novelty"][known], "foreign": foreign["novelty"]}
        measured_of = {name: its[~np.isnan(its)] for name, its in shares.items()}
        unknown = {name: float((its > run.max_novelty).mean()) for name, its in measured_of.items()}
    return RejectionResult(int(known.sum()), len(foreign["confidence"]), figures, unknown)


def _values(results: Results, rows: pa.Table) -> dict[str, _Values]:
    """Novelty, NaN where it is not known, and the negative confidence of the images of a run."""
    novelty, confidence = [np.zeros(0)], [np.zeros(0)]
    for part in results.parts.read(rows, ["probabilities", "novelty"]):
        confidence.append(-matrix(part["probabilities"]).max(axis=1))
        column = modernised(part)["novelty"].cast(pa.float64())
        novelty.append(pc.fill_null(column, np.nan).to_numpy())
    return {"novelty": np.concatenate(novelty), "confidence": np.concatenate(confidence)}


def _measure(folder: Path, run: Summary) -> dict[str, _Values]:
    """What `_values` says of the images of another folder."""
    paths = sorted(folder / from_text(file.path) for file in scan(folder))
    model = _model_of(run)
    novelty, confidence = [np.zeros(0)], [np.zeros(0)]
    for pixels in _read(paths, model):
        found = model.infer(pixels)
        confidence.append(-found.probabilities.max(axis=1))
        nothing = np.full((len(pixels), 1), np.nan)
        column = nothing if found.novelty is None else found.novelty
        novelty.append(column[:, 0].astype(np.float64))
    if len(confidence) == 1:
        raise UsageError(f"--foreign {folder} holds no image that can be read; check the name.")
    return {"novelty": np.concatenate(novelty), "confidence": np.concatenate(confidence)}


def _read(paths: list[Path], model: Model) -> Iterator[images.Pixels]:
    size = model.batch_size
    with images.IsolatedReader(images.PixelReader(model.card.image)) as reader:
        for start in range(0, len(paths), size):
            read = reader.map(paths[start : start + size])
            pixels = [result for result in read if not isinstance(result, ImageError)]
            if pixels:
                yield np.stack(pixels)


def _model_of(run: Summary) -> Model:
    try:
        file = place(from_text(run.model_file))
        model = load(read_model(file), file, "cpu")
    except ModelError as error:
        raise UsageError(
            f"--foreign needs the model of the run, which cannot be used: {error}"
        ) from error
    if model.digest != run.model:
        raise UsageError(
            f"--foreign needs the model of the run, and {file} is another one now; run again."
        )
    return model
