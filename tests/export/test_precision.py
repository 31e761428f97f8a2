from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto

import colours
import convnet
import killers
from boatexport import comparison, plan, precision
from boatexport.exporting import export_model
from boatexport.fusing import fuse
from boatexport.graph import int8
from boatexport.options import ExportOptions, FuseOptions, QuantizeOptions
from boatinfer import images
from boatinfer.analysis import metrics
from boatinfer.errors import ModelError, UsageError
from boatinfer.models.card import Conversion, FusedSVM
from boatinfer.models.model import Model, open_model
from boatinfer.models.svm import load
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.svm.fit import fit
from boatinfer.svm.options import FitOptions
from support import Command, Shell, Trained


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few images and little time for each step."""
    monkeypatch.setattr(comparison, "_TIMING_SECONDS", 0)
    monkeypatch.setattr(plan, "CALIBRATION_IMAGES", 12)


def quantize(model: Path, **options: Any) -> tuple[Conversion, list[str]]:
    said: list[str] = []
    converted = precision.quantize(QuantizeOptions(model, **options), said.append, lambda _: None)
    return converted.conversion, said


def scored(model: Model, folder: Path) -> tuple[metrics.Scores, Any]:
    """Figures of a model on a labelled folder, computed in another way than the gate."""
    paths = sorted(folder.rglob("*.jpg"))
    truth = np.array([model.card.classes.index(path.parent.name) for path in paths])
    probabilities = model.predict(paths).probabilities
    return metrics.scores(truth, probabilities), probabilities.argmax(axis=1)


def test_the_card_holds_what_both_models_really_do(network: Path, pictures: Path) -> None:
    conversion, said = quantize(network, calibrate=pictures)
    before, after = open_model(network), open_model(network.with_suffix(".int8.onnx"))
    assert after.card.conversion == conversion
    assert after.card == msgspec.structs.replace(
        before.card,
        name=f"{before.card.name}-int8",
        precision="int8",
        conversion=conversion,
    )
    assert after.golden == before.golden  # what the original gave
    assert (conversion.source, conversion.images) == (before.digest, 120 - 24)
    assert conversion.converted.bytes == after.path.stat().st_size
    assert conversion.original.bytes == before.path.stat().st_size
    assert min(conversion.original.images_per_second, conversion.converted.images_per_second) > 0
    assert after.self_test() == pytest.approx(conversion.golden_difference, abs=1e-6)
    assert after.tolerance == pytest.approx(0.05 + conversion.golden_difference)
    assert any("calibrating on 12 images, choosing the method on 12" in line for line in said)


def test_figures_are_those_of_the_labelled_folder(
    network: Path, pictures: Path, tmp_path: Path
) -> None:
    labelled = tmp_path / "labelled"
    colours.write_pictures(labelled, each=5)
    for number in range(4):  # as wrong as can be
        (labelled / "red" / f"{number:03d}.jpg").rename(labelled / "blue" / f"x{number}.jpg")
    conversion, _ = quantize(network, calibrate=pictures, labelled=labelled)
    found, labels = scored(open_model(network), labelled)
    converted, others = scored(open_model(network.with_suffix(".int8.onnx")), labelled)
    assert conversion.images == 15
    for figures, expected in [(conversion.original, found), (conversion.converted, converted)]:
        assert figures.accuracy == pytest.approx(expected.accuracy)
        assert figures.macro_f1 == pytest.approx(expected.macro_f1)
        assert figures.calibration_error == pytest.approx(expected.calibration_error, abs=1e-5)
    assert 0.5 < conversion.original.accuracy < 0.8
    assert conversion.agreement == pytest.approx(np.mean(labels == others))


def spoil(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the quantisation give a network that calls all red."""
    real = int8.quantise

    def wrong(*arguments: Any) -> Any:
        found = real(*arguments)
        zeros = np.zeros((convnet.CHANNELS, 3), np.float32)
        for tensor in found.model.graph.initializer:
            if list(tensor.dims) == list(zeros.shape):
                tensor.CopyFrom(onnx.numpy_helper.from_array(zeros, tensor.name))
        return found

    monkeypatch.setattr(precision, "quantise", wrong)


def test_the_gate_refuses_and_nothing_is_written(
    network: Path, pictures: Path, boatinfer: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch)
    output = network.with_name("before.onnx")
    output.write_text("what was there before")
    arguments = (network, "--calibrate", pictures, "-o", output, "--force")
    done = boatinfer("model", "quantize", *arguments)
    assert done.code == 4
    assert "points of accuracy, more than --max-drop 0.5, so no file was written" in done.err
    assert "accuracy" in done.out  # the table is printed all the same
    assert output.read_text() == "what was there before"
    assert not list(network.parent.glob(".*"))
    done = boatinfer("model", "quantize", *arguments, "--max-drop", 70)
    assert done.code == 0
    assert open_model(output).card.precision == "int8"


