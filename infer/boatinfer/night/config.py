"""Reads ``night.toml``; what is wrong in it is said in one sentence with file and line."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boatinfer.errors import UsageError
from boatinfer.i18n import Choice
from boatinfer.night.keep import Keep, keep_keys, keep_of
from boatinfer.night.keys import (
    DAYS,
    FORMAT,
    FORMAT_KEY,
    INDEX_KEY,
    Key,
    default_keys,
    folder_keys,
    mistake,
    schedule_keys,
)
from boatinfer.night.lines import Lines
from boatinfer.night.metrics import Metrics, metrics_keys
from boatinfer.night.notify.settings import (
    NOBODY,
    Notify,
    Target,
    folder_notify_keys,
    notify_keys,
)
from boatinfer.pipeline.options import RunOptions
from boatinfer.storage.base import Place
from boatinfer.storage.locations import is_remote, place, resolve
from boatinfer.text import joined, printable

__all__ = ["Folder", "Night", "Schedule", "read_night"]

#: Tables of the file, apart from the defaults above them.
_TABLES = {"folder", "keep", "metrics", "notify", "schedule"}

#: Options that take the place of defaults.
_INSTEAD = {
    "min_confidence": ("target_accuracy", "evaluation"),
    "target_accuracy": ("min_confidence",),
}


@dataclass(frozen=True)
class Folder:
    """One folder of a night.

    Attributes:
        name: how it is called.
        options: what to run.
        where: file and line of the table and, by key, of what stands in it.
        notify: who is told of it, and when.
    """

    name: str
    options: RunOptions
    where: Mapping[str, str]
    notify: Notify = NOBODY

    @property
    def out(self) -> Place:
        """Its results folder."""
        return self.options.results_folder

    def place_of(self, key: str) -> str:
        """File and line of a key, or of its table."""
        return self.where.get(key, self.where[""])


@dataclass(frozen=True)
class Schedule:
    """When the night starts, and what it may take; `schedule_keys` says what each is."""

    at: str = "02:00"
    days: Sequence[str] = DAYS
    parallel: int = 1
    nice: int = 10
    memory: str | int = "75%"
    cpus: int | None = None
    on_failure: str | None = None


@dataclass(frozen=True)
class Night:
    """What a night is.

    Attributes:
        file: the file that says so, absolute.
        folders: in their order.
        index: the page of all folders; the record of the nights is beside it.
        schedule: when it starts; None if the file does not say.
        notify: who is told of it.
        metrics: where its figures go; None if the file does not say.
        language: that of the page, which is the default of the folders.
        keep: what stays in the results folders; None if the file does not say, for everything.
    """

    file: Path
    folders: Sequence[Folder]
    index: Path
    schedule: Schedule | None = None
    notify: Notify = NOBODY
    metrics: Metrics | None = None
    language: str = "en"
    keep: Keep | None = None

    @property
    def targets(self) -> list[Target]:
        """Whoever is told of the night or of a folder, each once."""
        found = [target for folder in self.folders for target in folder.notify.targets]
        return list(dict.fromkeys([*self.notify.targets, *found]))

    def chosen(self, names: Iterable[str]) -> list[Folder]:
        """The folders of these names, in their order; all if there are no names.

        Raises:
            UsageError: there is none of a name.
        """
        wanted = list(names)
        known = [folder.name for folder in self.folders]
        for name in wanted:
            if name not in known:
                raise UsageError(
                    f"{self.file} has no folder {printable(name)}; {_nearest(name, known)}"
                )
        return [folder for folder in self.folders if not wanted or folder.name in wanted]


def read_night(file: Path) -> Night:
    """Reads a file.

    Raises:
        UsageError: it cannot be read, or something in it is wrong.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(
            f"there is no file {file}; write one with 'boatinfer night init', or name it with -c."
        ) from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; check the file.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8; save it as such.") from error
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(_not_toml(file, error)) from error
    return _Reader(Path(os.path.abspath(file)), Lines(text), document).night()  # noqa: PTH100


def _not_toml(file: Path, error: Exception) -> str:
    said = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error))
    if said is None:
        return f"{file} is not valid TOML: {error}."
    return f"{file}, line {said[2]}: this is not valid TOML: {said[1]}, column {said[3]}."


def _nearest(name: str, known: Iterable[str]) -> str:
    """What was meant by a name that is not known."""
    names = sorted(known)
    similar = difflib.get_close_matches(name, names)
    if similar:
        return f"did you mean {' or '.join(similar)}?"
    return f"there are {joined(names, 100)}." if names else "there are none."


