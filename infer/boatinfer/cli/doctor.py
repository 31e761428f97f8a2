"""``boatinfer doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boatinfer.cli.pandas import without_pandas
from boatinfer.storage.locations import local_path
from boatinfer.text import printable

__all__ = ["app"]

#: The file of most users.
_FILE = Path("night.toml")

app = typer.Typer(add_completion=False)


@app.command()
@without_pandas
def doctor(
    config: Annotated[
        Path | None,
        typer.Argument(
            parser=local_path,
            metavar="[FILE]",
            help="What a night is; by default night.toml, if there is one here.",
        ),
    ] = None,
    named: Annotated[
        Path | None,
        typer.Option(
            "-c", "--config", parser=local_path, metavar="FILE", help="The same, as an option."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    anonymous: Annotated[
        bool,
        typer.Option(
            "--anonymous", help="Leave out names, paths and addresses, for an issue or a forum."
        ),
    ] = False,
) -> None:
    """Check that this machine and the folders of FILE are fit for the next night."""
    import msgspec

    from boatinfer.doctor.examine import examine

    report = examine(config or named or (_FILE if _FILE.exists() else None))
    code = report.exit_code
    report = report.anonymous() if anonymous else report
    if json:
        document = {"exit_code": code, "findings": report.findings}
        typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    for line in report.lines() if not json else ():
        typer.echo(printable(line))
    raise typer.Exit(code)
