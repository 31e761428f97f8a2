"""``boatinfer export``, ``model describe`` and ``svm export``: parse, call, print."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from boatexport.options import DescribeOptions, ExportOptions, FuseOptions
from boatinfer.cli.options import from_fields

__all__ = ["app", "describe", "svm"]


def _export(options: ExportOptions) -> None:
    """Turn a Keras model into an ONNX file that carries its card and its own test."""
    from boatexport.exporting import export_model

    exported = export_model(options)
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
    from boatexport.describing import describe_model

    described = describe_model(options)
    for what, value, source in described.known:
        typer.echo(f"{what:<11}{value} ({source})")
    for path, label, confidence in zip(
        described.golden, described.labels, described.confidences, strict=True
    ):
        typer.echo(f"{confidence:>10.1%}  {label:<24}  {path}")
    if described.right is not None:
        right, count = described.right
        typer.echo(f"{right} of {count} golden images get the name of their folder")
    typer.echo(f"{described.path} ({described.path.stat().st_size:,} bytes)")


def _fuse(options: FuseOptions) -> None:
    """Put an SVM into its model file, so that a night needs neither scikit-learn nor a pickle."""
    from boatexport.fusing import fuse

    fused = fuse(options)
    typer.echo(
        f"labels as scikit-learn for {fused.agreeing:,} of {fused.vectors:,} random feature "
        f"vectors, largest score difference {fused.difference:.1e}\n"
        f"{fused.path} ({fused.path.stat().st_size:,} bytes, an SVM of {len(fused.classes)} "
        "classes inside)"
    )


def _command(name: str, options: type[Any], call: Callable[[Any], None]) -> typer.Typer:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name)(from_fields(options, call))
    return app


app = _command("export", ExportOptions, _export)
describe = _command("describe", DescribeOptions, _describe)
svm = _command("export", FuseOptions, _fuse)
