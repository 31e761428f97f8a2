"""Rendering of pages from templates, and formatting of numbers and names."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

from boatinfer.errors import UsageError
from boatinfer.results.summary import run_time
from boatinfer.storage.base import Place
from boatinfer.storage.files import atomic_write, require_folder
from boatinfer.storage.locations import place
from boatinfer.text import counted, from_text, printable

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = [
    "ROOT",
    "address",
    "cost",
    "duration",
    "fit_rows",
    "percent",
    "rendered",
    "require_html",
    "save",
    "write",
]

#: Stands in rendered pages where the way to the results folder goes; no escaped text has it.
ROOT = "\0"

#: An option of the command line.
_OPTION = re.compile(r"(--[a-z][a-z-]*)")


def write(file: Place, template: str, **values: Any) -> None:
    """Writes a page.

    Args:
        file: the file to write.
        template: name of the template.
        values: variables of the template; all text is escaped.

    Raises:
        OutputError: the page could not be written.
    """
    save(file, rendered(template, **values))


def rendered(template: str, **values: Any) -> str:
    """Renders a page; the arguments are as for `write`."""
    return _environment().get_template(template).render(values)


def save(file: Place, page: str) -> None:
    """Writes a rendered page.

    Raises:
        OutputError: the page could not be written.
    """
    with atomic_write(file) as temporary:
        temporary.write_text(page, encoding="utf-8")


def require_html(file: Path) -> None:
    """Checks the name of a page, before any long work.

    Raises:
        UsageError: it does not end in .html, is a folder, or its folder does not exist.
    """
    if file.suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"the page {file} must end in .html; give it that ending.")
    require_folder(file)


def address(path: str, folder: str) -> str:
    """The URL of an image, for a link.

    Args:
        path: its path as text, relative to the folder or absolute.
        folder: absolute path of the folder, as text.
    """
    if os.path.isabs(path):  # noqa: PTH117
        return _folder_address(path)
    return f"{_folder_address(folder)}/{quote_from_bytes(os.fsencode(from_text(path)))}"


@functools.lru_cache(maxsize=16)
def _folder_address(folder: str) -> str:
    return place(from_text(folder)).as_uri().rstrip("/")


def fit_rows(
    budget: int, rows: Iterable[Mapping[str, Any]], link: Callable[[str], str]
) -> Iterator[dict[str, Any]]:
    """Adds an ``address`` to rows, for as many rows as fit into the page.

    Args:
        budget: bytes that the rows may take in the page.
        rows: rows with a ``path`` each.
        link: gives the address of a path.
    """
    for row in rows:
        target = link(row["path"])
        budget -= cost(row["path"], target) + len(str(row.get("message")))
        if budget < 0:
            return
        yield {**row, "address": target}


def cost(path: str, link: str) -> int:
    """Bytes that the name of an image and its link take in a page, at most."""
    return 5 * len(path.encode()) + len(link) + 400  # a character may become &#34;


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("boatinfer.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (_source(environment, name) for name in ("page.css", "page.js"))
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {
        "style": Markup(style),
        "script": Markup(script),
        "script_digest": digest,
        "root": ROOT,
    }
    filters: dict[str, Callable[..., str]] = {
        "number": lambda value: f"{value:,.0f}",
        "percent": percent,
        "counted": counted,
        "shown": printable,
        "sentence": _sentence,
        "moment": _format_time,
        "run_moment": lambda run: _format_time(run_time(run), "%A %d\u00a0%B, %H:%M"),
        "duration": duration,
    }
    environment.filters |= filters
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def percent(share: float | None, digits: int = 0) -> str:
    """Formats a share of 1; a dash for None."""
    if share is None:
        return "\N{EN DASH}"
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def duration(seconds: float) -> str:
    """Formats a duration."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _sentence(text: str) -> str:
    """Escapes text, and prevents line breaks in options such as ``--max-failures``."""
    from markupsafe import Markup, escape

    return Markup(_OPTION.sub(r'<span class="option">\1</span>', str(escape(printable(text)))))


def _format_time(time: str | None, format_: str = "%A %d %B %Y, %H:%M %Z") -> str:
    """Formats an ISO 8601 time as local time."""
    return "" if time is None else datetime.fromisoformat(time).astimezone().strftime(format_)
