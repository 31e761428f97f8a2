"""Saves a trained model: the Keras file and the files beside it, all or none."""

from __future__ import annotations

import contextlib
import importlib
import platform
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from boatinfer.analysis.evaluation import Evaluation
from boatinfer.dataset.class_folders import TRAIN, VALID
from boatinfer.dataset.groups import CONTENT
from boatinfer.errors import UsageError
from boatinfer.models.card import (
    Card,
    Features,
    Golden,
    InputSpec,
    Outputs,
    Training,
    encode,
)
from boatinfer.storage.files import atomic_write, require_writable
from boattrain.fitting.history import write_history
from boattrain.fitting.loop import FitResult
from boattrain.fitting.pixels import TrainingData, fingerprint
from boattrain.networks.base import FEATURES, INPUT, PROBABILITIES

__all__ = ["ModelFiles", "TrainedModel", "apart_note", "make_card", "model_files", "save_model"]

#: Packages whose versions are in the card, and their modules.
_VERSIONED_PACKAGES = {
    "boatinfer": "boatinfer",
    "keras": "keras",
    "tensorflow": "tensorflow",
    "numpy": "numpy",
    "pillow": "PIL",
    "simplejpeg": "simplejpeg",
}


class ModelFiles(NamedTuple):
    """Paths of a trained model and the files beside it."""

    model: Path
    card: Path
    golden: Path
    report: Path
    confusion: Path
    history: Path
    curves: Path
    settings: Path


def model_files(output: Path, force: bool = False) -> ModelFiles:
    """Returns the paths of a model's files, after checking that they can be written.

    Args:
        output: the model file.
        force: whether existing files may be replaced.

    Raises:
        UsageError: ``output`` does not end in .keras, or a file cannot be written or exists.
    """
    if output.suffix != ".keras":
        raise UsageError(f"the model file {output} must end in .keras.")
    files = ModelFiles(
        model=output,
        card=output.with_suffix(".card.json"),
        golden=output.with_suffix(".golden.json"),
        report=output.with_suffix(".report.json"),
        confusion=output.with_suffix(".confusion.png"),
        history=output.with_suffix(".history.csv"),
        curves=output.with_suffix(".curves.png"),
        settings=output.with_suffix(".train.toml"),
    )
    for path in files:
        require_writable(path, force=force)
    return files


def make_card(
    name: str,
    data: TrainingData,
    model: Any,
    features: str,
    metrics: dict[str, float],
    *,
    temperature: float | None = None,
) -> Card:
    """Makes the card of a trained model.

    Args:
        name: name of the model.
        data: the data it was trained on.
        model: the ``keras.Model``.
        features: name of the feature layer.
        metrics: validation metrics, as fractions of 1.
        temperature: what the logits of the model were divided by; None if they were not.
    """
    versions = {
        library: str(importlib.import_module(module).__version__)
        for library, module in _VERSIONED_PACKAGES.items()
    }
    per_class = np.bincount(data.train.labels, minlength=len(data.classes))
    return Card(
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        classes=data.classes,
        image=data.spec,
        input=InputSpec(name=INPUT),
        outputs=Outputs(probabilities=PROBABILITIES, features=FEATURES),
        features=Features(dimension=model.get_layer(features).output.shape[-1], layer=features),
        training=Training(
            data=fingerprint(data.train, data.valid),
            counts={TRAIN: len(data.train.labels), VALID: len(data.valid.labels)},
            metrics=metrics,
            versions={**versions, "python": platform.python_version()},
            labels=dict(zip(data.classes, per_class.tolist(), strict=True)),
            temperature=temperature,
        ),
    )


@dataclass(frozen=True)
class TrainedModel:
    """A trained model and the contents of the files beside it.

    Attributes:
        model: the ``keras.Model``.
        card: its card.
        golden: its golden images.
        fit: its training history.
        evaluation: its evaluation on the validation images.
        settings: the training options, as TOML.
        group_by: what kept valid apart from train; empty for nothing.
    """

    model: Any
    card: Card
    golden: Golden
    fit: FitResult
    evaluation: Evaluation
    settings: str
    group_by: str = ""


def apart_note(group_by: str) -> str:
    """Says whether the figures of valid are of groups that train has not seen."""
    if group_by == CONTENT:
        return "Valid has no near duplicates of train, but may be of the same days and places."
    if group_by:
        return f"Valid and train share no group (--group-by {group_by})."
    return (
        "Valid was not kept apart from train by groups, so expect lower figures on new days and "
        "places; --group-by day keeps them apart."
    )


def save_model(files: ModelFiles, trained: TrainedModel) -> None:
    """Writes all files of a model, or none of them.

    Raises:
        OutputError: a file could not be written.
    """
    from boattrain.fitting.plots import draw_confusion, draw_curves

    fit, evaluation = trained.fit, trained.evaluation
    with contextlib.ExitStack() as stack:
        # The stack unwinds in reverse order, so the model file appears last.
        temporary = ModelFiles(*(stack.enter_context(atomic_write(path)) for path in files))
        _save_keras(trained.model, temporary.model)
        temporary.card.write_text(encode(trained.card), encoding="utf-8")
        temporary.golden.write_text(encode(trained.golden), encoding="utf-8")
        temporary.report.write_bytes(_report(trained))
        temporary.settings.write_text(trained.settings, encoding="utf-8")
        write_history(fit.history, temporary.history)
        draw_curves(fit.history, fit.best, temporary.curves)
        draw_confusion(evaluation, temporary.confusion)


def _report(trained: TrainedModel) -> bytes:
    fit, training = trained.fit, trained.card.training
    assert training is not None
    report = {
        "model": trained.card.name,
        "data": msgspec.to_builtins(training),
        "best_epoch": fit.best.epoch,
        "epochs": len(fit.history),
        "interrupted": bool(fit.signal_number),
        "group_by": trained.group_by or None,
        "note": apart_note(trained.group_by),
        "valid": trained.evaluation.document() | training.metrics,
    }
    return msgspec.json.format(msgspec.json.encode(report))


def _save_keras(model: Any, path: Path) -> None:
    """Saves a model to a path of any suffix, which Keras itself does not.

    It is compiled with a standard loss and optimizer, so that the loaded model can be evaluated
    with integer labels.
    """
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        path_with_suffix = Path(folder, "model.keras")
        model.save(path_with_suffix)
        path_with_suffix.replace(path)
