"""``boatinfer review``."""

from __future__ import annotations

import contextlib

import typer

from boatinfer.cli.pandas import without_pandas
from boatinfer.review.options import ReviewOptions
from boatinfer.text import counted

__all__ = ["review"]


@without_pandas
def review(options: ReviewOptions) -> None:
    """Label doubtful images in the browser; the answers go to labels.csv in OUT."""
    from boatinfer.review.command import serving

    links = iter(["review:       ", "again, or in another browser: "])
    with serving(
        options, lambda link: typer.echo(f"{next(links, 'another link: ')}{link}")
    ) as server:
        for problem in server.session.problems:
            typer.echo(f"boatinfer: {problem}", err=True)
        typer.echo("The link works once. To end, press Ctrl+C.")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
        typer.echo(f"saved {counted(server.session.saved, 'label')}")
