from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from boatinfer.errors import RunInterruptedError, UsageError
from boatinfer.images.spec import ImageSpec
from boatinfer.signals import Stop, stop_on_signals
from boattrain.fitting import loop
from boattrain.fitting.checkpoint import Checkpoint, TrainingState
from boattrain.fitting.history import EpochMetrics
from boattrain.fitting.loop import FitResult, Stage, is_finished
from boattrain.fitting.losses import cross_entropy
from boattrain.fitting.pixels import Split, TrainingData
from boattrain.fitting.progress import TrainingProgress
from boattrain.networks.base import CNN
from boattrain.options import CnnOptions
from boattrain.training import fit

#: Everything that a resumed training has to continue, dropout included.
EVERYTHING: dict[str, Any] = {
    "epochs": 4,
    "batch_size": 5,
    "schedule": "cosine",
    "warmup": 1,
    "optimizer": "adamw",
    "average": 0.9,
    "flip": True,
    "shift": 0.1,
    "brightness": 0.1,
    "mixup": 0.2,
    "label_smoothing": 0.1,
    "class_weights": "balanced",
}


def split(count: int, seed: int) -> Split:
    """Images whose brightest channel is their class."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    pixels = draw.integers(0, 200, (count, 12, 12, 3), dtype=np.uint8)
    pixels[np.arange(count), ..., labels] += 55
    return Split(pixels, labels, [], {}, {})


DATA = TrainingData(["r", "g", "b"], ImageSpec(height=12, width=12), split(22, 0), split(9, 1))


def run(folder: Path, stop: Stop | None = None, **options: Any) -> tuple[Any, FitResult]:
    chosen = CnnOptions(Path("data"), size="12x12", **options)
    checkpoint = Checkpoint(folder / "x.checkpoint", {"seed": chosen.seed})
    state = checkpoint.load() if chosen.resume else TrainingState()
    return fit(chosen, CNN, DATA, checkpoint, stop or Stop(), state=state)


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, keras: ModuleType
) -> tuple[Any, FitResult]:
    return run(tmp_path_factory.mktemp("undisturbed"), **EVERYTHING)


@pytest.fixture
def eagerly(keras: ModuleType) -> Iterator[None]:
    """Leaves out the compiling, which takes longer than these trainings."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Even though", UserWarning)
        yield
    tf.config.run_functions_eagerly(False)


