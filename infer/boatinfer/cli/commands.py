"""The commands of the light install; each calls one function and prints what it says."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from boatinfer.cli.pandas import without_pandas
from boatinfer.errors import TOO_MANY_FAILURES, UNUSUAL
from boatinfer.i18n import Choice
from boatinfer.isolation.process import start_in_advance
from boatinfer.logs import Level, LogFormat, is_json, say
from boatinfer.logs import use as use_format
from boatinfer.options import Device, Force, LogFormatOption, Memory, ModelFile, OnDevice
from boatinfer.pipeline.options import PANELS as RUN_PANELS
from boatinfer.pipeline.options import Engine, RunOptions
from boatinfer.pipeline.progress import Progress
from boatinfer.progress import Update, display
from boatinfer.storage.base import Place
from boatinfer.storage.locations import local_path, place
from boatinfer.svm.options import FitOptions
from boatinfer.text import counted, decimal, duration, printable, to_text

if TYPE_CHECKING:
    from boatinfer.results.model_change import ModelChange
    from boatinfer.results.store.rows import Row
    from boatinfer.results.summary import Summary

__all__ = [
    "RunCommand",
    "classify",
    "end_with",
    "features",
    "print_files",
    "print_summary",
    "report",
    "run",
    "svm_fit",
]


@dataclass(frozen=True)
class RunCommand(RunOptions):
    """What ``boatinfer run`` takes: the run's options, and how to tell the outcome."""

    json: Annotated[bool, typer.Option("--json", help="Print run.json instead of the summary.")] = (
        False
    )
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be done, and write nothing."),
    ] = False
    log_format: LogFormatOption = LogFormat.TEXT


#: Folders whose images are gone that are named, at most.
_FOLDERS = 5

#: The panels of ``boatinfer run --help``.
PANELS = {**RUN_PANELS, "Output": ["json", "quiet", "log_format", "dry_run"]}


@without_pandas
def run(command: RunCommand) -> None:
    """Classify a folder of images; images that are recorded already are not classified again."""
    use_format(command.log_format, command.quiet)
    if command.dry_run:
        from boatinfer.cli.forecasts import show_forecast

        show_forecast(command, command.json, command.quiet)
        return
    if command.isolate and command.engine is Engine.LOCAL:
        from boatinfer.pipeline.service import with_model_in_service
        from boatinfer.pipeline.worker import Classification

        start_in_advance(
            Classification.of(with_model_in_service(command))
        )  # while this process loads what the worker needs not
    from boatinfer.pipeline.run import run as run_night

    with contextlib.nullcontext() if command.quiet else display("classifying", "images") as update:
        summary = run_night(command, _shown_by(update) if update else lambda _: None)
    if command.json:
        typer.echo(summary.text(), nl=False)
    if is_json():
        if not command.quiet:
            _log_summary(summary, command.results_folder)
    elif not command.quiet and not command.json:
        print_summary(summary)
        if command.shard:
            out = command.results_folder
            typer.echo(f"when all shards are done: boatinfer results {out} --finish")
        else:
            print_files(command.results_folder, summary, command.report)
    end_with(summary, command.results_folder)


def _shown_by(update: Update) -> Callable[[Progress], None]:
    """Shows a run's progress."""
    return lambda now: update(now.done, now.total, f"{now.failed:,} failed" if now.failed else "")


def end_with(summary: Summary, out: Place) -> None:
    """Ends with the exit code of a run; says why if it is not 0."""
    if summary.error:
        why = summary.error.rstrip(".")
        file = "report.html" if summary.exit_code == UNUSUAL else "failures.csv"
        say(Level.ERROR, f"{why}; see {out / file}.", exit_code=summary.exit_code)
    raise typer.Exit(summary.exit_code or 0)


def _log_summary(summary: Summary, out: Place) -> None:
    """Says in lines of JSON what a run came to."""
    for unusual in summary.unusual:
        say(Level.WARNING, unusual.text, kind=unusual.kind)
    for remark in summary.remarks:
        say(Level.WARNING, remark)
    names = ("found", "classified", "reused", "failed", "seconds", "exit_code")
    say(
        Level.INFO,
        "the run has ended",
        **{name: getattr(summary, name) for name in names},
        new=summary.new.found if summary.new else 0,
        out=str(out),
    )


