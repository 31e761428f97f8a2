"""``boatinfer export``, ``model describe`` and ``svm export``: parse, call, print."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from boatexport.options import DescribeOptions, ExportOptions, FuseOptions, QuantizeOptions
from boatinfer.cli.fields import from_fields
from boatinfer.models.card import Conversion
from boatinfer.text import printable

__all__ = ["app", "describe", "quantize", "svm"]


def _export(options: ExportOptions) -> None:
    """Turn a Keras model into an ONNX file that carries its card and its own test."""
    from boatexport.exporting import export_model

    exported = export_model(options, _say, lambda found: _table(found, options.precision))
    *sizes, last = exported.batch_sizes
    typer.echo(
        f"verified against Keras at batch sizes {', '.join(map(str, sizes))} and {last}: largest "
        f"difference {exported.difference:.1e}\n"
        f"{exported.path} ({exported.path.stat().st_size:,} bytes, "
        f"{exported.golden_images} golden images)"
    )


def _describe(options: DescribeOptions) -> None:
    """Give an image classifier made elsewhere a card and a self-test, for 'boatinfer run -m'.

    What the file does not tell has to be given. All that is known, and how, is printed: check
    it, for a wrong mean or order makes a model worse without any error.
    """
    from boatexport.foreign.describing import describe_model

    described = describe_model(options)
    for what, value, source in described.known:
        typer.echo(f"{what:<11}{value} ({source})")
    for path, label, confidence in zip(
        described.golden, described.labels, described.confidences, strict=True
    ):
        typer.echo(f"{confidence:>10.1%}  {printable(label):<24}  {printable(str(path))}")
    if described.right is not None:
        right, count = described.right
        typer.echo(f"{right} of {count} golden images get the name of their folder")
    typer.echo(f"{described.path} ({described.path.stat().st_size:,} bytes)")


def _fuse(options: FuseOptions) -> None:
    """Put an SVM into its model file, so that a night needs one file alone."""
    from boatexport.fusing import fuse

    fused = fuse(options)
    typer.echo(
        f"labels as scikit-learn for {fused.agreeing:,} of {fused.vectors:,} random feature "
        f"vectors, largest score difference {fused.difference:.1e}\n"
        f"{fused.path} ({fused.path.stat().st_size:,} bytes, an SVM of {len(fused.classes)} "
        "classes inside)"
    )


def _quantize(options: QuantizeOptions) -> None:
    """Make a model smaller and faster, unless it becomes worse.

    int8 layers that hurt stay in float32. Both models are run over labelled images: the table
    is printed and kept in the card, and nothing is written if the accuracy drops too far.
    """
    from boatexport.precision import quantize as convert

    converted = convert(options, _say, lambda found: _table(found, options.precision))
    typer.echo(f"{options.onnx_file} ({len(converted.content):,} bytes)")


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _table(conversion: Conversion, precision: str) -> None:
    """Prints both models' figures side by side."""
    before, after = conversion.original, conversion.converted
    rows = [
        ("", "float32", precision, ""),
        *(
            (what, f"{100 * old:.2f} %", f"{100 * new:.2f} %", f"{100 * (new - old):+.2f} points")
            for what, old, new in [
                ("accuracy", before.accuracy, after.accuracy),
                ("macro-F1", before.macro_f1, after.macro_f1),
                ("calibration error", before.calibration_error, after.calibration_error),
            ]
        ),
        ("same label", "", f"{100 * conversion.agreement:.2f} %", ""),
        (
            "images a second",
            f"{before.images_per_second:,.1f}",
            f"{after.images_per_second:,.1f}",
            f"{after.images_per_second / before.images_per_second:.2f} times",
        ),
        (
            "bytes",
            f"{before.bytes:,}",
            f"{after.bytes:,}",
            f"{before.bytes / after.bytes:.2f} times smaller",
        ),
    ]
    for what, old, new, change in rows:
        typer.echo(f"{what:<18}{old:>12}{new:>12}  {change}".rstrip())
    where = "on the GPU" if conversion.device == "cuda" else "one thread of this machine's CPU"
    typer.echo(f"({conversion.images:,} labelled images; speed: {where}, the network alone)")
    if conversion.calibration:
        kept = ", ".join(conversion.kept) or "none"
        typer.echo(f"ranges: {conversion.calibration}; layers that stay in float32: {kept}")
    if after.images_per_second < before.images_per_second:
        typer.echo(f"On this machine {precision} is slower than float32.", err=True)


def _command(name: str, options: type[Any], call: Callable[[Any], None]) -> typer.Typer:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name)(from_fields(options, call))
    return app


app = _command("export", ExportOptions, _export)
describe = _command("describe", DescribeOptions, _describe)
quantize = _command("quantize", QuantizeOptions, _quantize)
svm = _command("export", FuseOptions, _fuse)
