"""Rendering of pages from templates."""

from __future__ import annotations

import functools
import hashlib
import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

from boatinfer.errors import UsageError
from boatinfer.i18n import Language
from boatinfer.pages import words
from boatinfer.storage.base import Place
from boatinfer.storage.files import atomic_write, require_folder
from boatinfer.storage.locations import place
from boatinfer.text import from_text

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = [
    "ROOT",
    "address",
    "cost",
    "fit_rows",
    "rendered",
    "require_html",
    "save",
    "write",
]

#: Stands in rendered pages where the way to the results folder goes; no escaped text has it.
ROOT = "\0"


def write(file: Place, template: str, language: Language, **values: Any) -> None:
    """Writes a page.

    Args:
        file: the file to write.
        template: name of the template.
        language: of the page.
        values: variables of the template; all text is escaped.

    Raises:
        OutputError: the page could not be written.
    """
    save(file, rendered(template, language, **values))


def rendered(template: str, language: Language, **values: Any) -> str:
    """Renders a page; the arguments are as for `write`."""
    return _environment(language).get_template(template).render(values)


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
def _environment(language: Language) -> Environment:
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
        **words.functions(language),
    }
    environment.filters |= words.filters(language)
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