def print_summary(summary: Summary) -> None:
    """Prints what a run came to."""
    from boatinfer.results.left_out import left_out_in_words
    from boatinfer.results.tables.predictions import UNKNOWN, UNSURE

    rate = f", {summary.images_per_second:,.0f} a second" if summary.classified >= 100 else ""
    typer.echo(
        f"{counted(summary.found, 'image')} found = {summary.classified:,} classified "
        f"+ {summary.reused:,} reused + {summary.failed:,} failed "
        f"in {duration(summary.seconds or 0)} with {summary.model_name} on {summary.device}{rate}"
    )
    _print_new(summary)
    if summary.restrictions:
        typer.echo(f"not of the whole folder: {printable(' '.join(summary.restrictions))}")
    for sentence in left_out_in_words(summary):
        typer.echo(f"not taken: {sentence}")
    for remark in summary.remarks:
        typer.echo(remark)
    unsure = summary.min_confidence is not None
    said_below = {UNSURE} if unsure else set()
    said_below |= set() if summary.max_novelty is None else {UNKNOWN}
    labels = {label: n for label, n in summary.labels.items() if label not in said_below}
    new = summary.new.labels if summary.new and summary.reused else None
    if new is not None:
        typer.echo(f"{'images':>9} {'new':>9}")
    for label, count in _largest_first(labels):
        typer.echo(f"{_numbers(count, label, new)}  {printable(label)}")
    if unsure:
        numbers = _numbers(summary.unsure, UNSURE, new)
        typer.echo(f"{numbers}  unsure: confidence below {summary.min_confidence:.4g}")
    if summary.unknown:
        numbers = _numbers(summary.unknown, UNKNOWN, new)
        typer.echo(f"{numbers}  unknown: novelty above {summary.max_novelty:.4g}")
    if summary.warnings:
        typer.echo(f"{summary.warnings:>9,}  read with a decoder warning")
    for reason, count in summary.failures.items():
        typer.echo(f"{count:>9,}  failed: {reason}")
    if summary.svm_labels:
        typer.echo("the SVM says:")
    for label, count in _largest_first(summary.svm_labels):
        typer.echo(f"{count:>9,}  {printable(label)}")


def _print_new(summary: Summary) -> None:
    """Prints what is new, gone or unusual, if that is not all there is."""
    new, gone = summary.new, summary.gone
    if new is not None and new.found != summary.found:
        before = summary.failed - summary.unlisted - new.failed
        again = f"; {before:,} failed before, and again" if before else ""
        if summary.unlisted:
            again += f"; {counted(summary.unlisted, 'folder')} could not be listed"
        typer.echo(
            f"new: {counted(new.found, 'image')} = {new.classified:,} classified + "
            f"{new.failed:,} failed{again}"
        )
        if new.classified > summary.classified:
            more = counted(new.classified - summary.classified, "image")
            typer.echo(f"these include {more} that a run before classified, which did not end")
    if gone is not None and gone.images:
        folders = (f"{count:,} from {printable(name)}" for name, count in gone.folders.items())
        typer.echo(
            f"gone: {counted(gone.images, 'image')} of the last run "
            f"({', '.join(itertools.islice(folders, _FOLDERS))})"
        )
    if summary.model_change is not None:
        typer.echo(_model_change_in_words(summary.model_change, summary.model_name))
    for unusual in summary.unusual:
        typer.echo(f"unusual: {unusual.text}")


def _model_change_in_words(change: ModelChange, name: str) -> str:
    most = "".join(
        f", most often {printable(one.before)} -> {printable(one.now)} ({one.images:,})"
        for one in change.labels[:1]
    )
    return (
        f"another model: {printable(name)}, before {printable(change.model_name)}; "
        f"{change.changed:,} of {counted(change.images, 'image')} have another label{most}"
    )


def _numbers(count: int, label: str, new: dict[str, int] | None) -> str:
    """The number of all images with a label and, in a second column, of the new ones."""
    return f"{count:>9,}" + ("" if new is None else f" {new.get(label, 0):>9,}")


