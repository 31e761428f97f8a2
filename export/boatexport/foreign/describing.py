"""Gives an ONNX classifier from elsewhere a card and golden images."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
import onnx

from boatexport.convert import describe
from boatexport.foreign.foreign import Foreign, expose, last_vector, precision_of, read_foreign
from boatexport.foreign.preprocessing import Known, preprocessing
from boatexport.options import DescribeOptions
from boatexport.verify import compare, with_noise
from boatinfer import images
from boatinfer.errors import ModelError, UsageError, first_line
from boatinfer.images import Pixels
from boatinfer.models.card import TOLERANCE, Card, Features, InputSpec, Outputs
from boatinfer.models.golden import golden_images_of_folder, make_golden
from boatinfer.models.inference import Floats, Inferred, graph_batch_size, infer
from boatinfer.models.model import Model, load
from boatinfer.models.session import TimeLimitedSession, open_session
from boatinfer.storage.files import atomic_write, require_writable

__all__ = ["Described", "describe_model"]

#: Rows of numbers from 0 that sum to 1 as closely as this are probabilities.
_SUM_TOLERANCE = 1e-2

_FLOATS = {"tensor(float)", "tensor(float16)", "tensor(double)"}


@dataclass(frozen=True)
class Described:
    """A foreign file that was given a card.

    Attributes:
        path: the file written.
        known: what is now known of the model, and how.
        golden: paths of the golden images.
        labels: what the model says of each.
        confidences: float32 [N], the probabilities of those labels.
        right: how many of the images, and of how many, get the name of their folder; None
            where the folders are not named after classes.
    """

    path: Path
    known: list[Known]
    golden: list[str]
    labels: list[str]
    confidences: Floats
    right: tuple[int, int] | None


def describe_model(options: DescribeOptions) -> Described:
    """Gives a foreign ONNX file a card, golden images and a seal; the network stays as it is.

    Args:
        options: the file, and what it does not tell itself.

    Returns:
        What was written, and what is now known of the model.

    Raises:
        ModelError: the file cannot be used; the message says why.
        UsageError: an option is missing, or contradicts the file.
        OutputError: the file could not be written.
    """
    output = options.output
    if output.suffix != ".onnx":
        raise UsageError(f"{output}: the file to write must end in .onnx.")
    foreign = read_foreign(options.model)
    require_writable(output, options.model, force=options.force)
    image, feed, known = preprocessing(options, foreign)
    classes = _classes(options, foreign)
    stored = golden_images_of_folder(options.golden, image)
    pixels = np.stack([images.read(one, image) for one in stored.values()])
    outputs = _scores(options, foreign, feed, pixels, len(classes))
    graph, outputs, features = _with_features(options, foreign, feed, outputs, pixels)
    card = Card(
        name=options.name or options.model.stem,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        licence=options.licence or foreign.metadata.get("license", ""),
        notes=options.notes,
        classes=classes,
        image=image,
        input=feed,
        outputs=outputs,
        features=features,
        precision=precision_of(foreign.graph),
    )
    golden = make_golden(
        stored.values(), image, lambda p: _original(foreign, card, p).probabilities
    )
    with atomic_write(output) as temporary:
        temporary.write_bytes(describe(graph, card, golden))
        model = load(temporary.read_bytes(), output, "cpu")
        _verify(model, foreign, pixels)
    found = np.array([one.probabilities for one in golden.images], np.float32)
    labels = [classes[index] for index in found.argmax(axis=1)]
    return Described(
        path=output,
        known=[*known, *_known_of(card, options, foreign)],
        golden=list(stored),
        labels=labels,
        confidences=found.max(axis=1),
        right=_right(list(stored), labels, classes),
    )


def _classes(options: DescribeOptions, foreign: Foreign) -> list[str]:
    if options.classes is None:  # then the file tells them, or it was refused before
        return _distinct(foreign.names)
    if "," in options.classes:
        return _distinct([name.strip() for name in options.classes.split(",")])
    try:
        text = Path(options.classes).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UsageError(
            f"--classes {options.classes}: the file cannot be read: {reason}; give a file with a "
            "name on each line, or names with commas between."
        ) from error
    return _distinct([line.strip() for line in text.rstrip().splitlines()])


def _distinct(names: list[str]) -> list[str]:
    """Numbers the names that occur more than once; those of ImageNet have two cranes."""
    if len(names) < 2 or "" in names:
        raise UsageError(
            f"--classes: {len(names)} names, and {names.count('')} of them empty; give the name of "
            "each class, two or more."
        )
    counts = collections.Counter(names)
    told = [name if counts[name] == 1 else f"{name} ({i})" for i, name in enumerate(names)]
    if len(set(told)) != len(told):
        raise UsageError("--classes: two classes have the same name; tell them apart.")
    return told


def _scores(
    options: DescribeOptions, foreign: Foreign, feed: InputSpec, pixels: Pixels, count: int
) -> Outputs:
    """Finds the output with a score for each class, and whether scores are probabilities."""
    name = _scores_name(options, foreign, count)
    try:
        found = infer(foreign.session, feed, Outputs(probabilities=name), pixels).probabilities
    except Exception as error:  # onnxruntime has a dozen exception types
        raise ModelError(
            f"{foreign.path} cannot be run on the golden images ({first_line(error)}); check "
            "--size and --layout."
        ) from error
    if found.shape[1] != count:
        raise UsageError(
            f"{foreign.path} gives {found.shape[1]:,} scores an image, and there are {count:,} "
            "class names; give --classes that fit."
        )
    if not np.isfinite(found).all():
        raise ModelError(
            f"{foreign.path} gives no numbers for the golden images; check --scale, --mean and "
            "--std."
        )
    within = found.min() >= -_SUM_TOLERANCE and found.max() <= 1 + _SUM_TOLERANCE
    if within and np.abs(found.sum(axis=1) - 1).max() <= _SUM_TOLERANCE:
        if options.logits:
            raise UsageError(
                f"--logits: the scores of {foreign.path} are probabilities already, they sum to 1 "
                "on every golden image; leave --logits out."
            )
        return Outputs(probabilities=name)
    if within and _maker(foreign, name) == "Sigmoid":
        raise ModelError(
            f"{foreign.path} ends in a sigmoid, which says yes or no to each class by itself; "
            "boatinfer needs one class an image: use a model that ends in a softmax or in logits."
        )
    return Outputs(logits=name)


def _scores_name(options: DescribeOptions, foreign: Foreign, count: int) -> str:
    listed = ", ".join(map(str, foreign.outputs))
    floats = [one for one in foreign.outputs if one.kind in _FLOATS]
    if options.scores is not None:
        if options.scores not in {one.name for one in floats}:
            raise UsageError(
                f"--scores {options.scores}: {foreign.path} has no such output of floats, but "
                f"{listed}."
            )
        return options.scores
    strange = [one for one in foreign.outputs if not one.kind.startswith("tensor(")]
    strange += [one for one in foreign.outputs if one.kind == "tensor(string)"]
    if strange or not floats:
        raise ModelError(
            f"{foreign.path} gives {', '.join(map(str, strange or foreign.outputs))}, and "
            "boatinfer needs numbers, one for each class; export it without that output"
            + (f", or name the other with --scores {floats[0].name}." if floats else ".")
        )
    fitting = [one for one in floats if one.shape[1:2] == (count,)] if len(floats) > 1 else floats
    if len(fitting) != 1:
        raise UsageError(
            f"{foreign.path} has the outputs {listed}; say with --scores which has the score of "
            "each class."
        )
    return fitting[0].name


def _maker(foreign: Foreign, tensor: str) -> str:
    """The operator that a tensor comes from."""
    return next((n.op_type for n in foreign.graph.graph.node if tensor in n.output), "")


def _with_features(
    options: DescribeOptions, foreign: Foreign, feed: InputSpec, outputs: Outputs, pixels: Pixels
) -> tuple[onnx.ModelProto, Outputs, Features | None]:
    """Makes the features an output, where they are asked for."""
    if options.features is None:
        return foreign.graph, outputs, None
    graph, tensor = expose(foreign, options.features)
    session = TimeLimitedSession(open_session(graph.SerializeToString(), foreign.path, "cpu")[0])
    shape = next(one.shape for one in session.get_outputs() if one.name == tensor)
    axes = shape[0 if graph_batch_size(session) == 0 else 1 :]
    if sum(axis != 1 for axis in axes) > 1:
        raise UsageError(
            f"--features {options.features}: it gives {' x '.join(map(str, axes))} numbers an "
            "image, and features are one row; name a node after the pooling"
            + (f", such as {example}." if (example := last_vector(foreign.graph)) else ".")
        )
    outputs = Outputs(outputs.probabilities, outputs.logits, tensor)
    features = infer(session, feed, outputs, pixels).features
    assert features is not None
    return graph, outputs, Features(dimension=features.shape[1], layer=options.features)


def _original(foreign: Foreign, card: Card, pixels: Pixels) -> Inferred:
    outputs = Outputs(card.outputs.probabilities, card.outputs.logits)
    return infer(foreign.session, card.input, outputs, pixels)


def _verify(model: Model, foreign: Foreign, pixels: Pixels) -> None:
    """Compares the finished file with the original, and batches of several sizes."""
    pixels = with_noise(pixels)
    probabilities = _original(foreign, model.card, pixels).probabilities
    expected = Inferred(probabilities, model.infer(pixels).features)
    for size, what, difference in compare(model, pixels, expected):
        if not difference <= TOLERANCE[model.card.precision]:
            raise ModelError(
                f"{foreign.path}: at batch size {size} its {what} differ by {difference:.2g} from "
                "those of a larger batch, so they depend on more than the image; export it in "
                "evaluation mode, or with a batch size of 1."
            )


def _known_of(card: Card, options: DescribeOptions, foreign: Foreign) -> list[Known]:
    named, features = ", ".join(card.classes[:5]), "none"
    if card.features is not None:
        features = f"{card.outputs.features}, {card.features.dimension:,} numbers"
    elif example := last_vector(foreign.graph):
        features = f"none (--features {example} would give what the last layer takes)"
    kind = "logits" if card.outputs.logits else "probabilities"
    scores = f"{card.outputs.logits or card.outputs.probabilities}, {kind}"
    return [
        Known(
            "classes",
            f"{len(card.classes):,}: {named}{', ...' if len(card.classes) > 5 else ''}",
            "given" if options.classes else "told by the file",
        ),
        Known("scores", scores, "seen on the images"),
        Known("features", features, "given" if card.features else "the default"),
        Known("precision", card.precision, "told by the file"),
    ]


def _right(paths: list[str], labels: list[str], classes: list[str]) -> tuple[int, int] | None:
    """How many images, and of how many, get the name of the folder that they lie in."""
    folders = [PurePosixPath(path).parent.name for path in paths]
    told = [pair for pair in zip(folders, labels, strict=True) if pair[0] in classes]
    return (sum(folder == label for folder, label in told), len(told)) if told else None
