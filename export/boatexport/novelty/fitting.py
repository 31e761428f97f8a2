"""Chooses how novelty is computed, by measurement, and makes it an output of a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx

from boatexport.graph.builder import GraphBuilder
from boatexport.graph.graphs import add_output
from boatexport.novelty.graph import LOGITS, NOVELTY, PREFIX, attach, find_logits
from boatexport.novelty.methods import METHODS, Measured, Nodes, scores
from boatexport.novelty.pictures import made_pictures
from boatinfer import images
from boatinfer.analysis.rejection import auroc, let_through
from boatinfer.dataset import batches
from boatinfer.dataset.class_folders import LabelledFiles
from boatinfer.errors import ImageError, ModelError, UsageError
from boatinfer.images import Pixels
from boatinfer.models.card import Card, Golden, Novelty, Rejection
from boatinfer.models.inference import Floats, input_tensors
from boatinfer.models.model import Model
from boatinfer.models.session import open_session
from boatinfer.storage.listing import scan
from boatinfer.text import from_text

__all__ = ["CLASSES_LEFT_OUT", "Sources", "add_novelty", "find_sources"]

#: The kinds of pictures that are no made ones.
CLASSES_LEFT_OUT, PHOTOGRAPHS = "classes left out", "photographs"
#: Images that are read of a folder, at most, and training images that pictures are made of.
_IMAGES, _MATERIAL = 4096, 128
#: Share of the training images that stand for valid, where there is no such folder: every fifth.
_HELD_OUT = 5
_BATCH_SIZE = 16
#: Steps of the table of quantiles, at most.
_STEPS = 128


@dataclass(frozen=True)
class Sources:
    """Where the images are.

    Attributes:
        train: training images.
        valid: images that the network was not trained on; None to hold out some of ``train``.
        foreign: a folder of pictures of anything else; None if there is none.
    """

    train: LabelledFiles
    valid: LabelledFiles | None = None
    foreign: Path | None = None


def find_sources(card: Card, train: Path, valid: Path | None, foreign: Path | None) -> Sources:
    """Lists the images, before any long work.

    Raises:
        UsageError: a folder does not exist, or holds no images of the model's classes; or the model
            has no features.
    """
    if card.features is None:
        raise UsageError(f"{card.name} has no feature output, from which novelty is computed.")
    files = batches.list_class_files(train, card.classes, "--train")
    others = None if valid is None else batches.list_class_files(valid, card.classes, "--valid")
    if foreign is not None and next(iter(scan(foreign)), None) is None:
        raise UsageError(f"--foreign {foreign} holds no images; check the name.")
    return Sources(files, others, foreign)


def add_novelty(
    graph: onnx.ModelProto, model: Model, sources: Sources, say: Callable[[str], None]
) -> tuple[Card, Golden]:
    """Adds the output `NOVELTY` to a graph.

    Args:
        graph: the graph to change, that of the model.
        model: the open model.
        sources: the images.
        say: called with status messages.

    Returns:
        Card and golden images, with novelty.

    Raises:
        UsageError: there are too few images that can be read.
        ModelError: the graph cannot be extended.
    """
    network = _Network(graph, model)
    train, material = network.measure_files(sources.train, say)
    if sources.valid is None:
        held_out = np.arange(len(train.labels)) % _HELD_OUT == 0
        train, valid = train.take(~held_out), train.take(held_out)
    else:
        valid, _ = network.measure_files(sources.valid, say)
    if min(len(train.labels), len(valid.labels)) < 2:
        raise UsageError(f"novelty needs more images than {sources.train.folder} has; give others.")
    foreign = {kind: network(pixels) for kind, pixels in _pictures(material, model, sources, say)}
    say(f"comparing {len(METHODS)} ways to find what is unlike {len(train.labels):,} images")
    figures = {name: _figures(fit, train, valid, foreign) for name, fit in METHODS.items()}
    mean = {name: np.mean([one.auroc for one in of.values()]) for name, of in figures.items()}
    method = max(mean, key=lambda name: float(mean[name]))
    _attach(graph, model, METHODS[method](train), valid)
    counts = {"train": len(train.labels), "valid": len(valid.labels)}
    outputs = msgspec.structs.replace(model.card.outputs, novelty=NOVELTY)
    novelty = Novelty(method=method, images=counts, figures=figures)
    card = msgspec.structs.replace(model.card, outputs=outputs, novelty=novelty)
    return card, _golden(graph, model)


class _Network:
    """A model of which features and logits can be had.

    Args:
        graph: its graph, which is not changed.
        model: the open model.
    """

    def __init__(self, graph: onnx.ModelProto, model: Model) -> None:
        self._card = model.card
        copy = onnx.ModelProto()
        copy.CopyFrom(graph)
        builder = GraphBuilder(f"{PREFIX}probe/")
        builder.cast(find_logits(graph, model.card), onnx.TensorProto.FLOAT, LOGITS)
        copy.graph.node.extend(builder.nodes)
        add_output(copy, LOGITS, model.path)
        self._session, _ = open_session(copy.SerializeToString(), model.path, "auto", 0)

    def __call__(self, pixels: Pixels, labels: list[int] | None = None) -> Measured:
        """What the network says of images, uint8 [N, H, W, 3]."""
        names = [str(self._card.outputs.features), LOGITS]
        found: list[list[Floats]] = [[], []]
        for start in range(0, len(pixels), _BATCH_SIZE):
            batch = pixels[start : start + _BATCH_SIZE]
            chunks, rows = input_tensors(self._session, self._card.input, batch)
            for chunk in chunks:
                arrays = self._session.run(names, {self._card.input.name: chunk})
                for kept, array in zip(found, arrays, strict=True):
                    kept.append(np.asarray(array, np.float32).reshape(rows, -1))
        features, logits = (np.concatenate(kept)[: len(pixels)] for kept in found)
        return Measured(features, logits, np.array(labels or [0] * len(pixels), np.int64))

    def measure_files(
        self, files: LabelledFiles, say: Callable[[str], None]
    ) -> tuple[Measured, Pixels]:
        """What the network says of image files; also the pixels of some of them."""
        some = batches.sample_evenly(files, _IMAGES) if len(files.paths) > _IMAGES else files
        say(f"reading {len(some.paths):,} images of {some.folder}")
        parts, kept = [], []
        step = max(1, len(some.paths) // _MATERIAL)
        for pixels, labels in batches.read_batches(
            some, self._card.image, 4 * _BATCH_SIZE, lambda reason: say(f"left out {reason}")
        ):
            parts.append(self(pixels, labels.tolist()))
            kept.append(pixels[::step])
        if not parts:
            raise UsageError(f"none of the images in {some.folder} can be read.")
        columns = zip(*parts, strict=True)
        return Measured(*(np.concatenate(column) for column in columns)), np.concatenate(kept)


def _pictures(
    material: Pixels, model: Model, sources: Sources, say: Callable[[str], None]
) -> Iterator[tuple[str, Pixels]]:
    """Pictures of all kinds that are no training images."""
    spec = model.card.image
    yield from made_pictures(material, spec)
    if sources.foreign is None:
        return
    paths = [sources.foreign / from_text(file.path) for file in scan(sources.foreign)]
    with images.IsolatedReader(images.PixelReader(spec)) as reader:
        read = reader.map(sorted(paths)[:_IMAGES])
    pixels = [result for result in read if not isinstance(result, ImageError)]
    say(f"{len(pixels):,} of {len(paths):,} foreign pictures could be read")
    if pixels:
        yield PHOTOGRAPHS, np.stack(pixels)


def _figures(
    fit: Callable[[Measured], Nodes],
    train: Measured,
    valid: Measured,
    foreign: dict[str, Measured],
) -> dict[str, Rejection]:
    """Measures a method on foreign pictures, and on each class that it was not fitted on."""
    nodes = fit(train)
    known = scores(nodes, valid)
    found = {kind: _rejection(known, scores(nodes, images)) for kind, images in foreign.items()}
    left_out = [
        _class_left_out(fit(train.take(train.labels != label)), valid, label)
        for label in np.unique(valid.labels)
        if len(np.unique(train.labels[train.labels != label])) > 1
        and len(np.unique(valid.labels)) > 1
    ]
    if left_out:
        means = np.array([(one.auroc, one.let_through) for one in left_out]).mean(axis=0)
        found[CLASSES_LEFT_OUT] = Rejection(*np.round(means, 4).tolist())
    return found


def _class_left_out(nodes: Nodes, valid: Measured, label: int) -> Rejection:
    values, others = scores(nodes, valid), valid.labels != label
    return _rejection(values[others], values[~others])


def _rejection(known: Floats, foreign: Floats) -> Rejection:
    return Rejection(round(auroc(known, foreign), 4), round(let_through(known, foreign), 4))


def _attach(graph: onnx.ModelProto, model: Model, nodes: Nodes, valid: Measured) -> None:
    """Adds the nodes, and the table that makes shares of valid images of their scores."""
    opset = max(o.version for o in graph.opset_import if o.domain in {"", "ai.onnx"})
    if opset < 11:
        raise ModelError(
            f"{model.path} has opset {opset}, but novelty needs at least 11; export the model with "
            "a newer opset."
        )
    builder = GraphBuilder(PREFIX, opset)
    assert model.card.features is not None  # checked by find_sources
    shape = [-1, model.card.features.dimension]
    features = builder.reshape(str(model.card.outputs.features), shape)
    logits = builder.cast(find_logits(graph, model.card), onnx.TensorProto.FLOAT, LOGITS)
    score = nodes(builder, features, logits)
    starts, widths, weights = _table(scores(nodes, valid))
    rise = builder.node("Sub", score, builder.weight(starts, np.float32))
    steps = builder.node("Div", rise, builder.weight(widths, np.float32))
    one, zero = builder.weight(1, np.float32), builder.weight(0, np.float32)
    clipped = builder.node("Clip", steps, zero, one)
    share = builder.node("MatMul", clipped, builder.weight(weights[:, None], np.float32))
    builder.node("Clip", share, zero, one, output=NOVELTY)
    attach(graph, builder.nodes, builder.weights, model.path)


def _table(known: Floats) -> tuple[Floats, Floats, Floats]:
    """Starts, widths and weights [K] of the steps by which scores become shares of valid images.

    The share rises linearly from one quantile to the next; above the largest score, which has the
    share N / (N + 1), it takes the range of the upper half to reach 1.
    """
    count = len(known)
    points = np.quantile(known.astype(np.float64), np.linspace(0, 1, min(_STEPS, count) + 1))
    ends = np.append(points, points[-1] + max(points[-1] - np.median(points), 1e-6))
    widths = np.maximum(np.diff(ends), 1e-6 * max(1e-6, ends[-1] - ends[0]))
    weights = np.full(len(widths), count / (count + 1) / (len(widths) - 1))
    weights[-1] = 1 / (count + 1)
    return tuple(np.asarray(array, np.float32) for array in (ends[:-1], widths, weights))  # type: ignore[return-value]


def _golden(graph: onnx.ModelProto, model: Model) -> Golden:
    """The golden images of the model, with their novelty."""
    tests = model.golden.images
    pixels = np.stack([images.read(test.image, model.card.image) for test in tests])
    session, _ = open_session(graph.SerializeToString(), model.path, "cpu")
    chunks, _ = input_tensors(session, model.card.input, pixels)
    rows = [session.run([NOVELTY], {model.card.input.name: chunk})[0] for chunk in chunks]
    values = np.concatenate(rows)[: len(tests), 0].tolist()
    return Golden(
        images=[
            msgspec.structs.replace(test, novelty=value)
            for test, value in zip(tests, values, strict=True)
        ]
    )