@dataclass
class _Reader:
    file: Path
    lines: Lines
    document: dict[str, Any]
    _numbers: dict[str, int] = field(default_factory=dict)

    def night(self) -> Night:
        self._require_format()
        tables = {name: self.document.pop(name, None) for name in sorted(_TABLES)}
        defaults = self._values("", 0, self.document, default_keys(), _TABLES)
        defaults.pop(FORMAT_KEY.field, None)
        index = Path(defaults.pop(INDEX_KEY.field, self.file.parent / INDEX_KEY.default))
        notify = self._notify(tables["notify"], "notify", 0, NOBODY)
        night = Night(
            self.file,
            self._folders(tables["folder"], defaults, notify),
            index,
            self._schedule(tables["schedule"]),
            notify,
            self._metrics(tables["metrics"]),
            defaults.get("language", Choice.ENGLISH),
            self._keep(tables["keep"]),
        )
        _check_places(night)
        return night

    def _require_format(self) -> None:
        """Refuses a newer file first: its other keys would not be known."""
        said = self.document.get(FORMAT_KEY.name, FORMAT)
        if isinstance(said, int) and said > FORMAT:
            raise self._error(
                f"the file is of a newer version of boatinfer (format {said}, and this one reads "
                f"{FORMAT}); update boatinfer",
                key=FORMAT_KEY.name,
            )

    def _folders(self, tables: Any, defaults: Mapping[str, Any], notify: Notify) -> list[Folder]:
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self._error(
                "there is no [[folder]]; add one with name and dir"
                if tables is None
                else "folder must be tables; write [[folder]] above each",
                "folder",
            )
        if not tables:
            raise self._error("there is no [[folder]]; add one with name and dir")
        return [
            self._folder(number, table, defaults, notify) for number, table in enumerate(tables)
        ]

    def _folder(
        self, number: int, table: dict[str, Any], defaults: Mapping[str, Any], notify: Notify
    ) -> Folder:
        keys = folder_keys()
        notify = self._notify(table.pop("notify", None), "folder.notify", number, notify)
        own = self._values("folder", number, table, keys, {"notify"})
        replaced = {key for name in own for key in _INSTEAD.get(name, ())}
        values = {key: value for key, value in defaults.items() if key not in replaced} | own
        for name in ("name", "dir"):
            if name not in values:
                raise self._error(f"this folder has no {name}; add one", "folder", number)
        name = values.pop("name")
        first = self._numbers.setdefault(name, number)
        if first != number:
            line = self.lines.of("folder", first, "name")
            raise self._error(
                f"the name {name} stands on line {line} too; give each folder its own",
                *("folder", number, "name"),
            )
        values.setdefault("out", str(self.file.parent / "boatinfer-out" / name))
        try:
            options = RunOptions(values.pop("dir"), **values)
        except UsageError as error:
            raise self._error(str(error).rstrip("."), *self._cause(number, str(error))) from error
        if str(options.from_file) == str(self.file.parent / "-"):
            raise self._error(
                "from-file must be a file: a night has no standard input",
                *("folder", number, "from-file"),
            )
        where = {
            key: self._where("folder", number, key)
            for key in ("", *keys)
            if not key or self.lines.has("folder", number, key)
        }
        above = {
            key: self._where("", 0, key) for key in default_keys() if self.lines.has("", 0, key)
        }
        return Folder(name, options, {**above, **where}, notify)

    def _cause(self, number: int, sentence: str) -> tuple[str, int, str]:
        """The key that a sentence of `RunOptions` is about: the first that it names."""
        for key in (key for key in folder_keys().values() if _names(sentence, key)):
            for table, place_ in (("folder", number), ("", 0)):
                if self.lines.has(table, place_, key.name):
                    return table, place_, key.name
        return "folder", number, ""

    def _table(self, table: Any, name: str, number: int = 0) -> dict[str, Any]:
        if not isinstance(table, dict):
            inner = name.rpartition(".")[2]
            raise self._error(f"{inner} must be a table; write [{name}] above it", name, number)
        return table

    def _notify(self, table: Any, name: str, number: int, above: Notify) -> Notify:
        if table is None:
            return above
        keys = folder_notify_keys() if "." in name else notify_keys()
        values = self._values(name, number, self._table(table, name, number), keys)
        return above.replaced(values, lambda key: self._where(name, number, key), self.file.parent)

    def _metrics(self, table: Any) -> Metrics | None:
        if table is None:
            return None
        values = self._values("metrics", 0, self._table(table, "metrics"), metrics_keys())
        if "file" not in values:
            raise self._error("this table has no file; add one", "metrics")
        return Metrics(Path(values["file"]), self._where("metrics", 0, "file"))

    def _keep(self, table: Any) -> Keep | None:
        if table is None:
            return None
        return keep_of(self._values("keep", 0, self._table(table, "keep"), keep_keys()))

    def _schedule(self, table: Any) -> Schedule | None:
        if table is None:
            return None
        values = self._values("schedule", 0, self._table(table, "schedule"), schedule_keys())
        memory = values.get("memory", "75%")
        if not re.fullmatch(r"[1-9]\d*[KMGT]?|[1-9]\d?%|100%", str(memory)):
            raise self._error(
                f"memory must be a size such as 8G or 75%, not {memory!r}",
                *("schedule", 0, "memory"),
            )
        return Schedule(**values)

    def _values(
        self,
        table: str,
        number: int,
        given: Mapping[str, Any],
        keys: Mapping[str, Key],
        tables: Iterable[str] = (),
    ) -> dict[str, Any]:
        """The values of a table by the names that they have in Python, with absolute paths."""
        values: dict[str, Any] = {}
        for name, value in given.items():
            key = keys.get(name) or next((k for k in keys.values() if k.field == name), None)
            if key is None:
                what = f"table [{name}]" if isinstance(value, dict | list) else f"key {name}"
                known = [*keys, *tables]
                if isinstance(value, dict | list) and tables:
                    known = ["[[folder]]" if one == "folder" else one for one in tables]
                hint = _nearest(name, known)
                raise self._error(f"there is no {what} here; {hint}", table, number, name)
            if key.field in values:
                raise self._error(f"{key.name} is given twice; keep one", table, number, name)
            said = mistake(key, value)
            if said is not None:
                raise self._error(said, table, number, name)
            try:
                values[key.field] = self._absolute(key, value) if key.path else value
            except UsageError as error:  # a URI that is none
                raise self._error(str(error).rstrip("."), table, number, name) from error
        return values

    def _absolute(self, key: Key, text: str) -> str | None:
        """A path of the file is relative to the file."""
        if text.startswith("~"):
            text = str(Path(text).expanduser())
        if not isinstance(place(text), Path):
            return text
        path = self.file.parent / Path(str(place(text)))
        if key.name == "model" and text == "boats" and not path.is_file():
            return None  # the built-in one
        return str(path)

    def _where(self, table: str, number: int, key: str = "") -> str:
        return f"{self.file}, line {self.lines.of(table, number, key)}"

    def _error(self, sentence: str, table: str = "", number: int = 0, key: str = "") -> UsageError:
        end = "" if sentence.endswith(("?", ".")) else "."
        return UsageError(f"{self._where(table, number, key)}: {printable(sentence)}{end}")


