"""An ONNX file opened on a device: its session, its card, its self-test."""

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
from boatinfer.models.card import TOLERANCE, Card, Golden, from_metadata
from boatinfer.models.device import Device
from boatinfer.models.inference import ONNX_TYPES, Floats, Inferred, images_at_a_time, infer
from boatinfer.models.seal import is_sealed, sealed_digest
from boatinfer.models.session import Limited, open_session
from boatinfer.storage.base import Place

__all__ = [
    "Model",
    "ModelInfo",
    "Predictions",
    "load",
    "open_model",
    "read_model",
]

#: The boats model that comes with the package.
#: Pixels that make a batch, of so many images at the most.
_BATCH_PIXELS, _MOST_IN_BATCH = 1_000_000, 32


@dataclass(frozen=True)
class Predictions:
    """What a model says of N images.

    Attributes:
        labels: str [N], the likeliest class.
        probabilities: float32 [N, C], rows sum to 1, columns in the order of the classes.
        features: float32 [N, D], or None where the model has no feature output.
        svm_labels: str [N], what the SVM inside the model says; None where there is none.
    """

    labels: npt.NDArray[np.str_]
    probabilities: Floats
    features: Floats | None
    svm_labels: npt.NDArray[np.str_] | None = None


@dataclass(frozen=True)
class ModelInfo:
    """What is known of an open model, whichever process it is open in.

    Attributes:
        path: the file.
        digest: SHA-256 of the file, hex.
        card: what the file says about itself.
        device: what the session really uses, ``cpu`` or ``cuda``.
        batch_size: images in a batch. On a GPU the graph sees no other number, so that only one
            shape is ever compiled: the last batch, and the self-test's, are filled up.
    """

    path: Place
    digest: str
    card: Card
    device: Device
    batch_size: int

    @property
    def info(self) -> ModelInfo:
        """Just this, without what only the process has that opened the model."""
        return ModelInfo(self.path, self.digest, self.card, self.device, self.batch_size)


