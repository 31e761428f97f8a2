"""Keeps results usable when the scanned folder has been moved or renamed."""

from __future__ import annotations

import msgspec

from boatinfer.errors import UsageError
from boatinfer.results.folder import Results
from boatinfer.results.locks import lock_results
from boatinfer.storage.base import Place
from boatinfer.storage.locations import resolve
from boatinfer.text import from_text, to_text

__all__ = ["relocate"]

#: Images that are sampled, and the share of them that must exist in the new folder.
_SAMPLE, _MIN_SHARE = 200, 0.1


def relocate(out: Place, folder: Place, force: bool) -> str:
    """Changes the scanned folder of results, after it has been moved.

    All copies of the last run's summary then name the new folder, with a remark on the old one.

    Args:
        out: the results folder.
        folder: the new folder of the images.
        force: whether to accept a folder without the images.

    Returns:
        A sentence on what was done.

    Raises:
        UsageError: there are no results, no such folder, or hardly any of the images in it.
        BusyError: a run has locked the results.
        OutputError: the results are damaged, or cannot be written.
    """
    results, new = Results(out), resolve(folder)
    results.last_finished()
    if not folder.is_dir():
        raise UsageError(f"the folder {folder} does not exist; give the one that holds the images.")
    if results.shard_files():
        raise UsageError(
            f"{out} holds shards that are not merged; merge them first with 'boatinfer results "
            f"{out} --finish'."
        )
    with lock_results(out, None) as results.parts.check:
        present, sampled = _images_there(results, new)
        if present < _MIN_SHARE * sampled and not force:
            raise UsageError(
                f"of {sampled:,} images in the results in {out}, {present:,} are in {folder}; give "
                "the new place of the moved folder, or --force."
            )
        return _rename(results, to_text(str(new)), f"{present:,} of {sampled:,} images looked for")


def _images_there(results: Results, folder: Place) -> tuple[int, int]:
    """Samples the current images evenly; returns how many exist, and the size of the sample."""
    paths = results.current()["path"].to_pylist()
    chosen = paths[:: max(1, len(paths) // _SAMPLE)]
    return sum((folder / from_text(path)).is_file() for path in chosen), len(chosen)


def _rename(results: Results, folder: str, evidence: str) -> str:
    last = results.last_finished()
    if last.folder == folder:
        return f"The folder is {folder} already."
    remark = f"The folder was {last.folder}, and is now {folder}, where {evidence} are."
    changed = msgspec.structs.replace(last, folder=folder, remarks=[*last.remarks, remark])
    results.rewrite_current(changed)
    latest = results.last_run()
    if latest is not None and latest.run != last.run:  # an incomplete run
        changed = msgspec.structs.replace(latest, folder=folder, remarks=[*latest.remarks, remark])
    damaged = results.set_aside_damaged()
    results.write_summary(msgspec.structs.replace(changed, remarks=[*changed.remarks, *damaged]))
    return remark
