"""A night beside the earlier ones and beside training: figures, and what they say in words."""

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

__all__ = ["Nights"]

#: Nights that are usual: the last ones with this model that classified anything.
_LAST = 14
#: Classes that a sentence names at most, each way.
_NAMED = 3
#: A class is named if its share is off by so much.
_MOVED = 0.02
#: Divergence from the training from which a sentence warns.
_FAR = 0.1
#: A mean confidence this far below the accuracy on the valid images is worth a word.
_DOUBTFUL = 0.1


@dataclass(frozen=True)
class Nights:
    """One run's new images beside those of earlier runs.

    Attributes:
        summary: the run; ``new`` says what it classified.
        earlier: earlier runs with the same model that classified anything, latest first.
    """

    summary: Summary
    earlier: Sequence[Summary]

    @classmethod
    def of(cls, summary: Summary, history: Iterable[Summary]) -> Nights:
        """Picks the nights that can be compared.

        Args:
            summary: the run.
            history: the runs before it, latest first.
        """
        alike = (
            night
            for night in history
            if night.complete and night.model == summary.model and night.new and night.new.images
        )
        return cls(summary, list(itertools.islice(alike, _LAST)))

    @property
    def now(self) -> Mix:
        """What the run classified."""
        return self.summary.new or Mix()

    @property
    def previous(self) -> Summary | None:
        """The night before."""
        return self.earlier[0] if self.earlier else None

    @cached_property
    def labels(self) -> list[str]:
        """Classes that occur in any of the nights or in training; the commonest now come first."""
        training = self.summary.training.labels if self.summary.training else {}
        everywhere = [
            self.summary.labels,
            training,
            *(_mix(night).labels for night in self.earlier),
        ]
        names = dict.fromkeys(itertools.chain(self.now.labels, *everywhere))
        return sorted(
            names,
            key=lambda name: (-self.now.labels.get(name, 0), -self.summary.labels.get(name, 0)),
        )

    @cached_property
    def usual(self) -> Shares | None:
        """Mean share of each of the `labels` over the earlier nights; None without any."""
        return mean_shares([self._counts(_mix(n)) for n in self.earlier]) if self.earlier else None

    @cached_property
    def usual_confidences(self) -> Shares | None:
        """Mean share of each span of confidence; None without earlier nights."""
        nights = [np.array(_mix(night).confidences) for night in self.earlier]
        return mean_shares(nights) if nights else None

    @cached_property
    def training(self) -> Shares | None:
        """Share of each of the `labels` among the training images; None where it is not known."""
        trained = self.summary.training
        if trained is None or not sum(trained.labels.values()):
            return None
        return mean_shares([np.array([trained.labels.get(name, 0) for name in self.labels])])

    @cached_property
    def class_drift(self) -> Drift | None:
        """How far the classes are from the usual; None where nothing can be compared."""
        return self._drift(self._counts)

    @cached_property
    def confidence_drift(self) -> Drift | None:
        """How far the confidences are from the usual."""
        return self._drift(lambda mix: np.array(mix.confidences))

    @cached_property
    def from_training(self) -> float | None:
        """Divergence of the classes from those of training, in bits."""
        if self.training is None or not self.now.images:
            return None
        return float(jensen_shannon(self._counts(self.now), self.training))

    @property
    def unusual(self) -> bool:
        """Whether anything is."""
        drifts = (self.class_drift, self.confidence_drift)
        return any(of is not None and of.unusual for of in drifts)

    def shares(self, mix: Mix | None) -> Shares | None:
        """Share of each of the `labels`; None where there is nothing."""
        return mean_shares([self._counts(mix)]) if mix and mix.images else None

    def sentences(self) -> list[tuple[bool, str]]:
        """What a person should know, each with whether it is unusual."""
        if not self.now.images:
            return [(False, "Nothing was classified anew, so there is nothing to compare.")]
        said = [*self._of_before(), *self._of_classes(), *self._of_confidence()]
        if not self.earlier:
            said.append((False, "There is no earlier night with this model to compare with yet."))
        return [*said, *self._of_training()]

    def _of_before(self) -> Iterable[tuple[bool, str]]:
        before = self.now.images - self.summary.classified
        if before > 0:
            yield (
                False,
                f"{counted(before, 'image')} of an earlier run that did not come to its end count "
                "as new with those of this one.",
            )

    def _of_classes(self) -> Iterable[tuple[bool, str]]:
        if self.class_drift is None or self.usual is None:
            return
        figure = f"Jensen-Shannon divergence from the usual: {_bits(self.class_drift)}"
        if not self.class_drift.unusual:
            yield False, f"The classes are about as usual ({figure})."
            return
        now = self.shares(self.now)
        assert now is not None
        off = now - self.usual
        order = np.argsort(-off, kind="stable")
        up, down = order[:_NAMED], order[::-1][:_NAMED]
        moved = [
            f"{word} " + ", ".join(self._instead(i, now) for i in places if sign * off[i] > _MOVED)
            for word, sign, places in [("more", 1, up), ("fewer", -1, down)]
            if any(sign * off[i] > _MOVED for i in places)
        ]
        yield (
            True,
            f"The classes are unusual: {'; '.join(moved) or 'many small changes'} ({figure}).",
        )

    def _instead(self, place: int, now: Shares) -> str:
        assert self.usual is not None
        was = percent(self.usual[place])
        return f"{printable(self.labels[place])} ({percent(now[place])} instead of {was})"

    def _of_confidence(self) -> Iterable[tuple[bool, str]]:
        mean, of = self.now.mean_confidence, self.confidence_drift
        if of is None or mean is None:
            return
        usual = float(np.mean([_mix(night).mean_confidence for night in self.earlier]))
        figures = f"mean confidence {mean:.2f}, usually {usual:.2f}; divergence {_bits(of)}"
        if not of.unusual:
            yield False, f"The network is about as sure as usual ({figures})."
        else:
            how = "less sure" if mean < usual else "surer"
            yield True, f"The network is {how} than usual ({figures})."

    def _of_training(self) -> Iterable[tuple[bool, str]]:
        far, trained = self.from_training, self.summary.training
        if far is not None:
            means = (
                "far from what the model learned from, so trust rare classes less"
                if far > _FAR
                else "close to what the model learned from"
            )
            yield False, f"Beside training, the classes diverge by {far:.3f} bits: {means}."
        mean = self.now.mean_confidence
        if trained and trained.accuracy is not None and mean is not None:
            below = mean < trained.accuracy - _DOUBTFUL
            harder = ", so these pictures are harder than those" if below else ""
            right, sure = percent(trained.accuracy), percent(mean)
            sentence = f"In training {right} of the valid images were right; the mean confidence"
            yield below, f"{sentence} now is {sure}{harder}."

    def _drift(self, counts: Any) -> Drift | None:
        if not self.earlier or not self.now.images:
            return None
        return drift(counts(self.now), [counts(_mix(night)) for night in self.earlier])

    def _counts(self, mix: Mix) -> Any:
        return np.array([mix.labels.get(name, 0) for name in self.labels])


def _mix(night: Summary) -> Mix:
    return night.new or Mix(confidences=[0] * BINS)


def _bits(of: Drift) -> str:
    others = "" if of.others is None else f", earlier nights up to {of.others:.3f}"
    return f"{of.divergence:.3f} bits{others}"
