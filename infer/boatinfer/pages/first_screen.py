"""The first sentence of the page of a run, in words of a language."""

from __future__ import annotations

from datetime import datetime, timedelta

from boatinfer.i18n import Language, sentence_case
from boatinfer.results.mix import Mix
from boatinfer.results.summary import Summary
from boatinfer.results.tables.predictions import UNKNOWN, UNSURE
from boatinfer.results.unusual_text import unusual_in_words

__all__ = ["first_sentence", "in_words", "problems", "time_of_day", "to_check", "unknown", "unsure"]

#: Hours at which the morning, the afternoon, the evening and the night begin.
_MORNING, _AFTERNOON, _EVENING, _NIGHT = 5, 12, 18, 21


def in_words(summary: Summary, language: Language, most: int = 3) -> str:
    """What came in and what is unusual about it, for a message.

    ``Tuesday night: 624 new images, 0 problems, 7 to check. More Water than usual: 36 %, ...``.

    Args:
        summary: the run, complete.
        language: of the sentences; `boatinfer.i18n.language_of` has that of ``summary.language``.
        most: how many unusual things to tell, at most.
    """
    unusual = [unusual_in_words(one, language) for one in summary.unusual[:most]]
    return " ".join([_counts(summary, language), *unusual])


def first_sentence(summary: Summary, language: Language) -> str:
    """What came in, in words: ``Tuesday night: 624 new images, 0 problems, 7 to check.``."""
    counts = _counts(summary, language)
    if not summary.unusual:
        return counts
    alarm = language.gettext("Something is unusual.")
    return f"{counts} {alarm}"


def _counts(summary: Summary, language: Language) -> str:
    new = summary.new or Mix()
    parts = [
        language.ngettext("%(num)s new image", "%(num)s new images", new.found),
        language.ngettext("%(num)s problem", "%(num)s problems", problems(summary)),
    ]
    if summary.min_confidence is not None or summary.max_novelty is not None:
        parts.append(language.ngettext("%(num)s to check", "%(num)s to check", to_check(summary)))
    return language.gettext(
        "%(night)s: %(counts)s.",
        night=time_of_day(summary.started, language),
        counts=", ".join(parts),
    )


def problems(summary: Summary) -> int:
    """Number of new images that failed, and of folders that could not be listed."""
    return (summary.new or Mix()).failed + summary.unlisted


def unsure(summary: Summary) -> int:
    """Number of new images below the abstention threshold."""
    return 0 if summary.min_confidence is None else _labelled(summary, UNSURE)


def unknown(summary: Summary) -> int:
    """Number of new images above the limit of novelty."""
    return 0 if summary.max_novelty is None else _labelled(summary, UNKNOWN)


def to_check(summary: Summary) -> int:
    """Number of new images for manual review."""
    return unknown(summary) + unsure(summary)


def _labelled(summary: Summary, label: str) -> int:
    return (summary.new or Mix()).labels.get(label, 0)


def time_of_day(started: str, language: Language) -> str:
    """The day and time of day at which a run started, local time, as ``Tuesday night``."""
    start = datetime.fromisoformat(started).astimezone()
    hour = start.hour
    if hour < _MORNING:  # of the night that began the day before
        start -= timedelta(days=1)
    day = language.weekday(start)
    if hour < _MORNING or hour >= _NIGHT:
        words = language.gettext("%(day)s night", day=day)
    elif hour >= _EVENING:
        words = language.gettext("%(day)s evening", day=day)
    elif hour >= _AFTERNOON:
        words = language.gettext("%(day)s afternoon", day=day)
    else:
        words = language.gettext("%(day)s morning", day=day)
    return sentence_case(words)
