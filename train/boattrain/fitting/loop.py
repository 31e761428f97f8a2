"""The loop that fits a network, in one stage or several, and keeps its best epoch."""

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
from boattrain.fitting.batches import Batches, Rows
from boattrain.fitting.checkpoint import Checkpoint, State
from boattrain.fitting.ema import Average
from boattrain.fitting.history import Epoch, best_of
from boattrain.fitting.losses import cross_entropy, learning_rate
from boattrain.fitting.memory import enough_memory
from boattrain.fitting.progress import TrainingProgress
from boattrain.options import TrainOptions

__all__ = ["Fitted", "Fitting", "Part", "Stage", "is_over", "outputs_of", "predict"]

#: Time between two checkpoints.
SAVE_SECONDS = 30.0


class Part(NamedTuple):
    """What is fitted in a stage.

    Attributes:
        model: a compiled Keras model that shares its layers with the network.
        train: what it learns from.
        valid: its inputs [N, ...] on valid.
    """

    model: Any
    train: Batches
    valid: Rows


class Stage(NamedTuple):
    """A stretch of the training.

    Attributes:
        name: what is trained, such as ``whole``; no two stages share a name.
        options: how.
        prepare: gives the `Part`, once the stages before are done; is given a function to
            call now and then in long work, which leaves it if a signal came.
    """

    name: str
    options: TrainOptions
    prepare: Callable[[Callable[[], None]], Part]


class Fitted(NamedTuple):
    """What a fitting gave.

    Attributes:
        history: every epoch's figures.
        best: the best epoch, whose weights the network has.
        signal_number: what interrupted it, 0 if nothing did.
    """

    history: list[Epoch]
    best: Epoch
    signal_number: int


class _Interrupted(Exception):  # noqa: N818 (it is no error)
    """Leaves Keras's loop."""


@dataclass(frozen=True)
class Fitting:
    """Fits a network and leaves it with the weights of its best epoch.

    Epochs are written to the checkpoint, one in half a minute at the most. A signal ends the
    fitting after the batch; the unfinished epoch is lost.

    Attributes:
        network: the whole Keras model.
        truth: int64 [N], labels of valid.
        best_by: what makes an epoch the best; see `best_of`.
        checkpoint: where each epoch goes.
        stop: says that a signal came.
    """

    network: Any
    truth: npt.NDArray[np.int64]
    best_by: str
    checkpoint: Checkpoint
    stop: Stop

    def run(self, stages: Sequence[Stage], state: State) -> Fitted:
        """Runs the stages, or what is left of them.

        Args:
            stages: what to do, one after the other.
            state: what to begin with, new or from the checkpoint; is carried forward.

        Raises:
            UsageError: more epochs are done already than there are to be.
            RunInterruptedError: a signal came before the first epoch was done.
            OutputError: the checkpoint cannot be written.
        """
        epochs = {stage.name: stage.options.epochs for stage in stages}
        done = Counter(epoch.stage for epoch in state.history)
        for name, wanted in epochs.items():
            if done[name] > wanted:
                raise UsageError(
                    f"--resume: {done[name]:,} epochs are done already, more than the "
                    f"{wanted:,} asked for; ask for at least as many, or leave --resume out to "
                    "begin anew."
                )
        try:
            with TrainingProgress(epochs) as progress:
                for stage in stages:
                    if not is_over(stage, state.history, self.best_by):
                        _Loop(self, stage, state, progress).run()
        except _Interrupted:
            if not state.history:
                raise RunInterruptedError(
                    "interrupted before the first epoch was done; nothing was written.",
                    self.stop.signal_number,
                ) from None
            self.checkpoint.save(state, best_of(state.history, self.best_by).epoch)
        self.network.set_weights(state.best_weights)
        best = best_of(state.history, self.best_by)
        return Fitted(state.history, best, self.stop.signal_number)

    def check(self) -> None:
        """Leaves the loop if a signal came."""
        if self.stop.signal_number:
            raise _Interrupted


def is_over(stage: Stage, history: Sequence[Epoch], best_by: str) -> bool:
    """Whether a stage has had all its epochs, or its patience is at an end."""
    done = [epoch.epoch for epoch in history if epoch.stage == stage.name]
    if not done:
        return False
    waited = done[-1] - max(best_of(history, best_by).epoch, done[0] - 1)
    patience = stage.options.patience or math.inf
    return len(done) >= stage.options.epochs or waited >= patience


def predict(
    model: Any, inputs: Rows, batch_size: int, done: Callable[[], None] = lambda: None
) -> npt.NDArray[np.float32]:
    """Runs a network on inputs that may be larger than the memory.

    Args:
        model: a Keras model.
        inputs: [N, ...], N at least 1.
        batch_size: how many at a time.
        done: is called after each batch; may raise to stop.

    Returns:
        float32 [N, ...], its outputs.
    """
    outputs = []
    for rows in outputs_of(model, inputs, batch_size):
        outputs.append(rows)
        done()
    return np.concatenate(outputs)


