from __future__ import annotations

import csv
import json
import os
import signal
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score

import killers
from boatinfer import images
from boatinfer.analysis.evaluation import Evaluation
from boatinfer.analysis.metrics import calibration_error
from boatinfer.errors import OutputError
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import Card, Golden, decode_card, decode_golden
from boattrain import saving
from boattrain.fitting.checkpoint import Checkpoint, TrainingState
from boattrain.fitting.history import EpochMetrics, best_epoch
from boattrain.fitting.loop import FitResult
from boattrain.fitting.pixels import TrainingData
from boattrain.fitting.progress import TrainingProgress
from boattrain.saving import model_files, save_model
from boattrain.training import load_data
from support import COUNTS, Command, Outcome, Shell, Trained

SPEC = ImageSpec(height=12, width=40)


@pytest.fixture(scope="session")
def model(trained: Trained, keras: ModuleType) -> Any:
    return keras.models.load_model(trained.output)


@pytest.fixture(scope="session")
def card(trained: Trained) -> Card:
    return decode_card(trained.output.with_suffix(".card.json").read_bytes(), "card")


@pytest.fixture(scope="session")
def golden(trained: Trained) -> Golden:
    return decode_golden(trained.output.with_suffix(".golden.json").read_bytes(), "golden")


@pytest.fixture(scope="session")
def history(trained: Trained) -> list[EpochMetrics]:
    with trained.output.with_suffix(".history.csv").open(newline="") as file:
        return [
            EpochMetrics(int(number), stage, *map(float, figures))
            for number, stage, *figures in list(csv.reader(file))[1:]
        ]


@pytest.fixture(scope="session")
def saved(
    model: Any, card: Card, golden: Golden, history: list[EpochMetrics]
) -> saving.TrainedModel:
    """What `save_model` writes."""
    fit_result = FitResult(history, best_epoch(history), 0)
    names = np.array(["a.jpg", "b.jpg"], object)
    evaluation = Evaluation(card.classes, names, np.array([0, 1]), np.array([0, 1]))
    return saving.TrainedModel(model, card, golden, fit_result, evaluation, "")


@pytest.fixture(scope="session")
def valid(trained: Trained, card: Card) -> tuple[images.Pixels, list[int]]:
    """Pixels and labels, read without any code of the training."""
    files = sorted((trained.data / "valid").glob("*/*"))
    pixels = np.stack([images.read(file.read_bytes(), SPEC) for file in files])
    return pixels, [card.classes.index(file.parent.name) for file in files]


def test_all_files_are_written_and_nothing_else(trained: Trained) -> None:
    assert sorted(path.name for path in trained.output.parent.iterdir()) == [
        "data",
        "small.card.json",
        "small.confusion.png",
        "small.curves.png",
        "small.golden.json",
        "small.history.csv",
        "small.keras",
        "small.report.json",
        "small.train.toml",
    ]
    for path in trained.output.parent.glob("small.*"):
        assert f"Wrote {path}\n" in trained.stdout
    assert trained.stdout.endswith(f"Next: boatinfer export {trained.output} -o small.onnx\n")
    for picture in ("curves", "confusion"):
        with Image.open(trained.output.with_suffix(f".{picture}.png")) as opened:
            assert opened.format == "PNG"


def test_card_describes_the_model(card: Card) -> None:
    assert card.name == "small"
    assert card.classes == ["blue", "green", "red"]
    assert card.image == SPEC
    assert (card.input.name, card.input.dtype, card.input.layout) == ("image", "uint8", "NHWC")
    assert (card.outputs.probabilities, card.outputs.features) == ("probabilities", "features")
    assert card.features is not None
    assert (card.features.layer, card.features.dimension) == ("features", 50)
    assert card.training is not None
    assert card.training.counts == {split: 3 * count for split, count in COUNTS.items()}
    assert card.training.labels == dict.fromkeys(card.classes, COUNTS["train"])
    assert sorted(card.training.versions) == [
        "boatinfer",
        "keras",
        "numpy",
        "pillow",
        "python",
        "simplejpeg",
        "tensorflow",
    ]


def test_saved_model_reproduces_the_printed_figures(
    trained: Trained, model: Any, card: Card, valid: tuple[images.Pixels, list[int]]
) -> None:
    pixels, truth = valid
    probabilities = model.predict(pixels, verbose=0)
    predicted = probabilities.argmax(axis=1)
    accuracy = float(np.mean(predicted == truth))
    macro_f1 = f1_score(truth, predicted, average="macro", zero_division=0)

    assert card.training is not None
    assert card.training.metrics == pytest.approx(
        {
            "accuracy": accuracy,
            "macro_f1": macro_f1,
            "calibration_error": calibration_error(np.array(truth), probabilities),
            "loss": -np.log(probabilities[range(len(truth)), truth]).mean(),
        },
        rel=1e-3,
    )
    assert f"validation accuracy {accuracy:.3f}, macro-F1 {macro_f1:.3f}\n" in trained.stdout
    assert accuracy > 0.5


