"""The keys of ``night.toml``: the options of a run, and a few of its own.

Most are made of the fields of `RunOptions`: a new option of ``boatinfer run`` is a key here.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import functools
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boatinfer.memory import parse_size
from boatinfer.pipeline.options import RunOptions
from boatinfer.storage.base import Place

__all__ = [
    "DAYS",
    "FORMAT",
    "FORMAT_KEY",
    "INDEX_KEY",
    "Key",
    "default_keys",
    "folder_keys",
    "mistake",
    "schedule_keys",
]

#: The version of the file's format; a newer one is refused.
FORMAT = 1

#: Days of the week, as ``[schedule]`` names them.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_TIME = r"^([01]\d|2[0-3]):[0-5]\d$"


@dataclass(frozen=True)
class Key:
    """A key of a table.

    Attributes:
        name: as it is written, such as ``batch-size``.
        help: a sentence on it.
        schema: what its value may be, in JSON schema.
        default: the value that it has where it is not given; None for none.
        path: whether the value names a file or folder.
        form: what the pattern of the schema asks for, as in "must end in .html".
    """

    name: str
    help: str
    schema: Mapping[str, Any]
    default: Any = None
    path: bool = False
    form: str | None = None

    @property
    def field(self) -> str:
        """Its name in Python."""
        return self.name.replace("-", "_")


_TEXT = {"type": "string", "minLength": 1}

FORMAT_KEY = Key(
    "format",
    "Version of the format of this file.",
    {"type": "integer", "minimum": 1, "maximum": FORMAT},
    FORMAT,
)
INDEX_KEY = Key(
    "index",
    "Page of all folders over the last nights; by default index.html beside this file.",
    {**_TEXT, "pattern": r"\.html?$"},
    "index.html",
    path=True,
    form="must end in .html",
)
_OUT = "Results folder, or its URI; by default boatinfer-out/ and the name, beside this file."
_OWN = [
    Key(
        "name",
        "Name of the folder, for 'boatinfer night run NAME' and the page.",
        {**_TEXT, "pattern": r"^[^/\\\x00-\x1f\x7f-][^/\\\x00-\x1f\x7f]*$"},
        form="must not contain / or \\ or begin with -",
    ),
    Key("dir", "Folder of images, or its URI.", _TEXT, path=True),
]


@functools.cache
def folder_keys() -> dict[str, Key]:
    """The keys of ``[[folder]]``, by their names."""
    return {key.name: key for key in (*_OWN, *_of_options())}


@functools.cache
def default_keys() -> dict[str, Key]:
    """The keys above the tables, which are the defaults of all folders, and the file's own."""
    own = {FORMAT_KEY.name: FORMAT_KEY, INDEX_KEY.name: INDEX_KEY}
    return own | {key.name: key for key in _of_options() if key.name != "out"}


@functools.cache
def schedule_keys() -> dict[str, Key]:
    """The keys of ``[schedule]``."""
    days = {"type": "array", "items": {"enum": list(DAYS)}, "minItems": 1, "uniqueItems": True}
    size = {"type": ["string", "integer"], "minLength": 1}
    keys = [
        Key(
            "at",
            "Time of day at which the night starts, HH:MM.",
            {"type": "string", "pattern": _TIME},
            "02:00",
            form="must be a time such as 02:00",
        ),
        Key("days", "Days on which it starts; by default all.", days, list(DAYS)),
        Key(
            "parallel",
            "Folders that run at a time, and share processors and memory.",
            {"type": "integer", "minimum": 1, "maximum": 64},
            1,
        ),
        Key(
            "nice",
            "Priority of the processes, from 0 (usual) to 19 (lowest).",
            {"type": "integer", "minimum": 0, "maximum": 19},
            10,
        ),
        Key(
            "memory",
            "Memory that all processes of the night may take together (systemd), as 8G or 75%.",
            size,
            "75%",
        ),
        Key(
            "cpus",
            "CPUs that they may use (systemd); by default all.",
            {"type": "integer", "minimum": 1},
        ),
        Key(
            "on-failure",
            "systemd unit to start when a night fails; by default one that notes the status in "
            "the journal.",
            {"type": "string", "pattern": r"^[A-Za-z0-9:_.@\\-]+\.[a-z]+$"},
            form="must be the name of a unit, such as mail.service",
        ),
    ]
    return {key.name: key for key in keys}


