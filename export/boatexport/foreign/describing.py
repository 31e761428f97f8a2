"""Adds a model card and golden images to an ONNX classifier made elsewhere."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
import onnx

from boatexport.adding import with_class_activation
from boatexport.convert import embed_card
from boatexport.foreign.foreign import (
    ForeignModel,
    add_features_output,
    find_feature_tensor,
    precision_of,
    read_foreign,
)
from boatexport.foreign.preprocessing import ModelFact, preprocessing
from boatexport.options import DescribeOptions
from boatexport.verify import compare_outputs, with_random_images
from boatinfer import images
from boatinfer.errors import ModelError, UsageError, first_line
from boatinfer.images import Pixels
from boatinfer.models.card import TOLERANCE, Card, Features, InputSpec, Outputs
from boatinfer.models.golden import golden_images_of_folder, make_golden
from boatinfer.models.inference import Floats, Inferred, graph_batch_size, infer
from boatinfer.models.model import Model, load
from boatinfer.models.session import TimeLimitedSession, open_session
from boatinfer.storage.files import atomic_write, require_writable

__all__ = ["DescribeResult", "describe_model"]

#: Non-negative rows whose sum differs from 1 by at most this are probabilities.
_SUM_TOLERANCE = 1e-2

_FLOATS = {"tensor(float)", "tensor(float16)", "tensor(double)"}


@dataclass(frozen=True)
class DescribeResult:
    """A model that was given a card.

    Attributes:
        path: the file written.
        facts: what is known of the model, and from where.
        golden: paths of the golden images.
        labels: predicted label of each golden image.
        confidences: float32 [N], probabilities of those labels.
        correct: number of golden images labelled as their folder, and number of those whose
            folder is a class; None if there are none.
    """

    path: Path
    facts: list[ModelFact]
    golden: list[str]
    labels: list[str]
    confidences: Floats
    correct: tuple[int, int] | None


def describe_model(options: DescribeOptions) -> DescribeResult:
    """Adds a card, golden images and a seal to an ONNX file; the network is not changed.

    Args:
        options: the file, and what it does not contain itself.

    Returns:
        The file written, and what is known of the model.

    Raises:
        ModelError: the file cannot be used.
        UsageError: an option is missing, or contradicts the file.
        OutputError: the file could not be written.
    """
    output = options.output
    if output.suffix != ".onnx":
        raise UsageError(f"{output}: the output file must end in .onnx.")
    foreign = read_foreign(options.model)
    require_writable(output, options.model, force=options.force)
    image, input_spec, facts = preprocessing(options, foreign)
    classes = _class_names(options, foreign)
    golden_images = golden_images_of_folder(options.golden, image)
    pixels = np.stack([images.read(content, image) for content in golden_images.values()])
    outputs = _find_scores(options, foreign, input_spec, pixels, len(classes))
    graph, outputs, features = _add_features(options, foreign, input_spec, outputs, pixels)
    card = Card(
        name=options.name or options.model.stem,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        licence=options.licence or foreign.metadata.get("license", ""),
        notes=options.notes,
        classes=classes,
        image=image,
        input=input_spec,
        outputs=outputs,
        features=features,
        precision=precision_of(foreign.graph),
    )
    golden = make_golden(
        golden_images.values(), image, lambda p: _run_original(foreign, card, p).probabilities
    )
    card = with_class_activation(graph, card)
    with atomic_write(output) as temporary:
        temporary.write_bytes(embed_card(graph, card, golden))
        model = load(temporary.read_bytes(), output, "cpu")
        _verify(model, foreign, pixels)
    scores = np.array([image.probabilities for image in golden.images], np.float32)
    labels = [classes[index] for index in scores.argmax(axis=1)]
    return DescribeResult(
        path=output,
        facts=[*facts, *_more_facts(card, options, foreign)],
        golden=list(golden_images),
        labels=labels,
        confidences=scores.max(axis=1),
        correct=_count_correct(list(golden_images), labels, classes),
    )


def _class_names(options: DescribeOptions, foreign: ForeignModel) -> list[str]:
    if options.classes is None:  # then the metadata has them, as checked before
        return _unique_names(foreign.names)
    if "," in options.classes:
        return _unique_names([name.strip() for name in options.classes.split(",")])
    try:
        text = Path(options.classes).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(
            f"--classes {options.classes}: the file cannot be read: {reason}; give a file with one "
            "name per line, or names separated by commas."
        ) from error
    return _unique_names([line.strip() for line in text.rstrip().splitlines()])


def _unique_names(names: list[str]) -> list[str]:
    """Adds numbers to duplicate names, such as the two cranes of ImageNet."""
    if len(names) < 2 or "" in names:
        raise UsageError(
            f"--classes: {len(names)} names, and {names.count('')} of them empty; give the name of "
            "each class, two or more."
        )
    counts = collections.Counter(names)
    unique = [name if counts[name] == 1 else f"{name} ({i})" for i, name in enumerate(names)]
    if len(set(unique)) != len(unique):
        raise UsageError("--classes: two classes have the same name; rename one.")
    return unique


def _find_scores(
    options: DescribeOptions,
    foreign: ForeignModel,
    input_spec: InputSpec,
    pixels: Pixels,
    count: int,
) -> Outputs:
    """Finds the output with the class scores, and whether they are probabilities or logits."""
    name = _scores_output(options, foreign, count)
    try:
        scores = infer(
            foreign.session, input_spec, Outputs(probabilities=name), pixels
        ).probabilities
    except Exception as error:  # onnxruntime has many exception types
        raise ModelError(
            f"{foreign.path} cannot be run on the golden images ({first_line(error)}); check "
            "--size and --layout."
        ) from error
    if scores.shape[1] != count:
        raise UsageError(
            f"{foreign.path} gives {scores.shape[1]:,} scores per image, but there are "
            f"{count:,} class names; correct --classes."
        )
    if not np.isfinite(scores).all():
        raise ModelError(
            f"{foreign.path} gives scores that are not finite for the golden images; check "
            "--scale, --mean and --std."
        )
    in_unit_range = scores.min() >= -_SUM_TOLERANCE and scores.max() <= 1 + _SUM_TOLERANCE
    if in_unit_range and np.abs(scores.sum(axis=1) - 1).max() <= _SUM_TOLERANCE:
        if options.logits:
            raise UsageError(
                f"--logits: the scores of {foreign.path} are probabilities, as they sum to 1 on "
                "every golden image; omit --logits."
            )
        return Outputs(probabilities=name)
    if in_unit_range and _producer(foreign, name) == "Sigmoid":
        raise ModelError(
            f"{foreign.path} ends in a sigmoid, as multi-label classifiers do; boatinfer needs one "
            "class per image: use a model that ends in a softmax or in logits."
        )
    return Outputs(logits=name)


def _scores_output(options: DescribeOptions, foreign: ForeignModel, count: int) -> str:
    all_outputs = ", ".join(map(str, foreign.outputs))
    floats = [output for output in foreign.outputs if output.value_type in _FLOATS]
    if options.scores is not None:
        if options.scores not in {output.name for output in floats}:
            raise UsageError(
                f"--scores {options.scores}: {foreign.path} has no such floating-point output; its "
                f"outputs are {all_outputs}."
            )
        return options.scores
    unusable = [output for output in foreign.outputs if not output.value_type.startswith("tensor(")]
    unusable += [output for output in foreign.outputs if output.value_type == "tensor(string)"]
    if unusable or not floats:
        raise ModelError(
            f"{foreign.path} has the output {', '.join(map(str, unusable or foreign.outputs))}, "
            "but boatinfer needs one number per class; export it without that output"
            + (f", or choose the other with --scores {floats[0].name}." if floats else ".")
        )
    matching = (
        [output for output in floats if output.shape[1:2] == (count,)]
        if len(floats) > 1
        else floats
    )
    if len(matching) != 1:
        raise UsageError(
            f"{foreign.path} has the outputs {all_outputs}; choose the one with the class scores "
            "with --scores."
        )
    return matching[0].name


def _producer(foreign: ForeignModel, tensor: str) -> str:
    """Returns the operator that computes a tensor."""
    return next((n.op_type for n in foreign.graph.graph.node if tensor in n.output), "")


def _add_features(
    options: DescribeOptions,
    foreign: ForeignModel,
    input_spec: InputSpec,
    outputs: Outputs,
    pixels: Pixels,
) -> tuple[onnx.ModelProto, Outputs, Features | None]:
    """Adds the features as an output, if requested."""
    if options.features is None:
        return foreign.graph, outputs, None
    graph, tensor = add_features_output(foreign, options.features)
    session = TimeLimitedSession(open_session(graph.SerializeToString(), foreign.path, "cpu")[0])
    shape = next(output.shape for output in session.get_outputs() if output.name == tensor)
    axes = shape[0 if graph_batch_size(session) == 0 else 1 :]
    if sum(axis != 1 for axis in axes) > 1:
        raise UsageError(
            f"--features {options.features}: it has {' x '.join(map(str, axes))} values per "
            "image, but features are one vector; choose a node after the pooling"
            + (f", such as {example}." if (example := find_feature_tensor(foreign.graph)) else ".")
        )
    outputs = Outputs(outputs.probabilities, outputs.logits, tensor)
    features = infer(session, input_spec, outputs, pixels).features
    assert features is not None
    return graph, outputs, Features(dimension=features.shape[1], layer=options.features)


def _run_original(foreign: ForeignModel, card: Card, pixels: Pixels) -> Inferred:
    outputs = Outputs(card.outputs.probabilities, card.outputs.logits)
    return infer(foreign.session, card.input, outputs, pixels)


def _verify(model: Model, foreign: ForeignModel, pixels: Pixels) -> None:
    """Compares the finished file with the original, at several batch sizes."""
    pixels = with_random_images(pixels)
    probabilities = _run_original(foreign, model.card, pixels).probabilities
    expected = Inferred(probabilities, model.infer(pixels).features)
    for size, name, difference in compare_outputs(model, pixels, expected):
        if not difference <= TOLERANCE[model.card.precision]:
            raise ModelError(
                f"{foreign.path}: at batch size {size} its {name} differ by {difference:.2g} from "
                "those of a larger batch, so they depend on other images; export it in evaluation "
                "mode, or with a batch size of 1."
            )


def _more_facts(card: Card, options: DescribeOptions, foreign: ForeignModel) -> list[ModelFact]:
    named, features = ", ".join(card.classes[:5]), "none"
    if card.features is not None:
        features = f"{card.outputs.features}, {card.features.dimension:,} values"
    elif example := find_feature_tensor(foreign.graph):
        features = f"none (--features {example} would add the input of the last layer)"
    score_type = "logits" if card.outputs.logits else "probabilities"
    scores = f"{card.outputs.logits or card.outputs.probabilities}, {score_type}"
    return [
        ModelFact(
            "classes",
            f"{len(card.classes):,}: {named}{', ...' if len(card.classes) > 5 else ''}",
            "given" if options.classes else "from the file",
        ),
        ModelFact("scores", scores, "from the golden images"),
        ModelFact("features", features, "given" if card.features else "default"),
        ModelFact("precision", card.precision, "from the file"),
    ]


def _count_correct(
    paths: list[str], labels: list[str], classes: list[str]
) -> tuple[int, int] | None:
    """Counts images labelled as their folder, and images whose folder is a class."""
    folders = [PurePosixPath(path).parent.name for path in paths]
    pairs = [pair for pair in zip(folders, labels, strict=True) if pair[0] in classes]
    return (sum(folder == label for folder, label in pairs), len(pairs)) if pairs else None
