"""Opens an ONNX file on a device: session, card and self-test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from boatinfer import images
from boatinfer.errors import Failure, ImageError, ModelError, UsageError, first_line
from boatinfer.images import Pixels
from boatinfer.models.built_in import BUILT_IN, model_place
from boatinfer.models.card import NOVELTY_TOLERANCE, TOLERANCE, Card, Golden, from_metadata
from boatinfer.models.device import Device
from boatinfer.models.inference import (
    ONNX_TYPES,
    REQUEST,
    Floats,
    Inferred,
    class_activations,
    graph_batch_size,
    infer,
)
from boatinfer.models.seal import is_sealed, sealed_digest
from boatinfer.models.session import TimeLimitedSession, open_session
from boatinfer.storage.base import Place

__all__ = [
    "Model",
    "ModelInfo",
    "Predictions",
    "load",
    "open_model",
    "read_model",
]

#: Pixels per batch, and maximum batch size.
_BATCH_PIXELS, _MAX_BATCH_SIZE = 1_000_000, 32


@dataclass(frozen=True)
class Predictions:
    """Predictions for N images.

    Attributes:
        labels: str [N], the most probable class.
        probabilities: float32 [N, C], rows sum to 1, columns in the order of the classes.
        features: float32 [N, D], or None if the model has no feature output.
        svm_labels: str [N], labels by the SVM inside the model; None if there is none.
        novelty: float32 [N], how unlike the training images each is, from 0 to 1; None if the model
            has no such output.
    """

    labels: npt.NDArray[np.str_]
    probabilities: Floats
    features: Floats | None
    svm_labels: npt.NDArray[np.str_] | None = None
    novelty: Floats | None = None


@dataclass(frozen=True)
class ModelInfo:
    """Description of an open model, which may be open in another process.

    Attributes:
        path: the file.
        digest: SHA-256 of the file, hex; if outputs were added to it, of the file before, so that
            its rows and SVMs stay valid.
        card: the model card.
        device: the device in use, ``cpu`` or ``cuda``.
        batch_size: images in a batch. On a GPU all batches are padded to this size, so that only
            one shape is compiled.
    """

    path: Place
    digest: str
    card: Card
    device: Device
    batch_size: int

    @property
    def info(self) -> ModelInfo:
        """A plain `ModelInfo`, which can be sent to other processes."""
        return ModelInfo(self.path, self.digest, self.card, self.device, self.batch_size)


@dataclass(frozen=True)
class Model(ModelInfo):
    """A classifier ready to run; made by `open_model`.

    Attributes:
        golden: the images of the self-test.
        session: the onnxruntime session; may be used from several threads at once.
    """

    golden: Golden
    session: Any

    def infer(self, batch: Pixels) -> Inferred:
        """Runs the network.

        A graph with a fixed batch size, or without a batch axis, is run repeatedly.

        Args:
            batch: uint8 [N, H, W, 3], RGB, of the card's size, N >= 1.
        """
        size = self.batch_size if self.device is Device.CUDA else None
        return infer(self.session, self.card.input, self.card.outputs, batch, size)

    def class_activations(self, batch: Pixels) -> Floats | None:
        """Computes where in the images the predicted class was seen.

        Args:
            batch: as of `infer`.

        Returns:
            float32 [N, h, w], at the resolution of the network's feature map; None if the model
            has no such output.
        """
        output = self.card.outputs.class_activation
        if output is None:
            return None
        return class_activations(self.session, self.card.input, output, batch)

    @property
    def graph_batch_size(self) -> int | None:
        """The batch size of the graph; None if it is free, 0 if there is no batch axis."""
        return graph_batch_size(self.session)

    def predict(
        self, pictures: Iterable[str | os.PathLike[str] | Pixels] | str | os.PathLike[str]
    ) -> Predictions:
        """Classifies pictures in this process, which ends if a picture crashes the decoder.

        Args:
            pictures: paths, or arrays uint8 [H, W, 3] RGB of any size, or one array
                uint8 [N, H, W, 3], or one path.

        Returns:
            Labels, probabilities and features, in the order of the pictures.

        Raises:
            ImageError: a picture cannot be read; the message names it.
            UsageError: there is no picture.
        """
        remaining = iter([pictures] if isinstance(pictures, str | os.PathLike) else pictures)
        batches: list[Inferred] = []
        while batch := [
            self._pixels(picture) for picture in itertools.islice(remaining, self.batch_size)
        ]:
            batches.append(self.infer(np.stack(batch)))
        if not batches:
            raise UsageError("predict needs at least one picture.")
        outputs, svm = Inferred.concatenate(batches), self.card.svm
        return Predictions(
            labels=np.array(self.card.classes)[outputs.probabilities.argmax(axis=1)],
            probabilities=outputs.probabilities,
            features=outputs.features,
            svm_labels=None
            if svm is None or outputs.svm is None
            else np.array(svm.classes)[outputs.svm.argmax(axis=1)],
            novelty=None if outputs.novelty is None else outputs.novelty[:, 0],
        )

    def self_test(self) -> float:
        """Classifies the golden images, and compares with the expected probabilities.

        Returns:
            The largest difference between a probability and the expected one.

        Raises:
            ModelError: the difference is above the tolerance of the model's precision, or the
                network does not finish in time.
        """
        try:
            pixels = [images.read(golden.image, self.card.image) for golden in self.golden.images]
        except (ImageError, MemoryError) as error:
            raise ModelError(
                f"{self.path}: a golden image cannot be read ({first_line(error)}); export the "
                "model again."
            ) from error
        try:
            outputs = replace(self, session=TimeLimitedSession(self.session)).infer(
                np.stack(pixels)
            )
        except Exception as error:  # onnxruntime has a dozen exception types
            raise ModelError(
                f"{self.path} cannot be run on {self.device} ({first_line(error)}); export the "
                "model again."
            ) from error
        self._check_shapes(outputs)
        expected = np.array([g.probabilities for g in self.golden.images], np.float32)
        difference = float(np.abs(outputs.probabilities - expected).max())
        self._check_difference("probabilities", difference, self.tolerance)
        if self.card.svm is not None and outputs.svm is not None:
            # A pairwise decision near zero may change its sign and move two scores by 1, so the
            # median is compared; each score is the sum of as many decisions as there are classes.
            scores = np.array([g.svm for g in self.golden.images], np.float32)
            median = float(np.median(np.abs(outputs.svm - scores)))
            self._check_difference(
                "SVM scores", median, self.tolerance * len(self.card.svm.classes)
            )
        if outputs.novelty is not None:
            novelties = np.array([g.novelty for g in self.golden.images], np.float32)
            differences = np.abs(outputs.novelty[:, 0] - novelties)
            self._check_difference("novelty", float(differences.max()), self._novelty_tolerance)
        return difference

    @property
    def _novelty_tolerance(self) -> float:
        """As `tolerance`; where many valid images are alike, novelty rises steeply."""
        conversion = self.card.conversion
        return NOVELTY_TOLERANCE + (0.0 if conversion is None else conversion.novelty_difference)

    @property
    def tolerance(self) -> float:
        """The largest difference of a golden probability that the self-test allows.

        The golden probabilities of a converted model are those of the original, so its difference
        from the original is added to the difference between machines.
        """
        conversion = self.card.conversion
        conversion_difference = 0.0 if conversion is None else conversion.golden_difference
        return TOLERANCE[self.card.precision] + conversion_difference

    def _check_shapes(self, outputs: Inferred) -> None:
        card, count = self.card, len(self.golden.images)
        widths = [
            ("classes", len(card.classes), outputs.probabilities),
            ("features", card.features and card.features.dimension, outputs.features),
            ("SVM classes", card.svm and len(card.svm.classes), outputs.svm),
            ("novelty", card.novelty and 1, outputs.novelty),
        ]
        for name, promised, array in widths:
            shape = None if array is None else array.shape
            if shape != (None if promised is None else (count, promised)):
                raise ModelError(
                    f"{self.path}: its card promises {promised} {name}, and for {count} golden "
                    f"images its graph gives {list(shape or ())}; export the model again."
                )

    def _check_difference(self, name: str, difference: float, tolerance: float) -> None:
        if not difference <= tolerance:  # NaN fails too
            raise ModelError(
                f"{self.path} failed its self-test on {self.device}: a golden image's "
                f"{name} differ by {difference:.2g}, more than {tolerance:g}; the file, "
                "the runtime or the image decoder is not the one it was made with: export "
                "the model again, or update onnxruntime-gpu and simplejpeg."
            )

    def _pixels(self, picture: str | os.PathLike[str] | Pixels) -> Pixels:
        if isinstance(picture, np.ndarray):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                raise ImageError(
                    Failure.NOT_AN_IMAGE,
                    f"an array must be uint8 [H, W, 3], not {picture.dtype} {list(picture.shape)}",
                )
            return images.fit(picture, self.card.image)
        try:
            return images.read(images.load(Path(picture))[0], self.card.image)
        except ImageError as error:
            raise ImageError(error.reason, f"{picture}: {error}") from error


def open_model(
    path: str | Place | None = None,
    device: Device | str = Device.AUTO,
    threads: int = 0,
    batch_size: int | None = None,
) -> Model:
    """Opens a model file and runs its self-test.

    Args:
        path: an ONNX file made by ``boatinfer export``; None means the built-in model.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: threads that one inference may use on the CPU; 0 lets onnxruntime choose.
            A caller that runs several inferences at a time wants 1.
        batch_size: images in a batch; None chooses by the image size.

    Raises:
        ModelError: the file is missing, damaged or not ONNX, has no card, or fails its self-test.
        DeviceError: CUDA was requested and does not work.
    """
    file = BUILT_IN if path is None else model_place(path)
    return load(read_model(file), file, device, threads, batch_size)


def load(
    content: bytes,
    path: Place,
    device: Device | str = Device.AUTO,
    threads: int = 0,
    batch_size: int | None = None,
) -> Model:
    """Opens a model from the content of its file at ``path``; otherwise as `open_model`."""
    digest = sealed_digest(content, path)
    session, used_device = open_session(content, path, device, threads)
    try:
        metadata = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError as error:
        raise ModelError(
            f"{path} has metadata that is not text, so it is damaged; copy it again from where it "
            "was made, or export it again."
        ) from error
    card, golden = from_metadata(metadata, str(path))
    if not is_sealed(content):
        raise ModelError(
            f"{path} has a model card but no seal, so it cannot be checked whether the file is "
            "complete and unchanged; copy it again from where it was made, or export it again."
        )
    _check_tensors(session, card, path)
    default_size = min(
        _MAX_BATCH_SIZE, max(1, _BATCH_PIXELS // (card.image.height * card.image.width))
    )
    digest = card.network or digest
    model = Model(path, digest, card, used_device, batch_size or default_size, golden, session)
    model.self_test()
    return model


def read_model(path: Place) -> bytes:
    """Reads a model file.

    Raises:
        ModelError: it is missing, a folder, or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the model {path} cannot be read: {error.strerror}; check its name."
        ) from error


