"""Training on ResNet50, mostly with a small network in its place."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from boatinfer.errors import UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.models.card import decode_card
from boatinfer.signals import Stop, stop_on_signals
from boattrain.fitting.checkpoint import Checkpoint, TrainingState
from boattrain.fitting.loop import FitResult
from boattrain.fitting.pixels import Split, TrainingData
from boattrain.fitting.progress import TrainingProgress
from boattrain.networks.imagenet import RESNET50_NO_TOP
from boattrain.networks.resnet import Resnet
from boattrain.options import ResnetOptions
from boattrain.training import fit
from support import Command, rows

#: Layers of the stand-in, as many as the last map has.
MAPS = 6


def stand_in(include_top: bool, weights: None, input_tensor: Any) -> Any:
    """A small network with the names of ResNet50's first and last layer."""
    from keras import Model, layers, utils

    assert not include_top
    x = layers.Conv2D(4, 7, 4, "same", name="conv1_conv")(input_tensor)
    x = layers.BatchNormalization(name="conv1_bn")(x)
    x = layers.Conv2D(MAPS, 3, 8, "same", name="conv5_block3_3_conv")(x)
    return Model(utils.get_source_inputs(input_tensor), layers.ReLU(name="conv5_block3_out")(x))


@pytest.fixture
def small(keras: ModuleType, monkeypatch: pytest.MonkeyPatch, uncompiled: None) -> None:
    """Puts the stand-in in ResNet50's place."""
    monkeypatch.setattr(keras.applications, "ResNet50", stand_in)


def split(count: int, seed: int) -> Split:
    """Images whose brightest channel is their class."""
    labels = np.arange(count) % 3
    pixels = np.random.default_rng(seed).integers(0, 200, (count, 32, 64, 3), dtype=np.uint8)
    pixels[np.arange(count), ..., labels] += 55
    return Split(pixels, labels, [], {f"{seed}/{i}": f"{i:032x}" for i in range(count)}, {})


DATA = TrainingData(["r", "g", "b"], ImageSpec(height=32, width=64), split(14, 0), split(6, 1))


def run(
    folder: Path, data: TrainingData = DATA, stop: Stop | None = None, **options: Any
) -> tuple[Any, FitResult]:
    usual: dict[str, Any] = {"size": "32x64", "weights": "none", "epochs": 2, "batch_size": 5}
    chosen = ResnetOptions(folder, **(usual | options))
    network = Resnet(chosen).network
    checkpoint = Checkpoint(folder / "x.checkpoint", {})
    state = checkpoint.load() if chosen.resume else TrainingState()
    return fit(chosen, network, data, checkpoint, stop or Stop(), state=state)


def base_weights(model: Any) -> dict[str, Any]:
    return {
        f"{layer.name}/{weight.name}": weight.numpy()
        for layer in model.layers
        if layer.name.startswith("conv")
        for weight in layer.weights
    }


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before if not np.array_equal(before[name], after[name])}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("pooling", ["flatten", "avg"])
def test_features_computed_once_give_what_the_base_in_every_epoch_gives(
    tmp_path: Path, pooling: str
) -> None:
    for folder in ("once", "always"):
        (tmp_path / folder).mkdir()
    once = run(tmp_path / "once", pooling=pooling)[1]
    # So little that no pixel changes; but images that may change have no kept features.
    always = run(tmp_path / "always", pooling=pooling, brightness=1e-9)[1]

    assert len(list((tmp_path / "once/.boatinfer-cache").glob(f"*{pooling}.raw"))) == 2
    assert not (tmp_path / "always/.boatinfer-cache").exists()
    for one, other in zip(once.history, always.history, strict=True):
        assert one[3:] == pytest.approx(other[3:], rel=1e-4)


@pytest.mark.usefixtures("small")
def test_kept_features_serve_the_next_training_of_the_same_images_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def written() -> int:
        raw = next((tmp_path / ".boatinfer-cache").glob("train*.raw"))
        return raw.stat().st_mtime_ns

    run(tmp_path, epochs=1)
    first = written()
    run(tmp_path, epochs=1, learning_rate=0.01)
    assert written() == first
    run(tmp_path, epochs=1, seed=1)  # other weights by chance
    second = written()
    assert second != first
    run(tmp_path, TrainingData(DATA.classes, DATA.spec, split(14, 2), DATA.valid), epochs=1, seed=1)
    assert written() != second


@pytest.mark.usefixtures("small")
def test_first_the_head_alone_then_layers_but_never_norms(tmp_path: Path) -> None:
    frozen = base_weights(run(tmp_path)[0])
    last = base_weights(run(tmp_path, unfreeze="2", unfreeze_epochs=1, best="loss")[0])
    model, fitted = run(tmp_path, unfreeze="all", unfreeze_epochs=3, unfreeze_rate=1e-3)

    assert [epoch.stage for epoch in fitted.history] == ["head"] * 2 + ["whole"] * 3
    assert [epoch.learning_rate for epoch in fitted.history] == pytest.approx([1e-3] * 5)
    assert fitted.best.stage == "whole"
    last_layer = {"conv5_block3_3_conv/kernel", "conv5_block3_3_conv/bias"}
    assert changed(frozen, last) <= last_layer
    first_layer = {"conv1_conv/kernel", "conv1_conv/bias"}
    norm = {"conv1_bn/gamma", "conv1_bn/beta", "conv1_bn/moving_mean", "conv1_bn/moving_variance"}
    assert frozen.keys() == first_layer | norm | last_layer
    assert changed(frozen, base_weights(model)) == first_layer | last_layer


