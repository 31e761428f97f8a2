"""Spreads a run over the machines of a Ray cluster.

The plan becomes a Ray Dataset of paths, cut into blocks. Ray Data brings the blocks to a pool
of workers (`boatinfer.pipeline.engines.ray.worker`), each with a session of its own, and a worker
writes its block as one part and sends back nothing but counts. The number of a block is that of
its part, so a block that Ray repeats, because its worker was lost, leaves one row of each image.

Who does what, and what is repeated where, is Ray's alone.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from queue import Empty, Queue
from typing import Any

import numpy as np
import pyarrow as pa

from boatinfer.errors import BoatinferError, DeviceError, UsageError, first_line
from boatinfer.models.device import Device
from boatinfer.models.model import Model, read_model
from boatinfer.pipeline import plan
from boatinfer.pipeline.context import RunContext
from boatinfer.pipeline.engines.local import PART_ROWS, PART_SECONDS
from boatinfer.pipeline.engines.ray.cluster import device_of, threads_of
from boatinfer.pipeline.engines.ray.worker import NodeRequirements, Task, Worker
from boatinfer.pipeline.progress import Progress
from boatinfer.results.store.duplicates import ContentIndex
from boatinfer.signals import Stop
from boatinfer.storage.files import atomic_write
from boatinfer.storage.listing import ListedFile
from boatinfer.versions import versions

__all__ = ["work"]

#: A cluster gets the files in waves of this many, while the listing goes on.
WAVE_FILES = 2**20
#: A worker has this many blocks waiting: one that it works on and one to go on with.
_IN_FLIGHT = 2
#: Blocks that each worker gets at least, if there is enough to do, so that all end together.
_BLOCKS_EACH = 4
#: A lost worker is started anew wherever there is room, and its blocks are repeated this often:
#: not for ever, since an image may be what kills it, but a lost machine alone takes a dozen, all
#: in vain, before Ray has noticed.
_REPEATS = {"max_restarts": -1, "max_task_retries": 100}

_BLOCK = pa.schema([("path", pa.string()), ("bytes", pa.int64()), ("mtime_ns", pa.int64())])


def work(
    context: RunContext,
    due: Iterator[list[ListedFile]],
    due_files: plan.DueFiles,
    contents: ContentIndex,
) -> int:
    """Lets a Ray cluster do what is due; gives how many images that were."""
    done = failed = 0
    context.begun()

    def count(more: int, bad: int) -> None:
        nonlocal done, failed
        done, failed = done + more, failed + bad
        context.progress(Progress(due_files.total, done, failed))

    for wave in plan.waves(due, WAVE_FILES):
        if context.stop.signal_number:
            break
        task = _task(context, wave, due_files, contents)
        device, threads = _distribute(task, wave, context.options.workers, context.stop, count)
        context.note(device=device, threads=threads)
    return done


def _task(
    context: RunContext, due: list[ListedFile], due_files: plan.DueFiles, contents: ContentIndex
) -> Task:
    """What the workers of a Ray cluster need to know."""
    options, device = context.options, device_of(context.options.device)
    ends = (due[0].path, due[-1].path)
    mark = context.results.out / f".ray-{context.summary.run}"
    return Task(
        requirements=NodeRequirements(
            versions(), mark, context.folder, ends, options.endpoint
        ).of_what_is_there(),
        content=read_model(context.model.path),
        path=context.model.path,
        device=device,
        threads=options.threads or threads_of(device),
        parts=context.results.parts,
        run=context.summary.run,
        size=context.model.batch_size,
        features=context.wants_features,
        lenient=options.lenient,
        contents=contents,
        failures=context.failures,
        dangerous=due_files.dangerous,
        image_timeout=options.image_timeout,
        memory=options.memory,
        block_rows=PART_ROWS if device is Device.CUDA else _part_rows(context),
    )


def _part_rows(context: RunContext) -> int:
    """Images that make a part, as far as one batch tells how many seconds they take."""
    image, size = context.model.card.image, context.model.batch_size
    batch = np.zeros((size, *image.shape), np.uint8)
    started = time.perf_counter()
    assert isinstance(context.model, Model)
    context.model.infer(batch)
    rate = size / (time.perf_counter() - started)
    return min(PART_ROWS, max(size, int(rate * PART_SECONDS)))


def _distribute(
    task: Task,
    due: list[ListedFile],
    workers: int | None,
    stop: Stop,
    progress: Callable[[int, int], None],
) -> tuple[str, int]:
    """Classifies files on the cluster, and records them in parts; ends early after a signal.

    Args:
        task: what and how.
        due: the files; at least one.
        workers: how many; None means as many as the cluster has room for.
        stop: ends the work when it is set.
        progress: called with the number of images done, and of those failed, of each block.

    Returns:
        The device that the workers used, and their threads in all.

    Raises:
        UsageError: a machine of the cluster has other versions, or does not see the folders.
        DeviceError: no machine has room for a worker.
        BoatinferError: what a worker raised, or that blocks were lost with their workers again
            and again; what was done is kept.
    """
    wanted = workers or _room(task)
    used = task.device.value
    with _wanting(task):
        _look_around(task)
        blocks = _blocks(task, due, wanted)
        trouble: BaseException | None = None
        running = _results(task, list(blocks.values()), wanted, stop)
        with contextlib.closing(running) as results:
            for result in results:
                if isinstance(result, BaseException):
                    trouble = result
                    continue
                (count,) = result.to_pylist()
                if count["error"] is not None:
                    raise _error(count["error"], count["exit_code"])
                if blocks.pop(count["number"], None) is not None:
                    used = count["device"]
                    progress(count["done"], count["failed"])
    if blocks and not stop.signal_number:
        raise _given_up(blocks, trouble)
    return used, wanted * task.threads


@contextlib.contextmanager
def _wanting(task: Task) -> Iterator[None]:
    """Leaves a mark in the results folder, without which no worker writes there.

    So none does after the run's end, even one that Ray has lost sight of; and a mark that a
    killed run left is taken away.
    """
    mark, shard = task.requirements.mark, task.parts.shard
    for old in mark.parent.glob(f".ray-*{f'-shard-{shard.name}' if shard else 'Z'}"):
        old.unlink(missing_ok=True)
    with atomic_write(mark) as temporary:
        temporary.write_bytes(b"")
    try:
        yield
    finally:
        with contextlib.suppress(OSError, BoatinferError):  # the next run does it
            mark.unlink(missing_ok=True)


def _given_up(blocks: dict[int, pa.Table], trouble: BaseException | None) -> BoatinferError:
    """What to say of blocks that have no part."""
    count = sum(block.num_rows for block in blocks.values())
    paths = next(iter(blocks.values()))["path"]
    why = f" ({first_line(trouble)})" if trouble else ""
    return BoatinferError(
        f"the Ray cluster lost {count:,} images with its workers, again and again{why}; look at "
        f"those from {paths[0]} to {paths[-1]}, and into Ray's logs, memory first. All others "
        "are done, and the next run continues from there."
    )


def _needs(task: Task) -> dict[str, Any]:
    """What Ray reserves for a worker."""
    return {"num_cpus": task.threads, "num_gpus": int(task.device is Device.CUDA)}


def _machines(task: Task) -> list[dict[str, Any]]:
    """The machines of the cluster that have room for a worker.

    Raises:
        DeviceError: there is none.
    """
    import ray

    machines = [node for node in ray.nodes() if node["Alive"] and _holds(task, node)]
    if not machines:
        raise DeviceError(
            f"no machine of the Ray cluster has {task.threads} CPUs"
            f"{' and a GPU' if task.device is Device.CUDA else ''} for a worker; use fewer "
            "--threads."
        )
    return machines


def _holds(task: Task, machine: dict[str, Any]) -> int:
    """How many workers a machine holds."""
    has = machine["Resources"]
    room = has.get("CPU", 0) // task.threads
    return int(min(room, has.get("GPU", 0)) if task.device is Device.CUDA else room)


def _room(task: Task) -> int:
    """How many workers the machines of the cluster hold."""
    return sum(_holds(task, machine) for machine in _machines(task))


def _blocks(task: Task, due: list[ListedFile], workers: int) -> dict[int, pa.Table]:
    """Cuts what is due into blocks; each by the number of the part that it becomes."""
    fair = math.ceil(len(due) / (workers * _BLOCKS_EACH))
    rows = min(task.block_rows, max(task.size, fair))
    numbers = itertools.count(task.parts.next_number(), task.parts.step)
    blocks = {}
    for number, start in zip(numbers, range(0, len(due), rows), strict=False):
        files = due[start : start + rows]
        block = pa.Table.from_pylist([file._asdict() for file in files], _BLOCK)
        blocks[number] = block.append_column("number", pa.repeat(number, len(files)))
    return blocks


def _results(
    task: Task, blocks: list[pa.Table], workers: int, stop: Stop
) -> Generator[pa.Table | BaseException]:
    """Runs a dataset of blocks; gives what the workers return, and what ends the dataset.

    The dataset is read in a thread, so that a signal is heard while no block ends.
    """
    import ray

    most = min(workers, len(blocks))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ray.util.annotations.RayDeprecationWarning)
        counts = ray.data.from_blocks(blocks).map_batches(
            Worker,
            fn_constructor_args=([ray.put(task)],),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                min_size=1,  # so that what has nothing to do makes room
                initial_size=min(most, _room(task)),
                max_size=most,
                max_tasks_in_flight_per_actor=_IN_FLIGHT,
            ),
            **_REPEATS,
            **_needs(task),
        )
    done: Queue[pa.Table | BaseException | None] = Queue()
    ended = threading.Event()

    def read() -> None:
        try:
            for table in counts.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                done.put(table)
                if ended.is_set():
                    break
        except Exception as error:  # of Ray, which has dozens
            done.put(error)
        done.put(None)

    threading.Thread(target=read, name="boatinfer-ray", daemon=True).start()
    try:
        while not stop.signal_number:
            with contextlib.suppress(Empty):
                result = done.get(timeout=0.2)
                if result is None:
                    return
                yield result
    finally:
        ended.set()


def _error(message: str, exit_code: int) -> BoatinferError:
    """What a worker raised, as it would have been raised here."""
    error = BoatinferError(message)
    error.exit_code = exit_code
    return error


def _look_around(task: Task) -> None:
    """Asks the other machines that have room for a worker what they lack, all at once.

    Raises:
        UsageError: one lacks something.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(num_cpus=0, max_retries=0)(NodeRequirements.unmet)
    ours = ray.get_runtime_context().get_node_id()
    answers = {}
    for node in _machines(task):
        if node["NodeID"] == ours:
            continue
        here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        answer = look.options(scheduling_strategy=here).remote(task.requirements)
        answers[answer] = node["NodeManagerHostname"]
    for answer, host in answers.items():
        try:
            lacking = ray.get(answer)
        except ray.exceptions.RayError as error:
            raise UsageError(
                f"the machine {host} of the Ray cluster cannot run boatinfer "
                f"({str(error).splitlines()[-1]}); install the same version there as here."
            ) from error
        if lacking:
            raise UsageError(f"the machine {host} of the Ray cluster {lacking}")
