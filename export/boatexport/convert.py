"""A Keras model to an ONNX graph: uint8 pixels in, probabilities and features out."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import onnx

from boatexport.graph.simplify import tidy
from boatinfer.errors import ModelError
from boatinfer.models.card import CARD_KEY, GOLDEN_KEY, Card, Golden, encode
from boatinfer.models.seal import seal
from boatinfer.storage.files import temporary_folder

__all__ = ["convert", "describe", "with_features"]

#: The oldest opset that has all operators needed, quantisation per channel among them, and
#: the IR version of its time: the file then loads in old runtimes as well.
OPSET = 13
IR_VERSION = 7


def with_features(model: Any, card: Card, where: Path) -> Any:
    """Makes a Keras model that also gives the features.

    Args:
        model: a Keras model whose only output is the probabilities [N, C].
        card: its card; ``card.features.layer`` names the layer of the features. Where that
            gives a map [N, h, w, D], they are its average.
        where: names the model in error messages.

    Returns:
        A Keras model with the outputs that the card names.

    Raises:
        ModelError: the card is not that of the model.
    """
    import keras

    image, features = card.image, card.features
    outputs = {str(card.outputs.probabilities): model.outputs[0]}
    expected = {str(card.outputs.probabilities): len(card.classes)}
    if features is not None:
        layers = {layer.name: layer for layer in model.layers}
        if features.layer not in layers:
            raise ModelError(f"{where} has no layer {features.layer}, which its card names.")
        outputs[str(card.outputs.features)] = _vector(layers[features.layer].output)
        expected[str(card.outputs.features)] = features.dimension
    (fed,) = model.inputs
    found = {name: output.shape[-1] for name, output in outputs.items()}
    size = (image.height, image.width, 3)
    if found != expected or tuple(fed.shape[1:]) != size or fed.dtype != card.input.dtype:
        raise ModelError(
            f"{where} takes {fed.dtype} {list(fed.shape[1:])} and gives {found}, where its card "
            f"says {card.input.dtype} {list(size)} and {expected}; put its own card beside it."
        )
    return keras.Model(fed, outputs)


def _vector(output: Any) -> Any:
    import keras

    is_map = len(output.shape) == 4
    return keras.layers.GlobalAveragePooling2D()(output) if is_map else output


def convert(model: Any, card: Card) -> onnx.ModelProto:
    """Converts a Keras model with tf2onnx.

    Args:
        model: a Keras model as `with_features` makes it.
        card: its card, which names the tensors and the image size.

    Returns:
        The ONNX model, tidied, with a dynamic first axis called ``batch``.
    """
    import tensorflow as tf

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    shape = (None, card.image.height, card.image.width, 3)
    with tempfile.TemporaryDirectory(dir=temporary_folder()) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # keras probes numpy for old names
        path = Path(folder) / "model.onnx"
        model.export(
            str(path),
            format="onnx",
            verbose=False,
            input_signature=[tf.TensorSpec(shape, card.input.dtype, name=card.input.name)],
            opset_version=OPSET,
        )
        graph = tidy(onnx.load(path))
    graph.ir_version = IR_VERSION
    for tensor in [*graph.graph.input, *graph.graph.output]:
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    return graph


def describe(graph: onnx.ModelProto, card: Card, golden: Golden) -> bytes:
    """Puts card and golden images into the model's ``metadata_props``, beside what others put.

    Returns:
        The content of the finished file, sealed.
    """
    others = {e.key: e.value for e in graph.metadata_props if not e.key.startswith("boatinfer.")}
    ours = {CARD_KEY: encode(card), GOLDEN_KEY: encode(golden)}
    onnx.helper.set_model_props(graph, others | ours)
    return seal(graph.SerializeToString())
