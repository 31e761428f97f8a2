"""A command whose options are the fields of a dataclass, declared once.

The Python function takes the dataclass; the command line takes its fields. A field is
written ``name: Annotated[type, typer.Option(...)] = default``.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from boatinfer.storage.locations import local_path

__all__ = ["from_fields"]

Options = TypeVar("Options")


def from_fields(kind: type[Options], call: Callable[[Options], None]) -> Callable[..., None]:
    """Makes the function that Typer turns into a command.

    Args:
        kind: a dataclass whose fields are annotated with Typer parameters.
        call: what to do with the options; its docstring is the command's help.

    Returns:
        A function with one parameter a field, in the order of the fields. One that is a `Path`,
        and no `boatinfer.storage.base.Place`, refuses the URI of something in a bucket.
    """
    hints = typing.get_type_hints(kind, include_extras=True)

    def command(**values: Any) -> None:
        call(kind(**values))

    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=_refusing_uris(hints[field.name]),
        )
        for field in dataclasses.fields(kind)  # type: ignore[arg-type]
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = call.__doc__
    return command


def _refusing_uris(hint: Any) -> Any:
    """Has a parameter that is a path, and is not parsed otherwise, parsed by `local_path`."""
    kind, parameter = typing.get_args(hint)[:2]
    if kind not in (Path, Path | None) or parameter.parser is not None:
        return hint
    parameter = copy.copy(parameter)
    parameter.parser, parameter.metavar = local_path, parameter.metavar or "PATH"
    return Annotated[kind, parameter]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty
