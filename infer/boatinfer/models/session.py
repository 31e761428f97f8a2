"""Opens an ONNX graph on a device; the only module that imports onnxruntime for inference."""

from __future__ import annotations

import contextlib
import ctypes
import io
import sys
from typing import Any

from boatinfer.errors import DeviceError, ModelError, UsageError, first_line, install_hint
from boatinfer.models.deadline import call_with_timeout
from boatinfer.models.device import Device
from boatinfer.quiet import native_stderr_hidden
from boatinfer.storage.base import Place
from boatinfer.text import to_text

__all__ = ["TimeLimitedSession", "open_session"]

#: Seconds that loading a graph, and its first run, may take.
TIME_LIMIT = 300.0

_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


def open_session(
    content: bytes, path: Place, device: Device | str = Device.AUTO, threads: int = 0
) -> tuple[Any, Device]:
    """Opens the content of an ONNX file.

    Args:
        content: content of the file.
        path: names the file in error messages.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: threads that one inference may use on the CPU; 0 lets onnxruntime choose.

    Returns:
        The ``onnxruntime.InferenceSession``, and the device that it uses.

    Raises:
        ModelError: onnxruntime cannot load it.
        DeviceError: CUDA was requested and does not work.
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

    ort.set_default_logger_severity(4)  # errors are raised as exceptions anyway
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # External weights are searched below the model file, where none can be: they are refused.
    options.add_session_config_entry(_WEIGHTS_FOLDER, to_text(str(path)))
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"][0 if gpus else 1 :]
    try:
        # If CUDA's libraries are missing, it prints advice, which the DeviceError below replaces.
        with contextlib.redirect_stdout(io.StringIO()), native_stderr_hidden():
            if gpus and hasattr(ort, "preload_dlls"):
                ort.preload_dlls(directory="")
            session = call_with_timeout(
                TIME_LIMIT, lambda: ort.InferenceSession(content, options, providers=providers)
            )
    except Exception as error:  # onnxruntime has a dozen exception types with no common base
        if "xternal data" in str(error):
            raise ModelError(
                f"{path} keeps its weights in other files, which cannot be checked; save it "
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
    used_device = Device.CUDA if "CUDAExecutionProvider" in session.get_providers() else Device.CPU
    if device is Device.CUDA and used_device is Device.CPU:
        raise DeviceError(
            "--device cuda: onnxruntime could not load CUDA and cuDNN; "
            f"{install_hint('cuda')}, or use --device cpu."
        )
    return session, used_device


class TimeLimitedSession:
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
        """Runs the graph; at the time limit it is told to terminate after the current node."""
        return call_with_timeout(
            TIME_LIMIT,
            lambda: self._session.run(names, feeds, self._options),
            cancel=lambda: setattr(self._options, "terminate", True),
        )


def _cuda_devices() -> int:
    """Number of GPUs by the NVIDIA driver; 0 without a driver."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
