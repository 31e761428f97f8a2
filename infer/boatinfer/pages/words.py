"""Words and figures of pages: the functions and filters of templates in one language."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from boatinfer.i18n import Language
from boatinfer.results.summary import Unusual, run_time
from boatinfer.results.unusual_text import unusual_in_words
from boatinfer.text import printable

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["filters", "functions"]

#: An option of the command line.
_OPTION = re.compile(r"(--[a-z][a-z-]*)")
#: A number and a percent sign, and the same without a line break between them.
_PERCENT, _UNBROKEN = re.compile(r"(?<=\d) %"), "\N{NO-BREAK SPACE}%"


def functions(language: Language) -> dict[str, Any]:
    """What templates call: messages, whose values are escaped, and the language itself."""
    from markupsafe import Markup

    catalogue = language.catalogue

    def gettext(message: str, **values: object) -> Markup:
        return Markup(catalogue.gettext(message)) % values

    def ngettext(one: str, many: str, number: int, **values: object) -> Markup:
        words = Markup(catalogue.ngettext(one, many, number))
        return words % ({"num": language.number(number)} | values)

    return {"_": gettext, "ngettext": ngettext, "language": language}


def filters(language: Language) -> dict[str, Callable[..., str]]:
    """The filters of templates."""

    def percent(share: float | None, digits: int | None = None) -> str:
        if share is None:
            return "\N{EN DASH}"
        return language.percent(share, digits).replace(" ", "\N{NO-BREAK SPACE}")

    def moment(time: str | None, skeleton: str = "full") -> str:
        return "" if time is None else language.moment(time, skeleton)

    def unusual(one: Unusual) -> str:
        return _sentence(unusual_in_words(one, language))

    return {
        "number": language.number,
        "decimal": language.decimal,
        "figure": language.figure,
        "percent": percent,
        "duration": language.duration,
        "date": language.date,
        "moment": moment,
        "run_moment": lambda run: moment(run_time(run), "MMMEd"),
        "shown": printable,
        "sentence": _sentence,
        "unusual": unusual,
        "reason": lambda reason: reason_in_words(reason, language),
    }


def reason_in_words(reason: str, language: Language) -> str:
    """Why an image failed, in words; a reason that is not known stays as it is."""
    words = {
        "not_an_image": language.gettext("not an image"),
        "corrupt": language.gettext("corrupt"),
        "unsupported": language.gettext("unsupported"),
        "too_large": language.gettext("too large"),
        "unreadable": language.gettext("unreadable"),
        "vanished": language.gettext("vanished"),
        "crashed": language.gettext("crashed"),
        "timed_out": language.gettext("timed out"),
        "inference_failed": language.gettext("inference failed"),
    }
    return words.get(reason, reason)


def _sentence(text: str) -> str:
    """Escapes text, and prevents line breaks in options such as ``--max-failures`` and in 5 %."""
    from markupsafe import Markup, escape

    unbroken = str(escape(_PERCENT.sub(_UNBROKEN, printable(text))))
    return Markup(_OPTION.sub(r'<span class="option">\1</span>', unbroken))
