"""``boatinfer evaluate``: the last run's predictions against the ground truth."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from boatinfer.analysis import abstention
from boatinfer.analysis.by_group import ByGroup, by_group
from boatinfer.analysis.evaluation import Confidence, Evaluation, side_by_side
from boatinfer.analysis.options import EvaluateOptions
from boatinfer.analysis.rejection import RejectionResult, evaluate_rejection
from boatinfer.analysis.reviewed_sample import ReviewedSample, review_truth, reviewed_sample
from boatinfer.analysis.truth import true_labels
from boatinfer.errors import OutputError, UsageError, first_line
from boatinfer.i18n import ENGLISH, Language
from boatinfer.results.find import find_results
from boatinfer.results.folder import Results
from boatinfer.results.labels import LABELS, Answer, is_label_file, read_labels
from boatinfer.results.store.rows import matrix
from boatinfer.results.summary import Summary
from boatinfer.results.tables.csv_files import csv_plain
from boatinfer.storage.base import Place
from boatinfer.storage.locations import open_for_arrow
from boatinfer.text import printable

__all__ = ["EvaluationResult", "evaluate"]

_log = logging.getLogger(__name__)

#: Names that a sentence lists at most.
_LISTED = 5


@dataclass(frozen=True)
class EvaluationResult:
    """The evaluation of the last run of a results folder.

    Attributes:
        run: the run.
        network: evaluation of the network, on the images whose true class is one of the model's;
            None if there are none.
        svm: evaluation of the SVM, on all labelled images; None if the run had no SVM.
        unknown: true classes that the network does not have, and their numbers of images.
        unlabelled: number of classified images without a true class.
        target_accuracy: the accuracy to find an abstention threshold for; None for none.
        rejection: how well foreign images are told from those of known class; None without any.
        groups: the figures of each group, of the network if it is evaluated; None for none.
        sample: what the random sample of a review says; None if the truth is no review.
    """

    run: Summary
    network: Evaluation | None
    svm: Evaluation | None
    unknown: dict[str, int]
    unlabelled: int
    target_accuracy: float | None = None
    groups: ByGroup | None = None
    rejection: RejectionResult | None = None
    sample: ReviewedSample | None = None

    @property
    def recommended_threshold(self) -> abstention.Threshold | None:
        """The abstention threshold that shows the target accuracy; None if there is none."""
        if self.target_accuracy is None or self.network is None:
            return None
        images = len(self.network.truth)
        return abstention.find_threshold(self.network.risk_coverage, images, self.target_accuracy)

    @property
    def run_threshold(self) -> abstention.Threshold | None:
        """The run's own abstention threshold, with its counts; None if the run had none."""
        if self.run.min_confidence is None or self.network is None:
            return None
        return self.network.abstain_below(self.run.min_confidence)

    def abstention(self, language: Language = ENGLISH) -> list[str]:
        """Sentences on the effect of the run's and of the recommended abstention threshold."""
        sentences = []
        if self.run_threshold:
            sentences.append(abstention.describe_outcome(self.run_threshold, language))
        if self.target_accuracy is not None and self.network:
            images, target = len(self.network.truth), self.target_accuracy
            sentences.append(
                abstention.describe_recommendation(
                    self.recommended_threshold, images, target, language
                )
            )
        return sentences

    def left_out(self, language: Language = ENGLISH) -> list[str]:
        """Sentences on the images and classes that are not evaluated."""
        left_out = list(self._left_out(language))
        sentences = []
        if left_out:
            what = language.gettext("; ").join(left_out)
            sentences.append(language.gettext("Left out: %(what)s.", what=what))
        if self.unknown and self.network:
            count = len(self.network.truth) + sum(self.unknown.values())
            share = language.percent(self.network.correct.sum() / count)
            sentences.append(
                language.gettext(
                    "Counting unknown classes as wrong, the accuracy is %(share)s.", share=share
                )
            )
        if self.network and self.network.absent:
            names = _listed(self.network.absent, language)
            sentences.append(language.gettext("There is no image of %(classes)s.", classes=names))
        return sentences

    def _left_out(self, language: Language) -> Iterator[str]:
        if self.run.failed:
            yield language.ngettext("%(num)s that failed", "%(num)s that failed", self.run.failed)
        if self.unlabelled:
            yield language.ngettext(
                "%(num)s without a label", "%(num)s without a label", self.unlabelled
            )
        if self.unknown:
            names = [f"{name} {language.number(count)}" for name, count in self.unknown.items()]
            yield language.ngettext(
                "%(num)s of classes that the network does not know (%(names)s)",
                "%(num)s of classes that the network does not know (%(names)s)",
                sum(self.unknown.values()),
                names=_listed(names, language),
            )

    def document(self) -> dict[str, Any]:
        """All metrics, for JSON."""
        return {
            "folder": self.run.folder,
            "run": self.run.run,
            "model": self.run.model,
            "model_name": self.run.model_name,
            "failed": self.run.failed,
            "unlabelled": self.unlabelled,
            "unknown": self.unknown,
            "absent": self.network.absent if self.network else [],
            "kept": self.run_threshold and self.run_threshold.document(),
            "threshold": self.recommended_threshold and self.recommended_threshold.document(),
            "network": self.network and self.network.document(),
            "svm": self.svm and self.svm.document(),
            "groups": self.groups and self.groups.document(),
            "rejection": self.rejection and self.rejection.document(),
            "sample": self.sample and self.sample.document(),
        }

    def text(self) -> str:
        """All metrics, for a terminal."""
        evaluation = self.network or self.svm
        assert evaluation is not None  # else `evaluate` has raised an error
        heading = (
            f"{self.run.model_name} on {printable(self.run.folder)}, images of known class: "
            f"{len(evaluation.truth):,}"
        )
        blocks = [heading, evaluation.text("" if self.network else " (SVM)")]
        blocks += [self.groups.text()] if self.groups else []
        blocks += [self.rejection.text()] if self.rejection else []
        if self.svm:
            evaluations = [("network", self.network), ("SVM", self.svm)]
            rows = side_by_side(
                (name, evaluation) for name, evaluation in evaluations if evaluation
            )
            blocks.append("\n".join(["Network and SVM, with 95 % intervals", *rows]))
        notes = [*self.abstention(), *self.left_out()]
        sample = [self.sample.text()] if self.sample else []
        return "\n\n".join([*sample, *blocks, *(["\n".join(notes)] if notes else [])])


