"""``boatinfer report``: the page of a results folder, made anew."""

from __future__ import annotations

from boatinfer.pages import report as page
from boatinfer.results.find import find_results
from boatinfer.results.predictions import read_tables
from boatinfer.storage.place import Place

__all__ = ["report"]


def report(out: Place) -> Place:
    """Writes ``report.html`` anew, of the last complete run and with word of a later one.

    Args:
        out: the results folder.

    Returns:
        The page.

    Raises:
        UsageError: it is no results folder.
        BusyError: a run is working in it.
        OutputError: the results are damaged, or the page could not be written.
    """
    results = find_results(out)
    last = results.last_run() or results.last_finished()  # which says why there is none
    with results.hold(last.folder):
        complete = results.last_complete()
        if complete is not None:
            page.write(results, complete, read_tables(results))
        if not last.complete:
            page.write(results, last, None)
    return results.report
