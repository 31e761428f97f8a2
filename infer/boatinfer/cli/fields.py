"""A command whose options are the fields of a dataclass, declared once.

The Python function takes the dataclass; the command line takes its fields. A field is
written ``name: Annotated[type, typer.Option(...)] = default``.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from boatinfer.storage.locations import local_path

__all__ = ["from_fields"]

Options = TypeVar("Options")

#: How values of a type are named in ``--help``.
_METAVARS = {int: "N", float: "NUMBER", str: "TEXT"}


def from_fields(
    kind: type[Options],
    call: Callable[[Options], None],
    panels: Mapping[str, Collection[str]] | None = None,
) -> Callable[..., None]:
    """Makes the function that Typer turns into a command.

    Args:
        kind: a dataclass whose fields are annotated with Typer parameters.
        call: what to do with the options; its docstring is the command's help.
        panels: names of fields by the panel of ``--help`` in which they are listed.

    Returns:
        A function with one parameter a field, in the order of the panels and
        fields. One that is a `Path`,
        and no `boatinfer.storage.base.Place`, refuses the URI of something in a bucket.
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    panel_of = {name: panel for panel, names in (panels or {}).items() for name in names}
    order = {name: number for number, name in enumerate(panel_of)}

    def command(**values: Any) -> None:
        call(kind(**values))

    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=_shown(hints[field.name], panel_of.get(field.name)),
        )
        for field in sorted(
            dataclasses.fields(kind),  # type: ignore[arg-type]
            key=lambda field: order.get(field.name, -1),
        )
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = call.__doc__
    return command


def _shown(hint: Any, panel: str | None) -> Any:
    """Completes a parameter: a path is parsed by `local_path`, and values have readable names."""
    kind, parameter = typing.get_args(hint)[:2]
    parameter = copy.copy(parameter)
    kinds = (kind, *typing.get_args(kind))
    if kind in (Path, Path | None) and parameter.parser is None:
        parameter.parser, parameter.metavar = local_path, parameter.metavar or "PATH"
    parameter.metavar = parameter.metavar or next(
        (name for type_, name in _METAVARS.items() if type_ in kinds), None
    )
    parameter.rich_help_panel = panel or parameter.rich_help_panel
    return Annotated[kind, parameter]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty
