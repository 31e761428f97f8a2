"""The language of pages and messages: words by gettext, numbers, dates and lists by Babel.

What is written on a terminal, errors and tables for programs are in English.
"""

from __future__ import annotations

import enum
import functools
import gettext
import locale
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from boatinfer.text import duration, rounded_percent

if TYPE_CHECKING:
    from babel import Locale

__all__ = [
    "DOMAIN",
    "ENGLISH",
    "LOCALES",
    "Choice",
    "Language",
    "language_of",
    "resolved",
    "sentence_case",
]

#: Name of the catalogues, and the folder that they are in.
DOMAIN, LOCALES = "boatinfer", Path(__file__).parent / "locale"
#: Environment variables that name the language of the system, the first that is set counts.
_VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")


class Choice(enum.StrEnum):
    """What ``--language`` may be."""

    ENGLISH = "en"
    ITALIAN = "it"
    GERMAN = "de"
    SPANISH = "es"
    FRENCH = "fr"
    SYSTEM = "auto"


class Language:
    """Words, numbers and dates of one language.

    A message is English, with values as ``%(name)s``; ``%%`` is a percent sign.

    Args:
        code: one of `Choice`, such as ``de``; English stands in for what is not known.
    """

    def __init__(self, code: str) -> None:
        known = set(Choice) - {Choice.SYSTEM}
        self.code = str(code) if code in known else str(Choice.ENGLISH)

    @functools.cached_property
    def _locale(self) -> Locale:
        from babel import Locale

        # English dates with the day first, and 24 hours.
        return Locale("en", "GB") if self.code == Choice.ENGLISH else Locale(self.code)

    @functools.cached_property
    def catalogue(self) -> gettext.NullTranslations:
        """The translations; of English there are none."""
        if self.code == Choice.ENGLISH:
            return gettext.NullTranslations()
        return gettext.translation(DOMAIN, LOCALES, [self.code])

    def gettext(self, message: str, **values: object) -> str:
        """Translates a message, and puts values into it."""
        return self.catalogue.gettext(message) % values

    def ngettext(self, one: str, many: str, number: int, **values: object) -> str:
        """Translates a message that depends on a number, which it has as ``%(num)s``."""
        return self.catalogue.ngettext(one, many, number) % ({"num": self.number(number)} | values)

    def number(self, value: float) -> str:
        """Formats a whole number: ``1,200``, ``1.200``."""
        return self.decimal(value, 0)

    def decimal(self, value: float, digits: int) -> str:
        """Formats a number with a fixed number of decimals: ``0.952``, ``0,952``."""
        from babel.numbers import format_decimal

        pattern = f"#,##0.{'0' * digits}".rstrip(".")
        return format_decimal(f"{value:.{digits}f}", format=pattern, locale=self._locale)

    def figure(self, value: float, digits: int) -> str:
        """Formats a number with at most so many significant digits: ``0.5``, ``12.35``."""
        from babel.numbers import format_decimal

        pattern = f"@{'#' * (digits - 1)}" if value else "0"  # of zero no digit is significant
        return format_decimal(value, format=pattern, locale=self._locale)

    def percent(self, share: float, digits: int | None = None) -> str:
        """Formats a share of 1: ``52 %``.

        Args:
            share: the share.
            digits: decimals; None for a whole percentage, where what is nearly all or nothing
                says so.
        """
        if digits is not None:
            return self._percentage(100 * share, digits)
        bound, whole = rounded_percent(share)
        percentage = self._percentage(whole, 0)
        if bound == "over":
            return self.gettext("over %(share)s", share=percentage)
        if bound == "under":
            return self.gettext("under %(share)s", share=percentage)
        return percentage

    def _percentage(self, value: float, digits: int) -> str:
        # The space of English is that of the documents; CLDR knows those of the others.
        sign = " %" if self.code == Choice.ENGLISH else self._sign
        return self.decimal(value, digits) + sign

    @functools.cached_property
    def _sign(self) -> str:
        pattern: str = self._locale.percent_formats[None].pattern
        return pattern.removeprefix("#,##0")

    def duration(self, seconds: float) -> str:
        """Formats a duration as `boatinfer.text.duration` does."""
        return duration(seconds).replace(".", self._locale.number_symbols["latn"]["decimal"])

    def date(self, time: str, skeleton: str) -> str:
        """Formats the date of a time, in the time zone of the machine.

        Args:
            time: in ISO 8601.
            skeleton: the fields to show, as of CLDR: ``yMMMd``; or ``full``.
        """
        from babel.dates import format_date, format_skeleton

        local = datetime.fromisoformat(time).astimezone()
        if skeleton == "full":
            return format_date(local, "full", locale=self._locale)
        return format_skeleton(skeleton, local, locale=self._locale)

    def moment(self, time: str, skeleton: str = "full") -> str:
        """Formats date and time of day, and the time zone after a full date."""
        local = datetime.fromisoformat(time).astimezone()
        zone = f" {local:%Z}" if skeleton == "full" else ""
        return f"{self.date(time, skeleton)}, {local:%H:%M}{zone}"

    def weekday(self, day: datetime) -> str:
        """The name of a day of the week, as it stands within a sentence."""
        from babel.dates import format_date

        return format_date(day, "EEEE", locale=self._locale)

    def joined(self, names: Sequence[str], max_names: int = 3) -> str:
        """Formats some names: ``a``, ``a and b``, ``a, b, c and 7 more``."""
        from babel.lists import format_list

        shown, hidden = list(names[:max_names]), len(names) - max_names
        if hidden > 0:
            shown.append(self.gettext("%(count)s more", count=self.number(hidden)))
        return format_list(shown, locale=self._locale)


@functools.cache
def language_of(code: str) -> Language:
    """The language of a code, such as ``de``."""
    return Language(code)


#: That of terminals.
ENGLISH = language_of("en")


def resolved(choice: str) -> str:
    """The code of a choice; of ``auto`` that of the system, or English."""
    if choice != Choice.SYSTEM:
        return str(choice)
    named = next(filter(None, map(os.environ.get, _VARIABLES)), locale.getlocale()[0] or "")
    return Language(named[:2].lower()).code


def sentence_case(text: str) -> str:
    """Text with a capital at its beginning."""
    return text[:1].upper() + text[1:]
