"""What runs on the machines of a Ray cluster: one worker of the pool, and what it needs to know."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from boatinfer.cpus import usable_cpus
from boatinfer.errors import BoatinferError, UsageError, first_line
from boatinfer.images.admission import Limits
from boatinfer.isolation.supervisor import Supervisor
from boatinfer.models.device import Device
from boatinfer.models.model import ModelInfo
from boatinfer.pipeline.engines.stages import batches_ahead
from boatinfer.pipeline.worker import Classification, Work, lost_in_run
from boatinfer.results.store.duplicates import ContentIndex
from boatinfer.results.store.failures import FailureIndex
from boatinfer.results.store.parts import Parts
from boatinfer.results.store.rows import OK
from boatinfer.storage.base import Place
from boatinfer.storage.connections import s3_endpoint
from boatinfer.storage.listing import ListedFile
from boatinfer.storage.locations import is_remote
from boatinfer.text import from_text
from boatinfer.versions import versions

__all__ = ["NodeRequirements", "Task", "Worker"]


@dataclass(frozen=True)
class NodeRequirements:
    """What a machine must see, and have, to take part.

    Attributes:
        versions: of the libraries.
        mark: a file in the results folder, there for as long as the run wants parts.
        folder: the folder that the paths are relative to.
        sample_paths: texts of the paths of images in it, of which one may have gone since; none if
            there is none to look for.
        endpoint: the S3 server, if it is not Amazon's.
    """

    versions: dict[str, str]
    mark: Place
    folder: Place
    sample_paths: tuple[str, ...]
    endpoint: str | None

    def unmet(self) -> str | None:
        """Why the machine that this runs on cannot take part, in words; None if it can."""
        for name, version in versions().items():
            wanted = self.versions.get(name)
            if version != wanted:
                return (
                    f"has {name} {version}, and the run began with {wanted}; install the same "
                    "everywhere."
                )
        with s3_endpoint(self.endpoint):
            try:
                out, images = self.mark.is_file(), self._sees_images()
            except (BoatinferError, OSError) as error:
                said = error if isinstance(error, BoatinferError) else first_line(error)
                return f"does not reach the folders: {said}"
        if not out:
            return (
                f"does not see the results folder {self.mark.parent}: it must be a bucket, or on "
                "a disk that all machines share, at the same path; choose another with -o."
            )
        if not images:
            return (
                f"does not see the images in {self.folder}: they must be in a bucket, or on a "
                "disk that all machines share, at the same path."
            )
        return None

    def of_what_is_there(self) -> NodeRequirements:
        """The same without the images that cannot be seen from here either."""
        return replace(self, sample_paths=tuple(filter(self._is_there, self.sample_paths)))

    def _sees_images(self) -> bool:
        return not self.sample_paths or any(map(self._is_there, self.sample_paths))

    def _is_there(self, path: str) -> bool:
        if is_remote(self.folder):
            return (self.folder / path).is_file()
        return os.path.lexists(os.path.join(str(self.folder), from_text(path)))  # noqa: PTH118


@dataclass(frozen=True)
class Task:
    """What every worker needs to know.

    Attributes:
        requirements: what its machine must see.
        content: of the model file, which so need not be on the workers' machines.
        path: names the model file in error messages.
        device: ``cpu`` or ``cuda``.
        threads: of each worker.
        parts: where the rows go.
        run: the run's id.
        size: images of a batch.
        features: whether rows keep their feature vectors.
        lenient: whether a damaged JPEG is classified by what can be decoded of it.
        contents: rows that are known already.
        failures: the images that failed before.
        dangerous: paths of images that have ended a process, to be tried alone.
        image_timeout: time limit for one image, in seconds.
        memory: of each worker, in bytes; None means its threads' share of the machine's.
        block_rows: the most images of a block.
    """

    requirements: NodeRequirements
    content: bytes
    path: Place
    device: Device
    threads: int
    parts: Parts
    run: str
    size: int
    features: bool
    lenient: bool
    contents: ContentIndex
    failures: FailureIndex
    dangerous: frozenset[str]
    image_timeout: float
    memory: int | None
    block_rows: int


class Worker:
    """One of the pool: a session, and what it takes to make parts of blocks.

    An error of ours is returned with the counts, for Ray would only tell of its own.

    Args:
        reference: Ray's reference to a `Task`, in a list, lest Ray resolve it.
    """

    def __init__(self, reference: list[Any]) -> None:
        import ray

        self._task: Task = ray.get(reference[0])
        self._again = ray.get_runtime_context().was_current_actor_reconstructed
        self._told: dict[int, pa.Table] = {}
        self._error: BoatinferError | None = None
        task = self._task
        self._served = s3_endpoint(task.requirements.endpoint)
        self._served.__enter__()  # for as long as the worker lives
        task.parts.check = self._check
        try:
            lacking = task.requirements.unmet()  # the machine may have joined the cluster just now
            if lacking:
                raise UsageError(f"a machine of the Ray cluster, {platform.node()}, {lacking}")
            self._open()
        except BoatinferError as error:
            self._error = error

    def _open(self) -> None:
        """Opens the model in a process of its own, and tells it what there is to do."""
        task = self._task
        share = 1.0 if task.memory else min(1.0, task.threads / usable_cpus())
        memory = int(Limits(task.memory).memory * share)
        opens = Classification(
            task.path, task.device, task.size, task.requirements.endpoint, memory, task.content
        )
        self._process = Supervisor(opens, lost_in_run, task.image_timeout)
        self._model: ModelInfo = self._process.wait_until_open()
        folder, features = task.requirements.folder, task.features
        self._process.begin(
            Work(folder, task.threads, features, task.lenient, task.contents, memory)
        )

    def __call__(self, block: pa.Table) -> pa.Table:
        """Classifies a block, unless Ray repeats it; gives a row of counts."""
        number = block["number"][0].as_py()
        if number not in self._told:
            try:
                self._told[number] = self._count(number, self._statuses(block, number))
            except BoatinferError as error:
                return _counted(number, error=str(error), exit_code=error.exit_code)
        return self._told[number]

    def _statuses(self, block: pa.Table, number: int) -> list[str]:
        """The statuses of a block's rows, which are in its part afterwards."""
        if self._error is not None:
            raise self._error
        there = self._task.parts.statuses(number) if self._again else []
        return there or self._classify(block, number)

    def _classify(self, block: pa.Table, number: int) -> list[str]:
        task, model = self._task, self._model
        files = [ListedFile(**row) for row in block.select(ListedFile._fields).to_pylist()]
        batches = (files[i : i + task.size] for i in range(0, len(files), task.size))
        ahead = batches_ahead(model.device, task.requirements.folder, task.size, task.threads)
        done = self._process.results(batches, ahead, lambda file: file.path in task.dangerous)
        rows = [row for some in done for row in some]
        rows.sort(key=lambda row: row.path)  # a block done twice makes the same part
        task.contents.fill(rows, task.features)
        task.failures.fill(rows)
        task.parts.append(rows, model.card.classes, model.digest, task.run, number)
        return [row.status for row in rows]

    def _count(self, number: int, statuses: list[str]) -> pa.Table:
        failed = sum(status != OK for status in statuses)
        device = self._model.device.value
        return _counted(number, done=len(statuses), failed=failed, device=device)

    def _check(self) -> None:
        """Keeps a worker that outlives its run from writing."""
        mark = self._task.requirements.mark
        if not mark.is_file():
            raise BoatinferError(f"the run has ended: {mark} is gone.")


_COUNT = pa.schema(
    [
        *[(name, pa.int64()) for name in ("number", "done", "failed", "exit_code")],
        *[(name, pa.string()) for name in ("device", "error")],
    ]
)


def _counted(number: int, **known: Any) -> pa.Table:
    """What a worker tells of a block."""
    row = dict.fromkeys(_COUNT.names) | {"number": number} | known
    return pa.Table.from_pylist([row], schema=_COUNT)
