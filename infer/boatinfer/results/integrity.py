"""What is damaged in a results folder: told to people, and set aside by a run."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from boatinfer.errors import OutputError
from boatinfer.results.folder import ASIDE, Results
from boatinfer.results.store.parts import Parts, digest
from boatinfer.results.summary import Summary
from boatinfer.results.tables.csv_files import csv_digest
from boatinfer.storage.base import Place
from boatinfer.storage.errors import StoreError
from boatinfer.storage.files import translate_write_errors

__all__ = ["aside", "damage", "is_whole", "set_aside"]


def damage(results: Results) -> Iterator[str]:
    """Reads everything and tells, a sentence each, what is damaged or missing.

    Raises:
        UsageError: no run has been in the folder.
    """
    results.require()
    damaged = [*damaged_parts(results.parts), *results.damaged_summaries()]
    yield from damaged
    if damaged:
        return
    try:
        complete = results.last_complete()
        if complete is not None:
            results.current()
            yield from _of_tables(results, complete)
    except OutputError as error:
        yield str(error)


def is_whole(part: Place) -> bool:
    """Whether the bytes of a part are those that its name tells of.

    Raises:
        OSError: it has gone, or cannot be read.
    """
    return digest(part.read_bytes()) == part.stem.split("-")[1]


def damaged_parts(parts: Parts) -> Iterator[str]:
    """Reads every part in full and tells of each that is not as it was written."""
    for part in parts.files():
        try:
            if not is_whole(part):
                yield f"the part {part} is damaged; delete it and run again."
        except FileNotFoundError:  # a run has merged it with others
            continue
        except OSError as error:
            yield f"the part {part} cannot be read: {error.strerror}."


def _of_tables(results: Results, complete: Summary) -> Iterator[str]:
    """Compares the tables with what the last complete run wrote."""
    wrong = [name for name in complete.tables if not _is_as_written(results, complete, name)]
    if results.held_by() or results.last_complete() != complete:  # a run just writes them
        return
    for name in wrong:
        yield (
            f"{results.out / name} is not as the last complete run wrote it; run again to have it "
            "written anew."
        )


def _is_as_written(results: Results, complete: Summary, name: str) -> bool:
    try:
        return csv_digest(results.out / name) == complete.tables[name]
    except OSError:
        return False


def set_aside(parts: Parts, part: Place) -> bool:
    """Renames a part that is damaged, so that nothing reads it any more; it is kept.

    Args:
        parts: those of a run that holds the folder.
        part: one that could not be read.

    Returns:
        Whether it is no longer among the parts. It stays if its bytes are as they were written,
        or cannot be read now, for then it may be whole.

    Raises:
        OutputError: it could not be renamed.
    """
    try:
        if is_whole(part):
            return False
    except FileNotFoundError:  # another shard was faster
        return True
    except OSError as error:
        lost = error.errno == errno.EIO and not isinstance(error, StoreError)  # by a disk
        if not lost:
            return False
    parts.check()
    with translate_write_errors(part):
        part.rename(part.parent / f"{part.name}{ASIDE}")
    return True


def aside(parts: Parts) -> list[Place]:
    """The damaged parts that runs have set aside."""
    return sorted(parts.folder.glob(f"*.parquet{ASIDE}"))
