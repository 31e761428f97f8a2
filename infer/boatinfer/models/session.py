"""An ONNX graph on a device: the one place that loads onnxruntime."""

from __future__ import annotations

import contextlib
import ctypes
import io
import sys
from typing import Any

from boatinfer.errors import DeviceError, ModelError, UsageError, first_line, install_hint
from boatinfer.models.deadline import within
from boatinfer.models.device import Device
from boatinfer.quiet import native_stderr_hidden
from boatinfer.storage.base import Place
from boatinfer.text import to_text

__all__ = ["Limited", "open_session"]

#: Seconds that a graph may take to be loaded, and then to be run for the first time.
TIME_LIMIT = 300.0

_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


def open_session(
    content: bytes, path: Place, device: Device | str = Device.AUTO, threads: int = 0
) -> tuple[Any, Device]:
    """Opens the content of an ONNX file.

    Args:
        content: of the file.
        path: names the file in error messages.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: threads that one inference may use on the CPU; 0 lets onnxruntime choose.

    Returns:
        The ``onnxruntime.InferenceSession``, and the device that it really uses.

    Raises:
        ModelError: onnxruntime cannot load it.
        DeviceError: CUDA was asked for and does not work.
        UsageError: there is no such device.
    """
    try:
        device = Device(device)
    except ValueError:
        raise UsageError(f"the device must be auto, cpu or cuda, not {device}.") from None
    if content.startswith(b"PK\3\4"):
        raise ModelError(f"{path} is a Keras model; turn it into ONNX with 'boatinfer export'.")
    gpus = 0 if device is Device.CPU else _cuda_devices()
    if device is Device.CUDA and not gpus:
        raise DeviceError(
            "--device cuda: this machine shows no NVIDIA GPU; use --device cpu, or check the "
            "driver with nvidia-smi."
        )
    with native_stderr_hidden():
        import onnxruntime as ort

    ort.set_default_logger_severity(4)  # its errors reach us as exceptions
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Weights of other files are looked for below the model file: nowhere.
    options.add_session_config_entry(_WEIGHTS_FOLDER, to_text(str(path)))
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"][0 if gpus else 1 :]
    try:
        # Where CUDA's libraries are missing, it prints advice that ours replaces.
        with contextlib.redirect_stdout(io.StringIO()), native_stderr_hidden():
            if gpus and hasattr(ort, "preload_dlls"):
                ort.preload_dlls(directory="")
            session = within(
                TIME_LIMIT, lambda: ort.InferenceSession(content, options, providers=providers)
            )
    except Exception as error:  # onnxruntime has a dozen exception types with no common base
        if "xternal data" in str(error):
            raise ModelError(
                f"{path} keeps its weights in other files, which nothing can vouch for; save it "
                "as one file."
            ) from error
        if type(error).__name__ == "InvalidProtobuf" or "No graph was found" in str(error):
            raise ModelError(
                f"{path} is no ONNX file, or is cut off or damaged; copy it again from where it "
                "was made, or export it again."
            ) from error
        raise ModelError(
            f"{path} is not an ONNX model that onnxruntime can load ({first_line(error)}); "
            "export the model again."
        ) from error
    used = Device.CUDA if "CUDAExecutionProvider" in session.get_providers() else Device.CPU
    if device is Device.CUDA and used is Device.CPU:
        raise DeviceError(
            "--device cuda: onnxruntime could not load CUDA and cuDNN; "
            f"{install_hint('cuda')}, or use --device cpu."
        )
    return session, used


class Limited:
    """A session, as another one is used, whose runs raise `OverdueError` after `TIME_LIMIT`.

    Args:
        session: an ``onnxruntime.InferenceSession``.
    """

    def __init__(self, session: Any) -> None:
        import onnxruntime as ort

        self._session, self._options = session, ort.RunOptions()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: list[str], feeds: dict[str, Any]) -> Any:
        """Runs the graph; it is told to end, which it does between two of its nodes."""
        return within(
            TIME_LIMIT,
            lambda: self._session.run(names, feeds, self._options),
            cancel=lambda: setattr(self._options, "terminate", True),
        )


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
