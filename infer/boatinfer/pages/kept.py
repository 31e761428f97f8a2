"""The pages of earlier runs, ``reports/RUN.html``, each with links to those beside it."""

from __future__ import annotations

import bisect
import re

from boatinfer.i18n import Language
from boatinfer.pages import page
from boatinfer.pages.links import rooted
from boatinfer.results.folder import Results
from boatinfer.storage.base import Place
from boatinfer.storage.files import translate_write_errors

__all__ = ["KeptPages", "replaced"]

_RUN = re.compile(r"\d{8}T\d{6}\.\d+Z")
#: The way from a kept page to the results folder.
_WAY = "../"


class KeptPages:
    """The kept pages of a results folder.

    Args:
        results: the results folder.
    """

    def __init__(self, results: Results) -> None:
        self._folder = results.reports
        found = (file.stem for file in self._folder.glob("*.html"))
        self._runs = sorted(run for run in found if _RUN.fullmatch(run))

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

    def _link(self, run: str, language: Language) -> None:
        links = rooted(page.rendered("beside.html", language, **self.beside(run)), _WAY)
        file = self._folder / f"{run}.html"
        changed = replaced(file, "pages beside", links)
        if changed is not None:
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
