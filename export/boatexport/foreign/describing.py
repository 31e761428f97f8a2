"""Adds a model card and golden images to an ONNX classifier made elsewhere."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
import onnx

from boatexport.adding import with_class_activation
from boatexport.convert import embed_card
from boatexport.foreign.adapting import add_softmax, average_crops
from boatexport.foreign.foreign import (
    ForeignModel,
    add_features_output,
    find_feature_tensor,
    precision_of,
    read_foreign,
)
from boatexport.foreign.makers.files import read_class_file
from boatexport.foreign.numbers import parse_numbers
from boatexport.foreign.originals import Originals, read_originals
from boatexport.foreign.preprocessing import ModelFact, Preprocessing, preprocessing
from boatexport.foreign.scores import NO_CLASS, Scores, find_scores
from boatexport.options import DescribeOptions
from boatexport.verify import compare_outputs, with_random_images
from boatinfer import images
from boatinfer.errors import ModelError, UsageError
from boatinfer.images import Pixels
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import (
    LATEST_FORMAT,
    TOLERANCE,
    Card,
    Features,
    InputSpec,
    Outputs,
)
from boatinfer.models.golden import golden_images_of_folder, make_golden
from boatinfer.models.inference import Floats, Inferred, graph_batch_size, infer
from boatinfer.models.model import Model, load
from boatinfer.results.tables.predictions import SEPARATOR
from boatinfer.storage.files import atomic_write, require_writable

__all__ = ["DescribeResult", "describe_model"]

#: Share of a typical image that may be cut off without a warning: of 3:2 it is a half.
_MAX_CUT = 0.6


@dataclass(frozen=True)
class DescribeResult:
    """A model that was given a card.

    Attributes:
        path: the file written.
        facts: what is known of the model, and from where.
        golden: paths of the golden images.
        labels: predicted label of each of these files.
        confidences: float32 [N], probabilities of those labels.
        stored_labels: predicted label of the small copies in the model, of the self-test.
        stored_confidences: float32 [N], probabilities of those labels.
        correct: number of golden images labelled as their folder, and number of those whose
            folder is a class; None if there are none.
        warnings: what should be reconsidered.
    """

    path: Path
    facts: list[ModelFact]
    golden: list[str]
    labels: list[str]
    confidences: Floats
    stored_labels: list[str]
    stored_confidences: Floats
    correct: tuple[int, int] | None
    warnings: list[str]


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
    known = preprocessing(options, foreign)
    image, single = known.image, msgspec.structs.replace(known.image, crops=1)
    classes, classes_source = _class_names(options, known)
    multi_label = options.multi_label or known.multi_label
    golden_images = golden_images_of_folder(options.golden, image)
    pixels = np.stack([images.read(content, single) for content in golden_images.values()])
    scores = find_scores(options, foreign, known.input, pixels, classes, multi_label=multi_label)
    classes = _unique_names(scores.classes)
    foreign, outputs, features = _add_features(options, scores, known.input, pixels)
    if image.crops > 1:
        foreign, outputs = _average(foreign, known, outputs, len(classes), features)
        pixels = np.stack([images.read(content, image) for content in golden_images.values()])
    input_spec = msgspec.structs.replace(known.input, name=foreign.image.name)
    network = _Network(foreign, input_spec, outputs)
    originals = read_originals(
        options.golden, list(golden_images), image, lambda p: network(p).probabilities
    )
    thresholds = _thresholds(options, known, classes) if multi_label else None
    card = Card(
        format=LATEST_FORMAT,
        name=options.name or options.model.stem,
        created="",  # the same model and options give the same file
        licence=options.licence or foreign.metadata.get("license", ""),
        notes=options.notes,
        classes=classes,
        image=image,
        input=input_spec,
        outputs=outputs,
        features=features,
        precision=precision_of(foreign.graph),
        thresholds=thresholds,
        decoding=originals.decoding,
    )
    golden = make_golden(golden_images.values(), image, lambda p: network(p).probabilities)
    graph = foreign.graph
    card = with_class_activation(graph, card)
    with atomic_write(output) as temporary:
        temporary.write_bytes(embed_card(graph, card, golden))
        model = load(temporary.read_bytes(), output, "cpu")
        _verify(model, network, pixels)
    stored = np.array([image.probabilities for image in golden.images], np.float32)
    whole = np.array([originals.probabilities[path] for path in golden_images], np.float32)
    labels = [classes[index] for index in whole.argmax(axis=1)]
    return DescribeResult(
        path=output,
        facts=[
            *known.facts,
            *_more_facts(card, options, foreign, scores.description, classes_source),
        ],
        golden=list(golden_images),
        labels=labels,
        confidences=whole.max(axis=1),
        stored_labels=[classes[index] for index in stored.argmax(axis=1)],
        stored_confidences=stored.max(axis=1),
        correct=_count_correct(list(golden_images), labels, classes),
        warnings=list(_warnings(originals, image)),
    )


@dataclass(frozen=True)
class _Network:
    """Runs the graph that the file is to have."""

    foreign: ForeignModel
    input: InputSpec
    outputs: Outputs

    def __call__(self, pixels: Pixels) -> Inferred:
        return infer(self.foreign.session, self.input, self.outputs, pixels)


def _warnings(originals: Originals, image: ImageSpec) -> Iterator[str]:
    if originals.cut > _MAX_CUT:
        yield (
            f"The centre crop cuts {originals.cut:.0%} off a typical image of --golden; if what "
            "matters may be there, use --fit stretch or --fit pad, and compare the accuracy."
        )
    if image.decode != "full" and originals.decoding.agreement[image.decode] < 1:
        yield (
            f"--decode {image.decode} changes the label of "
            f"{1 - originals.decoding.agreement[image.decode]:.1%} of {originals.decoding.images} "
            "images; --decode full gives what the makers' pixels give."
        )


def _class_names(options: DescribeOptions, known: Preprocessing) -> tuple[list[str], str]:
    """Returns the class names, and their source."""
    if options.embedding:
        if options.classes is not None or options.features is not None:
            raise UsageError("--embedding: omit --classes and --features, as it has no classes.")
        return [NO_CLASS], "given"
    if options.classes is None:
        return known.classes or ([], "")  # there are some, as checked before
    if "," in options.classes:
        return [name.strip() for name in options.classes.split(",")], "given"
    return read_class_file(Path(options.classes), f"--classes {options.classes}"), "given"


def _thresholds(options: DescribeOptions, known: Preprocessing, classes: list[str]) -> list[float]:
    if any(SEPARATOR in name for name in classes):
        raise UsageError(
            f"--multi-label: a class name contains {SEPARATOR}, which separates the labels of an "
            "image; give other names with --classes."
        )
    if options.threshold is None:
        return [0.5 if known.threshold is None else known.threshold] * len(classes)
    values = parse_numbers("--threshold", options.threshold)
    if len(values) not in {1, len(classes)} or not all(0 <= value <= 1 for value in values):
        raise UsageError(
            f"--threshold {options.threshold}: give one number from 0 to 1, or {len(classes)}, one "
            "per class."
        )
    return values * len(classes) if len(values) == 1 else values


def _average(
    foreign: ForeignModel,
    known: Preprocessing,
    outputs: Outputs,
    classes: int,
    features: Features | None,
) -> tuple[ForeignModel, Outputs]:
    """Averages the outputs over the crops."""
    if len(foreign.image.shape) != 4 or foreign.image.shape[0] is not None:
        raise UsageError(
            f"--crops {known.image.crops}: {foreign.path} takes a fixed number of images; export "
            "it with a free batch axis."
        )
    graph = onnx.ModelProto()
    graph.CopyFrom(foreign.graph)
    if outputs.logits is not None:  # probabilities are averaged
        outputs = Outputs(add_softmax(graph, outputs.logits, classes), None, outputs.features)
    lengths = {str(outputs.probabilities): classes}
    if features is not None and outputs.features is not None:
        lengths[outputs.features] = features.dimension
    size = (known.image.height, known.image.width)
    names = average_crops(graph, known.input.layout, size, lengths, known.image.crops)
    probabilities = names[str(outputs.probabilities)]
    return foreign.reopened(graph), Outputs(probabilities, None, names.get(outputs.features or ""))


def _unique_names(names: list[str]) -> list[str]:
    """Adds numbers to duplicate names, such as the two cranes of ImageNet."""
    if "" in names:
        raise UsageError(
            f"--classes: {len(names)} names, and {names.count('')} of them empty; give the name of "
            "each class."
        )
    counts = collections.Counter(names)
    unique = [name if counts[name] == 1 else f"{name} ({i})" for i, name in enumerate(names)]
    if len(set(unique)) != len(unique):
        raise UsageError("--classes: two classes have the same name; rename one.")
    return unique


def _add_features(
    options: DescribeOptions, scores: Scores, input_spec: InputSpec, pixels: Pixels
) -> tuple[ForeignModel, Outputs, Features | None]:
    """Adds the features as an output, if requested."""
    foreign, outputs = scores.foreign, scores.outputs
    layer = outputs.features or options.features
    if layer is None:
        return foreign, outputs, None
    graph, tensor = add_features_output(foreign, layer)
    foreign = foreign.reopened(graph)
    shape = next(output.shape for output in foreign.outputs if output.name == tensor)
    axes = shape[0 if graph_batch_size(foreign.session) == 0 else 1 :]
    if sum(axis != 1 for axis in axes) > 1:
        raise UsageError(
            f"--features {layer}: it has {' x '.join(map(str, axes))} values per "
            "image, but features are one vector; choose a node after the pooling"
            + (f", such as {example}." if (example := find_feature_tensor(graph)) else ".")
        )
    outputs = Outputs(outputs.probabilities, outputs.logits, tensor)
    features = infer(foreign.session, input_spec, outputs, pixels).features
    assert features is not None
    return foreign, outputs, Features(dimension=features.shape[1], layer=layer)


def _verify(model: Model, network: _Network, pixels: Pixels) -> None:
    """Compares the finished file with the original, at several batch sizes."""
    foreign, pixels = network.foreign, with_random_images(pixels)
    expected = Inferred(network(pixels).probabilities, model.infer(pixels).features)
    for size, name, difference in compare_outputs(model, pixels, expected):
        if not difference <= TOLERANCE[model.card.precision]:
            raise ModelError(
                f"{foreign.path}: at batch size {size} its {name} differ by {difference:.2g} from "
                "those of a larger batch, so they depend on other images; export it in evaluation "
                "mode, or with a batch size of 1."
            )


def _more_facts(
    card: Card,
    options: DescribeOptions,
    foreign: ForeignModel,
    scores: str,
    classes_source: str,
) -> Iterator[ModelFact]:
    named, features = ", ".join(card.classes[:5]), "none"
    if card.features is not None:
        features = f"{card.outputs.features}, {card.features.dimension:,} values"
    elif example := find_feature_tensor(foreign.graph):
        features = f"none (--features {example} would add the input of the last layer)"
    more = ", ..." if len(card.classes) > 5 else ""
    yield ModelFact("classes", f"{len(card.classes):,}: {named}{more}", classes_source)
    yield ModelFact("scores", scores, "from the golden images")
    if card.thresholds is not None:
        values = sorted(set(card.thresholds))
        limits = f"{values[0]:g}" + (f" to {values[-1]:g}" if len(values) > 1 else "")
        source = "default" if options.threshold is None else "given"
        yield ModelFact("thresholds", limits, source)
    yield ModelFact("features", features, "given" if card.features else "default")
    yield ModelFact("precision", card.precision, "from the file")
    if card.decoding is not None:
        faster = ", ".join(
            f"--decode {name} {share:.1%}" for name, share in card.decoding.agreement.items()
        )
        value = f"same label as decoded whole, of {card.decoding.images} images: {faster}"
        yield ModelFact("decoding", value, "from the golden images")


def _count_correct(
    paths: list[str], labels: list[str], classes: list[str]
) -> tuple[int, int] | None:
    """Counts images labelled as their folder, and images whose folder is a class."""
    folders = [PurePosixPath(path).parent.name for path in paths]
    pairs = [pair for pair in zip(folders, labels, strict=True) if pair[0] in classes]
    return (sum(folder == label for folder, label in pairs), len(pairs)) if pairs else None