def _of_options() -> Iterable[Key]:
    hints = typing.get_type_hints(RunOptions, include_extras=True)
    for field in dataclasses.fields(RunOptions):
        if field.name == "folder":  # is called "dir"
            continue
        kind, parameter = typing.get_args(hints[field.name])[:2]
        kinds = {kind, *typing.get_args(kind)}
        yield Key(
            field.name.replace("_", "-"),
            _OUT if field.name == "out" else parameter.help,
            _schema(kind, kinds, parameter),
            _default(field),
            bool(kinds & {Path, Place}),
        )


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _schema(kind: Any, kinds: set[Any], parameter: Any) -> dict[str, Any]:
    """What the value of an option may be, by its type."""
    if parameter.parser is parse_size:
        return {"type": ["string", "integer"]}
    if typing.get_origin(kind) is list:
        return {"type": "array", "items": {"type": "string"}}
    choices = [one for one in kinds if isinstance(one, type) and issubclass(one, enum.Enum)]
    if choices:
        return {"enum": [choice.value for choice in choices[0]]}
    bounds = {
        name: limit
        for name, limit in (("minimum", parameter.min), ("maximum", parameter.max))
        if limit is not None
    }
    for type_, name in ((bool, "boolean"), (int, "integer"), (float, "number")):
        if type_ in kinds:
            return {"type": name, **bounds}
    return _TEXT


#: What a value of a type of JSON schema is called.
_CALLED = {
    "string": "text in quotes",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list in brackets",
}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
}


def mistake(key: Key, value: Any) -> str | None:
    """What is wrong with a value, such as ``top must be a whole number``; None if nothing is."""
    if (
        key.form
        and value
        and isinstance(value, str)
        and not re.search(key.schema["pattern"], value)
    ):
        return f"{key.name} {key.form}, not {value!r}"
    said = _mistake(key.schema, value)
    return said and f"{key.name} must be {said}"


def _mistake(schema: Mapping[str, Any], value: Any) -> str | None:
    if "enum" in schema:
        return None if value in schema["enum"] else _mistake_of_choice(schema["enum"], value)
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is(value, type_) for type_ in types):
        return " or ".join(_CALLED[type_] for type_ in types)
    if isinstance(value, list):
        return _mistake_of_items(schema, value)
    if isinstance(value, str):
        return _mistake_of_text(schema, value)
    return _mistake_of_number(schema, value)


def _mistake_of_choice(choices: list[str], value: Any) -> str:
    similar = difflib.get_close_matches(str(value).lower(), choices, 1)
    hint = f"; did you mean {similar[0]}?" if similar else ""
    return f"one of {', '.join(choices)}, not {value!r}{hint}"


def _mistake_of_number(schema: Mapping[str, Any], number: float) -> str | None:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and not number >= low:
        return f"at least {low:,}, not {number}"
    return f"at most {high:,}, not {number}" if high is not None and not number <= high else None


def _mistake_of_items(schema: Mapping[str, Any], items: list[Any]) -> str | None:
    said = next(filter(None, (_mistake(schema["items"], item) for item in items)), None)
    if said is not None:
        return f"a list, each of it {said}"
    if len(items) < schema.get("minItems", 0):
        return "a list that is not empty"
    repeated = schema.get("uniqueItems") and len(set(items)) < len(items)
    return "a list without repetitions" if repeated else None


def _mistake_of_text(schema: Mapping[str, Any], text: str) -> str | None:
    if len(text) < schema.get("minLength", 0):
        return "text that is not empty"
    if "examples" not in schema or re.search(schema["pattern"], text):
        return None
    return f"text such as {schema['examples'][0]!r}, not {text!r}"


def _is(value: Any, type_: str) -> bool:
    """Whether a value is of a type of JSON schema; true is no number."""
    return isinstance(value, _TYPES[type_]) and (type_ == "boolean") == isinstance(value, bool)
