"""Images of the last complete run that are gone, by folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from boatinfer.results.store.keyed_arrays import Array, keys
from boatinfer.results.tables.external_sort import batches

__all__ = ["Gone", "find_gone", "gone_rows"]

#: Folders that are named, at most.
_LISTED = 20
#: Days for which an empty folder is remembered.
_REMEMBERED = 14


class Gone(msgspec.Struct, kw_only=True, frozen=True):
    """Images of the last complete run that are gone.

    Attributes:
        images: how many.
        folders: how many of each folder, of those that lost most.
        empty: the topmost folders in which there is no image any more.
        since: when each of these was first found empty, and those that earlier runs found empty
            and that still are, for `_REMEMBERED` days; in ISO 8601.
    """

    images: int = 0
    folders: dict[str, int] = {}
    empty: list[str] = []
    since: dict[str, str] = {}

    def with_those_of(self, earlier: Gone) -> Gone:
        """Adds the images that were gone in an earlier run."""
        folders = Counter(self.folders) + Counter(earlier.folders)
        return replace(
            self, images=self.images + earlier.images, folders=dict(folders.most_common(_LISTED))
        )


def find_gone(
    before: Iterable[pa.Table], now: pa.Table, started: str, known: Mapping[str, str]
) -> Gone:
    """Compares the images of two runs.

    Args:
        before: ``path`` of the images of the last complete run, with ``/``, in batches.
        now: ``path`` of those of this run.
        started: when this run started, in ISO 8601.
        known: `Gone.since` of the last complete run.
    """
    digests = np.sort(np.concatenate([_digests(batch) for batch in batches(now)]))
    unlisted = [path for batch in batches(now) for path in _folder_rows(batch)]
    lost: Counter[str] = Counter()
    for rows in gone_rows(before, digests, unlisted):
        lost.update(_folders(rows))
    left: set[str] = set()
    if lost or known:
        left.update(*(_ancestors(_folders(batch)) for batch in batches(now)))
    empty = _ancestors(lost) - left
    topmost = sorted(folder for folder in empty if _parent(folder) not in empty)[:_LISTED]
    oldest = datetime.fromisoformat(started) - timedelta(days=_REMEMBERED)
    still = {
        folder: since
        for folder, since in known.items()
        if folder not in left and datetime.fromisoformat(since) >= oldest
    }
    return Gone(
        images=lost.total(),
        folders=dict(lost.most_common(_LISTED)),
        empty=topmost,
        since=dict.fromkeys(topmost, started) | still,
    )


def gone_rows(
    before: Iterable[pa.Table], digests: Array, unlisted: Sequence[str]
) -> Iterator[pa.Table]:
    """The images of a run that are not among others.

    Args:
        before: ``path`` of its images, in batches; one that ends in a slash is a folder that could
            not be listed.
        digests: the lower halves of the keys of the others, uint64 [N], sorted.
        unlisted: folders, with a slash, that could not be listed now; their images may be there.
    """
    for batch in before:
        rows = batch.filter(pa.array(~_contains(digests, _digests(batch))))
        rows = rows.filter(pc.invert(pc.ends_with(rows["path"], "/")))
        for folder in unlisted:
            rows = rows.filter(pc.invert(pc.starts_with(rows["path"], folder)))
        yield rows


def _digests(table: pa.Table) -> Array:
    """Half of the xxh3-128 of each path; two in a million million are the same by chance."""
    return np.asarray(keys(table["path"])["low"])


def _contains(digests: Array, wanted: Array) -> Array:
    indices = np.searchsorted(digests, wanted)
    found = indices < len(digests)
    found[found] = digests[indices[found]] == wanted[found]
    return np.asarray(found)


def _folder_rows(table: pa.Table) -> list[str]:
    return list(table["path"].filter(pc.ends_with(table["path"], "/")).to_pylist())


def _folders(table: pa.Table) -> Counter[str]:
    """Number of images of each folder; the folder of the run itself is ``.``."""
    parents = pc.replace_substring_regex(table["path"], r"^[^/]*$|/[^/]*$", "")
    entries = parents.value_counts().to_pylist()
    return Counter({entry["values"] or ".": entry["counts"] for entry in entries})


def _ancestors(folders: Iterable[str]) -> set[str]:
    """Folders, and those that they are in."""
    found: set[str] = set()
    for folder in folders:
        while folder != "." and folder not in found:
            found.add(folder)
            folder = _parent(folder)  # noqa: PLW2901
    return found


def _parent(folder: str) -> str:
    return folder.rpartition("/")[0] or "."
