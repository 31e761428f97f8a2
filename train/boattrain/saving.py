"""A trained model on disk: the Keras file and what describes it, whole or not at all."""

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
from boattrain.fitting.loop import Fitted
from boattrain.fitting.pixels import Data, fingerprint
from boattrain.networks.base import FEATURES, INPUT, PROBABILITIES

__all__ = ["ModelFiles", "Trained", "describe", "model_files", "save"]

#: What a card names the versions of: package and the module that knows.
_LIBRARIES = {
    "boatinfer": "boatinfer",
    "keras": "keras",
    "tensorflow": "tensorflow",
    "numpy": "numpy",
    "pillow": "PIL",
    "simplejpeg": "simplejpeg",
}


class ModelFiles(NamedTuple):
    """A trained model and what lies beside it."""

    model: Path
    card: Path
    golden: Path
    report: Path
    confusion: Path
    history: Path
    curves: Path
    settings: Path


def model_files(output: Path, force: bool = False) -> ModelFiles:
    """Names the files of a model.

    Args:
        output: the model file.
        force: whether files that are there already may be replaced.

    Raises:
        UsageError: ``output`` does not end in .keras, or a file cannot or must not be written.
    """
    if output.suffix != ".keras":
        raise UsageError(f"the model file {output} must end in .keras; give it that ending.")
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


def describe(name: str, data: Data, model: Any, features: str, metrics: dict[str, float]) -> Card:
    """Writes the card of a model that was just trained.

    Args:
        name: what the model is called.
        data: what it was trained on.
        model: the ``keras.Model``.
        features: name of the layer of the features.
        metrics: figures on valid, fractions of 1.
    """
    versions = {
        library: str(importlib.import_module(module).__version__)
        for library, module in _LIBRARIES.items()
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
        ),
    )


@dataclass(frozen=True)
class Trained:
    """A trained model and all that is written beside it.

    Attributes:
        model: the ``keras.Model``.
        card: its card.
        golden: its golden images.
        fitted: its history.
        evaluation: what it says of valid.
        settings: the options, as TOML.
    """

    model: Any
    card: Card
    golden: Golden
    fitted: Fitted
    evaluation: Evaluation
    settings: str


def save(files: ModelFiles, trained: Trained) -> None:
    """Writes all files of a model, or none.

    Raises:
        OutputError: a file could not be written.
    """
    from boattrain.fitting.plots import draw_confusion, draw_curves

    fitted, evaluation = trained.fitted, trained.evaluation
    with contextlib.ExitStack() as stack:
        # The stack unwinds backwards: the model, first in, gets its name last.
        temporary = ModelFiles(*(stack.enter_context(atomic_write(path)) for path in files))
        _save_keras(trained.model, temporary.model)
        temporary.card.write_text(encode(trained.card), encoding="utf-8")
        temporary.golden.write_text(encode(trained.golden), encoding="utf-8")
        temporary.report.write_bytes(_report(trained))
        temporary.settings.write_text(trained.settings, encoding="utf-8")
        write_history(fitted.history, temporary.history)
        draw_curves(fitted.history, fitted.best, temporary.curves)
        draw_confusion(evaluation, temporary.confusion)


def _report(trained: Trained) -> bytes:
    fitted, training = trained.fitted, trained.card.training
    assert training is not None
    document = {
        "model": trained.card.name,
        "data": msgspec.to_builtins(training),
        "best_epoch": fitted.best.epoch,
        "epochs": len(fitted.history),
        "interrupted": bool(fitted.signal_number),
        "valid": trained.evaluation.document() | training.metrics,
    }
    return msgspec.json.format(msgspec.json.encode(document))


def _save_keras(model: Any, path: Path) -> None:
    """Saves to a name of any ending; Keras itself insists on .keras.

    Loss and optimizer of the training stay out: whoever loads the file may evaluate it with
    integer labels, and the sgd it comes with has no variables that would be missed.
    """
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        named = Path(folder, "model.keras")
        model.save(named)
        named.replace(path)
