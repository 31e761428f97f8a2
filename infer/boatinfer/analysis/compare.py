"""``boatinfer compare``: what two runs say of the same images."""

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
from boatinfer.results.find import find_results
from boatinfer.results.folder import Results
from boatinfer.results.summary import Summary
from boatinfer.storage.base import Place
from boatinfer.text import printable, table

__all__ = ["Compared", "compare", "speed"]


@dataclass(frozen=True)
class Compared:
    """Two runs, A and B, over the same images.

    Attributes:
        outs: their results folders.
        runs: their last runs.
        speeds: images a second of the last run of each that classified any with its model.
        agreement: B's labels as predictions where A's are the truth.
        alone: images that only A has, and only B.
        changed: images of the same path whose content is not the same; they are left out.
        right: each beside the truth, of the images whose class either model knows; None where
            there are none.
    """

    outs: tuple[Place, Place]
    runs: tuple[Summary, Summary]
    speeds: tuple[float | None, float | None]
    agreement: Evaluation
    alone: tuple[int, int]
    changed: int
    right: tuple[Evaluation, Evaluation] | None

    @property
    def contingency(self) -> dict[str, int]:
        """How many images both have right, A alone, B alone, and neither."""
        assert self.right is not None
        a, b = (one.right for one in self.right)
        masks = {"both": a & b, "a_alone": a & ~b, "b_alone": ~a & b, "neither": ~a & ~b}
        return {name: int(mask.sum()) for name, mask in masks.items()}

    @property
    def verdict(self) -> str:
        """A sentence on whether one of them is better."""
        if self.right is None:
            return "The truth is not known: no folder is a class of a model; give --labels FILE."
        p = mcnemar(self.right[0].right, self.right[1].right)
        meaning = "a difference that chance rarely makes" if p < 0.05 else "it may be chance"
        figure = f"= {p:.4g}" if p >= 0.0001 else "< 0.0001"
        return f"McNemar's exact test: p {figure} ({meaning})."

    def document(self) -> dict[str, Any]:
        """All figures, as JSON can hold them."""
        sides = {
            name: {
                "out": str(self.outs[i]),
                "run": self.runs[i].run,
                "model": self.runs[i].model,
                "model_name": self.runs[i].model_name,
                "device": self.runs[i].device,
                "images_per_second": self.speeds[i],
                "alone": self.alone[i],
                **(self.right[i].headline() if self.right else {}),
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
            "truth": self.right
            and {
                "images": len(self.right[0].truth),
                **self.contingency,
                "mcnemar_p": mcnemar(self.right[0].right, self.right[1].right),
            },
        }

    def text(self) -> str:
        """All figures, for a terminal."""
        count, ends = len(self.agreement.truth), self.agreement.intervals.accuracy
        blocks = [
            table([self._side(0), self._side(1)], names=5),
            [
                f"images in both: {count:,}; in A alone: {self.alone[0]:,}; in B alone: "
                f"{self.alone[1]:,}; changed in between and left out: {self.changed:,}",
                f"agreement: {self.agreement.accuracy:.4f} "
                f"(95 % interval {ends[0]:.4f} to {ends[1]:.4f})",
            ],
        ]
        if pairs := self.agreement.pairs("{} in A, {} in B"):
            blocks += [["Where they differ most", *pairs]]
            blocks += [self.agreement.matrix("what A says", "what B says")]
        return "\n\n".join("\n".join(block) for block in [*blocks, self._truth()])

    def _side(self, i: int) -> tuple[str, ...]:
        run, speed = self.runs[i], self.speeds[i]
        rate = f"{speed:,.0f} images a second on {run.device}" if speed else ""
        return "AB"[i], str(self.outs[i]), run.model_name, run.model[:12], rate

    def _truth(self) -> list[str]:
        if self.right is None:
            return [self.verdict]
        count = self.contingency
        return [
            "Beside the truth, with 95 % intervals",
            *side_by_side(zip("AB", self.right, strict=True)),
            f"right: both {count['both']:,}; A alone {count['a_alone']:,}; B alone "
            f"{count['b_alone']:,}; neither {count['neither']:,}",
            self.verdict,
        ]


def compare(options: CompareOptions) -> Compared:
    """Compares the last runs of two results folders, image by image.

    Args:
        options: which two, and where the truth is.

    Raises:
        UsageError: there are no results, no images in common, or no classes in common.
        OutputError: the results are damaged.
    """
    folders = find_results(options.one), find_results(options.other)
    runs = folders[0].last_finished(), folders[1].last_finished()
    a, b = (_rows(folder) for folder in folders)
    there = pc.is_in(a["path"], value_set=b["path"].combine_chunks())
    both = a.filter(there)
    if not both.num_rows:
        raise UsageError(f"{options.one} and {options.other} have no image in common.")
    _require_common_classes(runs, options)
    b_rows = b.take(pc.index_in(both["path"], value_set=b["path"].combine_chunks()))
    same = pc.equal(both["content"], b_rows["content"])
    alone = a.num_rows - both.num_rows, b.num_rows - both.num_rows
    changed = both.num_rows - int(pc.sum(same).as_py() or 0)
    if changed == both.num_rows:
        raise UsageError(
            f"{options.one} and {options.other} have paths in common, but no image of the same "
            "content."
        )
    both, b_rows = both.filter(same), b_rows.filter(same)
    classes = list(dict.fromkeys([*runs[0].classes, *runs[1].classes]))
    names = pa.array(classes, pa.string())
    paths = both["path"].combine_chunks()
    said = tuple(_codes(rows["label"].combine_chunks(), names) for rows in (both, b_rows))
    truth = pc.index_in(true_labels(paths, options.labels, runs[0].folder), value_set=names)
    return Compared(
        outs=(options.one, options.other),
        runs=runs,
        speeds=(speed(folders[0], runs[0]), speed(folders[1], runs[1])),
        agreement=Evaluation(classes, _texts(paths), said[0], said[1]),
        alone=alone,
        changed=changed,
        right=_beside_truth(classes, paths, truth, said),
    )


def _rows(results: Results) -> pa.Table:
    parts = list(results.parts.read(results.current(), ["path", "content", "label"]))
    if not parts:
        raise UsageError(f"{results.out} holds no image that was classified.")
    return pa.concat_tables(parts).sort_by("path")


def _require_common_classes(runs: tuple[Summary, Summary], options: CompareOptions) -> None:
    if not set(runs[0].classes) & set(runs[1].classes):
        raise UsageError(
            f"the models of {options.one} and {options.other} have no class in common "
            f"({printable(runs[0].classes[0])}, ... and {printable(runs[1].classes[0])}, ...), so "
            "that their labels cannot be compared."
        )


def _beside_truth(
    classes: list[str], paths: pa.Array, truth: pa.Array, said: tuple[Labels, ...]
) -> tuple[Evaluation, Evaluation] | None:
    known = truth.is_valid().to_numpy(zero_copy_only=False)
    if not known.any():
        return None
    true, names = truth.drop_null().to_numpy().astype(np.int64), _texts(paths)[known]
    one, other = (Evaluation(classes, names, true, labels[known]) for labels in said)
    return one, other


def _codes(labels: pa.Array, names: pa.Array) -> Labels:
    return np.asarray(pc.index_in(labels, value_set=names).to_numpy(), np.int64)


def _texts(paths: pa.Array) -> Any:
    return paths.to_numpy(zero_copy_only=False)


def speed(results: Results, last: Summary) -> float | None:
    """Images a second of a run, or of the last one before it with its model that classified any."""
    for run in itertools.chain([last], results.history(last)):
        if run.model == last.model and run.classified and run.images_per_second:
            return run.images_per_second
    return None
