"""``boatinfer compare``: the predictions of two runs for the same images."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from boatinfer.analysis.evaluation import Evaluation, side_by_side
from boatinfer.analysis.metrics import Labels, mcnemar
from boatinfer.analysis.options import CompareOptions
from boatinfer.analysis.truth import true_labels
from boatinfer.errors import UsageError
from boatinfer.i18n import ENGLISH, Language
from boatinfer.results.find import find_results
from boatinfer.results.folder import Results
from boatinfer.results.summary import Summary
from boatinfer.storage.base import Place
from boatinfer.text import decimal, printable, table

__all__ = ["Comparison", "compare", "speed"]


@dataclass(frozen=True)
class Comparison:
    """Two runs, A and B, over the same images.

    Attributes:
        outs: their results folders.
        runs: their last runs.
        speeds: images a second of each; of an earlier run if the last one classified nothing.
        agreement: an evaluation of B's predictions with A's as the ground truth.
        unmatched: number of images only in A, and only in B.
        changed: number of images with the same path and different content, which are left out.
        evaluations: of each against the ground truth, for the images whose true class is one of
            either model; None if there are none.
    """

    outs: tuple[Place, Place]
    runs: tuple[Summary, Summary]
    speeds: tuple[float | None, float | None]
    agreement: Evaluation
    unmatched: tuple[int, int]
    changed: int
    evaluations: tuple[Evaluation, Evaluation] | None

    @property
    def contingency(self) -> dict[str, int]:
        """Number of images that both classify correctly, only A, only B, and neither."""
        assert self.evaluations is not None
        a, b = (evaluation.correct for evaluation in self.evaluations)
        masks = {"both": a & b, "a_alone": a & ~b, "b_alone": ~a & b, "neither": ~a & ~b}
        return {name: int(mask.sum()) for name, mask in masks.items()}

    def verdict(self, language: Language = ENGLISH) -> str:
        """A sentence on which run is more accurate, and whether that may be chance."""
        if self.evaluations is None:
            return language.gettext(
                "The true classes are unknown: no folder is a class of a model; give %(option)s.",
                option="--labels FILE",
            )
        a, b = (evaluation.accuracy for evaluation in self.evaluations)
        images = len(self.evaluations[0].truth)
        if a == b:
            return language.ngettext(
                "A and B are equally accurate: %(accuracy)s of %(num)s image.",
                "A and B are equally accurate: %(accuracy)s of %(num)s images.",
                images,
                accuracy=language.decimal(a, 4),
            )
        p = mcnemar(self.evaluations[0].correct, self.evaluations[1].correct)
        return language.ngettext(
            "%(better)s is more accurate, by %(points)s percentage points (%(high)s and %(low)s "
            "of %(num)s image): %(chance)s (McNemar's exact test: p %(p)s).",
            "%(better)s is more accurate, by %(points)s percentage points (%(high)s and %(low)s "
            "of %(num)s images): %(chance)s (McNemar's exact test: p %(p)s).",
            images,
            better="A" if a > b else "B",
            points=language.decimal(100 * abs(a - b), 1),
            high=language.decimal(max(a, b), 4),
            low=language.decimal(min(a, b), 4),
            chance=language.gettext("unlikely to be chance")
            if p < 0.05
            else language.gettext("this may be chance"),
            p=f"= {language.figure(p, 4)}" if p >= 0.0001 else f"< {language.decimal(0.0001, 4)}",
        )

    def document(self) -> dict[str, Any]:
        """All metrics, for JSON."""
        sides = {
            name: {
                "out": str(self.outs[i]),
                "run": self.runs[i].run,
                "model": self.runs[i].model,
                "model_name": self.runs[i].model_name,
                "device": self.runs[i].device,
                "images_per_second": self.speeds[i],
                "alone": self.unmatched[i],
                **(self.evaluations[i].headline() if self.evaluations else {}),
            }
            for i, name in enumerate("ab")
        }
        return {
            **sides,
            "images": len(self.agreement.truth),
            "changed": self.changed,
            "agreement": self.agreement.accuracy,
            "agreement_interval": self.agreement.intervals.accuracy.tolist(),
            "classes": self.agreement.classes,
            "confusion": self.agreement.confusion.tolist(),
            "disagreements": self.agreement.pairs_document("a", "b"),
            "truth": self.evaluations
            and {
                "images": len(self.evaluations[0].truth),
                **self.contingency,
                "mcnemar_p": mcnemar(self.evaluations[0].correct, self.evaluations[1].correct),
            },
        }

    def text(self) -> str:
        """All metrics, for a terminal."""
        count, interval = len(self.agreement.truth), self.agreement.intervals.accuracy
        blocks = [
            [self.verdict()],
            table([self._side(0), self._side(1)], names=5),
            [
                f"images in both: {count:,}; only in A: {self.unmatched[0]:,}; only in B: "
                f"{self.unmatched[1]:,}; changed in between and left out: {self.changed:,}",
                f"agreement: {decimal(self.agreement.accuracy)} "
                f"(95 % interval {decimal(interval[0])} to {decimal(interval[1])})",
            ],
        ]
        if pairs := self.agreement.pairs("{} in A, {} in B"):
            blocks += [["Most frequent differences", *pairs]]
            blocks += [self.agreement.matrix("the class predicted in A", "in B")]
        if self.evaluations is not None:
            blocks.append(self._truth(self.evaluations))
        return "\n\n".join("\n".join(block) for block in blocks)

    def _side(self, i: int) -> tuple[str, ...]:
        run, speed = self.runs[i], self.speeds[i]
        rate = f"{speed:,.0f} images a second on {run.device}" if speed else ""
        return "AB"[i], str(self.outs[i]), run.model_name, run.model[:12], rate

    def _truth(self, evaluations: tuple[Evaluation, Evaluation]) -> list[str]:
        count = self.contingency
        return [
            "Against the ground truth, with 95 % intervals",
            *side_by_side(zip("AB", evaluations, strict=True)),
            f"correct: both {count['both']:,}; only A {count['a_alone']:,}; only B "
            f"{count['b_alone']:,}; neither {count['neither']:,}",
        ]


def compare(options: CompareOptions) -> Comparison:
    """Compares the last runs of two results folders, image by image.

    Args:
        options: the two folders, and the ground truth.

    Raises:
        UsageError: there are no results, no images in common, or no classes in common.
        OutputError: the results are damaged.
    """
    results = find_results(options.one), find_results(options.other)
    runs = results[0].last_finished(), results[1].last_finished()
    all_a, all_b = (_rows(folder) for folder in results)
    in_both = pc.is_in(all_a["path"], value_set=all_b["path"].combine_chunks())
    rows_a = all_a.filter(in_both)
    if not rows_a.num_rows:
        raise UsageError(f"{options.one} and {options.other} have no image in common.")
    _require_common_classes(runs, options)
    rows_b = all_b.take(pc.index_in(rows_a["path"], value_set=all_b["path"].combine_chunks()))
    unchanged = pc.equal(rows_a["content"], rows_b["content"])
    unmatched = all_a.num_rows - rows_a.num_rows, all_b.num_rows - rows_a.num_rows
    changed = rows_a.num_rows - int(pc.sum(unchanged).as_py() or 0)
    if changed == rows_a.num_rows:
        raise UsageError(
            f"{options.one} and {options.other} have paths in common, but no image of the same "
            "content."
        )
    rows_a, rows_b = rows_a.filter(unchanged), rows_b.filter(unchanged)
    classes = list(dict.fromkeys([*runs[0].classes, *runs[1].classes]))
    names = pa.array(classes, pa.string())
    paths = rows_a["path"].combine_chunks()
    predicted = tuple(_codes(rows["label"].combine_chunks(), names) for rows in (rows_a, rows_b))
    truth = pc.index_in(true_labels(paths, options.labels, runs[0].folder), value_set=names)
    return Comparison(
        outs=(options.one, options.other),
        runs=runs,
        speeds=(speed(results[0], runs[0]), speed(results[1], runs[1])),
        agreement=Evaluation(classes, _to_numpy(paths), predicted[0], predicted[1]),
        unmatched=unmatched,
        changed=changed,
        evaluations=_evaluate_both(classes, paths, truth, predicted),
    )


def _rows(results: Results) -> pa.Table:
    parts = list(results.parts.read(results.current(), ["path", "content", "label"]))
    if not parts:
        raise UsageError(f"{results.out} holds no classified images.")
    return pa.concat_tables(parts).sort_by("path")


def _require_common_classes(runs: tuple[Summary, Summary], options: CompareOptions) -> None:
    if not set(runs[0].classes) & set(runs[1].classes):
        raise UsageError(
            f"the models of {options.one} and {options.other} have no class in common "
            f"({printable(runs[0].classes[0])}, ... and {printable(runs[1].classes[0])}, ...), so "
            "their labels cannot be compared."
        )


def _evaluate_both(
    classes: list[str], paths: pa.Array, truth: pa.Array, predictions: tuple[Labels, ...]
) -> tuple[Evaluation, Evaluation] | None:
    labelled = truth.is_valid().to_numpy(zero_copy_only=False)
    if not labelled.any():
        return None
    indices = truth.drop_null().to_numpy().astype(np.int64)
    names = _to_numpy(paths)[labelled]
    a, b = (Evaluation(classes, names, indices, labels[labelled]) for labels in predictions)
    return a, b


def _codes(labels: pa.Array, names: pa.Array) -> Labels:
    return np.asarray(pc.index_in(labels, value_set=names).to_numpy(), np.int64)


def _to_numpy(paths: pa.Array) -> Any:
    return paths.to_numpy(zero_copy_only=False)


def speed(results: Results, summary: Summary) -> float | None:
    """Images a second of a run, or of the last run of its model that classified any image."""
    for run in itertools.chain([summary], results.history(summary)):
        if run.model == summary.model and run.classified and run.images_per_second:
            return run.images_per_second
    return None
