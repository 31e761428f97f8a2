"""The ranges that the activations of a network have on images, chosen in three ways."""

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

__all__ = ["quiet", "ranges"]

#: Bins of the histograms, and of the candidates that the entropy method compares with them.
_BINS, _CANDIDATE_BINS = 256, 128
_PERCENTILE = 99.99


def ranges(
    model: onnx.ModelProto, operators: Sequence[str], fed: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Runs the graph on the images and chooses the range of every activation in three ways.

    One pass gives the histograms, their ends and so the ranges of all three methods.

    Returns:
        Names of the methods to ``onnxruntime.quantization`` TensorsData.
    """
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import EntropyCalibrater, TensorsData

    with tempfile.TemporaryDirectory(dir=temporary_folder()) as folder, quiet():
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
        for image in fed:
            calibrater.collect_data(_Once(image))
        entropy = calibrater.compute_data()
        collector = calibrater.collector
        ends = {name: found[2:4] for name, found in collector.histogram_dict.items()}
        collector.method, collector.percentile = "percentile", _PERCENTILE
        percentile = collector.compute_collection_result()
    return {
        "min-max": TensorsData(CalibrationMethod.MinMax, ends),
        "percentile": TensorsData(CalibrationMethod.Percentile, percentile),
        "entropy": entropy,
    }


class _Once:
    """A calibration data reader of one batch: more would be held in memory all at once."""

    def __init__(self, inputs: dict[str, Any]) -> None:
        self._waiting: list[dict[str, Any]] = [inputs]

    def get_next(self) -> dict[str, Any] | None:
        return self._waiting.pop() if self._waiting else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps onnxruntime.quantization's prints and warnings off the terminal."""
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
