"""What a training prints at its end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from boattrain.training import TrainingResult

__all__ = ["summarise"]


def summarise(result: TrainingResult) -> str:
    """Describes the best epoch on valid: distributions, report per class, figures, files."""
    from sklearn.metrics import classification_report

    report = classification_report(
        result.truth,
        result.predicted,
        labels=range(len(result.classes)),
        target_names=result.classes,
        zero_division=0,
    )
    metrics = result.metrics
    return "\n".join(
        [
            "Prediction distribution (valid)",
            *_counts(result.predicted, result.classes),
            "",
            "Ground-truth distribution (valid)",
            *_counts(result.truth, result.classes),
            "",
            report,
            f"Best epoch {result.best.epoch} of {len(result.history)}: "
            f"accuracy {metrics['accuracy']:.4f}, macro-F1 {metrics['macro_f1']:.4f} on valid",
            *(f"Wrote {path}" for path in result.files),
        ]
    )


def _counts(labels: npt.NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    width = max(map(len, classes))
    counts = np.bincount(labels, minlength=len(classes))
    return [f"  {name:<{width}}  {count:6}" for name, count in zip(classes, counts, strict=True)]