def print_files(out: Place, summary: Summary, report: bool) -> None:
    """Prints where the tables of a run are, and its page."""
    from boatinfer.results.unreviewed import find_unreviewed

    typer.echo(f"predictions: {out / 'predictions.csv'}")
    if (summary.unsure or summary.unknown) and find_unreviewed(out).images:
        typer.echo(f"to review:   {out / 'review.csv'}")
    if report:
        typer.echo(f"report:      {out / 'report.html'}")


def _largest_first(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])


def classify(
    images: Annotated[
        list[Path], typer.Argument(parser=local_path, metavar="IMAGE...", help="Image files.")
    ],
    model: ModelFile = None,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="Number of classes to print.")] = 5,
    device: OnDevice = Device.AUTO,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per image and line.")
    ] = False,
) -> None:
    """Print the most probable classes of single images."""
    from boatinfer.pipeline.single_images import classify_files

    info, rows = classify_files(images, model, device)
    broken = 0
    for image, row in zip(images, rows, strict=True):
        name = printable(to_text(str(image)))
        if row.probabilities is None:
            broken += 1
            if json:
                _print_json(row, {})
                continue
            hint = "; for a folder there is 'boatinfer run'" if os.path.isdir(image) else ""  # noqa: PTH112
            typer.echo(f"boatinfer: {name}: {printable(row.error or row.status)}{hint}", err=True)
            continue
        best = (-row.probabilities).argsort(kind="stable")[:top]
        if json:
            _print_json(row, {info.card.classes[i]: float(row.probabilities[i]) for i in best})
            continue
        typer.echo(name)
        for index in best:
            typer.echo(f"  {row.probabilities[index]:6.1%}  {printable(info.card.classes[index])}")
    if broken:
        raise typer.Exit(TOO_MANY_FAILURES)


def _print_json(row: Row, probabilities: dict[str, float]) -> None:
    import msgspec

    document = {
        "path": row.path,
        "status": row.status,
        "message": row.error,
        "label": next(iter(probabilities), None),
        "probabilities": probabilities,
    }
    typer.echo(msgspec.json.encode(document).decode())


@without_pandas
def features(
    out: Annotated[
        Place,
        typer.Argument(parser=place, metavar="OUT", help="Results folder with features."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            parser=local_path,
            metavar="FILE",
            help="File to write: .npz, .npy, .csv or .parquet.",
        ),
    ],
    force: Force = False,
) -> None:
    """Export the features of a results folder to one file."""
    from boatinfer.results.feature_export import export

    count = export(out, output, force)
    typer.echo(f"features of {counted(count, 'image')}: {output}")


@without_pandas
def report(
    out: Annotated[Place, typer.Argument(parser=place, metavar="OUT", help="Results folder.")],
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="Write the page of this run in reports/; a name in runs/."
        ),
    ] = None,
    language: Annotated[
        Choice | None,
        typer.Option(help="Language of the page; by default that of its run."),
    ] = None,
    memory: Memory = None,
) -> None:
    """Write the page of the last run again, or of an earlier one, from its results folder."""
    from boatinfer.images import temporary_limits
    from boatinfer.pages.report import make_report

    with temporary_limits(memory, None):
        typer.echo(f"report: {make_report(out, run, language)}")


@without_pandas
def svm_fit(options: FitOptions) -> None:
    """Train an SVM on the features of a results folder."""
    from boatinfer.svm.fit import fit

    svm, report = fit(options, lambda sentence: typer.echo(sentence, err=True))
    ends = report.accuracy_interval
    if report.accuracy is not None and report.macro_f1 is not None and ends is not None:
        typer.echo(
            f"{report.folds}-fold cross-validation: accuracy {decimal(report.accuracy)} (95 % "
            f"interval {decimal(ends[0])} to {decimal(ends[1])}), "
            f"macro-F1 {decimal(report.macro_f1)}"
        )
    gamma = f", gamma {report.gamma:.3g}" if report.gamma else ""
    typer.echo(
        f"{report.kernel} SVM, C {report.penalty:g}{gamma}, fitted on "
        f"{counted(report.images, 'image')} of {len(svm.classes)} classes, {svm.dimension} "
        f"features each: {options.output}"
    )
    if report.accuracy is not None:
        typer.echo(
            "The features come from the network: if it was trained on these images, the accuracy "
            f"is too high; 'boatinfer svm compare {options.out} --test OUT' with images that it "
            "has not seen is a better estimate."
        )
