"""What keeps a folder from being run: said with file and line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from boatinfer.errors import BoatinferError, ModelError, OutputError, UsageError
from boatinfer.night.config import Folder, Night
from boatinfer.night.metrics import find_metrics_problem
from boatinfer.night.notify.trial import checked_targets
from boatinfer.pipeline.service import with_model_in_service
from boatinfer.storage.base import Place

__all__ = ["find_night_problems", "find_problem"]


def find_problem(folder: Folder) -> BoatinferError | None:
    """What is missing or may not be written, as far as it can be seen without a run.

    What lies in a bucket is left to the run.
    """
    options = folder.options
    if _missing(options.folder, os.path.isdir):
        return UsageError(
            f"{folder.place_of('dir')}: dir {options.folder} does not exist; check its name, and "
            "that the disk is there."
        )
    for key, file in (("model", options.model), ("svm", options.svm)):
        if _missing(file, os.path.isfile):
            return ModelError(
                f"{folder.place_of(key)}: the {key} {file} does not exist; check its name."
            )
    for key, file in (("evaluation", options.evaluation), ("from-file", options.from_file)):
        if _missing(file, os.path.isfile):
            return UsageError(
                f"{folder.place_of(key)}: {key} {file} does not exist; check its name."
            )
    return _other_model(folder) or _not_writable(folder)


def _other_model(folder: Folder) -> BoatinferError | None:
    """Another model in the file than the one in service; or the log of the models is damaged."""
    try:
        with_model_in_service(folder.options)
    except UsageError as error:
        return UsageError(f"{folder.place_of('model')}: {error}")
    except BoatinferError as error:
        return error
    return None


def _not_writable(folder: Folder) -> BoatinferError | None:
    held = _existing(folder.out)
    if held is not None and not (os.path.isdir(held) and os.access(held, os.W_OK)):  # noqa: PTH112
        return OutputError(
            f"{folder.place_of('out')}: {held} may not be written to, so there can be no results "
            f"in {folder.out}; choose another out, or give this user the right."
        )
    return None


def find_night_problems(night: Night) -> list[BoatinferError]:
    """What keeps a night from telling others, as far as it can be seen without a connection."""
    problems: list[BoatinferError] = [error for _, error in checked_targets(night) if error]
    metrics = find_metrics_problem(night.metrics) if night.metrics else None
    return [*problems, *([metrics] if metrics else [])]


def _missing(file: Place | None, there: Callable[[Path], bool]) -> bool:
    return isinstance(file, Path) and not there(file)


def _existing(out: Place) -> Path | None:
    """The folder that is there: out or, if it is to be made, the nearest one above."""
    if not isinstance(out, Path):
        return None
    return next((path for path in (out, *out.parents) if os.path.lexists(path)), None)
