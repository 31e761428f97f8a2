"""Converts a Keras model to an ONNX graph from uint8 pixels to probabilities and features."""

from __future__ import annotations

import contextlib
import gc
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from boatexport.graph.simplify import simplify
from boatinfer.errors import ModelError
from boatinfer.models.card import CARD_KEY, GOLDEN_KEY, Card, Golden, encode
from boatinfer.models.seal import seal
from boatinfer.storage.files import temporary_folder

__all__ = ["convert", "embed_card", "frequent_collection", "with_features"]

#: The oldest opset with all operators needed, including per-channel quantisation, and the IR
#: version of that time, so that the file also loads in old runtimes.
OPSET = 13
IR_VERSION = 7


def with_features(model: Any, card: Card, model_name: Path) -> Any:
    """Makes a Keras model that also outputs the features.

    Args:
        model: a Keras model whose only output is the probabilities [N, C].
        card: its card; ``card.features.layer`` is the feature layer. A feature map [N, h, w, D]
            is averaged.
        model_name: the model file, for error messages.

    Returns:
        A Keras model with the outputs of the card.

    Raises:
        ModelError: the card does not match the model.
    """
    import keras

    image, features = card.image, card.features
    outputs = {str(card.outputs.probabilities): model.outputs[0]}
    expected = {str(card.outputs.probabilities): len(card.classes)}
    if features is not None:
        layers = {layer.name: layer for layer in model.layers}
        if features.layer not in layers:
            raise ModelError(
                f"{model_name} has no layer {features.layer}, the feature layer of its card."
            )
        outputs[str(card.outputs.features)] = _as_vector(layers[features.layer].output)
        expected[str(card.outputs.features)] = features.dimension
    (image_input,) = model.inputs
    actual = {name: output.shape[-1] for name, output in outputs.items()}
    size = (image.height, image.width, 3)
    if (
        actual != expected
        or tuple(image_input.shape[1:]) != size
        or image_input.dtype != card.input.dtype
    ):
        raise ModelError(
            f"{model_name} has the input {image_input.dtype} {list(image_input.shape[1:])} and the "
            f"outputs {actual}, but its card {card.input.dtype} {list(size)} and {expected}; use "
            "the card of this model."
        )
    return keras.Model(image_input, outputs)


def _as_vector(output: Any) -> Any:
    import keras

    is_map = len(output.shape) == 4
    return keras.layers.GlobalAveragePooling2D()(output) if is_map else output


def convert(model: Any, card: Card) -> onnx.ModelProto:
    """Converts a Keras model with tf2onnx.

    Args:
        model: a Keras model made by `with_features`.
        card: its card, with the tensor names and the image size.

    Returns:
        The simplified ONNX model, with a dynamic first axis ``batch``.
    """
    import tensorflow as tf

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    shape = (None, card.image.height, card.image.width, 3)
    with (
        tempfile.TemporaryDirectory(dir=temporary_folder()) as folder,
        warnings.catch_warnings(),
        frequent_collection(),
    ):
        warnings.simplefilter("ignore", FutureWarning)  # keras uses deprecated names of numpy
        path = Path(folder) / "model.onnx"
        model.export(
            str(path),
            format="onnx",
            verbose=False,
            input_signature=[tf.TensorSpec(shape, card.input.dtype, name=card.input.name)],
            opset_version=OPSET,
        )
        graph = simplify(onnx.load(path))
    graph.ir_version = IR_VERSION
    for tensor in [*graph.graph.input, *graph.graph.output]:
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    return graph


@contextlib.contextmanager
def frequent_collection() -> Iterator[None]:
    """Collects reference cycles soon: each step of tf2onnx leaves a copy of the weights in one.

    Python runs a full collection when the number of objects has grown by a quarter, to which the
    frozen ones, those of TensorFlow and Keras, do not count.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.collect()  # so that the objects before count no more
    gc.set_threshold(1000, 2, 2)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
        gc.collect()


def embed_card(graph: onnx.ModelProto, card: Card, golden: Golden) -> bytes:
    """Stores card and golden images in ``metadata_props``, and keeps other metadata.

    Returns:
        The content of the finished file, with its seal.
    """
    other_metadata = {
        e.key: e.value for e in graph.metadata_props if not e.key.startswith("boatinfer.")
    }
    own_metadata = {CARD_KEY: encode(card), GOLDEN_KEY: encode(golden)}
    onnx.helper.set_model_props(graph, other_metadata | own_metadata)
    return seal(graph.SerializeToString())
