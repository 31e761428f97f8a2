"""The pages of earlier runs, ``reports/RUN.html``, each with links to those beside it."""

from __future__ import annotations

import bisect
import re
from collections.abc import Collection

from boatinfer.i18n import Choice, Language, language_of
from boatinfer.pages import page
from boatinfer.pages.links import rooted
from boatinfer.results.folder import Results
from boatinfer.storage.base import Place
from boatinfer.storage.files import translate_write_errors

__all__ = ["KeptPages", "replaced", "run_of"]

_RUN = re.compile(r"\d{8}T\d{6}\.\d+Z")
#: Where a page says in which language it is.
_LANGUAGE = re.compile(rb"<html lang=\"(\w+)\"")
#: A link to a kept page.
_LINK = re.compile(r"<a [^<>]*href=\"(?:\.\./)?reports/(\d{8}T\d{6}\.\d+Z)\.html\"[^<>]*>(.*?)</a>")
#: The way from a kept page to the results folder.
_WAY = "../"


class KeptPages:
    """The kept pages of a results folder.

    Args:
        results: the results folder.
    """

    def __init__(self, results: Results) -> None:
        self._folder = results.reports
        found = sorted(file.stem for file in self._folder.glob("*.html"))
        self._runs = [run for run in found if _RUN.fullmatch(run)]
        self._galleries = [name for name in found if not _RUN.fullmatch(name)]

    def __contains__(self, run: str) -> bool:
        return run in self._runs

    def beside(self, run: str) -> dict[str, str | None]:
        """The runs before and after one that have a page, as values of a template."""
        at = bisect.bisect_left(self._runs, run)
        after = bisect.bisect_right(self._runs, run)
        return {
            "previous_run": self._runs[at - 1] if at else None,
            "next_run": self._runs[after] if after < len(self._runs) else None,
        }

    def keep(self, run: str, html: str, language: Language) -> None:
        """Writes the page of a run, and links the one before it to it.

        Args:
            run: the run.
            html: the page as it was rendered.
            language: of the page.

        Raises:
            OutputError: it could not be written.
        """
        self.write(f"{run}.html", html)
        if run not in self._runs:
            bisect.insort(self._runs, run)
            for neighbour in self.beside(run).values():
                if neighbour is not None:
                    self._link(neighbour, language)

    def write(self, name: str, html: str) -> None:
        """Writes a page that belongs to that of a run.

        Raises:
            OutputError: it could not be written.
        """
        with translate_write_errors(self._folder):
            self._folder.mkdir(exist_ok=True)
        page.save(self._folder / name, rooted(html, _WAY))

    @property
    def runs(self) -> list[str]:
        """The runs that have a page, the earliest first."""
        return list(self._runs)

    def files(self, run: str) -> list[Place]:
        """The pages of a run: those of its gallery, if it has one, and its own after them."""
        start = bisect.bisect_left(self._galleries, f"{run}.")
        end = bisect.bisect_left(self._galleries, f"{run}/")  # the next character after the dot
        return [self._folder / f"{name}.html" for name in (*self._galleries[start:end], run)]

    def remove(self, runs: Collection[str], last_page: Place) -> None:
        """Removes the pages of runs, after the links to them in the others.

        Args:
            runs: some of those that have a page.
            last_page: ``report.html``, which has such links too.

        Raises:
            OutputError: a page could not be written or removed.
        """
        stay = [run for run in self._runs if run not in runs]
        stale = {after for run in runs if (after := self.beside(run)["next_run"])}
        stale |= {before for run in runs if (before := self.beside(run)["previous_run"])}
        self._runs = stay
        for run in stay:
            if run in stale:
                self._link(run, _language_of(self._folder / f"{run}.html"))
            _unlink(self._folder / f"{run}.html", runs)
        if run_of(last_page) in stale:
            self._link(run_of(last_page) or "", _language_of(last_page), last_page, "")
        _unlink(last_page, runs)
        with translate_write_errors(self._folder):
            for file in [file for run in sorted(runs) for file in self.files(run)]:
                file.unlink(missing_ok=True)

    def _link(
        self, run: str, language: Language, file: Place | None = None, way: str = _WAY
    ) -> None:
        links = rooted(page.rendered("beside.html", language, **self.beside(run)), way)
        file = file or self._folder / f"{run}.html"
        changed = replaced(file, "pages beside", links)
        if changed is not None:
            page.save(file, changed)


def _language_of(file: Place) -> Language:
    """The language that a page is in; English if it does not say."""
    try:
        said = _LANGUAGE.search(file.read_bytes()[:200])
    except OSError:
        said = None
    code = said[1].decode() if said else ""
    return language_of(code if code in set(Choice) else Choice.ENGLISH)


def _unlink(file: Place, runs: Collection[str]) -> None:
    """Leaves the words of links to the pages of runs, without the links."""
    try:
        text = file.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return
    changed = _LINK.sub(lambda link: link[2] if link[1] in runs else link[0], text)
    if changed != text:
        page.save(file, changed)


def replaced(file: Place, place: str, html: str) -> str | None:
    """A page with other content in one of its places for it.

    Args:
        file: the page.
        place: the name of the place, in the comments around it.
        html: the content.

    Returns:
        The whole page; None if there is none, or it has no such place.
    """
    try:
        text = file.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None
    head, begin, rest = text.partition(f"<!-- {place} -->")
    _, end, tail = rest.partition(f"<!-- end of {place} -->")
    return "".join([head, begin, html, end, tail]) if end else None


def run_of(file: Place) -> str | None:
    """The run that a page is of; None if there is no page, or it does not say so."""
    try:
        _, found, rest = file.read_bytes().partition(b'<meta name="run" content="')
    except OSError:
        return None
    return rest.partition(b'"')[0].decode(errors="replace") if found else None
