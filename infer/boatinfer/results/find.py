"""Finds the results folder for a path on the command line."""

from __future__ import annotations

from boatinfer.errors import UsageError
from boatinfer.results.folder import Results
from boatinfer.results.location import default_out
from boatinfer.storage.base import Place
from boatinfer.storage.locations import resolve
from boatinfer.text import joined, to_text

__all__ = ["find_results"]


def find_results(place: Place) -> Results:
    """The results in a folder, or the default results folder of a run on that folder.

    Raises:
        UsageError: there are no results.
    """
    results = Results(place)
    if results.exists():
        return results
    if not place.is_dir():
        if not place.exists():
            raise UsageError(f"there is no folder {place}; check its name.")
        raise UsageError(
            f"{place} is no results folder; give the folder that 'boatinfer run' wrote to."
        )
    default = Results(default_out(place))
    last = default.last_run() if default.exists() else None
    if last is None or last.folder != to_text(str(resolve(place))):
        inside = [str(folder) for folder in sorted(place.iterdir()) if Results(folder).exists()]
        if inside:
            raise UsageError(f"{place} holds folders of results; give one: {joined(inside)}.")
        raise UsageError(
            f"{place} holds no results; run 'boatinfer run {place}' first, or give the folder of "
            "its -o option."
        )
    return default
