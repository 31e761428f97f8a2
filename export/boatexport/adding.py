"""Adds outputs to a model that exists; the others stay the same, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx

from boatexport.convert import embed_card
from boatexport.graph.class_activation import (
    CLASS_ACTIVATION,
    add_class_activation,
    remove_class_activation,
)
from boatexport.novelty.fitting import add_novelty, find_sources
from boatexport.novelty.graph import NOVELTY
from boatexport.options import KnowOptions
from boatexport.verify import with_random_images
from boatinfer import images
from boatinfer.errors import ModelError, UsageError
from boatinfer.models.card import Card, Novelty
from boatinfer.models.model import Model, load, read_model
from boatinfer.models.session import open_session
from boatinfer.storage.files import atomic_write, require_writable

__all__ = ["Added", "add_outputs", "with_class_activation"]


@dataclass(frozen=True)
class Added:
    """A model file with more outputs.

    Attributes:
        path: the file.
        outputs: the names of the new outputs.
        novelty: how novelty is computed, if that is new.
    """

    path: Path
    outputs: list[str]
    novelty: Novelty | None = None


def with_class_activation(graph: onnx.ModelProto, card: Card) -> Card:
    """Adds a class-activation output, if the network has a feature map before its last layers.

    Args:
        graph: the graph to change.
        card: its card.

    Returns:
        The card with the output, or without it if there is none.
    """
    scores = str(card.outputs.probabilities or card.outputs.logits)
    if card.image.crops > 1 or len(card.classes) < 2:
        return card
    added = add_class_activation(graph, scores, len(card.classes))
    if added:
        try:
            open_session(graph.SerializeToString(), Path(card.name), "cpu")
        except ModelError:  # a graph with other operators than it seems
            remove_class_activation(graph)
            added = False
    name = CLASS_ACTIVATION if added else None
    outputs = msgspec.structs.replace(card.outputs, class_activation=name)
    return msgspec.structs.replace(card, outputs=outputs)


def add_outputs(options: KnowOptions, say: Callable[[str], None] = lambda _: None) -> Added:
    """Adds to a model file the outputs that it lacks.

    Args:
        options: the model, images, and the file to write.
        say: called with status messages.

    Returns:
        The file written, whose other outputs are those of the original, bit for bit.

    Raises:
        UsageError: the model has all outputs that it can have, a folder cannot be used, or the
            output file exists.
        ModelError: a file cannot be used.
        OutputError: the file could not be written.
    """
    source, output = options.model, options.output
    if output.suffix != ".onnx":
        raise UsageError(f"{output}: the output file must end in .onnx.")
    content = read_model(source)
    require_writable(output, source, force=options.force)
    model = load(content, source, "cpu", threads=1)
    graph, card, golden = onnx.load_model_from_string(content), model.card, model.golden
    added = []
    if options.train is not None:
        if card.novelty is not None:
            raise UsageError(f"{source} has a novelty output; start from the file without it.")
        sources = find_sources(card, options.train, options.valid, options.foreign)
        card, golden = add_novelty(graph, model, sources, say)
        added.append(NOVELTY)
    elif options.valid or options.foreign:
        raise UsageError("--valid and --foreign are for novelty, which needs --train.")
    if card.outputs.class_activation is None:
        card = with_class_activation(graph, card)
        added += [CLASS_ACTIVATION] if card.outputs.class_activation else []
    if not added:
        raise UsageError(f"{source} has no further outputs to add; use it as it is.")
    card = msgspec.structs.replace(card, network=model.digest)
    with atomic_write(output) as temporary:
        temporary.write_bytes(embed_card(graph, card, golden))
        _require_same(model, load(temporary.read_bytes(), output, "cpu", threads=1))
    return Added(output, added, card.novelty if NOVELTY in added else None)


def _require_same(before: Model, after: Model) -> None:
    """Compares the outputs that both have."""
    golden = [images.read(golden.image, before.card.image) for golden in before.golden.images]
    pixels = with_random_images(np.stack(golden))
    for old, new in zip(before.infer(pixels), after.infer(pixels), strict=True):
        if old is not None and (new is None or not np.array_equal(old, new)):
            raise ModelError(
                f"the new outputs change the others of {before.path}, so no file was written; "
                "export the model again instead."
            )