def evaluate(options: EvaluateOptions) -> EvaluationResult:
    """Compares the last run's predictions with the ground truth.

    Args:
        options: the results folder, and the ground truth.

    Raises:
        UsageError: there are no results, no true classes, or none that the model has.
        OutputError: the results are damaged.
    """
    results = find_results(options.out)
    run = results.last_finished()
    images = _images(results)
    paths = images["path"].combine_chunks()
    answers = _answers(options, results)
    sample = None
    if answers is None:
        truth = true_labels(paths, options.labels, run.folder)
    else:
        truth, sample = _reviewed(results, images, answers)
    if truth.null_count == len(truth):
        raise UsageError(
            f"{results.out}: the images lie in no class folders; give their true classes with "
            "--labels FILE, a CSV file with the columns path and label."
        )
    truth_indices = pc.index_in(
        truth, value_set=pa.array(run.classes, pa.string()), skip_nulls=True
    )
    network = _network_evaluation(results, run, images, truth_indices)
    svm = _svm_evaluation(results, paths, truth)
    evaluated = network or svm
    if evaluated is None:
        raise UsageError(
            f"{results.out}: none of the true classes ({_listed(_names(truth))}) is one of the "
            f"model's ({_listed(run.classes)}); give the true classes with --labels FILE."
        )
    unknown = truth.filter(pc.and_(truth.is_valid(), truth_indices.is_null()))
    return EvaluationResult(
        run=run,
        network=network,
        svm=svm,
        unknown={entry["values"]: entry["counts"] for entry in unknown.value_counts().to_pylist()},
        unlabelled=truth.null_count,
        target_accuracy=options.target_accuracy,
        rejection=evaluate_rejection(
            results, run, images, truth_indices, truth, folder=options.foreign
        ),
        groups=by_group(evaluated, options.by, options.labels, run.folder) if options.by else None,
        sample=sample,
    )


