"""The commands that ask something of results: how good, what is similar, what differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from boatinfer.analysis.options import CompareOptions, EvaluateOptions, SimilarOptions
from boatinfer.cli.pandas import without_pandas
from boatinfer.errors import UsageError
from boatinfer.i18n import Choice, Language, language_of, resolved
from boatinfer.options import PageLanguage
from boatinfer.storage.locations import local_path
from boatinfer.svm.options import SVMCompareOptions

__all__ = [
    "CompareCommand",
    "EvaluateCommand",
    "EvaluateParser",
    "SVMCompareCommand",
    "SimilarCommand",
    "compare",
    "evaluate",
    "similar",
    "svm_compare",
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html", parser=local_path, metavar="FILE", help="Also write an HTML page with images."
    ),
]


@dataclass(frozen=True)
class EvaluateCommand(EvaluateOptions):
    """What ``boatinfer evaluate`` takes."""

    html: Html = None
    language: PageLanguage = Choice.ENGLISH
    json: Json = False


class EvaluateParser(TyperCommand):
    """Takes ``--labels`` without a file as ``--reviewed``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses arguments; ``ctx`` is a context of the command-line library inside typer."""
        following = [*args[1:], "-"]
        args = [
            "--reviewed" if one == "--labels" and after.startswith("-") else one
            for one, after in zip(args, following, strict=False)
        ]
        return super().parse_args(ctx, args)


@without_pandas
def evaluate(command: EvaluateCommand) -> None:
    """Evaluate the predictions of the last run against the ground truth."""
    from boatinfer.analysis.evaluate import evaluate as compare_with_truth
    from boatinfer.analysis.multi_label_results import evaluate_labels
    from boatinfer.pages import evaluation

    if (labels := evaluate_labels(command)) is not None:
        if command.html:
            raise UsageError("--html: there is no page for multi-label models; omit it.")
        _print(labels, command.json)
        return
    _answer(lambda: compare_with_truth(command), evaluation.write, command)


@dataclass(frozen=True)
class SimilarCommand(SimilarOptions):
    """What ``boatinfer similar`` takes."""

    html: Html = None
    language: PageLanguage = Choice.ENGLISH
    json: Json = False


@without_pandas
def similar(command: SimilarCommand) -> None:
    """Find the nearest neighbours of an image by its features."""
    from boatinfer.analysis.similar import similar as search
    from boatinfer.pages import likeness

    _answer(lambda: search(command), likeness.write, command)


@dataclass(frozen=True)
class CompareCommand(CompareOptions):
    """What ``boatinfer compare`` takes."""

    html: Html = None
    language: PageLanguage = Choice.ENGLISH
    json: Json = False


@without_pandas
def compare(command: CompareCommand) -> None:
    """Compare the predictions of two runs over the same images."""
    from boatinfer.analysis.compare import compare as compare_runs
    from boatinfer.pages import comparison

    _answer(lambda: compare_runs(command), comparison.write, command)


@dataclass(frozen=True)
class SVMCompareCommand(SVMCompareOptions):
    """What ``boatinfer svm compare`` takes."""

    json: Json = False


@without_pandas
def svm_compare(command: SVMCompareCommand) -> None:
    """Compare linear and RBF SVMs on the features, and the network."""
    from boatinfer.svm.compare import compare as compare_svms

    _print(compare_svms(command, lambda sentence: typer.echo(sentence, err=True)), command.json)
    if command.output is not None:
        typer.echo(f"picture: {command.output}", err=command.json)


def _print(answer: Any, json: bool) -> None:
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(answer.document()), indent=2).decode()
    typer.echo(text if json else answer.text())


def _answer(
    ask: Callable[[], Any],
    write: Callable[[Path, Any, Language], None],
    command: EvaluateCommand | SimilarCommand | CompareCommand,
) -> None:
    from boatinfer.pages.page import require_html

    if command.html:
        require_html(command.html)
    answer = ask()
    if command.html:
        write(command.html, answer, language_of(resolved(command.language)))
    _print(answer, command.json)
    if command.html:
        typer.echo(f"page: {command.html}", err=command.json)
