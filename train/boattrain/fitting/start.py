"""Begins a training with the weights of a trained model, by the names of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from boatinfer.errors import ModelError, UsageError
from boatinfer.models.card import Card, decode_card
from boatinfer.text import joined
from boattrain.backend import load_keras

__all__ = ["require_start", "start_from"]


def require_start(classes: Sequence[str], file: Path, *, drop: bool) -> Card:
    """Checks that a training can go on from a model, before any long work.

    Args:
        classes: the classes of the data.
        file: the Keras model, with its card beside it.
        drop: whether the model may have classes that the data lack.

    Returns:
        The card of the model.

    Raises:
        UsageError: the model or its card is not there, or has classes that the data lack.
    """
    if not file.is_file():
        raise UsageError(f"--from {file} does not exist; give a .keras file of a training.")
    card_file = file.with_suffix(".card.json")
    try:
        card = decode_card(card_file.read_bytes(), str(card_file))
    except (OSError, ModelError) as error:
        raise UsageError(
            f"--from {file}: its card {card_file} cannot be read ({error}); keep both together."
        ) from error
    removed = sorted(set(card.classes) - set(classes))
    if removed and not drop:
        raise UsageError(
            f"--from {file}: the data have no images of its class {joined(removed)}; add some, or "
            "give --drop-classes to train a model without."
        )
    return card


def start_from(model: Any, classes: Sequence[str], file: Path, *, drop: bool) -> None:
    """Gives an untrained network the weights of a trained one.

    The last layer's weights are copied class by class. A new class keeps its random weights, and
    begins with the lowest bias of the others, so that it is not predicted before it is learned.

    Args:
        model: the untrained ``keras.Model``; its last weights are those of the classes.
        classes: its classes.
        file: the trained model.
        drop: whether the trained model may have other classes too.

    Raises:
        UsageError: it cannot be read, or is of another network or size.
    """
    card = require_start(classes, file, drop=drop)
    try:
        trained = load_keras().models.load_model(file, compile=False).get_weights()
    except Exception as error:  # Keras raises many kinds
        raise UsageError(f"--from {file} cannot be read: {error}.") from error
    own = model.get_weights()
    shapes = [[weight.shape for weight in weights[:-2]] for weights in (own, trained)]
    if shapes[0] != shapes[1] or own[-2].shape[0] != trained[-2].shape[0]:
        raise UsageError(
            f"--from {file} is of another network or input size; give the same command and --size "
            "that it was trained with."
        )
    rows = [card.classes.index(name) if name in card.classes else -1 for name in classes]
    known = np.array([row >= 0 for row in rows])
    kernel, bias = own[-2].copy(), np.full_like(own[-1], trained[-1].min())
    kernel[:, known] = trained[-2][:, [row for row in rows if row >= 0]]
    bias[known] = trained[-1][[row for row in rows if row >= 0]]
    model.set_weights([*trained[:-2], kernel, bias])
