"""A run compared with earlier runs and with the training set: figures, and sentences on them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from boatinfer.analysis.drift import Drift, Shares, drift, jensen_shannon, mean_shares
from boatinfer.pages.page import percent
from boatinfer.results.mix import BINS, Mix
from boatinfer.results.summary import Summary
from boatinfer.text import counted, printable

__all__ = ["RunHistory"]

#: Number of earlier runs to compare with.
_EARLIER_RUNS = 14
#: Classes that a sentence lists at most, in each direction.
_LISTED = 3
#: A class is listed if its share differs by more than this.
_CHANGED_SHARE = 0.02
#: Divergence from the training set above which a sentence warns.
_FAR_FROM_TRAINING = 0.1
#: A sentence warns of a mean confidence this far below the accuracy on the validation images.
_LOW_CONFIDENCE = 0.1


@dataclass(frozen=True)
class RunHistory:
    """One run's new images, compared with those of earlier runs.

    Attributes:
        summary: the run's summary.
        earlier: earlier complete runs of the same model with new images, latest first.
    """

    summary: Summary
    earlier: Sequence[Summary]

    @classmethod
    def select(cls, summary: Summary, history: Iterable[Summary]) -> RunHistory:
        """Selects the runs that can be compared.

        Args:
            summary: the run.
            history: the runs before it, latest first.
        """
        comparable = (
            run
            for run in history
            if run.complete and run.model == summary.model and run.new and run.new.classified
        )
        return cls(summary, list(itertools.islice(comparable, _EARLIER_RUNS)))

    @property
    def new(self) -> Mix:
        """The distribution of the run's new predictions."""
        return self.summary.new or Mix()

    @property
    def previous(self) -> Summary | None:
        """The previous run."""
        return self.earlier[0] if self.earlier else None

    @cached_property
    def labels(self) -> list[str]:
        """Classes of any of the runs or of the training set, most frequent in this run first."""
        training = self.summary.training.labels if self.summary.training else {}
        other_counts = [
            self.summary.labels,
            training,
            *(_mix(run).classes for run in self.earlier),
        ]
        names = dict.fromkeys(itertools.chain(self.new.classes, *other_counts))
        return sorted(
            names,
            key=lambda name: (-self.new.classes.get(name, 0), -self.summary.labels.get(name, 0)),
        )

    @cached_property
    def usual(self) -> Shares | None:
        """Mean share of each of the `labels` over the earlier runs; None without any."""
        return mean_shares([self._counts(_mix(n)) for n in self.earlier]) if self.earlier else None

    @cached_property
    def usual_confidences(self) -> Shares | None:
        """Mean share of each bin of confidence over the earlier runs; None without any."""
        counts = [np.array(_mix(run).confidences) for run in self.earlier]
        return mean_shares(counts) if counts else None

    @cached_property
    def training(self) -> Shares | None:
        """Share of each of the `labels` in the training set; None if unknown."""
        training = self.summary.training
        if training is None or not sum(training.labels.values()):
            return None
        return mean_shares([np.array([training.labels.get(name, 0) for name in self.labels])])

    @cached_property
    def class_drift(self) -> Drift | None:
        """Drift of the predicted classes; None if there is nothing to compare."""
        return self._drift(self._counts)

    @cached_property
    def confidence_drift(self) -> Drift | None:
        """Drift of the confidences; None if there is nothing to compare."""
        return self._drift(lambda mix: np.array(mix.confidences))

    @cached_property
    def from_training(self) -> float | None:
        """Divergence of the predicted classes from the training set, in bits."""
        if self.training is None or not self.new.classified:
            return None
        return float(jensen_shannon(self._counts(self.new), self.training))

    @property
    def unusual(self) -> bool:
        """Whether the classes or the confidences are unusual."""
        drifts = (self.class_drift, self.confidence_drift)
        return any(drift is not None and drift.unusual for drift in drifts)

    def shares(self, mix: Mix | None) -> Shares | None:
        """Share of each of the `labels`; None without images."""
        return mean_shares([self._counts(mix)]) if mix and mix.classified else None

    def sentences(self) -> list[tuple[bool, str]]:
        """Sentences on the comparison, each with whether it reports something unusual."""
        if not self.new.classified:
            return [(False, "This run classified no new images, so there is nothing to compare.")]
        sentences = [
            *self._incomplete_sentences(),
            *self._class_sentences(),
            *self._confidence_sentences(),
        ]
        if not self.earlier:
            sentences.append(
                (False, "There is no earlier run with this model to compare with yet.")
            )
        return [*sentences, *self._training_sentences()]

    def _incomplete_sentences(self) -> Iterable[tuple[bool, str]]:
        incomplete = self.new.classified - self.summary.classified
        if incomplete > 0:
            yield (
                False,
                f"The new images include {counted(incomplete, 'image')} of an earlier, incomplete "
                "run.",
            )

    def _class_sentences(self) -> Iterable[tuple[bool, str]]:
        if self.class_drift is None or self.usual is None:
            return
        figure = f"Jensen-Shannon divergence from the usual: {_bits(self.class_drift)}"
        if not self.class_drift.unusual:
            yield False, f"The classes are about as usual ({figure})."
            return
        shares = self.shares(self.new)
        assert shares is not None
        difference = shares - self.usual
        order = np.argsort(-difference, kind="stable")
        largest, smallest = order[:_LISTED], order[::-1][:_LISTED]
        changes = [
            f"{word} "
            + ", ".join(
                self._change_text(i, shares)
                for i in indices
                if sign * difference[i] > _CHANGED_SHARE
            )
            for word, sign, indices in [("more", 1, largest), ("fewer", -1, smallest)]
            if any(sign * difference[i] > _CHANGED_SHARE for i in indices)
        ]
        yield (
            True,
            f"The classes are unusual: {'; '.join(changes) or 'many small changes'} ({figure}).",
        )

    def _change_text(self, index: int, shares: Shares) -> str:
        assert self.usual is not None
        usual = percent(self.usual[index])
        return f"{printable(self.labels[index])} ({percent(shares[index])} instead of {usual})"

    def _confidence_sentences(self) -> Iterable[tuple[bool, str]]:
        mean, drift = self.new.mean_confidence, self.confidence_drift
        if drift is None or mean is None:
            return
        usual = float(np.mean([_mix(run).mean_confidence for run in self.earlier]))
        figures = f"mean confidence {mean:.2f}, usually {usual:.2f}; divergence {_bits(drift)}"
        if not drift.unusual:
            yield False, f"The network is about as confident as usual ({figures})."
        else:
            comparison = "less" if mean < usual else "more"
            yield True, f"The network is {comparison} confident than usual ({figures})."

    def _training_sentences(self) -> Iterable[tuple[bool, str]]:
        divergence, training = self.from_training, self.summary.training
        if divergence is not None:
            meaning = (
                "far from the training set, so trust rare classes less"
                if divergence > _FAR_FROM_TRAINING
                else "close to the training set"
            )
            yield False, f"The classes diverge from training by {divergence:.3f} bits: {meaning}."
        mean = self.new.mean_confidence
        if training and training.accuracy is not None and mean is not None:
            lower = mean < training.accuracy - _LOW_CONFIDENCE
            hint = ", so these images are harder than those" if lower else ""
            accuracy, confidence = percent(training.accuracy), percent(mean)
            sentence = f"The accuracy on the validation images was {accuracy}; the mean confidence"
            yield lower, f"{sentence} of this run is {confidence}{hint}."

    def _drift(self, counts: Any) -> Drift | None:
        if not self.earlier or not self.new.classified:
            return None
        return drift(counts(self.new), [counts(_mix(run)) for run in self.earlier])

    def _counts(self, mix: Mix) -> Any:
        return np.array([mix.classes.get(name, 0) for name in self.labels])


def _mix(run: Summary) -> Mix:
    return run.new or Mix(confidences=[0] * BINS)


def _bits(drift: Drift) -> str:
    earlier = "" if drift.earlier is None else f", earlier runs up to {drift.earlier:.3f}"
    return f"{drift.divergence:.3f} bits{earlier}"
