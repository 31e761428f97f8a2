"""Whether a model may take the place of another: both on labels that no training has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from boatinfer.analysis.metrics import mcnemar, wilson
from boatinfer.dataset.held_back import near_sample, share_of_groups
from boatinfer.dataset.near_duplicates import near_duplicates, read_thumbnails
from boatinfer.results.labels import Answer, is_class
from boatinfer.storage.base import Place
from boatinfer.text import counted, decimal, percent, table

__all__ = ["FEWEST", "Trial", "held_back", "in_words"]

#: Held-back labels that it takes at least.
FEWEST = 20


def held_back(
    answers: Mapping[str, Answer], paths: Mapping[str, Place], sampled: set[str], share: float
) -> list[str]:
    """The contents that ``boatinfer data build`` holds back: near duplicates stay together.

    What that cannot know here are the images of the base: a labelled image that is nearly the same
    as one of these is in training, as is one of its group with ``--group-by``.

    Args:
        answers: of each content the last one.
        paths: where a file of a content is; others are left out.
        sampled: contents that were asked for at random, which are all held back, as is whatever
            has its place in the random sample.
        share: share of the others.
    """
    named = sorted(content for content in paths if is_class(answers[content].label))
    vectors, _ = read_thumbnails([Path(str(paths[content])) for content in named])
    near = near_duplicates(vectors, named).tolist()
    of_sample, of_share = near_sample(named, near, sampled), share_of_groups(named, near, share)
    return [named[row] for row in range(len(named)) if of_sample[row] or of_share[row]]


@dataclass(frozen=True)
class Trial:
    """Two models on the same images.

    Attributes:
        truth: the label of each image [N].
        before: what the model in service says [N].
        after: what the other one says [N].
    """

    truth: Sequence[str]
    before: Sequence[str]
    after: Sequence[str]

    @property
    def _correct(self) -> tuple[Any, Any]:
        truth = np.array(self.truth, object)
        return np.array(self.before, object) == truth, np.array(self.after, object) == truth

    @property
    def classes(self) -> dict[str, tuple[int, int, int]]:
        """Of each class its images, and how many of them are right before and after."""
        before, after = self._correct
        truth = np.array(self.truth, object)
        return {
            name: (int(mask.sum()), int(before[mask].sum()), int(after[mask].sum()))
            for name in sorted(set(self.truth))
            for mask in [truth == name]
        }

    def objections(self, max_loss: float) -> list[str]:
        """What speaks against the other model; nothing if it is no worse.

        It must get no fewer images right, and of no class lose more than a share. One image of a
        class is never too many: it would be a large share of a small class.

        Args:
            max_loss: the share.
        """
        count = len(self.truth)
        if count < FEWEST:
            return [
                f"there are {counted(count, 'held-back label')}, and it takes {FEWEST}; label more "
                "of the random sample"
            ]
        before, after = (int(mask.sum()) for mask in self._correct)
        found = []
        if after < before:
            found.append(
                f"of {counted(count, 'held-back image')} it gets {after:,} right, and the model in "
                f"service {before:,} ({self._chance})"
            )
        for name, (images, was, now) in self.classes.items():
            if was - now > max(1, max_loss * images):
                found.append(
                    f"of {counted(images, 'image')} of {name} it gets {now:,} right, and the model "
                    f"in service {was:,}: more than {percent(max_loss)} are lost"
                )
        return found

    @property
    def _p(self) -> float:
        return mcnemar(*self._correct)

    @property
    def _chance(self) -> str:
        chance = "unlikely to be chance" if self._p < 0.05 else "a difference may be chance"
        return f"McNemar's exact test: p = {self._p:.2g}, {chance}"

    def document(self) -> dict[str, Any]:
        """All figures, for the log."""
        before, after = self._correct
        return {
            "images": len(self.truth),
            "right_before": int(before.sum()),
            "right_after": int(after.sum()),
            "only_before": int((before & ~after).sum()),
            "only_after": int((after & ~before).sum()),
            "mcnemar_p": self._p,
            "classes": {name: list(counts) for name, counts in self.classes.items()},
        }

    def text(self) -> str:
        """The figures, for a terminal."""
        count = len(self.truth)
        if not count:
            return "there are no held-back labels"
        sides = []
        for name, mask in zip(("in service", "the other"), self._correct, strict=True):
            low, high = wilson(np.array([mask.sum()]), np.array([count]))[:, 0]
            ends = f"{decimal(low)} to {decimal(high)}"
            sides.append((name, f"{int(mask.sum()):,}", decimal(mask.mean()), ends))
        rows = [(name, *counts) for name, counts in self.classes.items()]
        lines = [
            f"{counted(count, 'held-back image')}; {self._chance}",
            *table([("", "right", "accuracy", "95 %"), *sides]),
            *table([("class", "images", "in service", "the other"), *rows]),
        ]
        return "\n".join(lines)


def in_words(objections: Sequence[str]) -> str:
    """Objections as one sentence, without its end."""
    return "; ".join(objections[:3]) + (" and more" if len(objections) > 3 else "")