def test_saved_model_is_the_best_epoch(
    trained: Trained, card: Card, history: list[EpochMetrics]
) -> None:
    best = best_epoch(history)

    assert len(history) == 3
    assert f"Epoch {best.epoch} of 3 was kept: " in trained.stdout
    assert card.training is not None
    assert card.training.metrics["accuracy"] == pytest.approx(best.val_accuracy)
    assert card.training.metrics["loss"] < best.val_loss  # by the temperature


def test_golden_images_reproduce(trained: Trained, model: Any, golden: Golden) -> None:
    pixels = np.stack([images.read(image.image, SPEC) for image in golden.images])
    expected = [image.probabilities for image in golden.images]

    np.testing.assert_allclose(model.predict(pixels, verbose=0), expected, atol=1e-5)
    for pixels_of_one, name in zip(
        pixels, ["blue/00.jpg", "green/00.JPG", "red/00.jpg"], strict=True
    ):
        original = images.read((trained.data / "valid" / name).read_bytes(), SPEC)
        assert np.abs(pixels_of_one - original.astype(float)).mean() < 15


def test_printed_summary(trained: Trained) -> None:
    _, table = trained.stdout.split("By class (valid), F1 with its 95 % interval\n")
    lines = [line.split() for line in table.splitlines()]
    assert [line[1:3] for line in lines[1:4]] == [["blue", "4"], ["green", "4"], ["red", "4"]]
    assert [line[:2] for line in lines[4:6]] == [["macro", "average"], ["weighted", "average"]]


def test_progress_and_nothing_else_goes_to_standard_error(trained: Trained) -> None:
    loading, left_out, train, valid, *epochs = trained.stderr.splitlines()

    assert loading == "loading TensorFlow"
    assert left_out.startswith("left out train/red/broken.jpg: corrupt: ")
    assert train.endswith("train: 36 images in 3 classes, 1 left out")
    assert valid.endswith("valid: 12 images in 3 classes, 0 left out")
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]


def test_the_report_is_the_printed_one_as_json(trained: Trained, card: Card) -> None:
    report = json.loads(trained.output.with_suffix(".report.json").read_text())

    assert card.training is not None
    valid = report["valid"]
    assert {key: valid[key] for key in card.training.metrics} == card.training.metrics
    assert f"Epoch {report['best_epoch']} of {report['epochs']} was kept: " in trained.stdout
    assert not report["interrupted"]
    assert report["data"]["data"] == card.training.data


def test_its_own_toml_repeats_the_training(
    trained: Trained, history: list[EpochMetrics], boatinfer: Command, tmp_path: Path
) -> None:
    toml = trained.output.with_suffix(".train.toml")

    done = boatinfer("train", "cnn", "--config", toml, "-o", tmp_path / "again.keras")

    assert done.code == 0, done.err
    assert done.err == trained.stderr
    again = (tmp_path / "again.history.csv").read_text()
    assert again == trained.output.with_suffix(".history.csv").read_text()
    values = tomllib.loads((tmp_path / "again.train.toml").read_text())
    assert values == tomllib.loads(toml.read_text()) | {"output": str(tmp_path / "again.keras")}


