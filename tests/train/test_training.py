from __future__ import annotations

import csv
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score

from boatinfer import images
from boatinfer.card import Card, Golden, ImageSpec, decode_card, decode_golden
from boatinfer.errors import OutputError
from boattrain import saving, training
from boattrain.history import Epoch, best_of
from boattrain.options import CnnOptions
from boattrain.saving import model_files, save
from boattrain.training import train_cnn
from support import COUNTS, Trained

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
def history(trained: Trained) -> list[Epoch]:
    with trained.output.with_suffix(".history.csv").open(newline="") as file:
        return [
            Epoch(int(number), *map(float, figures))
            for number, *figures in list(csv.reader(file))[1:]
        ]


@pytest.fixture(scope="session")
def parts(
    model: Any, card: Card, golden: Golden, history: list[Epoch]
) -> tuple[Any, Card, Golden, list[Epoch]]:
    """What `save` writes."""
    return model, card, golden, history


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
        "small.curves.png",
        "small.golden.json",
        "small.history.csv",
        "small.keras",
    ]
    for path in trained.output.parent.glob("small.*"):
        assert f"Wrote {path}\n" in trained.stdout
    with Image.open(trained.output.with_suffix(".curves.png")) as picture:
        assert picture.format == "PNG"


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
            "loss": -np.log(probabilities[range(len(truth)), truth]).mean(),
        },
        rel=1e-3,
    )
    assert f"accuracy {accuracy:.4f}, macro-F1 {macro_f1:.4f} on valid" in trained.stdout
    assert accuracy > 0.5


def test_saved_model_is_the_best_epoch(trained: Trained, card: Card, history: list[Epoch]) -> None:
    best = best_of(history)

    assert len(history) == 3
    assert f"Best epoch {best.epoch} of 3: " in trained.stdout
    assert card.training is not None
    assert card.training.metrics["accuracy"] == pytest.approx(best.val_accuracy)
    assert card.training.metrics["loss"] == best.val_loss


def test_an_earlier_epoch_that_is_best_is_the_one_saved(
    trained: Trained,
    keras: ModuleType,
    valid: tuple[images.Pixels, list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "best_of", lambda history: history[0])
    options = CnnOptions(trained.data, tmp_path / "first.keras", epochs=2, size="12x40")

    first, second = train_cnn(options).history

    pixels, truth = valid
    loss, _ = keras.models.load_model(options.output).evaluate(pixels, np.array(truth), verbose=0)
    assert loss == pytest.approx(first.val_loss, rel=1e-4)
    assert loss != pytest.approx(second.val_loss, rel=1e-2)


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
    prediction, truth, report = (
        trained.stdout.index(title)
        for title in ["Prediction distribution", "Ground-truth distribution", "precision"]
    )
    assert prediction < truth < report
    assert trained.stdout[truth:report].split()[3:] == ["blue", "4", "green", "4", "red", "4"]


def test_progress_and_nothing_else_goes_to_standard_error(trained: Trained) -> None:
    left_out, train, valid, *epochs = trained.stderr.splitlines()

    assert left_out.startswith("left out train/red/broken.jpg: corrupt: ")
    assert train.endswith("train: 36 images in 3 classes, 1 left out")
    assert valid.endswith("valid: 12 images in 3 classes, 0 left out")
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]


def test_the_same_seed_gives_the_same_history(
    trained: Trained, history: list[Epoch], tmp_path: Path
) -> None:
    options = CnnOptions(
        trained.data, tmp_path / "again.keras", epochs=3, batch_size=4, size="12x40"
    )

    assert train_cnn(options).history == history


def test_a_failed_write_leaves_what_was_there(
    parts: tuple[Any, Card, Golden, list[Epoch]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    files = model_files(tmp_path / "old.keras")
    files.model.write_text("old")
    monkeypatch.setattr(saving, "write_history", fail)

    with pytest.raises(OutputError, match="the disk is full"):
        save(files, *parts)

    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_the_model_gets_its_name_last(
    parts: tuple[Any, Card, Golden, list[Epoch]],
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
    save(files, *parts)

    assert renamed[-1] == files.model
    assert set(files) == set(tmp_path.iterdir())
