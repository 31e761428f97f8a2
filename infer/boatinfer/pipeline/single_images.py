"""Single images, classified as a run classifies them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from boatinfer.cpus import usable_cpus
from boatinfer.images.admission import Limits
from boatinfer.isolation.supervisor import IMAGE_TIMEOUT, Supervisor
from boatinfer.models.built_in import BUILT_IN
from boatinfer.models.device import Device
from boatinfer.models.model import ModelInfo
from boatinfer.pipeline.engines.stages import batches_ahead
from boatinfer.pipeline.worker import Classification, Work, lost
from boatinfer.results.store.rows import Row
from boatinfer.storage.base import Place
from boatinfer.storage.listing import ListedFile
from boatinfer.text import to_text

__all__ = ["classify_files"]


def classify_files(
    files: Sequence[Path], model: Place | None, device: Device
) -> tuple[ModelInfo, list[Row]]:
    """Classifies image files, in a worker process.

    Args:
        files: of this machine.
        model: a model file; None means the built-in one.
        device: ``auto``, ``cpu`` or ``cuda``.

    Returns:
        What is known of the model, and a row for each file, in their order.

    Raises:
        BoatinferError: the model cannot be opened, or not on the device.
    """
    memory = Limits().worker_memory()
    task = Classification(BUILT_IN if model is None else model, device, None, None, memory)
    worker: Supervisor[ListedFile, Row] = Supervisor(task, lost, IMAGE_TIMEOUT)
    try:
        info: ModelInfo = worker.wait_until_open()
        threads, size = min(usable_cpus(), len(files)), info.batch_size
        folder = Path("/")  # the paths are absolute
        worker.begin(
            Work(folder, threads, features=False, lenient=False, contents=None, memory=memory)
        )
        found = [ListedFile(to_text(os.path.abspath(file)), -1, -1) for file in files]  # noqa: PTH100
        batches = (found[start : start + size] for start in range(0, len(found), size))
        ahead = batches_ahead(info.device, folder, size, threads)
        rows = {row.path: row for done in worker.results(batches, ahead) for row in done}
    finally:
        worker.close()
    return info, [rows[file.path] for file in found]