def test_a_failed_write_leaves_what_was_there(
    saved: saving.TrainedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    files = model_files(tmp_path / "old.keras")
    files.model.write_text("old")
    monkeypatch.setattr(saving, "write_history", fail)

    with pytest.raises(OutputError, match="the disk is full"):
        save_model(files, saved)

    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_the_model_gets_its_name_last(
    saved: saving.TrainedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    renamed = []
    replace = Path.replace

    def record(self: Path, target: Path) -> Path:
        renamed.append(target)
        return replace(self, target)

    files = model_files(tmp_path / "new.keras")
    monkeypatch.setattr(Path, "replace", record)
    save_model(files, saved)

    assert renamed[-1] == files.model
    assert set(files) == set(tmp_path.iterdir())


@pytest.fixture
def interrupted(boatinfer: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """As `boatinfer`, with Ctrl-C after the first epoch that it trains."""
    end_epoch = TrainingProgress.end_epoch

    def interrupt(self: TrainingProgress, epoch: EpochMetrics, best: EpochMetrics) -> None:
        end_epoch(self, epoch, best)
        os.kill(os.getpid(), signal.SIGINT)

    def call(*arguments: object) -> Outcome:
        with monkeypatch.context() as patch:
            patch.setattr(TrainingProgress, "end_epoch", interrupt)
            return boatinfer(*arguments)

    return call


def test_ctrl_c_keeps_the_best_epoch_and_resume_goes_on(
    trained: Trained,
    history: list[EpochMetrics],
    boatinfer: Command,
    interrupted: Command,
    tmp_path: Path,
) -> None:
    """The data and options are those of the undisturbed training."""
    output = tmp_path / "stopped.keras"
    command = ["train", "cnn", "--config", trained.output.with_suffix(".train.toml"), "-o", output]
    stopped = interrupted(*command)

    assert stopped.code == 130
    assert "stopping after the current batch" not in stopped.err
    last = stopped.err.splitlines()[-1]
    assert last.startswith("boatinfer: interrupted after epoch 1; ")
    assert str(output) in last
    assert "--resume" in last
    assert all(path.exists() for path in model_files(output, force=True))
    assert json.loads(output.with_suffix(".report.json").read_text())["interrupted"]
    assert output.with_suffix(".checkpoint").is_dir()

    anew = boatinfer(*command)
    assert (anew.code, "continue it with --resume" in anew.err) == (2, True)
    resumed = boatinfer(*command, "--resume")

    assert resumed.code == 0, resumed.err
    written = output.with_suffix(".history.csv").read_text()
    assert written == trained.output.with_suffix(".history.csv").read_text()
    assert not output.with_suffix(".checkpoint").exists()


def test_a_checkpoint_that_has_the_learning_rate_is_continued(
    trained: Trained, boatinfer: Command, interrupted: Command, tmp_path: Path
) -> None:
    """Older versions kept it among the variables of the optimizer, as the second."""
    output = tmp_path / "older.keras"
    command = ["train", "cnn", "--config", trained.output.with_suffix(".train.toml"), "-o", output]
    assert interrupted(*command).code == 130
    load = Checkpoint.load

    def with_rate(self: Checkpoint) -> TrainingState:
        state = load(self)
        state.optimizer.insert(1, np.array(0.001, np.float32))
        return state

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "load", with_rate)
        resumed = boatinfer(*command, "--resume")
    assert resumed.code == 0, resumed.err
    written = output.with_suffix(".history.csv").read_text()
    assert written == trained.output.with_suffix(".history.csv").read_text()


@pytest.mark.usefixtures("uncompiled")
def test_ctrl_c_in_the_first_epoch_says_what_it_waits_for(
    data: Path, boatinfer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_batch, losses = TrainingProgress.end_batch, []

    def interrupt(self: TrainingProgress, loss: float, accuracy: float) -> None:
        losses.append(loss)
        os.kill(os.getpid(), signal.SIGINT)
        end_batch(self, loss, accuracy)

    monkeypatch.setattr(TrainingProgress, "end_batch", interrupt)
    stopped = boatinfer("train", "cnn", data, "-o", tmp_path / "new.keras", "--batch-size", 4)

    assert (stopped.code, len(losses)) == (130, 1)
    *_, notice, last = stopped.err.splitlines()
    assert notice == (
        "boatinfer: stopping after the current batch; before the first epoch is finished there is "
        "nothing to keep, so a second Ctrl-C, which stops at once, loses nothing"
    )
    assert last.endswith("interrupted before the end of the first epoch; nothing was written.")
    assert not list(tmp_path.glob("new*"))


@pytest.mark.usefixtures("uncompiled")
def test_ctrl_c_leaves_the_model_that_is_to_be_replaced(
    data: Path, boatinfer: Command, interrupted: Command, tmp_path: Path
) -> None:
    files = model_files(tmp_path / "good.keras")
    for path in files:
        path.write_text("good")
    command = ["train", "cnn", data, "-o", files.model, "--size", "12x12", "--epochs"]
    for arguments, epoch in [((5, "--force"), 1), ((5, "--resume"), 2)]:
        stopped = interrupted(*command, *arguments)
        assert stopped.code == 130
        said = stopped.err.splitlines()[-1]
        assert f"interrupted after epoch {epoch}; {files.model} is still the earlier model" in said
        assert f"are in {files.model.with_suffix('.checkpoint')}" in said
        assert {path.read_text() for path in files} == {"good"}

    ended = boatinfer(*command, 2, "--resume")
    assert ended.code == 0, ended.err
    assert json.loads(files.report.read_text())["epochs"] == 2
    assert files.model.stat().st_size > 1000
    assert not files.model.with_suffix(".checkpoint").exists()


def test_images_that_crash_the_decoder_are_left_out_and_named(
    data: Path, unsafe_shell: Shell, tmp_path: Path
) -> None:
    names = ["train/red/00.jpg", "valid/red/00.jpg"]
    for name, kind in zip(names, ["segfault", "abort"], strict=True):
        killers.write_killer(data / name, kind)
    output = tmp_path / "small.keras"
    command = ["train", "cnn", data, "-o", output, "--size", "12x40", "--epochs", 1]
    done = unsafe_shell(*command)
    assert done.returncode == 0, done.stderr
    for name in names:
        assert f"left out {name}: crashed: the process that worked on the image" in done.stderr
    assert output.exists()


def test_an_image_that_is_damaged_before_it_becomes_golden_is_one_sentence(
    data: Path, boatinfer: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = data / "valid" / "red" / "00.jpg"

    def damage(*arguments: Any) -> TrainingData:
        loaded = load_data(*arguments)
        first.write_bytes(first.read_bytes()[:300])
        return loaded

    monkeypatch.setattr("boattrain.training.load_data", damage)
    done = boatinfer("train", "cnn", data, "-o", tmp_path / "small.keras", "--size", "12x40")
    assert done.code == 2
    assert f"{first} cannot be read for the model's self-test: " in done.err
    assert "Traceback" not in done.err
    assert not list(tmp_path.glob("small.*"))
