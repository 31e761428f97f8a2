"""The commands ``boatinfer export``, ``model describe``, ``model quantize``, ``svm export``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from boatexport.options import (
    DescribeOptions,
    ExportOptions,
    FuseOptions,
    KnowOptions,
    QuantizeOptions,
)
from boatinfer.cli.fields import from_fields
from boatinfer.models.card import Conversion, Novelty
from boatinfer.text import printable
from boattrain.messages import messages_on_stderr

__all__ = ["app", "describe", "know", "quantize", "svm"]


@messages_on_stderr()
def _export(options: ExportOptions) -> None:
    """Export a Keras model to ONNX, with its model card and self-test embedded.

    The ONNX model is verified against Keras before it is written.
    """
    from boatexport.exporting import export_model

    result = export_model(
        options,
        _print_to_stderr,
        lambda conversion: _print_comparison(conversion, options.precision),
    )
    *sizes, last = result.batch_sizes
    typer.echo(
        f"verified against Keras at batch sizes {', '.join(map(str, sizes))} and {last}: largest "
        f"difference {result.difference:.1e}\n"
        f"{result.path} ({result.path.stat().st_size:,} bytes, "
        f"{result.golden_images} golden images)"
    )


def _describe(options: DescribeOptions) -> None:
    """Add a model card and self-test to an ONNX classifier made elsewhere, for 'boatinfer run -m'.

    Options are needed for what the file does not contain. Everything known of the model, and
    where it is from, is printed: check it, as a wrong mean or channel order lowers the accuracy
    without any error.
    """
    from boatexport.foreign.describing import describe_model

    result = describe_model(options)
    for name, value, source in result.facts:
        typer.echo(f"{name:<11}{value} ({source})")
    typer.echo("the images of --golden, and the small copies of them stored for the self-test:")
    for path, label, confidence, stored, stored_confidence in zip(
        result.golden,
        result.labels,
        result.confidences,
        result.stored_labels,
        result.stored_confidences,
        strict=True,
    ):
        copy = f"{stored_confidence:.1%}{'' if stored == label else f' {printable(stored)}'}"
        typer.echo(f"{confidence:>10.1%}  {printable(label):<24}  {copy:<10}  {printable(path)}")
    if result.correct is not None:
        correct, count = result.correct
        typer.echo(f"{correct} of {count} golden images are labelled as their folder")
    for warning in result.warnings:
        _print_to_stderr(warning)
    typer.echo(f"{result.path} ({result.path.stat().st_size:,} bytes)")


def _fuse(options: FuseOptions) -> None:
    """Embed an SVM in the ONNX model that it was fitted on, to run both from one file."""
    from boatexport.fusing import fuse

    result = fuse(options)
    typer.echo(
        f"same label as scikit-learn for {result.agreeing:,} of {result.vectors:,} random "
        f"feature vectors, largest score difference {result.difference:.1e}\n"
        f"{result.path} ({result.path.stat().st_size:,} bytes, an SVM of {len(result.classes)} "
        "classes inside)"
    )


def _quantize(options: QuantizeOptions) -> None:
    """Quantise a model to int8 or float16, if its accuracy is kept.

    Layers that are sensitive to int8 stay in float32. Both models are compared on labelled
    images, the comparison is printed and stored in the model card, and nothing is written if the
    accuracy drops by more than --max-drop.
    """
    from boatexport.precision import quantize as quantize_model

    result = quantize_model(
        options,
        _print_to_stderr,
        lambda conversion: _print_comparison(conversion, options.precision),
    )
    typer.echo(f"{options.onnx_file} ({len(result.content):,} bytes)")


def _know(options: KnowOptions) -> None:
    """Add to a model the outputs that newer versions export.

    The other outputs stay the same, bit for bit, so results and SVMs of the model stay valid.
    """
    from boatexport.adding import add_outputs

    result = add_outputs(options, _print_to_stderr)
    if result.novelty is not None:
        _print_novelty(result.novelty)
    typer.echo(
        f"added {', '.join(result.outputs)}; the other outputs are the same, bit for bit\n"
        f"{result.path} ({result.path.stat().st_size:,} bytes)"
    )


def _print_novelty(novelty: Novelty) -> None:
    """Prints how well each way told foreign pictures from valid images."""
    kinds = next(iter(novelty.figures.values()))
    typer.echo("AUROC, and share let through where 5 % of the valid images are rejected")
    typer.echo(f"{'':<13}" + "".join(f"{kind:>18}" for kind in kinds))
    for method, figures in novelty.figures.items():
        cells = (f"{one.auroc:.3f} {one.let_through:6.1%}" for one in figures.values())
        chosen = "  chosen" if method == novelty.method else ""
        typer.echo(f"{method:<13}" + "".join(f"{cell:>18}" for cell in cells) + chosen)


def _print_to_stderr(line: str) -> None:
    typer.echo(line, err=True)


def _print_comparison(conversion: Conversion, precision: str) -> None:
    """Prints the metrics of both models side by side."""
    before, after = conversion.original, conversion.converted
    rows = [
        ("", "float32", precision, ""),
        *(
            (label, f"{100 * old:.2f} %", f"{100 * new:.2f} %", f"{100 * (new - old):+.2f} points")
            for label, old, new in [
                ("accuracy", before.accuracy, after.accuracy),
                ("macro-F1", before.macro_f1, after.macro_f1),
                ("calibration error", before.calibration_error, after.calibration_error),
            ]
        ),
        ("same label", "", f"{100 * conversion.agreement:.2f} %", ""),
        (
            "images per second",
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
    for label, old, new, change in rows:
        typer.echo(f"{label:<18}{old:>12}{new:>12}  {change}".rstrip())
    where = "the GPU" if conversion.device == "cuda" else "one CPU thread of this machine"
    typer.echo(f"({conversion.images:,} labelled images; speed: on {where}, network only)")
    if conversion.calibration:
        float_layers = ", ".join(conversion.kept) or "none"
        typer.echo(f"calibration: {conversion.calibration}; layers in float32: {float_layers}")
    if after.images_per_second < before.images_per_second:
        typer.echo(f"On this machine {precision} is slower than float32.", err=True)


def _command(name: str, options: type[Any], call: Callable[[Any], None]) -> typer.Typer:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name)(from_fields(options, call))
    return app


app = _command("export", ExportOptions, _export)
describe = _command("describe", DescribeOptions, _describe)
quantize = _command("quantize", QuantizeOptions, _quantize)
know = _command("know", KnowOptions, _know)
svm = _command("export", FuseOptions, _fuse)
