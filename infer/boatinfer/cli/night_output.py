"""What ``boatinfer night run`` prints: a line for each folder, and at the end all in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from boatinfer.logs import Level, is_json, say
from boatinfer.memory import format_size
from boatinfer.night.config import Night
from boatinfer.night.record import FolderResult, NightResult, figures
from boatinfer.text import counted, duration, printable, table

if TYPE_CHECKING:
    from boatinfer.night.pruning import Pruned

__all__ = ["Output", "exit_code", "pruned_in_words"]


class Output:
    """Tells of a night; as lines of JSON, if the log is.

    Args:
        night: what a night is.
        quiet: whether to say nothing but errors.
    """

    def __init__(self, night: Night, quiet: bool) -> None:
        self._night, self._quiet = night, quiet

    def folder_ended(self, result: FolderResult) -> None:
        """A folder has ended."""
        if is_json():
            self._log(result)
        elif not self._quiet:
            typer.echo(f"{printable(result.name)}: {figures(result)}")

    def ended(self, result: NightResult) -> None:
        """Names each folder with its exit code; of a quiet night those that are not well."""
        for sentence in (*result.earlier, *result.remarks):
            say(Level.WARNING, sentence)
        if is_json():
            if not self._quiet:
                say(Level.INFO, "the night has ended", exit_code=result.exit_code)
            return
        for folder in result.folders:
            for sentence in folder.unusual if not self._quiet else ():
                typer.echo(f"unusual in {printable(folder.name)}: {printable(sentence)}")
        for folder in result.folders:
            if folder.error:
                say(Level.ERROR, f"{folder.name}: {folder.error}")
        if not self._quiet:
            self._print_table(result)

    def _print_table(self, result: NightResult) -> None:
        rows = [[one.name, exit_code(one), _seconds(one), figures(one)] for one in result.folders]
        for line in table([["folder", "exit code", "time", "images"], *rows], names=4):
            typer.echo(line)
        typer.echo(f"page: {self._night.index}")

    def _log(self, result: FolderResult) -> None:
        about: dict[str, Any] = {"folder": result.name, "run": result.run}
        for sentence in result.unusual:
            say(Level.WARNING, sentence, **about)
        about["exit_code"] = result.exit_code
        if result.error:
            say(Level.ERROR, result.error, **about)
        elif not self._quiet:
            names = ("seconds", "found", "new", "failed", "gone")
            counts = {name: getattr(result, name) for name in names}
            say(Level.INFO, figures(result), **about, **counts)


def pruned_in_words(pruned: Pruned, dry_run: bool) -> Iterator[str]:
    """What was removed from a folder; each file, if it is only listed."""
    name = printable(pruned.name)
    kinds = Counter(file.partition("/")[0] for file in pruned.files)
    parts = [f"{count:,} in {kind}/" for kind, count in sorted(kinds.items())]
    if pruned.gone:
        parts.append(f"rows of {counted(pruned.gone, 'gone image')}")
    if pruned.old_models:
        parts.append(counted(pruned.old_models, "row") + " of old models")
    done = "would remove" if dry_run else "removed"
    what = f"{', '.join(parts)}: {format_size(pruned.bytes)}" if parts else "nothing"
    yield f"{name}: {done} {what}"
    if pruned.remark:
        yield f"{name}: {pruned.remark}"
    if dry_run:
        yield from (f"  {printable(file)}" for file in pruned.files)
        yield from (f"  parts/{part}: written again" for part in pruned.parts)


def exit_code(result: FolderResult) -> str:
    """The exit code of a folder, for people."""
    return "-" if result.exit_code is None else str(result.exit_code)


def _seconds(result: FolderResult) -> str:
    return "-" if result.seconds is None else duration(result.seconds)