def outputs_of(model: Any, inputs: Rows, batch_size: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yields a network's outputs a batch at a time; arguments as `predict`."""
    size = min(batch_size, len(inputs))
    for start in range(0, len(inputs), size):
        batch = np.asarray(inputs[start : start + size])
        # Always the same shape: a new one would be compiled first.
        filler = np.zeros((size - len(batch), *batch.shape[1:]), batch.dtype)
        yield model.predict_on_batch(np.concatenate([batch, filler]))[: len(batch)]


class _Loop:
    """What happens around Keras's steps in one stage."""

    def __init__(
        self, fitting: Fitting, stage: Stage, state: State, progress: TrainingProgress
    ) -> None:
        self._fitting = fitting
        self._stage = stage
        self._state = state
        self._progress = progress
        if state.best_weights:
            fitting.network.set_weights(state.best_weights)
        self._part = stage.prepare(fitting.check)
        self._steps = self._part.train.steps
        self._average = Average(fitting.network.weights, stage.options.average)
        self._done = sum(epoch.stage == stage.name for epoch in state.history)
        self._saved = -math.inf
        if self._done:
            self._restore()

    def run(self) -> None:
        """Fits what is left of the stage."""
        self._progress.begin(self._stage.name, self._done, self._steps)
        with enough_memory(self._part.model, self._stage.options.batch_size):
            self._part.model.fit(
                self._part.train.dataset(self._done * self._steps),
                steps_per_epoch=self._steps,
                initial_epoch=self._done,
                epochs=self._stage.options.epochs,
                shuffle=False,
                verbose=0,
                callbacks=self._callbacks(),
            )

    def _callbacks(self) -> list[Any]:
        callbacks = load_keras().callbacks
        ours = callbacks.LambdaCallback(
            on_train_batch_begin=lambda batch, logs: self._begin_batch(batch),
            on_train_batch_end=lambda batch, logs: self._end_batch(**logs),
            on_epoch_end=lambda epoch, logs: self._end_epoch(logs),
        )
        folder = self._stage.options.tensorboard
        if folder is None:
            return [ours]
        return [ours, callbacks.TensorBoard(folder / self._stage.name, write_graph=False)]

    def _begin_batch(self, index: int) -> None:
        options = self._stage.options
        step = self._done * self._steps + index
        rate = learning_rate(options, step, self._steps, options.epochs * self._steps)
        self._part.model.optimizer.learning_rate = rate

    def _end_batch(self, loss: float, accuracy: float) -> None:
        self._average.update()
        self._progress.end_batch(loss, accuracy)
        self._fitting.check()

    def _end_epoch(self, logs: dict[str, float]) -> None:
        state = self._state
        with self._average.applied():
            state.history.append(self._measure(logs))
            best = best_of(state.history, self._fitting.best_by)
            if best is state.history[-1]:
                state.best_weights = self._fitting.network.get_weights()
        self._done += 1
        state.network = _values(self._fitting.network.variables)
        state.optimizer = _values(self._part.model.optimizer.variables)
        state.average = self._average.state
        self._save(best)
        chosen = None if self._fitting.best_by == "last" else best
        self._progress.end_epoch(state.history[-1], chosen)
        figures = state.history[-1]._asdict()
        logs |= {name: figures[name] for name in figures if name.startswith("val_")}
        if is_over(self._stage, state.history, self._fitting.best_by):
            self._part.model.stop_training = True

    def _save(self, best: Epoch) -> None:
        """Writes the checkpoint, unless that was done just now: it may be large."""
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self._fitting.checkpoint.save(self._state, best.epoch)
            self._saved = time.monotonic()

    def _measure(self, logs: dict[str, float]) -> Epoch:
        truth, model = self._fitting.truth, self._part.model
        size = self._stage.options.batch_size
        probabilities = predict(model, self._part.valid, size, self._fitting.check)
        predicted = probabilities.argmax(axis=1)
        return Epoch(
            epoch=len(self._state.history) + 1,
            stage=self._stage.name,
            learning_rate=float(model.optimizer.learning_rate),
            loss=float(logs["loss"]),
            accuracy=float(logs["accuracy"]),
            val_loss=cross_entropy(truth, probabilities),
            val_accuracy=accuracy(truth, predicted),
            val_macro_f1=macro_f1(truth, predicted),
        )

    def _restore(self) -> None:
        model = self._part.model
        model.optimizer.build(model.trainable_variables)
        _assign(self._fitting.network.variables, self._state.network)
        _assign(model.optimizer.variables, self._state.optimizer)
        self._average.restore(self._state.average)


def _values(variables: Sequence[Any]) -> list[Array]:
    return [np.asarray(variable) for variable in variables]


def _assign(variables: Sequence[Any], values: Sequence[Array]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
