"""The commands that ask something of results: how good, what is similar, what differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from boatinfer.options import CompareOptions, EvaluateOptions, SimilarOptions

__all__ = ["CompareCommand", "EvaluateCommand", "SimilarCommand", "compare", "evaluate", "similar"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text for people.")]
Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write a page with pictures as well."),
]


@dataclass(frozen=True)
class EvaluateCommand(EvaluateOptions):
    """What ``boatinfer evaluate`` takes."""

    html: Html = None
    json: Json = False


def evaluate(command: EvaluateCommand) -> None:
    """Say how good the last run's predictions are, where the true classes are known."""
    from boatinfer.evaluate import evaluate as compare_with_truth
    from boatinfer.pages import evaluation

    _answer(lambda: compare_with_truth(command), evaluation.write, command)


@dataclass(frozen=True)
class SimilarCommand(SimilarOptions):
    """What ``boatinfer similar`` takes."""

    html: Html = None
    json: Json = False


def similar(command: SimilarCommand) -> None:
    """Find the images that look most like one, by their features."""
    from boatinfer.pages import likeness
    from boatinfer.similar import similar as search

    _answer(lambda: search(command), likeness.write, command)


@dataclass(frozen=True)
class CompareCommand(CompareOptions):
    """What ``boatinfer compare`` takes."""

    html: Html = None
    json: Json = False


def compare(command: CompareCommand) -> None:
    """Say what differs between two runs over the same images, and which is better."""
    from boatinfer.compare import compare as compare_runs
    from boatinfer.pages import comparison

    _answer(lambda: compare_runs(command), comparison.write, command)


def _answer(
    ask: Callable[[], Any],
    write: Callable[[Path, Any], None],
    command: EvaluateCommand | SimilarCommand | CompareCommand,
) -> None:
    import msgspec

    from boatinfer.pages.page import require_html

    if command.html:
        require_html(command.html)
    answer = ask()
    if command.html:
        write(command.html, answer)
    text = msgspec.json.format(msgspec.json.encode(answer.document()), indent=2).decode()
    typer.echo(text if command.json else answer.text())
    if command.html:
        typer.echo(f"page: {command.html}", err=command.json)
