"""Spreads a run over the machines of a Ray cluster.

The plan becomes a Ray Dataset of paths, cut into blocks. Ray Data brings the blocks to a pool
of workers, each with a session of its own, and a worker writes its block as one part and sends
back nothing but counts. The number of a block is that of its part, so a block that is done
twice, because its worker was lost before it could tell, leaves one row of each image.

Ray Data gives up the blocks of a worker that is lost (it would otherwise wait, maybe for ever,
for a machine on which to start it again); what has no part then is a dataset once more.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pyarrow as pa

from boatinfer.batch import Classifier
from boatinfer.bucket import BucketPath
from boatinfer.contents import Contents
from boatinfer.engines import local
from boatinfer.engines.pipeline import classified
from boatinfer.errors import BoatinferError, DeviceError, UsageError, first_line, how_to_bring
from boatinfer.interrupt import Stop
from boatinfer.model import load
from boatinfer.options import Device
from boatinfer.parts import OK, Parts
from boatinfer.scan import Found, from_text
from boatinfer.storage import Place
from boatinfer.store import served_by
from boatinfer.versions import versions

__all__ = ["Task", "cluster", "distribute"]

#: A worker has this many blocks waiting: one that it works on and one to go on with.
_IN_FLIGHT = 2
#: Blocks that each worker gets at least, if there is enough to do, so that all end together.
_BLOCKS_EACH = 4


@dataclass(frozen=True)
class Task:
    """What every worker needs to know.

    Attributes:
        content: of the model file, which so need not be on the workers' machines.
        path: names the model file in error messages.
        device: ``cpu`` or ``cuda``; ``auto`` until `distribute` knows the cluster.
        threads: of each worker.
        folder: the folder that the paths are relative to.
        parts: where the rows go.
        run: the run's id.
        size: images of a batch.
        features: whether rows keep their feature vectors.
        lenient: whether a damaged JPEG is classified by what can be decoded of it.
        contents: rows that are known already.
        block_rows: the most images of a block.
        endpoint: the S3 server, if it is not Amazon's.
        again: whether blocks may have their parts already.
    """

    content: bytes
    path: Place
    device: Device
    threads: int
    folder: Place
    parts: Parts
    run: str
    size: int
    features: bool
    lenient: bool
    contents: Contents
    block_rows: int
    endpoint: str | None
    again: bool = False


@contextlib.contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Connects to a Ray cluster, or to the one that this process is connected to already.

    Args:
        address: ``auto``, ``ray://host:port`` or ``host:port``; None means that of the
            environment variable ``RAY_ADDRESS``, or a cluster of this machine alone.

    Raises:
        UsageError: Ray is missing, or of another version than the cluster's.
        DeviceError: there is no cluster at the address.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--engine ray needs {error.name}, which is not installed; {how_to_bring('ray')}."
        ) from error
    if ray.is_initialized():
        yield
        return
    where = address or os.environ.get("RAY_ADDRESS")
    _refuse_silent(where)
    alone = {} if where else {"num_cpus": local.usable_cpus(), "include_dashboard": False}
    try:
        ray.init(where, logging_level=logging.ERROR, log_to_driver=False, **alone)
    except (ConnectionError, TimeoutError, ValueError) as error:
        raise DeviceError(
            f"there is no Ray cluster at {where or 'this machine'} ({first_line(error)}); check "
            "--ray-address, and that the cluster is up."
        ) from error
    except RuntimeError as error:
        said = " ".join(str(error).split())
        raise UsageError(
            f"the Ray cluster at {where} cannot be used: {said}; install the same versions of "
            "Python and Ray here and there."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _refuse_silent(address: str | None) -> None:
    """Refuses an address at which nobody listens, for which Ray would wait for minutes."""
    listens = re.fullmatch(r"(?:ray://)?([^/]+):(\d+)", address or "")
    if listens is None:
        return
    try:
        socket.create_connection((listens[1], int(listens[2])), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise DeviceError(
            f"there is no Ray cluster at {address} ({error}); check --ray-address, and that the "
            "cluster is up."
        ) from error


def distribute(
    task: Task,
    due: pa.Table,
    workers: int | None,
    stop: Stop,
    progress: Callable[[int, int], None],
) -> tuple[str, int]:
    """Classifies files on the cluster, and records them in parts; ends early after a signal.

    Args:
        task: what and how; the device may be ``auto``.
        due: the files, a table of `plan.table`.
        workers: how many; None means as many as the cluster has room for.
        stop: ends the work when it is set.
        progress: called with the number of images done, and of those failed, of each block.

    Returns:
        The device that the workers used, and their threads in all.

    Raises:
        UsageError: a machine of the cluster has other versions, or does not see the folders.
        DeviceError: the cluster has no such device.
        BoatinferError: what a worker raised; what was done is kept.
    """
    task = replace(task, device=_device(task.device))
    _look_around(task, due)
    wanted = workers or _room(task)
    blocks = _blocks(task, due, wanted)
    used = task.device.value
    while blocks and not stop.signal_number:
        left = len(blocks)
        trouble: BaseException | None = None
        for result in _results(task, list(blocks.values()), wanted, stop):
            if isinstance(result, BaseException):
                trouble = result
                continue
            for count in result.to_pylist():
                if count["error"] is not None:
                    raise _error(count["error"], count["exit_code"])
                if blocks.pop(count["number"], None) is not None:
                    used = count["device"]
                    progress(count["done"], count["failed"])
        if len(blocks) == left and not stop.signal_number:
            why = f" ({first_line(trouble)})" if trouble else ""
            raise BoatinferError(
                f"the workers on the Ray cluster end before they write anything{why}; look into "
                "Ray's logs, memory first."
            )
        task = replace(task, again=True)
    return used, wanted * task.threads


def _device(wanted: Device | str) -> Device:
    import ray

    try:
        wanted = Device(wanted)
    except ValueError:
        raise UsageError(f"the device must be auto, cpu or cuda, not {wanted}.") from None
    gpus = ray.cluster_resources().get("GPU", 0)
    if wanted is Device.CUDA and not gpus:
        raise DeviceError("--device cuda: the Ray cluster has no GPU; use --device cpu.")
    return Device.CUDA if gpus and wanted is not Device.CPU else Device.CPU


def _needs(task: Task) -> dict[str, Any]:
    """What Ray reserves for a worker."""
    return {"num_cpus": task.threads, "num_gpus": int(task.device is Device.CUDA)}


def _room(task: Task) -> int:
    """How many workers the machines of the cluster hold."""
    import ray

    room = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            here = has.get("CPU", 0) // task.threads
            room += int(min(here, has.get("GPU", 0)) if task.device is Device.CUDA else here)
    if not room:
        raise DeviceError(
            f"no machine of the Ray cluster has {task.threads} CPUs"
            f"{' and a GPU' if task.device is Device.CUDA else ''} for a worker; use fewer "
            "--threads."
        )
    return room


def _blocks(task: Task, due: pa.Table, workers: int) -> dict[int, pa.Table]:
    """Cuts what is due into blocks; each by the number of the part that it becomes."""
    fair = math.ceil(due.num_rows / (workers * _BLOCKS_EACH))
    rows = min(task.block_rows, max(task.size, fair))
    first = task.parts.next_number()
    blocks = {}
    for number, start in enumerate(range(0, due.num_rows, rows), first):
        block = due.slice(start, rows)
        blocks[number] = block.append_column("number", pa.repeat(number, block.num_rows))
    return blocks


def _results(
    task: Task, blocks: list[pa.Table], workers: int, stop: Stop
) -> Iterator[pa.Table | BaseException]:
    """Runs a dataset of blocks; gives what the workers return, and what ends the dataset.

    The dataset is read in a thread, so that a signal is heard while no block ends.
    """
    import ray

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what is lost is done again
    least = min(workers, _room(task), len(blocks))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ray.util.annotations.RayDeprecationWarning)
        counts = ray.data.from_blocks(blocks).map_batches(
            Worker,
            fn_constructor_args=([ray.put(task)],),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                min_size=least,
                max_size=max(least, min(workers, len(blocks))),
                max_tasks_in_flight_per_actor=_IN_FLIGHT,
            ),
            max_restarts=0,
            **_needs(task),
        )
    done: Queue[pa.Table | BaseException | None] = Queue()

    def read() -> None:
        try:
            for table in counts.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                done.put(table)
                if stop.signal_number:
                    break
        except Exception as error:  # of Ray, which has dozens
            done.put(error)
        done.put(None)

    threading.Thread(target=read, name="boatinfer-ray", daemon=True).start()
    while not stop.signal_number:
        with contextlib.suppress(Empty):
            result = done.get(timeout=0.2)
            if result is None:
                return
            yield result


class Worker:
    """One of the pool: a session, and what it takes to make parts of blocks.

    An error of ours is returned with the counts, for Ray would only tell of its own.

    Args:
        reference: Ray's reference to a `Task`, in a list, lest Ray resolve it.
    """

    def __init__(self, reference: list[Any]) -> None:
        import ray

        self._error: BoatinferError | None = None
        self._task: Task = ray.get(reference[0])
        self._served = served_by(self._task.endpoint)
        self._served.__enter__()  # for as long as the worker lives
        try:
            task = self._task
            model = load(task.content, task.path, task.device, 1, task.size)
        except BoatinferError as error:
            self._error = error
            return
        self._work = Classifier(
            model,
            task.folder,
            task.size,
            features=task.features,
            lenient=task.lenient,
            contents=task.contents,
        )

    def __call__(self, block: pa.Table) -> pa.Table:
        """Classifies a block, unless its part is there already; gives a row of counts."""
        number = block["number"][0].as_py()
        try:
            if self._error is not None:
                raise self._error
            statuses = self._task.parts.statuses(number) if self._task.again else []
            statuses = statuses or self._classify(block, number)
        except BoatinferError as error:
            return _count(number, error=str(error), exit_code=error.exit_code)
        failed = sum(status != OK for status in statuses)
        device = self._work.model.device.value
        return _count(number, done=len(statuses), failed=failed, device=device)

    def _classify(self, block: pa.Table, number: int) -> list[str]:
        task, work = self._task, self._work
        files = [Found(**row) for row in block.select(Found._fields).to_pylist()]
        batches = (files[i : i + task.size] for i in range(0, len(files), task.size))
        with classified(work, batches, task.threads) as done:
            rows = [row for batch in done for row in batch]
        rows.sort(key=lambda row: row.path)  # a block done twice makes the same part
        task.contents.fill(rows, task.features)
        model = work.model
        task.parts.append(rows, model.card.classes, model.digest, task.run, number)
        return [row.status for row in rows]


_COUNT = pa.schema(
    [
        *[(name, pa.int64()) for name in ("number", "done", "failed", "exit_code")],
        *[(name, pa.string()) for name in ("device", "error")],
    ]
)


def _count(number: int, **known: Any) -> pa.Table:
    """What a worker tells of a block."""
    row = dict.fromkeys(_COUNT.names) | {"number": number} | known
    return pa.Table.from_pylist([row], schema=_COUNT)


def _error(message: str, exit_code: int) -> BoatinferError:
    """What a worker raised, as it would have been raised here."""
    error = BoatinferError(message)
    error.exit_code = exit_code
    return error


def _look_around(task: Task, due: pa.Table) -> None:
    """Asks every machine for its versions, and whether it sees the folders.

    Raises:
        UsageError: one differs.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    out = task.parts.folder.parent
    token = out / f".seen-{task.run}"
    first = due["path"][0].as_py() if due.num_rows else None
    look = ray.remote(num_cpus=0, max_retries=0)(_look)
    token.write_bytes(b"")
    try:
        for node in ray.nodes():
            if not node["Alive"]:
                continue
            host = node["NodeManagerHostname"]
            here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            try:
                seen = ray.get(
                    look.options(scheduling_strategy=here).remote(token, task.folder, first)
                )
            except ray.exceptions.RayError as error:
                raise UsageError(
                    f"the machine {host} of the Ray cluster cannot run boatinfer "
                    f"({str(error).splitlines()[-1]}); install the same version there as here."
                ) from error
            complaint = _complaint(seen, out, task.folder)
            if complaint:
                raise UsageError(f"the machine {host} of the Ray cluster {complaint}")
    finally:
        token.unlink(missing_ok=True)


def _look(token: Place, folder: Place, first: str | None) -> dict[str, Any]:
    """What a machine says of itself."""
    sees = True  # a bucket looks the same from everywhere
    if isinstance(folder, Path):
        sees = folder.is_dir() and (first is None or os.path.lexists(folder / from_text(first)))
    out = isinstance(token, BucketPath) or token.exists()
    return {"versions": versions(), "out": out, "folder": sees}


def _complaint(seen: dict[str, Any], out: Place, folder: Place) -> str | None:
    """Why a machine cannot take part, in words; None if it can."""
    for name, version in versions().items():
        there = seen["versions"].get(name, "no")
        if there != version:
            return f"has {name} {there}, and this one has {version}; install the same everywhere."
    if not seen["out"]:
        return (
            f"does not see the results folder {out}: it must be on a disk that all machines share; "
            "choose another -o."
        )
    if not seen["folder"]:
        return (
            f"does not see the images in {folder}: they must be on a disk that all machines "
            "share, at the same path."
        )
    return None