@dataclass(frozen=True)
class Model(ModelInfo):
    """A classifier ready to run; made by `open_model`.

    Attributes:
        golden: its own test.
        session: the onnxruntime session; may be used from several threads at once.
    """

    golden: Golden
    session: Any

    def infer(self, batch: Pixels) -> Inferred:
        """Runs the network.

        A graph of a fixed batch size, or without a batch axis, is run as often as it takes.

        Args:
            batch: uint8 [N, H, W, 3], RGB, of the card's size; N may be anything from 1.
        """
        size = self.batch_size if self.device is Device.CUDA else None
        return infer(self.session, self.card.input, self.card.outputs, batch, size)

    @property
    def batch(self) -> int | None:
        """Images that the graph takes at a time; None if any number, 0 if it has no such axis."""
        return images_at_a_time(self.session)

    def predict(
        self, pictures: Iterable[str | os.PathLike[str] | Pixels] | str | os.PathLike[str]
    ) -> Predictions:
        """Classifies pictures, in this process: one that crashes the decoder ends it.

        Args:
            pictures: paths, or arrays uint8 [H, W, 3] RGB of any size, or one array
                uint8 [N, H, W, 3], or one path.

        Returns:
            Labels, probabilities and features, in the order of the pictures.

        Raises:
            ImageError: a picture cannot be read; the message names it.
            UsageError: there is no picture.
        """
        waiting = iter([pictures] if isinstance(pictures, str | os.PathLike) else pictures)
        found: list[Inferred] = []
        while batch := [
            self._pixels(picture) for picture in itertools.islice(waiting, self.batch_size)
        ]:
            found.append(self.infer(np.stack(batch)))
        if not found:
            raise UsageError("predict needs at least one picture.")
        one, svm = Inferred.joined(found), self.card.svm
        return Predictions(
            labels=np.array(self.card.classes)[one.probabilities.argmax(axis=1)],
            probabilities=one.probabilities,
            features=one.features,
            svm_labels=None
            if svm is None or one.svm is None
            else np.array(svm.classes)[one.svm.argmax(axis=1)],
        )

    def self_test(self) -> float:
        """Replays the golden images on this session.

        Returns:
            The largest difference between a probability and the expected one.

        Raises:
            ModelError: the difference is above the tolerance of the model's precision, or the
                network does not come to an end.
        """
        try:
            pixels = [images.read(golden.image, self.card.image) for golden in self.golden.images]
        except (ImageError, MemoryError) as error:
            raise ModelError(
                f"{self.path}: a golden image cannot be read ({first_line(error)}); export the "
                "model again."
            ) from error
        try:
            found = replace(self, session=Limited(self.session)).infer(np.stack(pixels))
        except Exception as error:  # onnxruntime has a dozen exception types
            raise ModelError(
                f"{self.path} cannot be run on {self.device} ({first_line(error)}); export the "
                "model again."
            ) from error
        self._check_shapes(found)
        expected = np.array([g.probabilities for g in self.golden.images], np.float32)
        difference = float(np.abs(found.probabilities - expected).max())
        self._require("probabilities", difference, self.tolerance)
        if self.card.svm is not None and found.svm is not None:
            # A pairwise decision near zero may fall either way and move two scores by 1, so
            # the median is compared; each score adds up as many decisions as there are classes.
            scores = np.array([g.svm for g in self.golden.images], np.float32)
            middle = float(np.median(np.abs(found.svm - scores)))
            self._require("SVM scores", middle, self.tolerance * len(self.card.svm.classes))
        return difference

    @property
    def tolerance(self) -> float:
        """The largest difference of a golden probability that the self-test lets pass.

        The golden probabilities of a converted model are those of the original, so its own
        difference from them comes on top of what machines differ by.
        """
        conversion = self.card.conversion
        own = 0.0 if conversion is None else conversion.golden_difference
        return TOLERANCE[self.card.precision] + own

    def _check_shapes(self, found: Inferred) -> None:
        card, count = self.card, len(self.golden.images)
        widths = [
            ("classes", len(card.classes), found.probabilities),
            ("features", card.features and card.features.dimension, found.features),
            ("SVM classes", card.svm and len(card.svm.classes), found.svm),
        ]
        for what, promised, given in widths:
            shape = None if given is None else given.shape
            if shape != (None if promised is None else (count, promised)):
                raise ModelError(
                    f"{self.path}: its card promises {promised} {what}, and for {count} golden "
                    f"images its graph gives {list(shape or ())}; export the model again."
                )

    def _require(self, what: str, difference: float, tolerance: float) -> None:
        if not difference <= tolerance:  # NaN fails too
            raise ModelError(
                f"{self.path} failed its self-test on {self.device}: a golden image's "
                f"{what} differ by {difference:.2g}, more than {tolerance:g}; the file, "
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
        ModelError: the file is missing, damaged or no ONNX, has no card, or fails its self-test.
        DeviceError: CUDA was asked for and does not work.
    """
    where = BUILT_IN if path is None else model_place(path)
    return load(read_model(where), where, device, threads, batch_size)


def load(
    content: bytes,
    path: Place,
    device: Device | str = Device.AUTO,
    threads: int = 0,
    batch_size: int | None = None,
) -> Model:
    """Opens a model from the content of its file; as `open_model`, to which ``path`` is named."""
    digest = sealed_digest(content, path)
    session, used = open_session(content, path, device, threads)
    try:
        metadata = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError as error:
        raise ModelError(
            f"{path} has metadata that is no text, so it is damaged; copy it again from where it "
            "was made, or export it again."
        ) from error
    card, golden = from_metadata(metadata, str(path))
    if not is_sealed(content):
        raise ModelError(
            f"{path} has a model card but no seal, so nobody can know whether all of it is as it "
            "was written; copy it again from where it was made, or export it again."
        )
    _check_tensors(session, card, path)
    by_size = min(_MOST_IN_BATCH, max(1, _BATCH_PIXELS // (card.image.height * card.image.width)))
    model = Model(path, digest, card, used, batch_size or by_size, golden, session)
    model.self_test()
    return model


def read_model(path: Place) -> bytes:
    """Reads a model file, whole.

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
    """Refuses a card that does not describe the graph it sits in."""
    inputs = {tensor.name: tensor for tensor in session.get_inputs()}
    outputs = {tensor.name: tensor for tensor in session.get_outputs()}
    names = card.outputs
    named = (names.probabilities, names.logits, names.features, names.svm)
    wanted = [name for name in named if name is not None]
    missing = [n for n in wanted if n not in outputs]
    if list(inputs) != [card.input.name] or missing:
        raise ModelError(
            f"{path}: its card names the tensors {card.input.name} -> {', '.join(wanted)}, and "
            f"its graph has {', '.join(inputs)} -> {', '.join(outputs)}; export the model again."
        )
    image, tensor = card.image, inputs[card.input.name]
    shape = (3, image.height, image.width)
    shape = shape if card.input.layout == "NCHW" else (*shape[1:], 3)
    fits = len(tensor.shape) in {3, 4} and all(
        not isinstance(is_, int) or is_ < 1 or is_ == want
        for is_, want in zip(tensor.shape[-3:], shape, strict=True)
    )
    if tensor.type != ONNX_TYPES[card.input.dtype] or not fits:
        raise ModelError(
            f"{path}: its card describes an input {card.input.dtype} {['batch', *shape]}, and its "
            f"graph takes {tensor.type} {tensor.shape}; export the model again."
        )
