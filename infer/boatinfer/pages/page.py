"""What all pages share: how a template becomes a file, and how figures and names are written."""

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
from boatinfer.storage.base import Place
from boatinfer.storage.files import atomic_write, require_folder
from boatinfer.storage.locations import place
from boatinfer.text import counted, from_text, printable

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = [
    "address",
    "cost",
    "duration",
    "percent",
    "rendered",
    "require_html",
    "save",
    "within",
    "write",
]

#: An option of the command line.
_OPTION = re.compile(r"(--[a-z][a-z-]*)")


def write(file: Place, template: str, **values: Any) -> None:
    """Writes a page.

    Args:
        file: where to.
        template: name of the template.
        values: what it shows; all text is escaped.

    Raises:
        OutputError: the page could not be written.
    """
    save(file, rendered(template, **values))


def rendered(template: str, **values: Any) -> str:
    """Makes what `write` writes."""
    return _environment().get_template(template).render(values)


def save(file: Place, page: str) -> None:
    """Writes a page that has been made.

    Raises:
        OutputError: the page could not be written.
    """
    with atomic_write(file) as temporary:
        temporary.write_text(page, encoding="utf-8")


def require_html(file: Path) -> None:
    """Refuses a name that no page should have, before any long work.

    Raises:
        UsageError: it does not end in .html, is a folder, or lies in none.
    """
    if file.suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"the page {file} must end in .html; give it that ending.")
    require_folder(file)


def address(path: str, folder: str) -> str:
    """Where an image is, for a link.

    Args:
        path: text of its path, relative to the folder or absolute.
        folder: text of the folder's path, absolute.
    """
    if os.path.isabs(path):  # noqa: PTH117
        return _folder_address(path)
    return f"{_folder_address(folder)}/{quote_from_bytes(os.fsencode(from_text(path)))}"


@functools.lru_cache(maxsize=16)
def _folder_address(folder: str) -> str:
    return place(from_text(folder)).as_uri().rstrip("/")


def within(budget: int, rows: Iterable[Mapping[str, Any]], folder: str) -> Iterator[dict[str, Any]]:
    """Gives rows their ``address``, as many as the page has room for.

    Args:
        budget: bytes of the page.
        rows: each with a ``path``.
        folder: which the paths are relative to.
    """
    for row in rows:
        link = address(row["path"], folder)
        budget -= cost(row["path"], link) + len(str(row.get("message")))
        if budget < 0:
            return
        yield {**row, "address": link}


def cost(path: str, link: str) -> int:
    """Bytes that a page spends on the name of an image and its link, at most."""
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
    }
    filters: dict[str, Callable[..., str]] = {
        "number": lambda value: f"{value:,.0f}",
        "percent": percent,
        "counted": counted,
        "shown": printable,
        "sentence": _sentence,
        "moment": _moment,
        "duration": duration,
    }
    environment.filters |= filters
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def percent(share: float | None, digits: int = 0) -> str:
    """Writes a share of 1; a dash where it is not known."""
    if share is None:
        return "\N{EN DASH}"
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def duration(seconds: float) -> str:
    """Writes seconds as a person would say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _sentence(text: str) -> str:
    """Words of people and programs, whose options (``--max-failures``) no line's end breaks."""
    from markupsafe import Markup, escape

    return Markup(_OPTION.sub(r'<span class="option">\1</span>', str(escape(printable(text)))))


def _moment(moment: str | None, form: str = "%A %d %B %Y, %H:%M %Z") -> str:
    """A moment as the clock on the wall shows it."""
    return "" if moment is None else datetime.fromisoformat(moment).astimezone().strftime(form)
