"""``boatinfer evaluate``: the last run's predictions beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from boatinfer.analysis import abstention
from boatinfer.analysis.evaluation import Confidence, Evaluation, side_by_side
from boatinfer.analysis.options import EvaluateOptions
from boatinfer.analysis.truth import true_labels
from boatinfer.errors import OutputError, UsageError, first_line
from boatinfer.results.find import find_results
from boatinfer.results.folder import Results
from boatinfer.results.store.rows import matrix
from boatinfer.results.summary import Summary
from boatinfer.results.tables.csv_files import csv_plain
from boatinfer.storage.locations import open_for_arrow
from boatinfer.text import joined, printable

__all__ = ["Evaluated", "evaluate"]

#: Names that a sentence lists at most.
_NAMED = 5


@dataclass(frozen=True)
class Evaluated:
    """What the last run of a results folder is worth, where the truth is known.

    Attributes:
        run: that run.
        network: of the images whose true class the network knows; None where it knows none.
        svm: the SVM's, of all images with a label; None where the run had no SVM.
        unknown: labels that the network does not know, and how many images have them.
        unlabelled: how many classified images have no label.
        target_accuracy: for which accuracy to find a threshold; None for none.
    """

    run: Summary
    network: Evaluation | None
    svm: Evaluation | None
    unknown: dict[str, int]
    unlabelled: int
    target_accuracy: float | None = None

    @property
    def threshold(self) -> abstention.Threshold | None:
        """The confidence from which on the target accuracy is shown; None if it is nowhere."""
        if self.target_accuracy is None or self.network is None:
            return None
        network = self.network
        return abstention.find(network.risk_coverage, len(network.truth), self.target_accuracy)

    @property
    def kept(self) -> abstention.Threshold | None:
        """What the run itself did not leave to people; None if it was to leave nothing."""
        if self.run.min_confidence is None or self.network is None:
            return None
        return self.network.above(self.run.min_confidence)

    @property
    def abstention(self) -> list[str]:
        """Sentences that say what leaving the least confident to people does or would do."""
        said = []
        if self.kept:
            said.append(abstention.outcome(self.kept))
        if self.target_accuracy is not None and self.network:
            images = len(self.network.truth)
            said.append(abstention.advice(self.threshold, images, self.target_accuracy))
        return said

    @property
    def left_out(self) -> list[str]:
        """Sentences that say which images and classes the figures are not of."""
        out = []
        if self.run.failed:
            out.append(f"{self.run.failed:,} that failed")
        if self.unlabelled:
            out.append(f"{self.unlabelled:,} without a label")
        if self.unknown:
            names = _some([f"{name} {count:,}" for name, count in self.unknown.items()])
            count = sum(self.unknown.values())
            out.append(f"{count:,} of classes that the network does not know ({names})")
        said = [f"Left out: {'; '.join(out)}."] if out else []
        if self.unknown and self.network:
            share = self.network.right.sum() / (len(self.network.truth) + count)
            said.append(f"Counting unknown classes as wrong, the accuracy is {share:.4f}.")
        if self.network and self.network.absent:
            said.append(f"There is no image of {_some(self.network.absent)}.")
        return said

    def document(self) -> dict[str, Any]:
        """All figures, as JSON can hold them."""
        return {
            "folder": self.run.folder,
            "run": self.run.run,
            "model": self.run.model,
            "model_name": self.run.model_name,
            "failed": self.run.failed,
            "unlabelled": self.unlabelled,
            "unknown": self.unknown,
            "absent": self.network.absent if self.network else [],
            "kept": self.kept and self.kept._asdict(),
            "threshold": self.threshold and self.threshold._asdict(),
            "network": self.network and self.network.document(),
            "svm": self.svm and self.svm.document(),
        }

    def text(self) -> str:
        """All figures, for a terminal."""
        known = self.network or self.svm
        assert known is not None  # else `evaluate` has nothing to say
        heading = (
            f"{self.run.model_name} on {printable(self.run.folder)}, images of known class: "
            f"{len(known.truth):,}"
        )
        blocks = [heading, known.text("" if self.network else " (SVM)")]
        if self.svm:
            both = [("network", self.network), ("SVM", self.svm)]
            rows = side_by_side((name, one) for name, one in both if one)
            blocks.append("\n".join(["Network and SVM, with 95 % intervals", *rows]))
        last = [*self.abstention, *self.left_out]
        return "\n\n".join([*blocks, *(["\n".join(last)] if last else [])])


def evaluate(options: EvaluateOptions) -> Evaluated:
    """Compares the last run's predictions with the truth.

    Args:
        options: which results, and where the truth is.

    Raises:
        UsageError: there are no results, no labels, or none that the model knows.
        OutputError: the results are damaged.
    """
    results = find_results(options.out)
    run = results.last_finished()
    images = _images(results)
    paths = images["path"].combine_chunks()
    truth = true_labels(paths, options.labels, run.folder)
    if truth.null_count == len(truth):
        raise UsageError(
            f"{results.out}: the images lie in no class folders; give their true classes with "
            "--labels FILE, a CSV file with the columns path and label."
        )
    places = pc.index_in(truth, value_set=pa.array(run.classes, pa.string()), skip_nulls=True)
    network = _of_network(results, run, images, places)
    svm = _of_svm(results, paths, truth)
    if network is None and svm is None:
        raise UsageError(
            f"{results.out}: none of the true classes ({_some(_names(truth))}) is one that the "
            f"model knows ({_some(run.classes)}); give the right ones with --labels FILE."
        )
    unknown = truth.filter(pc.and_(truth.is_valid(), places.is_null())).value_counts().to_pylist()
    return Evaluated(
        run=run,
        network=network,
        svm=svm,
        unknown={count["values"]: count["counts"] for count in unknown},
        unlabelled=truth.null_count,
        target_accuracy=options.target_accuracy,
    )


def _images(results: Results) -> pa.Table:
    """`Results.current` in the order in which the parts are read."""
    images = results.current()
    if not images.num_rows:
        raise UsageError(f"{results.out} holds no image that was classified.")
    return images.sort_by([("part", "ascending"), ("row", "ascending")])


def _of_network(
    results: Results, run: Summary, images: pa.Table, truth: pa.Array
) -> Evaluation | None:
    """The network's predictions, part by part, where ``truth`` names one of its classes."""
    columns: list[tuple[npt.NDArray[Any], ...]] = []
    done = 0
    for part in results.parts.read(images, ["probabilities"]):
        of = truth.slice(done, part.num_rows)
        done += part.num_rows
        if of.null_count < len(of):
            places = of.drop_null().to_numpy().astype(np.int64)
            probabilities = matrix(part["probabilities"].filter(of.is_valid()))
            sure = Confidence.of(probabilities, places)
            columns.append((places, probabilities.argmax(axis=1), sure.confidence, sure.rank))
    if not columns:
        return None
    places, best, confidence, rank = map(np.concatenate, zip(*columns, strict=True))
    paths = images["path"].filter(truth.is_valid()).to_numpy()
    order = np.argsort(paths)
    sure = Confidence(confidence[order], rank[order])
    return Evaluation(run.classes, paths[order], places[order], best[order], sure)


