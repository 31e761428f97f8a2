"""``boatinfer night plan``: what a night would do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from boatinfer.errors import BoatinferError
from boatinfer.night.config import Folder, Night
from boatinfer.night.problems import find_problem
from boatinfer.pipeline.dry_run import Forecast, forecast
from boatinfer.storage.errors import StoreError

__all__ = ["FolderPlan", "plan_night"]


class FolderPlan(msgspec.Struct, kw_only=True, frozen=True):
    """What would be done in a folder.

    Attributes:
        name: of the folder.
        forecast: what would be done; None if the run would not start.
        exit_code: that of the run if it would not start, else 0.
        error: why it would not.
    """

    name: str
    forecast: Forecast | None = None
    exit_code: int = 0
    error: str | None = None

    @property
    def seconds(self) -> float | None:
        """The time that it would take, if that can be told."""
        return None if self.forecast is None else self.forecast.seconds


def plan_night(night: Night, names: Iterable[str] = ()) -> Iterator[FolderPlan]:
    """Says what would be done, folder after folder, and writes nothing.

    Args:
        night: what a night is.
        names: of the folders; none for all.

    Raises:
        UsageError: there is no folder of a name.
    """
    for folder in night.chosen(names):
        yield _plan(folder)


def _plan(folder: Folder) -> FolderPlan:
    try:
        problem = find_problem(folder)
        if problem is not None:
            raise problem
        return FolderPlan(name=folder.name, forecast=forecast(folder.options))
    except (BoatinferError, StoreError) as error:
        return FolderPlan(name=folder.name, exit_code=error.exit_code, error=str(error))
    except OSError as error:
        return FolderPlan(name=folder.name, exit_code=BoatinferError.exit_code, error=str(error))