def interrupt_in(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """Sends this process a SIGINT during a batch, counted from 1."""
    batches = 0
    end_batch = TrainingProgress.end_batch

    def count(self: TrainingProgress, loss: float, accuracy: float) -> None:
        nonlocal batches
        batches += 1
        if batches == batch:
            os.kill(os.getpid(), signal.SIGINT)
        end_batch(self, loss, accuracy)

    monkeypatch.setattr(TrainingProgress, "end_batch", count)


def same_weights(one: Any, other: Any) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


def test_an_interrupted_and_resumed_training_equals_an_undisturbed_one(
    undisturbed: tuple[Any, FitResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, stop_on_signals() as stop:
        interrupt_in(patch, batch=13)  # within the third epoch
        _, first = run(tmp_path, stop, **EVERYTHING)
    assert first.signal_number == signal.SIGINT
    assert first.history == undisturbed[1].history[:2]

    model, second = run(tmp_path, resume=True, **EVERYTHING)

    assert second == undisturbed[1]
    assert same_weights(model, undisturbed[0])


@pytest.mark.usefixtures("eagerly")
def test_the_rate_follows_its_schedule(undisturbed: tuple[Any, FitResult]) -> None:
    network, fitted = undisturbed
    last_steps = np.array([4, 9, 14, 19])  # five in each epoch, of which the first warms up
    cosine = (1 + np.cos(np.pi * (last_steps - 5) / 15)) / 2
    expected = 1e-3 * np.where(last_steps < 5, 5 / 6, cosine)
    rates = [epoch.learning_rate for epoch in fitted.history]
    assert rates == pytest.approx(expected.tolist(), rel=1e-5)
    assert float(network.optimizer.learning_rate) == pytest.approx(0, abs=1e-9)  # of a next step


def test_another_seed_gives_another_training(tmp_path: Path) -> None:
    one, same, other = (run(tmp_path, seed=seed, epochs=1)[1] for seed in (0, 0, 1))
    assert one == same != other


@pytest.mark.usefixtures("eagerly")
def test_the_network_gets_the_weights_of_its_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "best_epoch", lambda history, _: history[0])
    model, fitted = run(tmp_path, epochs=2)
    probabilities = loop.predict(model, DATA.valid.pixels, 4)
    first, second = (pytest.approx(epoch.val_loss, rel=1e-5) for epoch in fitted.history)
    assert cross_entropy(DATA.valid.labels, probabilities) == first != second


@pytest.mark.usefixtures("eagerly")
def test_patience_ends_a_training_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "best_epoch", lambda history, _: history[0])
    _, fitted = run(tmp_path, epochs=9, patience=2)
    assert (len(fitted.history), fitted.signal_number) == (3, 0)


@pytest.mark.usefixtures("eagerly")
def test_an_interruption_before_the_first_epoch_leaves_nothing(tmp_path: Path) -> None:
    stop = Stop()
    stop.signal_number = signal.SIGTERM
    with pytest.raises(RunInterruptedError, match="nothing was written") as raised:
        run(tmp_path, stop)
    assert raised.value.exit_code == 143
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("eagerly")
def test_resuming_what_is_not_there_or_not_the_same(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no interrupted training"):
        run(tmp_path, resume=True)
    run(tmp_path, epochs=1)
    with pytest.raises(UsageError, match="is of a training with seed 0, not 7"):
        run(tmp_path, resume=True, seed=7)
    assert len(run(tmp_path, resume=True, epochs=2)[1].history) == 2
    with pytest.raises(UsageError, match="2 epochs are finished already, more than the 1"):
        run(tmp_path, resume=True, epochs=1)
    assert len(run(tmp_path, resume=True, epochs=3)[1].history) == 3
    last = tmp_path / "x.checkpoint" / "last.npz"
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(UsageError, match="is damaged"):
        run(tmp_path, resume=True)


@pytest.mark.usefixtures("eagerly")
def test_the_checkpoint_holds_one_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    run(tmp_path, epochs=1, best="last", seed=1)  # of a training that was given up
    model, fitted = run(tmp_path, epochs=3)
    with np.load(tmp_path / "x.checkpoint" / f"best-{fitted.best.epoch}.npz") as arrays:
        weights = [arrays[name] for name in arrays.files]
    assert all(map(np.array_equal, weights, model.get_weights()))
    assert sorted(path.name for path in (tmp_path / "x.checkpoint").iterdir()) == [
        f"best-{fitted.best.epoch}.npz",
        "last.npz",
    ]


def stage(name: str, epochs: int, patience: int | None) -> Stage:
    options = CnnOptions(Path("data"), epochs=epochs, patience=patience)
    return Stage(name, options, lambda _: pytest.fail("must not be prepared"))


@pytest.mark.parametrize(
    ("head", "whole", "name", "patience", "over"),
    [
        ([], [], "head", 1, False),
        ([0.5], [], "head", None, False),
        ([0.5, 0.6, 0.7], [], "head", None, True),
        ([0.5, 0.4], [], "head", 1, True),
        ([0.5, 0.4], [], "head", 2, False),
        ([0.5, 0.4, 0.4], [], "whole", 1, False),
        ([0.9, 0.4], [0.5], "whole", 2, False),
        ([0.9, 0.4], [0.5, 0.6], "whole", 2, True),
        ([0.4, 0.4], [0.5, 0.6], "whole", 2, False),
    ],
)
def test_when_a_stage_is_over(
    head: list[float], whole: list[float], name: str, patience: int | None, over: bool
) -> None:
    epochs = [("head", figure) for figure in head] + [("whole", figure) for figure in whole]
    history = [
        EpochMetrics(number, stage, 0.1, 1, 1, 1, figure, 1)
        for number, (stage, figure) in enumerate(epochs, 1)
    ]
    assert is_finished(stage(name, 3, patience), history, "accuracy") == over


@pytest.mark.usefixtures("eagerly")
def test_tensorboard_gets_its_log(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run(tmp_path, epochs=1, tensorboard=tmp_path / "board")
    assert list((tmp_path / "board" / "whole").rglob("events.out.*"))
