"""An unfinished training on disk, so that it can be continued.

The folder ``NAME.checkpoint`` beside the model holds ``last.npz``, all that the next epoch
depends on, and ``best-N.npz``, the weights of the best epoch so far. It is removed when the
training ends.
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
from boattrain.fitting.history import Epoch

__all__ = ["Checkpoint", "State"]


#: The fields of `State` that ``last.npz`` holds, in this order.
_GROUPS = ("network", "optimizer", "average")


@dataclass
class State:
    """A training after some epochs.

    Attributes:
        history: every epoch's figures.
        best_weights: the network's weights after the best epoch.
        network: all variables of the network, seeds of dropout included.
        optimizer: all variables of the stage's optimizer.
        average: state of the stage's moving average.
        replaces: whether another model was there, under the same name, when it began.
    """

    history: list[Epoch] = field(default_factory=list)
    best_weights: list[Array] = field(default_factory=list)
    network: list[Array] = field(default_factory=list)
    optimizer: list[Array] = field(default_factory=list)
    average: list[Array] = field(default_factory=list)
    replaces: bool = False


class _Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``last.npz`` says beside the variables."""

    settings: dict[str, Any]
    history: list[Epoch]
    best: int
    counts: dict[str, int]
    replaces: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one model file.

    Attributes:
        folder: where it is.
        settings: all that decides how the training goes on: options, and the data's
            fingerprint. Another training cannot continue this one.
    """

    folder: Path
    settings: dict[str, Any]

    @property
    def exists(self) -> bool:
        """Whether there is one."""
        return self._last.exists()

    def save(self, state: State, best: int) -> None:
        """Writes the state after an epoch; at every moment the folder holds a whole one.

        After the first epoch of a training nothing is left of an earlier one.

        Args:
            state: what `load` shall give.
            best: number of the best epoch.

        Raises:
            OutputError: it cannot be written.
        """
        if len(state.history) == 1:
            self.clear()
        with translate_write_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
        if not self._best(best).exists():
            _write(self._best(best), state.best_weights)
        groups = [getattr(state, name) for name in _GROUPS]
        counts = dict(zip(_GROUPS, map(len, groups), strict=True))
        meta = msgspec.json.encode(
            _Meta(self.settings, state.history, best, counts, state.replaces)
        )
        _write(self._last, [np.frombuffer(meta, np.uint8), *itertools.chain(*groups)])
        for path in self.folder.glob("best-*.npz"):
            if path != self._best(best):
                path.unlink(missing_ok=True)

    def require(self) -> None:
        """Refuses to resume what is not there, before any long work.

        Raises:
            UsageError: there is no checkpoint.
        """
        if not self.exists:
            raise UsageError(
                f"--resume: {self.folder} holds no interrupted training; leave --resume out to "
                "begin one."
            )

    def load(self) -> State:
        """Reads the state that the next epoch begins with.

        Raises:
            UsageError: there is none, or it is of another training.
        """
        self.require()
        try:
            encoded, *arrays = _read(self._last)
            meta = decode_document(encoded.tobytes(), _Meta)
            best_weights = _read(self._best(meta.best))
            rest = iter(arrays)
            groups = {name: list(itertools.islice(rest, meta.counts[name])) for name in _GROUPS}
        except Exception as error:  # a damaged archive raises whatever it stumbles over
            raise UsageError(
                f"--resume: {self.folder} is damaged; leave --resume out to begin anew."
            ) from error
        self._require_same(meta.settings)
        return State(meta.history, best_weights, **groups, replaces=meta.replaces)

    def clear(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _require_same(self, settings: dict[str, Any]) -> None:
        names = sorted(settings.keys() | self.settings.keys())
        for name in names:
            was, wanted = settings.get(name), self.settings.get(name)
            if was != wanted:
                raise UsageError(
                    f"--resume: {self.folder} is of a training with {name} {was}, not {wanted}; "
                    "take that, or leave --resume out to begin anew."
                )

    @property
    def _last(self) -> Path:
        return self.folder / "last.npz"

    def _best(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch}.npz"


def _write(path: Path, arrays: Sequence[Array]) -> None:
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, *arrays)


def _read(path: Path) -> list[Array]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return [arrays[f"arr_{number}"] for number in range(len(arrays.files))]