def _answers(options: EvaluateOptions, results: Results) -> dict[str, Answer] | None:
    """The answers of a review, if they are the ground truth."""
    file: Place | None = results.out / LABELS if options.reviewed else None
    if options.labels is not None and is_label_file(options.labels):
        file = options.labels
    if file is None:
        return None
    reading = read_labels(file)
    for problem in reading.problems:
        _log.warning("%s", problem)
    if not reading.answers:
        raise UsageError(
            f"{file} holds no answers; label images with 'boatinfer review {results.out}' first."
        )
    return reading.answers


def _reviewed(
    results: Results, images: pa.Table, answers: dict[str, Answer]
) -> tuple[pa.Array, ReviewedSample]:
    """The true classes of images by a review, and what its random sample says."""
    rows = pa.concat_tables(results.parts.read(images, ["content", "label"]))
    contents, predicted = (rows[name].combine_chunks() for name in ("content", "label"))
    truth = review_truth(contents, answers)
    if truth.null_count == len(truth):
        raise UsageError(
            f"none of the {len(answers):,} labels is of an image in {results.out} as it is now; "
            "they are of another folder, or the images have changed since."
        )
    return truth, reviewed_sample(results, images, contents, predicted, answers)


def _images(results: Results) -> pa.Table:
    """`Results.current` in the order in which the parts are read."""
    images = results.current()
    if not images.num_rows:
        raise UsageError(f"{results.out} holds no classified images.")
    return images.sort_by([("part", "ascending"), ("row", "ascending")])


def _network_evaluation(
    results: Results, run: Summary, images: pa.Table, truth: pa.Array
) -> Evaluation | None:
    """Reads the network's predictions, part by part, of images with a valid ``truth``."""
    columns: list[tuple[npt.NDArray[Any], ...]] = []
    done = 0
    for part in results.parts.read(images, ["probabilities"]):
        batch_truth = truth.slice(done, part.num_rows)
        done += part.num_rows
        if batch_truth.null_count < len(batch_truth):
            truth_indices = batch_truth.drop_null().to_numpy().astype(np.int64)
            probabilities = matrix(part["probabilities"].filter(batch_truth.is_valid()))
            confidences = Confidence.from_probabilities(probabilities, truth_indices)
            predicted = probabilities.argmax(axis=1)
            columns.append((truth_indices, predicted, confidences.confidence, confidences.rank))
    if not columns:
        return None
    truth_indices, predicted, confidence, rank = map(np.concatenate, zip(*columns, strict=True))
    paths = images["path"].filter(truth.is_valid()).to_numpy()
    order = np.argsort(paths)
    confidences = Confidence(confidence[order], rank[order])
    return Evaluation(
        run.classes, paths[order], truth_indices[order], predicted[order], confidences
    )


def _svm_evaluation(results: Results, paths: pa.Array, truth: pa.Array) -> Evaluation | None:
    """The SVM's labels from predictions.csv; None if it has none."""
    table = _svm_labels(results)
    if table is None:
        return None
    labels = table["svm_label"].take(pc.index_in(paths, value_set=table["path"].combine_chunks()))
    if labels.null_count:
        raise OutputError(
            f"{results.predictions} does not name every image of its run; run again to rewrite it."
        )
    labelled = truth.is_valid()
    combined = pa.chunked_array([truth.filter(labelled), *labels.filter(labelled).chunks])
    codes = combined.combine_chunks().dictionary_encode()
    names = np.array(codes.dictionary.to_pylist(), object)
    classes, class_indices = np.unique(names, return_inverse=True)
    true, predicted = class_indices[codes.indices.to_numpy()].reshape(2, -1)
    order = np.argsort(labelled_paths := paths.filter(labelled).to_numpy(zero_copy_only=False))
    return Evaluation(classes.tolist(), labelled_paths[order], true[order], predicted[order])


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
            f"{results.predictions} cannot be read ({first_line(error)}); run again to rewrite it."
        ) from error
    if table["svm_label"].null_count:
        return None
    paths = pc.replace_substring_regex(table["path"], r"^\./", "")
    return pa.table({"path": paths, "svm_label": csv_plain(table["svm_label"])})


def _names(labels: pa.Array) -> list[str]:
    return [str(name) for name in labels.drop_null().unique().to_pylist()]


def _listed(names: Sequence[str], language: Language = ENGLISH) -> str:
    return language.joined([printable(name) for name in names], _LISTED)
