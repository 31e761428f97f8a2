"""A run compared with earlier runs and with the training set: figures, and sentences on them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from boatinfer.analysis.drift import Shares, jensen_shannon, mean_shares
from boatinfer.analysis.unusual import comparable, compared_runs
from boatinfer.analysis.yardstick import MIN_RUNS
from boatinfer.i18n import Language
from boatinfer.results.folder_mixes import MIN_IMAGES
from boatinfer.results.mix import BINS, Mix
from boatinfer.results.summary import Summary

__all__ = ["RunHistory"]

#: Number of earlier runs among which those to compare with are chosen.
_EARLIER_RUNS = 28
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
        return cls(summary, comparable(summary, history, _EARLIER_RUNS))

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
        """Mean share of each of the `labels` over the ordinary earlier runs; None without any."""
        counts = [self._counts(_mix(run)) for run in self._ordinary("classes")]
        return mean_shares(counts) if counts else None

    @property
    def compared(self) -> int:
        """Number of earlier runs that `usual` is the mean of."""
        return len(self._ordinary("classes"))

    @cached_property
    def usual_confidences(self) -> Shares | None:
        """Mean share of each bin of confidence over these runs; None without any."""
        counts = [np.array(_mix(run).confidences) for run in self._ordinary("confidence")]
        return mean_shares(counts) if counts else None

    @cached_property
    def training(self) -> Shares | None:
        """Share of each of the `labels` in the training set; None if unknown."""
        training = self.summary.training
        if training is None or not sum(training.labels.values()):
            return None
        return mean_shares([np.array([training.labels.get(name, 0) for name in self.labels])])

    @cached_property
    def from_training(self) -> float | None:
        """Divergence of the predicted classes from the training set, in bits."""
        if self.training is None or not self.new.classified:
            return None
        return float(jensen_shannon(self._counts(self.new), self.training))

    def shares(self, mix: Mix | None) -> Shares | None:
        """Share of each of the `labels`; None without images."""
        return mean_shares([self._counts(mix)]) if mix and mix.classified else None

    def sentences(self, language: Language) -> list[tuple[bool, str]]:
        """Sentences on the comparison, each with whether it reports something unusual.

        What ``unusual`` of the summary says is not said again.
        """
        if not self.new.classified:
            nothing = language.gettext(
                "This run classified no new images, so there is nothing to compare."
            )
            return [(False, nothing)]
        return [
            *self._incomplete_sentences(language),
            *self._comparison_sentences(language),
            *self._training_sentences(language),
        ]

    def _incomplete_sentences(self, language: Language) -> Iterable[tuple[bool, str]]:
        incomplete = self.new.classified - self.summary.classified
        if incomplete > 0:
            yield (
                False,
                language.ngettext(
                    "The new images include %(num)s image of an earlier, incomplete run.",
                    "The new images include %(num)s images of an earlier, incomplete run.",
                    incomplete,
                ),
            )

    def _comparison_sentences(self, language: Language) -> Iterable[tuple[bool, str]]:
        values = {"runs": language.number(MIN_RUNS), "images": language.number(MIN_IMAGES)}
        if not self.earlier:
            yield (
                False,
                language.gettext("There is no earlier run with this model to compare with yet."),
            )
        elif self.new.classified < MIN_IMAGES:
            yield (
                False,
                language.gettext(
                    "Fewer than %(images)s new images are too few to say whether they are unusual.",
                    **values,
                ),
            )
        elif len(compared_runs(self.earlier, "classes")) < MIN_RUNS:
            yield (
                False,
                language.gettext(
                    "What is unusual shows from %(runs)s earlier runs on with at least "
                    "%(images)s new images each.",
                    **values,
                ),
            )
        else:
            yield from ((False, sentence) for sentence in self._usual_sentences(language))

    def _usual_sentences(self, language: Language) -> Iterable[str]:
        found = {unusual.kind for unusual in self.summary.unusual if unusual.folder is None}
        if "classes" not in found and self.usual is not None:
            bits = float(jensen_shannon(self._counts(self.new), self.usual))
            yield language.gettext(
                "The classes are about as usual (Jensen-Shannon divergence from the usual: "
                "%(bits)s bits).",
                bits=language.decimal(bits, 3),
            )
        mean = self.new.mean_confidence
        if "confidence" not in found and mean is not None:
            runs = self._ordinary("confidence")
            usual = float(np.mean([_mix(run).mean_confidence for run in runs]))
            yield language.gettext(
                "The network is about as confident as usual (mean confidence %(mean)s, usually "
                "%(usual)s).",
                mean=language.decimal(mean, 2),
                usual=language.decimal(usual, 2),
            )

    def _training_sentences(self, language: Language) -> Iterable[tuple[bool, str]]:
        if self.from_training is not None:
            bits = language.decimal(self.from_training, 3)
            yield (
                False,
                language.gettext(
                    "The classes diverge from training by %(bits)s bits: far from the training "
                    "set, so trust rare classes less.",
                    bits=bits,
                )
                if self.from_training > _FAR_FROM_TRAINING
                else language.gettext(
                    "The classes diverge from training by %(bits)s bits: close to the training "
                    "set.",
                    bits=bits,
                ),
            )
        training, mean = self.summary.training, self.new.mean_confidence
        if training and training.accuracy is not None and mean is not None:
            lower = mean < training.accuracy - _LOW_CONFIDENCE
            yield lower, self._confidence_sentence(training.accuracy, mean, lower, language)

    def _confidence_sentence(
        self, accuracy: float, mean: float, lower: bool, language: Language
    ) -> str:
        values = {"accuracy": language.percent(accuracy, 0), "mean": language.percent(mean, 0)}
        if lower:
            return language.gettext(
                "The accuracy on the validation images was %(accuracy)s; the mean confidence of "
                "this run is %(mean)s, so these images are harder than those.",
                **values,
            )
        return language.gettext(
            "The accuracy on the validation images was %(accuracy)s; the mean confidence of this "
            "run is %(mean)s.",
            **values,
        )

    def _ordinary(self, kind: str) -> Sequence[Summary]:
        """The earlier runs that say what is usual; all of them where that leaves none."""
        return compared_runs(self.earlier, kind) or self.earlier

    def _counts(self, mix: Mix) -> Any:
        return np.array([mix.classes.get(name, 0) for name in self.labels])


def _mix(run: Summary) -> Mix:
    return run.new or Mix(confidences=[0] * BINS)