def test_the_command_prints_the_table_and_show_repeats_it(
    network: Path, pictures: Path, boatinfer: Command
) -> None:
    done = boatinfer("model", "quantize", network, "--calibrate", pictures)
    assert done.code == 0
    output = network.with_suffix(".int8.onnx")
    first_words = [line.split("  ")[0] for line in done.out.splitlines()]
    for what in ("accuracy", "macro-F1", "calibration error", "same label", "images per second"):
        assert what in first_words
    assert "layers in float32: none" in done.out
    assert f"{output} ({output.stat().st_size:,} bytes)" in done.out
    shown = boatinfer("model", "show", output).out
    assert f"{open_model(network).card.name}-int8\n" in shown
    assert "before the conversion 100.00%" in shown
    assert "of 96 images" in shown
    assert boatinfer("model", "check", output).code == 0


def test_float16_keeps_its_tensors_and_comes_closer(
    network: Path, pictures: Path, tmp_path: Path
) -> None:
    conversion, _ = quantize(network, precision="float16", labelled=pictures)
    output = network.with_suffix(".float16.onnx")
    before, after = open_model(network), open_model(output)
    assert conversion.golden_difference < 0.01
    assert (after.card.precision, after.tolerance) == (
        "float16",
        0.01 + conversion.golden_difference,
    )
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 40, 3), dtype=np.uint8)
    difference = before.infer(pixels).probabilities - after.infer(pixels).probabilities
    assert 0 < np.abs(difference).max() < 0.01
    graph = onnx.load(output)
    onnx.checker.check_model(graph)
    kinds = [t.type.tensor_type.elem_type for t in [*graph.graph.input, *graph.graph.output]]
    assert kinds == [TensorProto.UINT8, TensorProto.FLOAT, TensorProto.FLOAT]
    weights = [t for t in graph.graph.initializer if len(t.dims) == 4]
    assert {t.data_type for t in weights} == {TensorProto.FLOAT16}


def test_a_float_nchw_model_with_logits_works_too(pictures: Path, tmp_path: Path) -> None:
    """As `model describe` makes them of networks from elsewhere."""
    model = convnet.write_foreign(tmp_path / "foreign.onnx")
    conversion, _ = quantize(model, calibrate=pictures)
    assert conversion.original.accuracy == 1
    assert conversion.agreement > 0.95
    pixels = [images.read(p.read_bytes(), colours.SPEC) for p in sorted(pictures.rglob("*0.jpg"))]
    before, after = open_model(model), open_model(tmp_path / "foreign.int8.onnx")
    difference = before.predict(pixels).probabilities - after.predict(pixels).probabilities
    assert np.abs(difference).max() < 0.1


