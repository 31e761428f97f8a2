"""The training loop: one or several stages, checkpoints, and the best epoch."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from boatinfer.analysis.metrics import accuracy, macro_f1
from boatinfer.errors import RunInterruptedError, UsageError
from boatinfer.signals import Stop
from boattrain.backend import load_keras
from boattrain.fitting.array_cache import Array
from boattrain.fitting.batches import Batches, InputRows
from boattrain.fitting.checkpoint import Checkpoint, TrainingState
from boattrain.fitting.ema import WeightAverage
from boattrain.fitting.history import EpochMetrics, best_epoch
from boattrain.fitting.losses import cross_entropy, make_schedule
from boattrain.fitting.memory import enough_memory
from boattrain.fitting.progress import TrainingProgress
from boattrain.options import TrainOptions

__all__ = [
    "FitResult",
    "Fitter",
    "PreparedStage",
    "Stage",
    "is_finished",
    "iterate_outputs",
    "predict",
]

#: What a signal in the first epoch waits for.
_NOTICE = (
    "stopping after the current batch; before the first epoch is finished there is nothing to "
    "keep, so a second Ctrl-C, which stops at once, loses nothing"
)

#: Shortest time between two checkpoints, in seconds.
CHECKPOINT_SECONDS = 30.0


class PreparedStage(NamedTuple):
    """A stage that is ready to be trained.

    Attributes:
        model: a compiled Keras model that shares its layers with the network.
        train: its training batches.
        valid: its inputs [N, ...] for the validation images.
    """

    model: Any
    train: Batches
    valid: InputRows


class Stage(NamedTuple):
    """A stage of the training, with its own options.

    Attributes:
        name: unique name, such as ``head`` or ``whole``.
        options: options of the stage.
        prepare: prepares the stage once the earlier ones are finished. It takes a function to
            call regularly during long work, which raises if a signal was received.
    """

    name: str
    options: TrainOptions
    prepare: Callable[[Callable[[], None]], PreparedStage]


class FitResult(NamedTuple):
    """The result of a training.

    Attributes:
        history: metrics of every epoch.
        best: the best epoch, whose weights the network has now.
        signal_number: the signal that interrupted the training, or 0.
    """

    history: list[EpochMetrics]
    best: EpochMetrics
    signal_number: int


class _Interruption(Exception):  # noqa: N818 (not an error)
    """Leaves the training loop of Keras after a signal."""


@dataclass(frozen=True)
class Fitter:
    """Trains a network, and restores the weights of its best epoch.

    Checkpoints are saved after an epoch, at most one in half a minute. A signal stops the
    training after the current batch; the unfinished epoch is lost.

    Attributes:
        network: the whole Keras model.
        labels: int64 [N], labels of the validation images.
        best_metric: metric that chooses the best epoch; see `best_epoch`.
        checkpoint: the checkpoint to save to.
        stop: tells whether a signal was received.
    """

    network: Any
    labels: npt.NDArray[np.int64]
    best_metric: str
    checkpoint: Checkpoint
    stop: Stop

    def run(self, stages: Sequence[Stage], state: TrainingState) -> FitResult:
        """Runs the stages, or the rest of them.

        Args:
            stages: the stages, in order.
            state: the state to start from, new or from the checkpoint; it is updated.

        Raises:
            UsageError: more epochs are finished already than requested.
            RunInterruptedError: a signal was received before the end of the first epoch.
            OutputError: the checkpoint cannot be written.
        """
        epochs = {stage.name: stage.options.epochs for stage in stages}
        finished = Counter(epoch.stage for epoch in state.history)
        for name, requested in epochs.items():
            if finished[name] > requested:
                raise UsageError(
                    f"--resume: {finished[name]:,} epochs are finished already, more than the "
                    f"{requested:,} requested; request at least as many, or omit --resume to "
                    "start over."
                )
        if not state.history:
            self.stop.notice = _NOTICE
        try:
            with TrainingProgress(epochs) as progress:
                for stage in stages:
                    if not is_finished(stage, state.history, self.best_metric):
                        _StageLoop(self, stage, state, progress).run()
        except _Interruption:
            if not state.history:
                raise RunInterruptedError(
                    "interrupted before the end of the first epoch; nothing was written.",
                    self.stop.signal_number,
                ) from None
            self.checkpoint.save(state, best_epoch(state.history, self.best_metric).epoch)
        self.network.set_weights(state.best_weights)
        best = best_epoch(state.history, self.best_metric)
        return FitResult(state.history, best, self.stop.signal_number)

    def check(self) -> None:
        """Leaves the training loop if a signal was received."""
        if self.stop.signal_number:
            raise _Interruption


def is_finished(stage: Stage, history: Sequence[EpochMetrics], best_metric: str) -> bool:
    """Whether a stage has had all its epochs, or ends by early stopping."""
    epochs = [epoch.epoch for epoch in history if epoch.stage == stage.name]
    if not epochs:
        return False
    without_improvement = epochs[-1] - max(best_epoch(history, best_metric).epoch, epochs[0] - 1)
    patience = stage.options.patience or math.inf
    return len(epochs) >= stage.options.epochs or without_improvement >= patience


def predict(
    model: Any, inputs: InputRows, batch_size: int, after_batch: Callable[[], None] = lambda: None
) -> npt.NDArray[np.float32]:
    """Runs a network on inputs that may be larger than the memory.

    Args:
        model: a Keras model.
        inputs: [N, ...], N at least 1.
        batch_size: batch size.
        after_batch: called after each batch; may raise to stop.

    Returns:
        float32 [N, ...], the outputs.
    """
    outputs = []
    for rows in iterate_outputs(model, inputs, batch_size):
        outputs.append(rows)
        after_batch()
    return np.concatenate(outputs)


def iterate_outputs(
    model: Any, inputs: InputRows, batch_size: int
) -> Iterator[npt.NDArray[np.float32]]:
    """Yields the outputs of a network batch by batch; arguments as in `predict`."""
    size = min(batch_size, len(inputs))
    for start in range(0, len(inputs), size):
        batch = np.asarray(inputs[start : start + size])
        # Padded to the same shape, as every new shape would be compiled.
        padding = np.zeros((size - len(batch), *batch.shape[1:]), batch.dtype)
        yield model.predict_on_batch(np.concatenate([batch, padding]))[: len(batch)]


class _StageLoop:
    """The loop of one stage, built on ``keras.Model.fit``."""

    def __init__(
        self, fitter: Fitter, stage: Stage, state: TrainingState, progress: TrainingProgress
    ) -> None:
        self._fitter = fitter
        self._stage = stage
        self._state = state
        self._progress = progress
        if state.best_weights:
            fitter.network.set_weights(state.best_weights)
        self._prepared = stage.prepare(fitter.check)
        self._steps_per_epoch = self._prepared.train.steps
        self._schedule = make_schedule(stage.options, self._steps_per_epoch)
        self._prepared.model.optimizer.learning_rate = self._schedule
        self._average = WeightAverage(fitter.network.weights, stage.options.average)
        self._finished_epochs = sum(epoch.stage == stage.name for epoch in state.history)
        self._last_saved = -math.inf
        if self._finished_epochs:
            self._restore()

    def run(self) -> None:
        """Trains the remaining epochs of the stage."""
        self._progress.begin(self._stage.name, self._finished_epochs, self._steps_per_epoch)
        with enough_memory(self._prepared.model, self._stage.options.batch_size):
            self._prepared.model.fit(
                self._prepared.train.dataset(self._finished_epochs * self._steps_per_epoch),
                steps_per_epoch=self._steps_per_epoch,
                initial_epoch=self._finished_epochs,
                epochs=self._stage.options.epochs,
                shuffle=False,
                verbose=0,
                callbacks=self._callbacks(),
            )

    def _callbacks(self) -> list[Any]:
        callbacks = load_keras().callbacks
        own = callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: self._end_batch(**logs),
            on_epoch_end=lambda epoch, logs: self._end_epoch(logs),
        )
        log_folder = self._stage.options.tensorboard
        if log_folder is None:
            return [own]
        return [own, callbacks.TensorBoard(log_folder / self._stage.name, write_graph=False)]

    def _end_batch(self, loss: float, accuracy: float) -> None:
        self._average.update()
        self._progress.end_batch(loss, accuracy)
        self._fitter.check()

    def _end_epoch(self, logs: dict[str, float]) -> None:
        state = self._state
        with self._average.applied():
            state.history.append(self._evaluate(logs))
            best = best_epoch(state.history, self._fitter.best_metric)
            if best is state.history[-1]:
                state.best_weights = self._fitter.network.get_weights()
        self._finished_epochs += 1
        self._fitter.stop.notice = ""
        state.network = _values(self._fitter.network.variables)
        state.optimizer = _values(self._prepared.model.optimizer.variables)
        state.average = self._average.state
        self._save_checkpoint(best)
        shown_best = None if self._fitter.best_metric == "last" else best
        self._progress.end_epoch(state.history[-1], shown_best)
        metrics = state.history[-1]._asdict()
        logs |= {name: metrics[name] for name in metrics if name.startswith("val_")}
        if is_finished(self._stage, state.history, self._fitter.best_metric):
            self._prepared.model.stop_training = True

    def _save_checkpoint(self, best: EpochMetrics) -> None:
        """Saves the checkpoint, which may be large, unless that was done recently."""
        if time.monotonic() - self._last_saved >= CHECKPOINT_SECONDS:
            self._fitter.checkpoint.save(self._state, best.epoch)
            self._last_saved = time.monotonic()

    def _evaluate(self, logs: dict[str, float]) -> EpochMetrics:
        labels, model = self._fitter.labels, self._prepared.model
        size = self._stage.options.batch_size
        probabilities = predict(model, self._prepared.valid, size, self._fitter.check)
        predicted = probabilities.argmax(axis=1)
        return EpochMetrics(
            epoch=len(self._state.history) + 1,
            stage=self._stage.name,
            learning_rate=float(self._schedule(model.optimizer.iterations - 1)),
            loss=float(logs["loss"]),
            accuracy=float(logs["accuracy"]),
            val_loss=cross_entropy(labels, probabilities),
            val_accuracy=accuracy(labels, predicted),
            val_macro_f1=macro_f1(labels, predicted),
        )

    def _restore(self) -> None:
        model = self._prepared.model
        model.optimizer.build(model.trainable_variables)
        _assign(self._fitter.network.variables, self._state.network)
        _assign(model.optimizer.variables, _without_rate(model.optimizer, self._state.optimizer))
        self._average.restore(self._state.average)


def _values(variables: Sequence[Any]) -> list[Array]:
    return [np.asarray(variable) for variable in variables]


def _without_rate(optimizer: Any, values: list[Array]) -> list[Array]:
    """The values of an optimizer's variables, without the learning rate.

    Checkpoints of versions in which no schedule of Keras set the rate have it after the iteration.
    """
    return values[:1] + values[2:] if len(values) == len(optimizer.variables) + 1 else values


def _assign(variables: Sequence[Any], values: Sequence[Array]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
