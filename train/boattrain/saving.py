"""A trained model on disk: the Keras file and what describes it, whole or not at all."""

from __future__ import annotations

import contextlib
import importlib
import platform
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from boatinfer.card import (
    Card,
    Features,
    Golden,
    ImageSpec,
    InputSpec,
    Outputs,
    Training,
    encode,
)
from boatinfer.errors import UsageError
from boatinfer.files import replacing, require_writable
from boattrain.history import Epoch, write_history
from boattrain.networks import FEATURES, INPUT, PROBABILITIES
from boattrain.pixels import Split, fingerprint

__all__ = ["ModelFiles", "describe", "model_files", "save"]

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
    history: Path
    curves: Path


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
        history=output.with_suffix(".history.csv"),
        curves=output.with_suffix(".curves.png"),
    )
    for path in files:
        require_writable(path, force=force)
    return files


def describe(
    name: str,
    *,
    classes: list[str],
    spec: ImageSpec,
    model: Any,
    splits: dict[str, Split],
    metrics: dict[str, float],
) -> Card:
    """Writes the card of a model that was just trained.

    Args:
        name: what the model is called.
        classes: names, in output order.
        spec: size and geometry of the input.
        model: the ``keras.Model``.
        splits: train and valid, by name.
        metrics: figures on valid, fractions of 1.
    """
    versions = {
        library: str(importlib.import_module(module).__version__)
        for library, module in _LIBRARIES.items()
    }
    return Card(
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        classes=classes,
        image=spec,
        input=InputSpec(name=INPUT),
        outputs=Outputs(probabilities=PROBABILITIES, features=FEATURES),
        features=Features(dimension=model.get_layer(FEATURES).units, layer=FEATURES),
        training=Training(
            data=fingerprint(*splits.values()),
            counts={split: len(images.labels) for split, images in splits.items()},
            metrics=metrics,
            versions={**versions, "python": platform.python_version()},
        ),
    )


def save(
    files: ModelFiles, model: Any, card: Card, golden: Golden, history: Sequence[Epoch]
) -> None:
    """Writes all files of a model, or none.

    Raises:
        OutputError: a file could not be written.
    """
    from boattrain.curves import draw_curves

    with contextlib.ExitStack() as stack:
        # The stack unwinds backwards: the model, first in, gets its name last.
        temporary = ModelFiles(*(stack.enter_context(replacing(path)) for path in files))
        _save_keras(model, temporary.model)
        temporary.card.write_text(encode(card), encoding="utf-8")
        temporary.golden.write_text(encode(golden), encoding="utf-8")
        write_history(history, temporary.history)
        draw_curves(history, temporary.curves)


def _save_keras(model: Any, path: Path) -> None:
    """Saves to a name of any ending; Keras itself insists on .keras."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        named = Path(folder, "model.keras")
        model.save(named)
        named.replace(path)