def test_broken_images_are_named_and_left_out(
    network: Path, pictures: Path, tmp_path: Path, boatinfer: Command
) -> None:
    folder = tmp_path / "some"
    shutil.copytree(pictures, folder)
    whole = (folder / "red/000.jpg").read_bytes()
    (folder / "red/000.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "blue/001.jpg").write_text("no image")
    done = boatinfer("model", "quantize", network, "--calibrate", folder)
    assert done.code == 0
    for name in ("red/000.jpg", "blue/001.jpg"):
        assert f"left out {folder / name}: " in done.err
    conversion = open_model(network.with_suffix(".int8.onnx")).card.conversion
    assert conversion is not None
    for path in folder.rglob("*.jpg"):
        path.write_text("no image")
    done = boatinfer("model", "quantize", network, "--calibrate", folder, "--force")
    assert done.code == 2
    assert f"none of the images in {folder} can be read" in done.err


def test_images_that_crash_the_decoder_are_named_and_left_out(
    network: Path, tmp_path: Path, unsafe_shell: Shell
) -> None:
    colours.write_pictures(tmp_path / "some", each=8)
    killers.write_killer(tmp_path / "some" / "red" / "killer.jpg", "segfault")
    done = unsafe_shell("model", "quantize", network, "--calibrate", "some")
    assert done.returncode == 0, done.stderr
    assert "left out some/red/killer.jpg: the process that worked on the image" in done.stderr
    assert network.with_suffix(".int8.onnx").exists()


def test_what_cannot_be_converted_is_one_sentence_and_writes_nothing(
    network: Path, pictures: Path, tmp_path: Path, boatinfer: Command
) -> None:
    strange, flat, empty = tmp_path / "strange", tmp_path / "flat", tmp_path / "empty"
    for folder in (strange / "violet", flat, empty / "red"):
        folder.mkdir(parents=True)
    shutil.copy(pictures / "red/000.jpg", strange / "violet")
    shutil.copy(pictures / "red/000.jpg", flat)
    taken, text = tmp_path / "taken.onnx", tmp_path / "text.onnx"
    taken.write_text("before")
    text.write_text("no model")
    good = ["--calibrate", pictures]
    calls: list[tuple[list[Any], int, str]] = [
        ([network], 2, "int8 needs --calibrate"),
        ([network, "--precision", "float16"], 2, "float16 needs --labelled"),
        ([network, "--calibrate", tmp_path / "nowhere"], 2, "does not exist"),
        ([network, "--calibrate", network], 2, "is no table of labels"),
        ([network, "--calibrate", strange], 2, "holds the folder violet"),
        ([network, "--calibrate", pictures.parent], 2, "the model knows no such class"),
        ([network, "--calibrate", flat], 2, "holds no images in folders of the model's classes"),
        ([network, "--calibrate", empty], 2, "holds no images"),
        ([network, *good, "--labelled", strange], 2, "--labelled"),
        ([network, *good, "--max-drop", -1], 2, "from 0 to 100"),
        ([network, *good, "--max-drop", "nan"], 2, "from 0 to 100"),
        ([network, *good, "-o", taken], 2, "exists already"),
        ([network, *good, "-o", network, "--force"], 2, "is what is to be read"),
        ([network, *good, "-o", tmp_path / "x.keras"], 2, "must end in .onnx"),
        ([network, *good, "-o", tmp_path / "no" / "x.onnx"], 2, "does not exist"),
        ([tmp_path, *good], 4, "cannot be read"),
        ([text, *good], 4, "is no ONNX file, or is cut off"),
        ([tmp_path / "none.onnx", *good], 4, "cannot be read"),
    ]
    before = sorted(tmp_path.iterdir())
    for arguments, code, said in calls:
        done = boatinfer("model", "quantize", *arguments)
        assert (done.code, done.out) == (code, ""), arguments
        assert said in done.err
        assert done.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
    assert taken.read_text() == "before"


def test_what_was_converted_or_has_an_svm_is_refused(network: Path, pictures: Path) -> None:
    quantize(network, calibrate=pictures)
    with pytest.raises(UsageError, match="the model is int8 already"):
        quantize(network.with_suffix(".int8.onnx"), calibrate=pictures)
    card = convnet.card()
    fused = msgspec.structs.replace(
        card,
        outputs=msgspec.structs.replace(card.outputs, svm="scores"),
        svm=FusedSVM(["a", "b"], "rbf", ""),
    )
    with pytest.raises(UsageError, match="with 'boatinfer svm export'"):
        plan.make_plan("int8", pictures, None, 0.5, fused)


def test_an_svm_goes_into_an_int8_file(network: Path, pictures: Path, tmp_path: Path) -> None:
    quantize(network, calibrate=pictures)
    small, both = network.with_suffix(".int8.onnx"), tmp_path / "both.onnx"
    run(RunOptions(pictures, tmp_path / "out", small, features=True, report=False))
    fit(FitOptions(tmp_path / "out", tmp_path / "svm.joblib"))
    fuse(FuseOptions(tmp_path / "svm.joblib", both, small))
    paths = sorted(pictures.rglob("*.jpg"))
    labels, features = open_model(both).predict(paths).svm_labels, open_model(small).predict(paths)
    assert labels is not None
    assert features.features is not None
    assert labels.tolist() == load(tmp_path / "svm.joblib").classify(features.features)[0].tolist()
    assert np.mean(labels == [path.parent.name for path in paths]) > 0.9
    assert open_model(both).card.precision == "int8"


def test_a_graph_that_the_libraries_stumble_over_is_one_sentence(
    network: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: Any) -> None:
        raise RuntimeError("no such operator\nat line 7")

    monkeypatch.setattr(precision, "quantise", stumble)
    with pytest.raises(ModelError, match=r"cannot be converted to int8 \(no such operator\)"):
        quantize(network, calibrate=pictures)


def test_it_needs_no_tensorflow(network: Path, pictures: Path) -> None:
    code = (
        "import sys; sys.modules.update(tensorflow=None, keras=None, tf2onnx=None); "
        "from boatexport import comparison; comparison._TIMING_SECONDS = 0; "
        "from boatinfer.cli import main; main()"
    )
    arguments = ["model", "quantize", str(network), "--calibrate", str(pictures)]
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert network.with_suffix(".int8.onnx").exists()


def test_the_export_converts_what_it_verified(trained: Trained, tmp_path: Path) -> None:
    data = trained.data
    options = ExportOptions(
        trained.output,
        tmp_path / "small.onnx",
        precision="int8",
        calibrate=data / "train",
        labelled=data / "valid",
        max_drop=100,
    )
    shown: list[Conversion] = []
    exported = export_model(options, show_comparison=shown.append)
    card = open_model(exported.path).card
    assert (card.precision, card.conversion) == ("int8", shown[0])
    assert shown[0].images == 12
    assert exported.difference < 1e-5
