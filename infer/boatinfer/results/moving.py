"""Results go on when the folder that they are of has been moved or renamed."""

from __future__ import annotations

import msgspec

from boatinfer.errors import UsageError
from boatinfer.results.folder import Results
from boatinfer.results.locks import held
from boatinfer.storage.base import Place
from boatinfer.storage.locations import resolve
from boatinfer.text import from_text, to_text

__all__ = ["follow"]

#: Images that are looked for in the new folder, and the share of them that must be there.
_SAMPLE, _LEAST = 200, 0.1


def follow(out: Place, folder: Place, force: bool) -> str:
    """Makes results be of another folder: that to which their folder has been moved.

    The summary of the last run, wherever it is kept, then names the new folder, and a remark
    in it tells of the old one.

    Args:
        out: the results folder.
        folder: where the images are now.
        force: whether that holds even if they are not there.

    Returns:
        A sentence on what was done.

    Raises:
        UsageError: there are no results, no such folder, or hardly any of the images in it.
        BusyError: a run holds the results.
        OutputError: the results are damaged, or cannot be written.
    """
    results, new = Results(out), resolve(folder)
    results.last_finished()
    if not folder.is_dir():
        raise UsageError(f"the folder {folder} does not exist; give the one that holds the images.")
    if results.notes():
        raise UsageError(
            f"shards have run into {out} and are not put together; do that first, with "
            f"'boatinfer results {out} --finish'."
        )
    with held(out, None) as results.parts.check:
        there, looked_for = _images_there(results, new)
        if there < _LEAST * looked_for and not force:
            raise UsageError(
                f"of {looked_for:,} images that the results in {out} know, {there:,} are in "
                f"{folder}; give the folder that was moved, or --force."
            )
        return _rename(results, to_text(str(new)), f"{there:,} of {looked_for:,} images looked for")


def _images_there(results: Results, folder: Place) -> tuple[int, int]:
    """Of some of the images that are current, evenly spread: how many are there; and how many."""
    paths = results.current()["path"].to_pylist()
    chosen = paths[:: max(1, len(paths) // _SAMPLE)]
    return sum((folder / from_text(path)).is_file() for path in chosen), len(chosen)


def _rename(results: Results, folder: str, evidence: str) -> str:
    last = results.last_finished()
    if last.folder == folder:
        return f"The folder is {folder} already."
    said = f"The folder was {last.folder}, and is now {folder}, where {evidence} are."
    changed = msgspec.structs.replace(last, folder=folder, remarks=[*last.remarks, said])
    results.rewrite_current(changed)
    latest = results.last_run()
    if latest is not None and latest.run != last.run:  # one that did not come to its end
        changed = msgspec.structs.replace(latest, folder=folder, remarks=[*latest.remarks, said])
    damaged = results.set_aside_damaged()
    results.write_summary(msgspec.structs.replace(changed, remarks=[*changed.remarks, *damaged]))
    return said
