"""Reads images in a worker process, so that a crash or hang of the decoder costs one image."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from boatinfer.errors import BoatinferError, Failure, ImageError
from boatinfer.images.admission import LargeFileSlot, current_limits, temporary_limits
from boatinfer.images.files import load
from boatinfer.images.geometry import Pixels
from boatinfer.images.reader import read
from boatinfer.images.spec import ImageSpec
from boatinfer.isolation.supervisor import IMAGE_TIMEOUT, Supervisor
from boatinfer.isolation.worker import Batch, Done, EachItem
from boatinfer.memory import limit_process_memory

__all__ = ["IsolatedReader", "PixelReader"]

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Number of items per batch.
_BATCH_SIZE = 4


@dataclass(frozen=True)
class PixelReader:
    """Reads the pixels of an image file on this machine; for `IsolatedReader`.

    Attributes:
        spec: size and geometry.
    """

    spec: ImageSpec

    def __call__(self, path: Path | str) -> Pixels:
        """Returns uint8 [spec.height, spec.width, 3], RGB; raises `ImageError`."""
        return read(load(path)[0], self.spec)


@dataclass(frozen=True)
class _ErrorsAsResults(Generic[Item, Result]):
    """Calls a function, and returns its `ImageError` instead of raising it."""

    work: Callable[[Item], Result]

    def __call__(self, numbered: tuple[int, Item]) -> tuple[int, Result | ImageError]:
        index, item = numbered
        try:
            with LargeFileSlot():
                return index, self.work(item)
        except ImageError as error:
            return index, error
        except BoatinferError:  # not the image's fault
            raise
        except MemoryError:
            return index, ImageError(Failure.TOO_LARGE, "not enough memory to read it")
        except Exception as error:  # any other error concerns this image alone
            return index, ImageError(Failure.CORRUPT, f"{type(error).__name__}: {error}")


@dataclass(frozen=True)
class _ReadTask(EachItem[tuple[int, Any], tuple[int, Any]]):
    """The task of the worker process, with a memory limit."""

    memory: int = 0

    def work(
        self, settings: Any, batches: Iterator[Batch]
    ) -> contextlib.AbstractContextManager[Iterator[Done]]:
        return self._limited_work(batches)

    @contextlib.contextmanager
    def _limited_work(self, batches: Iterator[Batch]) -> Iterator[Iterator[Done]]:
        limit_process_memory(self.memory)
        with temporary_limits(self.memory, self.threads), super().work(None, batches) as done:
            yield done


class IsolatedReader(Generic[Item, Result]):
    """Calls a function that reads an image on many items, in the threads of a worker process.

    A context manager; the process ends with the ``with``.

    Args:
        work: can be pickled, and so can its argument and result; may raise `ImageError`.
        timeout: time limit for one image, in seconds.
    """

    def __init__(self, work: Callable[[Item], Result], timeout: float = IMAGE_TIMEOUT) -> None:
        self._work, self._timeout = work, timeout

    def __enter__(self) -> IsolatedReader[Item, Result]:
        self._threads = current_limits().threads
        task = _ReadTask(
            _ErrorsAsResults(self._work), self._threads, memory=current_limits().worker_memory()
        )
        self._worker: Supervisor[tuple[int, Item], tuple[int, Result | ImageError]] = Supervisor(
            task, _failed, self._timeout
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
            Results or errors, in the order of the items; the reason is ``crashed`` or
            ``timed_out`` if the image ended the process.
        """
        numbered = list(enumerate(items))
        batches = (numbered[i : i + _BATCH_SIZE] for i in range(0, len(numbered), _BATCH_SIZE))
        results: dict[int, Result | ImageError] = {}
        for batch_results in self._worker.results(batches, ahead=2 * self._threads + 2):
            results.update(batch_results)
        return [results[index] for index in range(len(numbered))]


def _failed(numbered: tuple[int, Any], reason: Failure, message: str) -> tuple[int, ImageError]:
    return numbered[0], ImageError(reason, message)
