"""An ONNX file opened on a device: its session, its card, its self-test."""

from __future__ import annotations

import contextlib
import ctypes
import io
import itertools
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from boatinfer import images
from boatinfer.card import TOLERANCE, Card, Golden, InputSpec, from_metadata
from boatinfer.errors import DeviceError, Failure, ImageError, ModelError, UsageError, first_line
from boatinfer.images import Pixels
from boatinfer.options import Device
from boatinfer.quiet import native_chatter_hidden
from boatinfer.seal import is_sealed, sealed_digest

__all__ = ["BUILT_IN", "Floats", "Model", "Predictions", "load", "open_model"]

Floats = npt.NDArray[np.float32]

#: The boats model that comes with the package.
BUILT_IN = Path(str(files("boatinfer"))) / "models" / "boats.onnx"

#: Pictures that `Model.predict` holds in memory at a time.
_BATCH = 32

_ONNX_TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}


@dataclass(frozen=True)
class Predictions:
    """What a model says of N images.

    Attributes:
        labels: str [N], the likeliest class.
        probabilities: float32 [N, C], rows sum to 1, columns in the order of the classes.
        features: float32 [N, D], or None where the model has no feature output.
    """

    labels: npt.NDArray[np.str_]
    probabilities: Floats
    features: Floats | None


@dataclass(frozen=True)
class Model:
    """A classifier ready to run; made by `open_model`.

    Attributes:
        path: the file.
        digest: SHA-256 of the file, hex.
        card: what the file says about itself.
        golden: its own test.
        device: what the session really uses, ``cpu`` or ``cuda``.
        session: the onnxruntime session; may be used from several threads at once.
    """

    path: Path
    digest: str
    card: Card
    golden: Golden
    device: Device
    session: Any

    def infer(self, batch: Pixels) -> tuple[Floats, Floats | None]:
        """Runs the network.

        Args:
            batch: uint8 [N, H, W, 3], RGB, of the card's size; N may be anything from 1.

        Returns:
            Probabilities, float32 [N, C], and features, float32 [N, D] or None.
        """
        fed = {self.card.input.name: _tensor(batch, self.card.input)}
        names = self.card.outputs
        wanted = [
            names.probabilities or names.logits,
            *([names.features] if names.features else []),
        ]
        outputs = self.session.run(wanted, fed)
        first = np.asarray(outputs[0], dtype=np.float32)
        probabilities = first if names.logits is None else _softmax(first)
        features = np.asarray(outputs[1], dtype=np.float32) if len(outputs) > 1 else None
        return probabilities, features

    def predict(self, pictures: Iterable[str | Path | Pixels] | str | Path) -> Predictions:
        """Classifies pictures.

        Args:
            pictures: paths, or arrays uint8 [H, W, 3] RGB of any size, or one array
                uint8 [N, H, W, 3], or one path.

        Returns:
            Labels, probabilities and features, in the order of the pictures.

        Raises:
            ImageError: a picture cannot be read; the message names it.
            UsageError: there is no picture.
        """
        waiting = iter([pictures] if isinstance(pictures, str | Path) else pictures)
        found = []
        while batch := [self._pixels(picture) for picture in itertools.islice(waiting, _BATCH)]:
            found.append(self.infer(np.stack(batch)))
        if not found:
            raise UsageError("predict needs at least one picture.")
        probabilities = np.concatenate([p for p, _ in found])
        features = [f for _, f in found if f is not None]
        labels = np.array(self.card.classes)[probabilities.argmax(axis=1)]
        return Predictions(labels, probabilities, np.concatenate(features) if features else None)

    def self_test(self) -> float:
        """Replays the golden images on this session.

        Returns:
            The largest difference between a probability and the expected one.

        Raises:
            ModelError: the difference is above the tolerance of the model's precision.
        """
        try:
            pixels = [images.read(golden.image, self.card.image) for golden in self.golden.images]
        except ImageError as error:
            raise ModelError(
                f"{self.path}: a golden image cannot be read ({error}); export the model again."
            ) from error
        expected = np.array([g.probabilities for g in self.golden.images], np.float32)
        try:
            probabilities, features = self.infer(np.stack(pixels))
        except Exception as error:  # onnxruntime has a dozen exception types
            raise ModelError(
                f"{self.path} cannot be run on {self.device} ({first_line(error)}); export the "
                "model again."
            ) from error
        wide = None if features is None else features.shape[1]
        described = self.card.features
        if probabilities.shape != expected.shape or (described and described.dimension != wide):
            raise ModelError(
                f"{self.path}: its card promises {len(self.card.classes)} classes and "
                f"{described.dimension if described else 'no'} features, and its graph gives "
                f"{probabilities.shape[1]} and {wide or 'none'}; export the model again."
            )
        difference = float(np.abs(probabilities - expected).max())
        tolerance = TOLERANCE[self.card.precision]
        if not difference <= tolerance:  # NaN fails too
            raise ModelError(
                f"{self.path} failed its self-test on {self.device}: a golden image's "
                f"probabilities differ by {difference:.2g}, more than {tolerance:g}; the file, "
                "the runtime or the image decoder is not the one it was made with: export "
                "the model again, or update onnxruntime-gpu and simplejpeg."
            )
        return difference

    def _pixels(self, picture: str | Path | Pixels) -> Pixels:
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
    path: str | Path | None = None, device: Device | str = Device.AUTO, threads: int = 0
) -> Model:
    """Opens a model file and runs its self-test.

    Args:
        path: an ONNX file made by ``boatinfer export``; None means the built-in model.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: threads that one inference may use on the CPU; 0 lets onnxruntime choose.
            A caller that runs several inferences at a time wants 1.

    Raises:
        ModelError: the file is missing, damaged or no ONNX, has no card, or fails its self-test.
        DeviceError: CUDA was asked for and does not work.
    """
    path = BUILT_IN if path is None else Path(path)
    return load(_content(path), path, device, threads)


