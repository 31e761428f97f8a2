"""Reads the features of a results folder, with the true classes of the images."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from boatinfer.analysis.truth import true_labels
from boatinfer.errors import UsageError
from boatinfer.models.inference import Floats
from boatinfer.results.folder import Results
from boatinfer.results.store.rows import has_vectors, matrix
from boatinfer.results.summary import Summary

__all__ = ["Labelled", "labelled_features"]


class Labelled(NamedTuple):
    """Features of images with known true classes.

    Attributes:
        results: the results folder.
        run: the run that classified the images.
        features: float32 [N, D].
        classes: the K class names, sorted.
        truth: int64 [N], class indices.
        network_labels: str [N], the network's predicted classes.
    """

    results: Results
    run: Summary
    features: Floats
    classes: list[str]
    truth: npt.NDArray[np.int64]
    network_labels: npt.NDArray[np.object_]


def labelled_features(results: Results, labels: Path | None, min_classes: int = 1) -> Labelled:
    """Reads the features of the last run's images.

    Args:
        results: results of a run with features.
        labels: a table of true classes, see `true_labels`; None means the class folders.
        min_classes: minimum number of classes.

    Raises:
        UsageError: the folder holds no features, an image is in no class folder, no image has
            a label, or there are too few classes.
        OutputError: the results are damaged.
    """
    run, out = results.last_finished(), results.out
    images = results.current().sort_by([("part", "ascending"), ("row", "ascending")])
    truth = true_labels(images["path"].combine_chunks(), labels, run.folder)
    if labels is None and truth.null_count:
        path = images["path"].filter(truth.is_null())[0].as_py()
        raise UsageError(
            f"{out}: the image {path!r} lies in no class folder; run on a folder with one "
            "sub-folder a class, or give the true classes with --labels FILE."
        )
    images, truth = images.filter(truth.is_valid()), truth.drop_null().dictionary_encode()
    features = None
    predicted: list[npt.NDArray[np.object_]] = []
    for part in results.parts.read(images, ["label", "features"]):
        if not has_vectors(part, "features"):
            raise UsageError(f"{out} holds images without features; run again with --features.")
        block = matrix(part["features"])
        if features is None:  # allocated once: half the memory of concatenating the parts
            features = np.empty((images.num_rows, block.shape[1]), np.float32)
        start = sum(len(block) for block in predicted)
        features[start : start + len(block)] = block
        predicted.append(part["label"].combine_chunks().to_numpy(zero_copy_only=False))
    names = np.array(truth.dictionary.to_pylist(), object)
    if features is None or len(names) < min_classes:
        raise UsageError(
            f"{out} holds images of {len(names)} classes, and an SVM needs two or more; run on a "
            "folder with one sub-folder a class, or give the true classes with --labels FILE."
        )
    classes, class_indices = np.unique(names, return_inverse=True)
    codes = class_indices[truth.indices.to_numpy()].astype(np.int64)
    return Labelled(results, run, features, classes.tolist(), codes, np.concatenate(predicted))
