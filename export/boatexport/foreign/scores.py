"""Finds the class scores of a model made elsewhere, and what they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx

from boatexport.foreign.adapting import embedding_scores, single_score, with_sigmoid
from boatexport.foreign.foreign import ForeignModel, Tensor
from boatexport.options import DescribeOptions
from boatexport.verify import with_random_images
from boatinfer.errors import ModelError, UsageError, first_line
from boatinfer.images import Pixels
from boatinfer.models.card import InputSpec, Outputs
from boatinfer.models.inference import Floats, infer

__all__ = ["NO_CLASS", "Scores", "find_scores"]

#: The only class of a model without classes.
NO_CLASS = "not classified"

#: Non-negative rows whose sum differs from 1 by at most this are probabilities.
_SUM_TOLERANCE = 1e-2
_FLOATS = {"tensor(float)", "tensor(float16)", "tensor(double)"}

#: Operators that change no value.
_TRANSPARENT = {"Identity", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"}


class Scores(NamedTuple):
    """The class scores of a model.

    Attributes:
        foreign: the model, with nodes behind the scores if they needed some.
        outputs: probabilities or logits; features of a model without classes.
        classes: class names.
        description: what the scores are.
    """

    foreign: ForeignModel
    outputs: Outputs
    classes: list[str]
    description: str


def find_scores(
    options: DescribeOptions,
    foreign: ForeignModel,
    input_spec: InputSpec,
    pixels: Pixels,
    classes: list[str],
    *,
    multi_label: bool,
) -> Scores:
    """Finds the output with the class scores, and whether they are probabilities or logits.

    Args:
        options: of the user.
        foreign: the model.
        input_spec: its input.
        pixels: golden images, uint8 [N, H, W, 3].
        classes: class names.
        multi_label: whether an image may have several labels.

    Raises:
        ModelError: the scores cannot be used.
        UsageError: an option contradicts them, or is missing.
    """
    name = _scores_output(options, foreign, len(classes))
    scores = _scores(foreign, input_spec, name, pixels)
    if options.embedding:
        return _embedding(foreign, name, scores.shape[1])
    if scores.shape[1] == 1 and len(classes) <= 2:
        return _single(options, foreign, name, scores, classes)
    if scores.shape[1] != len(classes):
        raise UsageError(
            f"{foreign.path} gives {scores.shape[1]:,} scores per image, but there are "
            f"{len(classes):,} class names; correct --classes."
        )
    if len(classes) < 2:
        raise UsageError("--classes: one name is too few; give two or more.")
    in_unit_range = bool(scores.min() >= -_SUM_TOLERANCE and scores.max() <= 1 + _SUM_TOLERANCE)
    sums_to_one = bool(np.abs(scores.sum(axis=1) - 1).max() <= _SUM_TOLERANCE)
    if multi_label:
        return _multi_label(options, foreign, name, classes, in_unit_range=in_unit_range)
    if in_unit_range and sums_to_one:
        if options.logits:
            raise UsageError(
                f"--logits: the scores of {foreign.path} are probabilities, as they sum to 1 on "
                "every golden image; omit --logits."
            )
        return Scores(foreign, Outputs(probabilities=name), classes, f"{name}, probabilities")
    if in_unit_range and (_producer(foreign, name) == "Sigmoid" or not options.logits):
        sigmoid = "ends in a sigmoid" if _producer(foreign, name) == "Sigmoid" else "gives numbers"
        raise ModelError(
            f"{foreign.path} {sigmoid} from 0 to 1 that do not sum to 1, as multi-label "
            "classifiers do: give --multi-label if an image may have several labels, or use a "
            "model that ends in a softmax or in logits (--logits says that these are)."
        )
    sums = np.exp(np.minimum(scores, 0)).sum(axis=1)
    are_logarithms = scores.max() <= 0 and np.abs(sums - 1).max() <= _SUM_TOLERANCE
    kind = "logarithms of probabilities" if are_logarithms else "logits"
    return Scores(foreign, Outputs(logits=name), classes, f"{name}, {kind}")


def _scores(foreign: ForeignModel, spec: InputSpec, name: str, pixels: Pixels) -> Floats:
    """The scores of golden and random images."""
    outputs = Outputs(probabilities=name)
    try:
        scores = infer(foreign.session, spec, outputs, with_random_images(pixels)).probabilities
    except Exception as error:  # onnxruntime has many exception types
        raise ModelError(
            f"{foreign.path} cannot be run on the golden images ({first_line(error)}); check "
            "--size and --layout."
        ) from error
    if not np.isfinite(scores).all():
        raise ModelError(
            f"{foreign.path} gives scores that are not finite for the golden images; check "
            "--scale, --mean and --std."
        )
    return scores


def _embedding(foreign: ForeignModel, name: str, length: int) -> Scores:
    if length < 2:
        raise ModelError(f"{foreign.path} gives one number per image, which is no embedding.")
    graph = _copy(foreign)
    scores = embedding_scores(graph, name)
    outputs = Outputs(probabilities=scores, features=name)
    return Scores(foreign.reopened(graph), outputs, [NO_CLASS], "none: the output is the features")


def _single(
    options: DescribeOptions, foreign: ForeignModel, name: str, scores: Floats, classes: list[str]
) -> Scores:
    if options.multi_label:
        raise UsageError(f"--multi-label: {foreign.path} gives one score; omit --multi-label.")
    is_probability = bool(scores.min() >= 0 and scores.max() <= 1) and not options.logits
    if not is_probability and _producer(foreign, name) == "Sigmoid":
        raise UsageError(f"--logits: {foreign.path} ends in a sigmoid; omit --logits.")
    if len(classes) == 1:
        classes = [f"not {classes[0]}", classes[0]]
    graph = _copy(foreign)
    probabilities = single_score(graph, name, is_probability=is_probability)
    kind = "the probability" if is_probability else "the logit"
    return Scores(
        foreign.reopened(graph),
        Outputs(probabilities=probabilities),
        classes,
        f"{name}, {kind} of {classes[1]}",
    )


def _multi_label(
    options: DescribeOptions,
    foreign: ForeignModel,
    name: str,
    classes: list[str],
    *,
    in_unit_range: bool,
) -> Scores:
    if in_unit_range and not options.logits:
        outputs = Outputs(probabilities=name)
        return Scores(foreign, outputs, classes, f"{name}, a probability for each label")
    graph = _copy(foreign)
    outputs = Outputs(probabilities=with_sigmoid(graph, name, len(classes)))
    return Scores(foreign.reopened(graph), outputs, classes, f"{name}, a logit for each label")


def _copy(foreign: ForeignModel) -> onnx.ModelProto:
    graph = onnx.ModelProto()
    graph.CopyFrom(foreign.graph)
    return graph


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
    matching = floats if len(floats) == 1 else [o for o in floats if _length(o) == count]
    if len(matching) != 1:
        raise UsageError(
            f"{foreign.path} has the outputs {all_outputs}; choose the one with the class scores "
            "with --scores."
        )
    return matching[0].name


def _length(output: Tensor) -> int | None:
    """Numbers per image; None if unknown."""
    axes = output.shape[1:] if len(output.shape) > 1 else output.shape
    return None if None in axes else int(np.prod([axis or 1 for axis in axes]))


def _producer(foreign: ForeignModel, tensor: str) -> str:
    """Returns the operator that computes a tensor's values."""
    producers = {name: node for node in foreign.graph.graph.node for name in node.output}
    while (node := producers.get(tensor)) is not None and node.op_type in _TRANSPARENT:
        tensor = node.input[0]
    return "" if node is None else str(node.op_type)
