"""Figures of the nights for Prometheus, in a file for the textfile collector of node_exporter.

The file says how things stand from the start of a night on: what goes on, or was killed, has the
exit code -1 and no figures. The names follow https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from boatinfer.errors import BoatinferError, OutputError, UsageError, install_hint
from boatinfer.night.keys import Key
from boatinfer.storage.files import atomic_write

__all__ = ["Metrics", "find_metrics_problem", "metrics_keys", "require_client", "written_metrics"]


@dataclass(frozen=True)
class Metrics:
    """Where the figures go.

    Attributes:
        file: the textfile.
        where: file and line of ``night.toml`` that says so.
    """

    file: Path
    where: str


@functools.cache
def metrics_keys() -> dict[str, Key]:
    """The keys of ``[metrics]``."""
    key = Key(
        "file",
        "File in the folder of the textfile collector; its name ends with .prom. Needs the extra "
        "metrics.",
        {"type": "string", "minLength": 1, "pattern": r"\.prom$"},
        path=True,
        form="must end in .prom",
    )
    return {key.name: key}


def find_metrics_problem(metrics: Metrics) -> BoatinferError | None:
    """What keeps the file from being written, as far as can be seen."""
    folder = metrics.file.parent
    if not folder.is_dir():
        reason = "does not exist; make it"
    elif not os.access(folder, os.W_OK | os.X_OK):
        reason = "may not be written to; give this user the right"
    else:
        reason = ""
    if reason:
        return OutputError(
            f"{metrics.where}: the metrics folder {folder} {reason}, or choose another."
        )
    try:
        require_client(metrics)
    except UsageError as error:
        return error
    return None


def require_client(metrics: Metrics) -> None:
    """Refuses to work without the client library.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import prometheus_client  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{metrics.where}: metrics needs {error.name}, which is not installed; "
            f"{install_hint('metrics')}."
        ) from None


@contextlib.contextmanager
def written_metrics(metrics: Metrics) -> Iterator[Path]:
    """Yields the file to write; an error says where the file is set.

    Raises:
        OutputError: it could not be written, with the place in ``night.toml``.
    """
    try:
        with atomic_write(metrics.file) as temporary:
            yield temporary
    except OutputError as error:
        problem = find_metrics_problem(metrics)
        raise problem or OutputError(f"{metrics.where}: {error}") from error
