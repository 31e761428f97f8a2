"""Activation ranges of a network on calibration images, by three methods."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx

from boatinfer.storage.files import temporary_folder

__all__ = ["calibrate_ranges", "suppressed_output"]

#: Number of histogram bins, and of bins of the quantised candidates of the entropy method.
_BINS, _CANDIDATE_BINS = 256, 128
_PERCENTILE = 99.99


def calibrate_ranges(
    model: onnx.ModelProto, operators: Sequence[str], inputs: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Computes the range of every activation on calibration images, by three methods.

    All methods use the histograms of a single pass over the images.

    Args:
        model: the graph to calibrate.
        operators: types of the operators to be quantised.
        inputs: model inputs by name, one image each.

    Returns:
        ``onnxruntime.quantization`` TensorsData by the name of the method.
    """
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import EntropyCalibrater, TensorsData

    with tempfile.TemporaryDirectory(dir=temporary_folder()) as folder, suppressed_output():
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        calibrater = EntropyCalibrater(
            path,
            operators,
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            num_bins=_BINS,
            num_quantized_bins=_CANDIDATE_BINS,
        )
        calibrater.augment_graph()
        calibrater.create_inference_session()
        for image in inputs:
            calibrater.collect_data(_SingleBatchReader(image))
        entropy = calibrater.compute_data()
        collector = calibrater.collector
        min_max = {name: histogram[2:4] for name, histogram in collector.histogram_dict.items()}
        collector.method, collector.percentile = "percentile", _PERCENTILE
        percentile = collector.compute_collection_result()
    return {
        "min-max": TensorsData(CalibrationMethod.MinMax, min_max),
        "percentile": TensorsData(CalibrationMethod.Percentile, percentile),
        "entropy": entropy,
    }


class _SingleBatchReader:
    """A calibration data reader of a single batch, to save memory."""

    def __init__(self, inputs: dict[str, Any]) -> None:
        self._remaining: list[dict[str, Any]] = [inputs]

    def get_next(self) -> dict[str, Any] | None:
        return self._remaining.pop() if self._remaining else None


@contextlib.contextmanager
def suppressed_output() -> Iterator[None]:
    """Suppresses output and warnings of onnxruntime.quantization."""
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
