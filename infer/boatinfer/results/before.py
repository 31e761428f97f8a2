"""The tables as they were before a promotion, for a rollback: ``OUT/models/before/``.

Every file of the results is replaced whole and never changed, so a hard link keeps what it was and
takes no room while it is current.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pyarrow.compute as pc

from boatinfer.results.folder import Results
from boatinfer.results.manifest import read_manifest, replace_summary
from boatinfer.results.registry import MODELS, Registered
from boatinfer.results.store.parts import number_of
from boatinfer.storage.files import TEMPORARY_SUFFIX, translate_write_errors

__all__ = ["forget_tables", "keep_tables", "restore_tables"]


def _folder(results: Results) -> Path:
    return Path(str(results.out)) / MODELS / "before"


def _names(results: Results) -> list[str]:
    """What is kept: the tables, the pages, the summary, and last the manifest."""
    tables = results.predictions, results.whole, results.spreadsheet, results.failures
    rest = results.review, results.report, results.out / "run.json", results.manifest
    return [file.name for file in (*tables, *rest)]


def keep_tables(results: Results, model: Registered | None) -> None:
    """Keeps the tables if they are of a model; those that were kept before go.

    The folder must be locked.

    Args:
        results: the results folder.
        model: the model that goes out of service; None if it is not known.

    Raises:
        OutputError: the disk is full or read-only.
    """
    folder, complete = _folder(results), results.last_complete()
    temporary = folder.with_name(f".before{TEMPORARY_SUFFIX}")
    with translate_write_errors(folder):
        for old in (temporary, folder):
            if old.exists():
                shutil.rmtree(old)
        if model is None or complete is None or complete.model != model.network:
            return
        temporary.mkdir()
        for name in _names(results):
            _link(Path(str(results.out)) / name, temporary / name)
        temporary.rename(folder)


def restore_tables(results: Results, model: Registered) -> bool:
    """Puts back the tables that were kept, if they are of a model; nothing is classified.

    The folder must be locked. If it is interrupted, it may be done again.

    Returns:
        Whether they were there, and all rows that they are made of.

    Raises:
        OutputError: the disk is full or read-only, or what was kept is damaged.
    """
    folder = _folder(results)
    if not (folder / results.manifest.name).exists():
        return False
    kept = read_manifest(folder / results.manifest.name)
    index = results.parts.index()
    index = index.filter(pc.equal(index["model"], model.network))
    rows = pc.is_in(kept.images["path"], value_set=index["path"].combine_chunks())
    if kept.summary.model != model.network or not pc.all(rows).as_py():  # rows may be pruned
        return False
    # Parts may have been merged since, but hold the same rows of this model.
    last = max(map(number_of, results.parts.files()), default=0)
    replace_summary(folder / results.manifest.name, kept.summary, last)
    with translate_write_errors(results.out):
        for name in _names(results):
            target = Path(str(results.out)) / name
            temporary = target.with_name(f".{name}.{os.getpid()}{TEMPORARY_SUFFIX}")
            if (folder / name).exists():
                _link(folder / name, temporary)
                temporary.replace(target)
                temporary.unlink(missing_ok=True)  # it stays where both are the same file
            else:
                target.unlink(missing_ok=True)
    return True


def forget_tables(results: Results) -> None:
    """Removes the tables that were kept."""
    shutil.rmtree(_folder(results), ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    """Links a file, or copies it where the disk knows no links; none if there is no such file."""
    with contextlib.suppress(FileNotFoundError):
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(source, target)
