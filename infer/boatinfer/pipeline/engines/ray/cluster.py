"""The connection to a Ray cluster, and what the cluster has."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
from collections.abc import Iterator

from boatinfer.cpus import usable_cpus
from boatinfer.errors import DeviceError, UsageError, first_line, install_hint
from boatinfer.models.device import Device
from boatinfer.signals import preserve_signal_handlers

__all__ = ["cluster", "device_of", "threads_of"]

#: What Ray reads as it is imported. It would print what it repeats, some of it where ``--json``
#: goes, and tell its makers that it is used.
_ENVIRONMENT = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
    "RAY_USAGE_STATS_ENABLED": "0",
}


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
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--engine ray needs {error.name}, which is not installed; {install_hint('ray')}."
        ) from error
    with _quiet():
        if ray.is_initialized():
            yield
            return
        _connect(address or os.environ.get("RAY_ADDRESS") or "local")
        try:
            yield
        finally:
            ray.shutdown()


def _connect(address: str) -> None:
    import ray

    _refuse_silent(address)
    alone = {"num_cpus": usable_cpus(), "include_dashboard": False}
    options = alone if address == "local" else {}
    try:
        with preserve_signal_handlers():  # Ray would end at once, without a word of what is done
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **options)
    except (ConnectionError, TimeoutError, ValueError) as error:
        raise DeviceError(
            f"there is no Ray cluster at {address} ({first_line(error)}); check --ray-address, "
            "and that the cluster is up."
        ) from error
    except RuntimeError as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise UsageError(
            f"the Ray cluster at {address} cannot be used: {said}; install the same versions of "
            "Python and Ray here and there."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Ray Data's bars and its words on lost workers out of ours; leaves it as it was."""
    import ray

    context, log = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    ours = {
        "enable_progress_bars": False,
        "print_on_execution_start": False,
        "max_errored_blocks": -1,  # one that is given up ends no other
    }
    before, level = {name: getattr(context, name) for name in ours}, log.level
    log.setLevel(logging.CRITICAL)
    vars(context).update(ours)
    try:
        yield
    finally:
        vars(context).update(before)
        log.setLevel(level)


def _refuse_silent(address: str) -> None:
    """Refuses an address at which nobody listens, for which Ray would wait for minutes."""
    listens = re.fullmatch(r"(?:ray://)?([^/]+):(\d+)", address)
    if listens is None:
        return
    try:
        socket.create_connection((listens[1], int(listens[2])), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise DeviceError(
            f"there is no Ray cluster at {address} ({error}); check --ray-address, and that the "
            "cluster is up."
        ) from error


def device_of(wanted: Device | str) -> Device:
    """What the workers run the network on: ``auto`` is a GPU if the cluster has any.

    Raises:
        UsageError: there is no such device.
        DeviceError: the cluster has no GPU.
    """
    import ray

    try:
        wanted = Device(wanted)
    except ValueError:
        raise UsageError(f"the device must be auto, cpu or cuda, not {wanted}.") from None
    gpus = ray.cluster_resources().get("GPU", 0)
    if wanted is Device.CUDA and not gpus:
        raise DeviceError("--device cuda: the Ray cluster has no GPU; use --device cpu.")
    return Device.CUDA if gpus and wanted is not Device.CPU else Device.CPU


def threads_of(device: Device) -> int:
    """Threads of a worker that nobody has chosen: one, or a GPU's share of its machine."""
    import ray

    if device is Device.CPU:
        return 1
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    shares = [has.get("CPU", 0) // has["GPU"] for has in machines if has.get("GPU", 0) >= 1]
    return max(1, int(min(shares, default=1)))