def load(content: bytes, path: Path, device: Device | str = Device.AUTO, threads: int = 0) -> Model:
    """Opens a model from the content of its file; as `open_model`, to which ``path`` is named."""
    try:
        device = Device(device)
    except ValueError:
        raise UsageError(f"the device must be auto, cpu or cuda, not {device}.") from None
    digest = sealed_digest(content, path)
    session, used = _session(content, path, device, threads)
    card, golden = from_metadata(session.get_modelmeta().custom_metadata_map, str(path))
    if not is_sealed(content):
        raise ModelError(
            f"{path} has a model card but no seal, so nobody can know whether all of it is as it "
            "was written; copy it again from where it was made, or export it again."
        )
    _check_tensors(session, card, path)
    model = Model(path, digest, card, golden, used, session)
    model.self_test()
    return model


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the model {path} cannot be read: {error.strerror}; check its name."
        ) from error


def _session(content: bytes, path: Path, device: Device, threads: int) -> tuple[Any, Device]:
    if content.startswith(b"PK\3\4"):
        raise ModelError(f"{path} is a Keras model; turn it into ONNX with 'boatinfer export'.")
    gpus = 0 if device is Device.CPU else _cuda_devices()
    if device is Device.CUDA and not gpus:
        raise DeviceError(
            "--device cuda: this machine shows no NVIDIA GPU; use --device cpu, or check the "
            "driver with nvidia-smi."
        )
    with native_chatter_hidden():
        import onnxruntime as ort

    ort.set_default_logger_severity(4)  # its errors reach us as exceptions
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"][0 if gpus else 1 :]
    try:
        # Where CUDA's libraries are missing, it prints advice that ours replaces.
        with contextlib.redirect_stdout(io.StringIO()), native_chatter_hidden():
            if gpus and hasattr(ort, "preload_dlls"):
                ort.preload_dlls(directory="")
            session = ort.InferenceSession(content, options, providers=providers)
    except Exception as error:  # onnxruntime has a dozen exception types with no common base
        raise ModelError(
            f"{path} is not an ONNX model that onnxruntime can load ({first_line(error)}); "
            "export the model again."
        ) from error
    used = Device.CUDA if "CUDAExecutionProvider" in session.get_providers() else Device.CPU
    if device is Device.CUDA and used is Device.CPU:
        raise DeviceError(
            "--device cuda: onnxruntime could not load CUDA and cuDNN; bring them with "
            "pip install 'boatinfer[cuda]', or use --device cpu."
        )
    return session, used


def _cuda_devices() -> int:
    """Number of GPUs that the NVIDIA driver shows; 0 without a driver."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _check_tensors(session: Any, card: Card, path: Path) -> None:
    """Refuses a card that does not describe the graph it sits in."""
    inputs = {tensor.name: tensor for tensor in session.get_inputs()}
    outputs = {tensor.name: tensor for tensor in session.get_outputs()}
    wanted = [
        name
        for name in (card.outputs.probabilities, card.outputs.logits, card.outputs.features)
        if name is not None
    ]
    missing = [n for n in wanted if n not in outputs]
    if list(inputs) != [card.input.name] or missing:
        raise ModelError(
            f"{path}: its card names the tensors {card.input.name} -> {', '.join(wanted)}, and "
            f"its graph has {', '.join(inputs)} -> {', '.join(outputs)}; export the model again."
        )
    size = (card.image.height, card.image.width)
    shape = (None, *size, 3) if card.input.layout == "NHWC" else (None, 3, *size)
    tensor = inputs[card.input.name]
    if tensor.shape and isinstance(tensor.shape[0], int):
        raise ModelError(
            f"{path} takes batches of exactly {tensor.shape[0]} images; export it with a dynamic "
            "batch axis."
        )
    fits = len(tensor.shape) == 4 and all(
        not isinstance(is_, int) or is_ == want
        for is_, want in zip(tensor.shape[1:], shape[1:], strict=True)
    )
    if tensor.type != _ONNX_TYPES[card.input.dtype] or not fits:
        raise ModelError(
            f"{path}: its card describes an input {card.input.dtype} {list(shape)}, and its "
            f"graph takes {tensor.type} {tensor.shape}; export the model again."
        )


def _tensor(batch: Pixels, spec: InputSpec) -> npt.NDArray[Any]:
    if spec.order == "BGR":
        batch = batch[..., ::-1]
    tensor: npt.NDArray[Any] = batch
    if spec.dtype == "float32":
        scaled = batch.astype(np.float32) * np.float32(spec.scale)
        mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
        tensor = (scaled - mean) / std
    if spec.layout == "NCHW":
        tensor = tensor.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(tensor)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)
