"""``boatinfer run --dry-run``: what a run would do, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from boatinfer.text import counted, duration, printable

if TYPE_CHECKING:
    from boatinfer.pipeline.dry_run import Forecast
    from boatinfer.pipeline.options import RunOptions

__all__ = ["forecast_in_words", "show_forecast"]


def show_forecast(options: RunOptions, json: bool, quiet: bool) -> None:
    """Prints what a run would do; if quiet only what would keep it from starting."""
    import msgspec

    from boatinfer.pipeline.dry_run import forecast

    said = forecast(options)
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(said), indent=2).decode())
        return
    if quiet:
        return
    for line in forecast_in_words(said):
        typer.echo(line)
    typer.echo("nothing was written")


def forecast_in_words(said: Forecast) -> Iterator[str]:
    """Says what a run would do, in lines."""
    again = f" + {said.again:,} again" if said.again else ""
    yield (
        f"{counted(said.found, 'image')} found = {said.new:,} new + {said.changed:,} changed "
        f"+ {said.retried:,} to be retried{again} + {said.reused:,} done before"
    )
    if said.gone:
        yield f"gone: {counted(said.gone, 'image')} of the last run"
    if said.seconds is not None:
        yield f"estimated time: {duration(said.seconds)}, from {counted(said.runs, 'earlier run')}"
    if said.holder is not None:
        yield f"busy: {printable(said.out)} is held by {printable(said.holder)}"
