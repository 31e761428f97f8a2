"""Finds damaged files in a results folder, and sets damaged parts aside."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from boatinfer.errors import OutputError
from boatinfer.results.folder import DAMAGED_SUFFIX, Results
from boatinfer.results.registry import Registry
from boatinfer.results.store.parts import Parts, digest
from boatinfer.results.summary import Summary
from boatinfer.results.tables.csv_files import csv_digest
from boatinfer.storage.base import Place
from boatinfer.storage.errors import StoreError
from boatinfer.storage.files import translate_write_errors

__all__ = ["find_damage", "is_intact", "parts_set_aside", "set_aside"]


def find_damage(results: Results) -> Iterator[str]:
    """Reads all files; yields a sentence for each that is damaged or missing.

    Raises:
        UsageError: it is not a results folder.
    """
    results.require()
    damaged = [*damaged_parts(results.parts), *results.damaged_summaries()]
    damaged += Registry(results.out).damage()
    yield from damaged
    if damaged:
        return
    try:
        complete = results.last_complete()
        if complete is not None:
            results.current()
            yield from _changed_tables(results, complete)
    except OutputError as error:
        yield str(error)


def is_intact(part: Place) -> bool:
    """Whether the bytes of a part match the digest in its name.

    Raises:
        OSError: it was removed, or cannot be read.
    """
    return digest(part.read_bytes()) == part.stem.split("-")[1]


def damaged_parts(parts: Parts) -> Iterator[str]:
    """Reads every part in full; yields a sentence for each that is damaged."""
    for part in parts.files():
        try:
            if not is_intact(part):
                yield f"the part {part} is damaged; delete it and run again."
        except FileNotFoundError:  # a run has merged it with others
            continue
        except OSError as error:
            yield f"the part {part} cannot be read: {error.strerror}."


def _changed_tables(results: Results, complete: Summary) -> Iterator[str]:
    """Compares the digests of the tables with those in the summary of the last complete run."""
    changed = [name for name in complete.tables if not _is_as_written(results, complete, name)]
    if results.lock_holder() or results.last_complete() != complete:  # being rewritten
        return
    for name in changed:
        yield (
            f"{results.out / name} is not as the last complete run wrote it; run again to "
            "rewrite it."
        )


def _is_as_written(results: Results, complete: Summary, name: str) -> bool:
    try:
        return csv_digest(results.out / name) == complete.tables[name]
    except OSError:
        return False


def set_aside(parts: Parts, part: Place) -> bool:
    """Renames a damaged part, so that it is kept but no longer read.

    Args:
        parts: the parts of a locked results folder.
        part: a part that could not be read.

    Returns:
        Whether it is no longer among the parts. It stays if its digest is correct, or if it
        cannot be read now, since it may be intact.

    Raises:
        OutputError: it could not be renamed.
    """
    try:
        if is_intact(part):
            return False
    except FileNotFoundError:  # another shard has renamed it
        return True
    except OSError as error:
        disk_error = error.errno == errno.EIO and not isinstance(error, StoreError)
        if not disk_error:
            return False
    parts.check()
    with translate_write_errors(part):
        part.rename(part.parent / f"{part.name}{DAMAGED_SUFFIX}")
    return True


def parts_set_aside(parts: Parts) -> list[Place]:
    """The damaged parts that earlier runs have set aside."""
    return sorted(parts.folder.glob(f"*.parquet{DAMAGED_SUFFIX}"))