def _check_tensors(session: Any, card: Card, path: Place) -> None:
    """Refuses a card that does not match its graph."""
    inputs = {tensor.name: tensor for tensor in session.get_inputs()}
    outputs = {tensor.name: tensor for tensor in session.get_outputs()}
    names = card.outputs
    named = (
        names.probabilities,
        names.logits,
        names.features,
        names.svm,
        names.class_activation,
        names.novelty,
    )
    output_names = [name for name in named if name is not None]
    missing = [name for name in output_names if name not in outputs]
    if names.class_activation is not None and REQUEST not in {
        tensor.name for tensor in session.get_overridable_initializers()
    }:
        missing.append(REQUEST)
    if list(inputs) != [card.input.name] or missing:
        raise ModelError(
            f"{path}: its card names the tensors {card.input.name} -> {', '.join(output_names)}, "
            f"and its graph has {', '.join(inputs)} -> {', '.join(outputs)}; export the model "
            "again."
        )
    image, tensor = card.image, inputs[card.input.name]
    height, width, channels = image.shape
    shape = (channels, height, width) if card.input.layout == "NCHW" else image.shape
    fits = len(tensor.shape) in {3, 4} and all(
        not isinstance(length, int) or length < 1 or length == expected
        for length, expected in zip(tensor.shape[-3:], shape, strict=True)
    )
    if tensor.type != ONNX_TYPES[card.input.dtype] or not fits:
        raise ModelError(
            f"{path}: its card describes an input {card.input.dtype} {['batch', *shape]}, and its "
            f"graph takes {tensor.type} {tensor.shape}; export the model again."
        )