def _names(sentence: str, key: Key) -> bool:
    """Whether a sentence names an option, as `RunOptions` or the command line do."""
    return re.search(rf"^{key.field}\b|--{key.name}(?![\w-])", sentence) is not None


def _check_places(night: Night) -> None:
    """Refuses folders that would take each other's files for their own.

    Raises:
        UsageError: two share an out, or one's out is inside another's dir or out.
    """
    for folder in night.folders:
        for other in night.folders:
            if other is not folder:
                _check_pair(folder, other)


def _check_pair(folder: Folder, other: Folder) -> None:
    out, said = _path(folder.out), folder.place_of("out")
    if out == _path(other.out):
        raise UsageError(
            f"{said}: {folder.name} and {other.name} ({other.where['']}) have one out, "
            f"{folder.out}; give each its own."
        )
    for what, outer in (("dir", other.options.folder), ("out", other.out)):
        if out.startswith(_path(outer)):
            raise UsageError(
                f"{said}: the out of {folder.name}, {folder.out}, is inside the {what} of "
                f"{other.name} ({other.place_of(what)}); choose a place outside of it."
            )


def _path(folder: Place) -> str:
    """A folder as text that those inside begin with."""
    if is_remote(folder):
        return f"{str(folder).rstrip('/')}/"
    return os.path.normcase(f"{str(resolve(folder)).rstrip(os.sep)}{os.sep}")
