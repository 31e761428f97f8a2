"""Model files load in old onnxruntimes (docs/model-card.md says in which), and quietly."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
import pytest

from boatexport import comparison, plan, precision
from boatexport.options import QuantizeOptions
from boatinfer.models.built_in import BUILT_IN
from boatinfer.models.inference import REQUEST


@pytest.fixture(params=["exported", "built in", "int8", "float16"])
def file(
    request: pytest.FixtureRequest, network: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A model file of each kind that is ours."""
    if request.param == "built in":
        return BUILT_IN
    if request.param == "exported":
        path: Path = request.getfixturevalue("exported")
        return path
    monkeypatch.setattr(comparison, "_TIMING_SECONDS", 0)
    monkeypatch.setattr(plan, "CALIBRATION_IMAGES", 6)
    options = QuantizeOptions(network, None, pictures, precision=request.param, max_drop=100)
    precision.quantize(options, lambda _: None, lambda _: None)
    return options.onnx_file


def test_it_needs_no_new_runtime_and_loads_without_another_warning(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(file)
    assert model.ir_version == 7
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 13)]
    assert not model.functions
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 2
    capfd.readouterr()
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    printed, warned = capfd.readouterr()
    # The optional input is told of; boatinfer's own sessions print nothing.
    assert [line for line in warned.splitlines() if REQUEST not in line] == []
    assert printed == ""


def test_a_warning_would_be_seen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(BUILT_IN)
    idle = onnx.helper.make_tensor("idle", onnx.TensorProto.FLOAT, [1], [0.0])
    model.graph.initializer.append(idle)
    onnx.save(model, tmp_path / "idle.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 2
    onnxruntime.InferenceSession(
        str(tmp_path / "idle.onnx"), options, providers=["CPUExecutionProvider"]
    )
    assert "idle" in capfd.readouterr().err
