"""``boatinfer export``: parse, call, print."""

from __future__ import annotations

import typer

from boatexport.options import ExportOptions
from boatinfer.cli.options import from_fields

__all__ = ["app"]


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


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command("export")(from_fields(ExportOptions, _export))