def _of_svm(results: Results, paths: pa.Array, truth: pa.Array) -> Evaluation | None:
    """The SVM's labels, as predictions.csv has them; None where it has none."""
    said = _svm_labels(results)
    if said is None:
        return None
    labels = said["svm_label"].take(pc.index_in(paths, value_set=said["path"].combine_chunks()))
    if labels.null_count:
        raise OutputError(
            f"{results.predictions} does not name every image of its run; run again to have it "
            "written anew."
        )
    known = truth.is_valid()
    both = pa.chunked_array([truth.filter(known), *labels.filter(known).chunks])
    codes = both.combine_chunks().dictionary_encode()
    names = np.array(codes.dictionary.to_pylist(), object)
    classes, places = np.unique(names, return_inverse=True)
    true, predicted = places[codes.indices.to_numpy()].reshape(2, -1)
    order = np.argsort(where := paths.filter(known).to_numpy(zero_copy_only=False))
    return Evaluation(classes.tolist(), where[order], true[order], predicted[order])


def _svm_labels(results: Results) -> pa.Table | None:
    text = pa.string()
    try:
        table = pa.csv.read_csv(
            open_for_arrow(results.predictions),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                include_columns=["path", "svm_label"],
                include_missing_columns=True,
                column_types={"path": text, "svm_label": text},
            ),
        )
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise OutputError(
            f"{results.predictions} cannot be read ({first_line(error)}); run again to have it "
            "written anew."
        ) from error
    if table["svm_label"].null_count:
        return None
    paths = pc.replace_substring_regex(table["path"], r"^\./", "")
    return pa.table({"path": paths, "svm_label": csv_plain(table["svm_label"])})


def _names(labels: pa.Array) -> list[str]:
    return [str(name) for name in labels.drop_null().unique().to_pylist()]


def _some(names: Sequence[str]) -> str:
    return printable(joined(names, _NAMED))
