"""Classifies images beside a run: nothing of it goes into the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from boatinfer.cpus import usable_cpus
from boatinfer.images.admission import Limits
from boatinfer.isolation.supervisor import IMAGE_TIMEOUT, Supervisor
from boatinfer.models.device import Device
from boatinfer.models.model import ModelInfo
from boatinfer.pipeline.engines.stages import batches_ahead
from boatinfer.pipeline.worker import Classification, Work, lost
from boatinfer.results.store.rows import Row
from boatinfer.storage.base import Place
from boatinfer.storage.listing import ListedFile

__all__ = ["Beside", "classify_beside"]


@dataclass(frozen=True)
class Beside:
    """How to classify.

    Attributes:
        model: the model file.
        folder: the folder that the paths are relative to.
        device: ``auto``, ``cpu`` or ``cuda``.
        memory: bytes that all processes may use; None for the default.
        threads: None for one per usable CPU.
        image_timeout: seconds that an image may take.
        lenient: whether damaged JPEGs are classified by what can be decoded.
        endpoint: the S3 server, if it is not Amazon's.
    """

    model: Path
    folder: Place
    device: Device = Device.AUTO
    memory: int | None = None
    threads: int | None = None
    image_timeout: float = IMAGE_TIMEOUT
    lenient: bool = False
    endpoint: str | None = None


def classify_beside(
    how: Beside, files: Sequence[ListedFile], stopped: Callable[[], object] = lambda: False
) -> Iterator[tuple[ModelInfo, list[Row]]]:
    """Classifies files in a worker process, in their order as far as batches go.

    Args:
        how: the model, and what it may take.
        files: of the folder.
        stopped: no more images are begun once it says so.

    Yields:
        What is known of the model, and the rows of a batch.

    Raises:
        BoatinferError: the model cannot be opened, or the process cannot be kept running.
    """
    memory = Limits(how.memory).worker_memory()
    task = Classification(how.model, how.device, None, how.endpoint, memory)
    worker: Supervisor[ListedFile, Row] = Supervisor(task, lost, how.image_timeout)
    try:
        info: ModelInfo = worker.wait_until_open()
        threads = how.threads or usable_cpus()
        work = Work(how.folder, threads, False, how.lenient, contents=None, memory=memory)
        worker.begin(work)
        batches = _batches(files, info.batch_size, stopped)
        ahead = batches_ahead(info.device, how.folder, info.batch_size, threads)
        for rows in worker.results(batches, ahead, stopped=stopped):
            yield info, rows
    finally:
        worker.close()


def _batches(
    files: Sequence[ListedFile], size: int, stopped: Callable[[], object]
) -> Iterator[list[ListedFile]]:
    for start in range(0, len(files), size):
        if stopped():
            return
        yield list(files[start : start + size])
