"""Checkpoints, from which an interrupted training can be resumed.

The folder ``NAME.checkpoint`` beside the model holds ``last.npz``, the complete state after
the last saved epoch, and ``best-N.npz``, the weights of the best epoch so far. It is removed
at the end of the training.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from boatinfer.errors import UsageError
from boatinfer.storage.documents import decode_document
from boatinfer.storage.files import atomic_write, translate_write_errors
from boattrain.fitting.array_cache import Array
from boattrain.fitting.history import EpochMetrics

__all__ = ["Checkpoint", "TrainingState"]


#: The fields of `TrainingState` whose arrays are in ``last.npz``, in this order.
_VARIABLE_GROUPS = ("network", "optimizer", "average")


@dataclass
class TrainingState:
    """The state of a training between two epochs.

    Attributes:
        history: metrics of every epoch so far.
        best_weights: weights of the network after the best epoch.
        network: all variables of the network, including the seeds of dropout.
        optimizer: all variables of the optimizer of the current stage.
        average: state of the moving average of the current stage.
        replaces_model: whether the output file existed already when the training began.
    """

    history: list[EpochMetrics] = field(default_factory=list)
    best_weights: list[Array] = field(default_factory=list)
    network: list[Array] = field(default_factory=list)
    optimizer: list[Array] = field(default_factory=list)
    average: list[Array] = field(default_factory=list)
    replaces_model: bool = False


class _Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The metadata in ``last.npz``."""

    settings: dict[str, Any]
    history: list[EpochMetrics]
    best: int
    counts: dict[str, int]
    replaces: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one model file.

    Attributes:
        folder: the folder of the checkpoint.
        settings: everything that the training depends on: the options and the fingerprint of
            the data. A training with other settings cannot resume it.
    """

    folder: Path
    settings: dict[str, Any]

    @property
    def exists(self) -> bool:
        """Whether there is a checkpoint."""
        return self._last_path.exists()

    def save(self, state: TrainingState, best: int) -> None:
        """Saves the state after an epoch; the folder has a complete checkpoint at any time.

        After the first epoch, the checkpoint of an earlier training is removed.

        Args:
            state: the state to save.
            best: number of the best epoch.

        Raises:
            OutputError: it cannot be written.
        """
        if len(state.history) == 1:
            self.clear()
        with translate_write_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
        if not self._best_path(best).exists():
            _write(self._best_path(best), state.best_weights)
        groups = [getattr(state, name) for name in _VARIABLE_GROUPS]
        counts = dict(zip(_VARIABLE_GROUPS, map(len, groups), strict=True))
        metadata = msgspec.json.encode(
            _Metadata(self.settings, state.history, best, counts, state.replaces_model)
        )
        _write(self._last_path, [np.frombuffer(metadata, np.uint8), *itertools.chain(*groups)])
        for path in self.folder.glob("best-*.npz"):
            if path != self._best_path(best):
                path.unlink(missing_ok=True)

    def require(self) -> None:
        """Checks, before any long work, that there is a checkpoint to resume from.

        Raises:
            UsageError: there is no checkpoint.
        """
        if not self.exists:
            raise UsageError(
                f"--resume: {self.folder} holds no interrupted training; omit --resume to start "
                "one."
            )

    def load(self) -> TrainingState:
        """Reads the state to resume from.

        Raises:
            UsageError: there is no checkpoint, it is damaged, or it has other settings.
        """
        self.require()
        try:
            encoded, *arrays = _read(self._last_path)
            metadata = decode_document(encoded.tobytes(), _Metadata)
            best_weights = _read(self._best_path(metadata.best))
            remaining = iter(arrays)
            groups = {
                name: list(itertools.islice(remaining, metadata.counts[name]))
                for name in _VARIABLE_GROUPS
            }
        except Exception as error:  # numpy raises many kinds for a damaged file
            raise UsageError(
                f"--resume: {self.folder} is damaged; omit --resume to start over."
            ) from error
        self._require_same_settings(metadata.settings)
        return TrainingState(
            metadata.history, best_weights, **groups, replaces_model=metadata.replaces
        )

    def clear(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _require_same_settings(self, settings: dict[str, Any]) -> None:
        names = sorted(settings.keys() | self.settings.keys())
        for name in names:
            saved, current = settings.get(name), self.settings.get(name)
            if saved != current:
                raise UsageError(
                    f"--resume: {self.folder} is of a training with {name} {saved}, not {current}; "
                    "use the same value, or omit --resume to start over."
                )

    @property
    def _last_path(self) -> Path:
        return self.folder / "last.npz"

    def _best_path(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch}.npz"


def _write(path: Path, arrays: Sequence[Array]) -> None:
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, *arrays)


def _read(path: Path) -> list[Array]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return [arrays[f"arr_{number}"] for number in range(len(arrays.files))]