@pytest.mark.usefixtures("small")
def test_a_training_interrupted_end_to_end_continues_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"epochs": 1, "unfreeze": "2", "unfreeze_epochs": 3}
    model, undisturbed = run(tmp_path, **options)
    end_epoch = TrainingProgress.end_epoch

    def interrupt(self: TrainingProgress, epoch: Any, best: Any) -> None:
        end_epoch(self, epoch, best)
        if epoch.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch, stop_on_signals() as stop:
        patch.setattr(TrainingProgress, "end_epoch", interrupt)
        _, first = run(tmp_path, stop=stop, **options)
    assert (len(first.history), first.signal_number) == (2, signal.SIGINT)

    resumed, second = run(tmp_path, resume=True, **options)

    assert second == undisturbed
    for one, other in zip(model.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("pooling", ["flatten", "avg"])
def test_it_is_exported_and_run_with_the_averaged_map_as_features(
    data: Path, tmp_path: Path, boatinfer: Command, pooling: str
) -> None:
    model, onnx, out = tmp_path / "r.keras", tmp_path / "r.onnx", tmp_path / "out"
    options = ["--size", "32x40", "--epochs", 2, "--pooling", pooling, "--weights", "none"]
    assert boatinfer("train", "resnet", data, "-o", model, *options).code == 0
    card = decode_card(model.with_suffix(".card.json").read_bytes(), "card")
    assert card.features is not None
    assert card.features.dimension == MAPS

    exported = boatinfer("export", model, "-o", onnx)
    assert exported.code == 0, exported.err
    done = boatinfer("run", data / "valid", "-m", onnx, "--features", "-o", out)
    assert done.code == 0, done.err
    assert card.training is not None
    right = [row["label"] == row["path"].split("/")[0] for row in rows(out)]
    assert np.mean(right) == pytest.approx(card.training.metrics["accuracy"])
    assert boatinfer("features", out, "-o", tmp_path / "f.npy").code == 0
    assert np.load(tmp_path / "f.npy").shape == (12, MAPS)


def test_the_real_network_has_the_layers_that_are_named(keras: ModuleType) -> None:
    network = Resnet(ResnetOptions(Path("data"), weights="none")).network
    model = network.build(ImageSpec(height=32, width=64), 3)
    assert model.output_shape == (None, 3)
    assert model.get_layer(network.features).output.shape == (None, 1, 2, 2048)


@pytest.mark.usefixtures("small")
def test_weights_come_from_a_file_or_from_where_keras_keeps_them(
    tmp_path: Path, keras: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    image = keras.Input((None, None, 3))
    made = stand_in(False, None, image)
    made.save_weights(tmp_path / "made.weights.h5")
    kernel = made.get_layer("conv1_conv").kernel.numpy()

    model, _ = run(tmp_path, weights=str(tmp_path / "made.weights.h5"), epochs=1)
    np.testing.assert_array_equal(base_weights(model)["conv1_conv/kernel"], kernel[:, :, ::-1])

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    RESNET50_NO_TOP.path.parent.mkdir()
    RESNET50_NO_TOP.path.write_bytes(b"not HDF5")
    with pytest.raises(UsageError, match="damaged or not an HDF5 file; give another file"):
        run(tmp_path, weights="imagenet")
    assert "is not the file that Keras publishes; it is used as it is" in caplog.text


@pytest.mark.usefixtures("small")
def test_weights_of_another_network_are_one_sentence(tmp_path: Path, keras: ModuleType) -> None:
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    other.save(tmp_path / "other.keras")
    with pytest.raises(UsageError, match="do not fit ResNet50 without its top") as raised:
        run(tmp_path, weights=str(tmp_path / "other.keras"))  # and no warning, which would be one
    assert re.search(r"[^:.,( ]\); give a file", str(raised.value))
    (tmp_path / "other.keras").rename(tmp_path / "other.txt")
    with pytest.raises(UsageError, match=r"must end in \.h5, \.weights\.h5 or \.keras"):
        run(tmp_path, weights=str(tmp_path / "other.txt"))


@pytest.mark.usefixtures("small")
def test_without_a_network_it_says_what_to_bring_and_where(
    tmp_path: Path, keras: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(keras.utils, "get_file", fail)
    with pytest.raises(UsageError) as raised:
        run(tmp_path, weights="imagenet")
    sentence = str(raised.value)
    path = tmp_path / "home/models" / RESNET50_NO_TOP.name
    assert (
        f"cannot be downloaded (no route to host); copy {RESNET50_NO_TOP.url} to {path}" in sentence
    )
    assert "or give --weights FILE or --weights none" in sentence
    assert sentence.count("\n") == 0


@pytest.mark.usefixtures("small")
def test_what_does_not_fit_end_to_end_is_refused_before_the_head_is_trained(tmp_path: Path) -> None:
    run(tmp_path, epochs=1, batch_size=10**7)  # the head alone needs little
    (tmp_path / "x.checkpoint").rename(tmp_path / "old")
    with pytest.raises(UsageError, match="use a smaller --batch-size"):
        run(tmp_path, epochs=1, batch_size=10**7, unfreeze="all")
    assert not (tmp_path / "x.checkpoint").exists()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "none.h5"}, r"--weights none\.h5: there is no such file"),
        ({"unfreeze": "some"}, "--unfreeze some: give a number of layers"),
        ({"unfreeze": "0"}, "--unfreeze 0: give a number of layers"),
        ({"pooling": "max"}, "pooling must be flatten or avg, not max"),
    ],
)
def test_options_that_cannot_be_used(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(tmp_path, **options)
