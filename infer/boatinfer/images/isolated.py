"""Reads images in a worker process, so that one that crashes or hangs the decoder fails alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from boatinfer.errors import BoatinferError, Failure, ImageError
from boatinfer.images.admission import Turn, limited, limits
from boatinfer.images.files import load
from boatinfer.images.geometry import Pixels
from boatinfer.images.reader import read
from boatinfer.images.spec import ImageSpec
from boatinfer.isolation.supervisor import IMAGE_TIMEOUT, Supervisor
from boatinfer.isolation.worker import Batch, Done, EachItem
from boatinfer.memory import limit_process_memory

__all__ = ["IsolatedReader", "PixelsOf"]

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Items that are sent to the worker process together.
_TOGETHER = 4


@dataclass(frozen=True)
class PixelsOf:
    """Reads the pixels of an image file of this machine; for `IsolatedReader`.

    Attributes:
        spec: size and geometry.
    """

    spec: ImageSpec

    def __call__(self, path: Path | str) -> Pixels:
        """Gives uint8 [spec.height, spec.width, 3], RGB; raises `ImageError`."""
        return read(load(path)[0], self.spec)


@dataclass(frozen=True)
class _Attempt(Generic[Item, Result]):
    """Calls a function that may raise an `ImageError`, and gives the error instead."""

    work: Callable[[Item], Result]

    def __call__(self, numbered: tuple[int, Item]) -> tuple[int, Result | ImageError]:
        index, item = numbered
        try:
            with Turn():
                return index, self.work(item)
        except ImageError as error:
            return index, error
        except BoatinferError:  # it is not the image's
            raise
        except MemoryError:
            return index, ImageError(Failure.TOO_LARGE, "not enough memory to read it")
        except Exception as error:  # whatever it is, it is this image's trouble alone
            return index, ImageError(Failure.CORRUPT, f"{type(error).__name__}: {error}")


@dataclass(frozen=True)
class _Reading(EachItem[tuple[int, Any], tuple[int, Any]]):
    """The task of the worker process, which has the memory bound of this one."""

    memory: int = 0

    def work(
        self, settings: Any, batches: Iterator[Batch]
    ) -> contextlib.AbstractContextManager[Iterator[Done]]:
        return self._bounded(batches)

    @contextlib.contextmanager
    def _bounded(self, batches: Iterator[Batch]) -> Iterator[Iterator[Done]]:
        limit_process_memory(self.memory)
        with limited(self.memory, self.threads), super().work(None, batches) as done:
            yield done


class IsolatedReader(Generic[Item, Result]):
    """Calls a function that reads an image on many, in the threads of a worker process.

    To be used in a ``with``, at whose end the process ends.

    Args:
        work: can be pickled, and so can what it takes and returns; may raise `ImageError`.
        timeout: time limit for one image, in seconds.
    """

    def __init__(self, work: Callable[[Item], Result], timeout: float = IMAGE_TIMEOUT) -> None:
        self._work, self._timeout = work, timeout

    def __enter__(self) -> IsolatedReader[Item, Result]:
        self._threads = limits().threads
        task = _Reading(_Attempt(self._work), self._threads, memory=limits().memory)
        self._worker: Supervisor[tuple[int, Item], tuple[int, Result | ImageError]] = Supervisor(
            task, _lost, self._timeout
        )
        try:
            self._worker.wait_until_open()
            self._worker.begin(None)
        except BaseException:
            self._worker.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._worker.close()

    def map(self, items: Sequence[Item]) -> list[Result | ImageError]:
        """Calls the function on items.

        Returns:
            What it returned or why it could not, in the order of the items; the reason of an
            image that ended the process is ``crashed`` or ``timed_out``.
        """
        numbered = list(enumerate(items))
        batches = (numbered[i : i + _TOGETHER] for i in range(0, len(numbered), _TOGETHER))
        results: dict[int, Result | ImageError] = {}
        for some in self._worker.results(batches, ahead=2 * self._threads + 2):
            results.update(some)
        return [results[index] for index in range(len(numbered))]


def _lost(numbered: tuple[int, Any], reason: Failure, message: str) -> tuple[int, ImageError]:
    return numbered[0], ImageError(reason, message)
