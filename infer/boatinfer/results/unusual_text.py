"""What is unusual about a run, in words of a language."""

from __future__ import annotations

from boatinfer.i18n import ENGLISH, Language, sentence_case
from boatinfer.results.folder_mixes import MIN_IMAGES
from boatinfer.results.summary import Unusual
from boatinfer.text import printable

__all__ = ["MIN_CONFIDENCE", "MIN_NOVELTY", "unusual_in_words"]

#: A smaller change of the mean confidence is not worth a word.
MIN_CONFIDENCE = 0.01
#: Likewise of the mean novelty.
MIN_NOVELTY = 0.01


def unusual_in_words(unusual: Unusual, language: Language) -> str:
    """A sentence on something unusual.

    The English one is that of the run, which also stands in where figures for others are missing.

    Args:
        unusual: what it is.
        language: of the sentence.
    """
    if unusual.text and language.code == ENGLISH.code:
        return unusual.text
    folder = printable(unusual.folder or "")
    if unusual.kind == "folder_gone":
        return _gone(unusual, folder, language)
    if unusual.kind == "folder_silent":
        return _silent(unusual, folder, language)
    changes = {
        "classes": _classes,
        "confidence": _confidence,
        "novelty": _novelty,
        "features": _features,
    }
    if unusual.kind not in changes or (unusual.kind == "confidence" and not unusual.now):
        return unusual.text
    change = changes[unusual.kind](unusual, language)
    if not folder:
        return sentence_case(change)
    return language.gettext("In the folder %(folder)s: %(change)s", folder=folder, change=change)


def _gone(unusual: Unusual, folder: str, language: Language) -> str:
    if unusual.since is None:
        return language.gettext("The folder %(folder)s has no image any more.", folder=folder)
    return language.gettext(
        "The folder %(folder)s has had no image since %(day)s.",
        folder=folder,
        day=language.date(unusual.since, "MMMMd"),
    )


def _silent(unusual: Unusual, folder: str, language: Language) -> str:
    if "least" not in unusual.usual or unusual.runs is None:  # of an older version
        return unusual.text
    return language.gettext(
        "The folder %(folder)s has fewer than %(few)s new images; in each of the last %(runs)s "
        "runs it had %(least)s or more.",
        folder=folder,
        few=language.number(MIN_IMAGES),
        runs=language.number(unusual.runs),
        least=language.number(unusual.usual["least"]),
    )


def _classes(unusual: Unusual, language: Language) -> str:
    moved = language.gettext("; ").join(_moved(unusual, label, language) for label in unusual.now)
    if moved:
        return f"{moved}."
    return language.gettext("the shares of many classes have changed a little.")


def _moved(unusual: Unusual, label: str, language: Language) -> str:
    share, usual = unusual.now[label], unusual.usual.get(label, 0.0)
    values = {
        "label": printable(label),
        "share": language.percent(share),
        "usual": language.percent(usual),
    }
    if share > usual:
        return language.gettext("more %(label)s than usual: %(share)s, usually %(usual)s", **values)
    return language.gettext("less %(label)s than usual: %(share)s, usually %(usual)s", **values)


def _confidence(unusual: Unusual, language: Language) -> str:
    now, usual = unusual.now["mean"], unusual.usual["mean"]
    values = {"mean": language.decimal(now, 2), "usual": language.decimal(usual, 2)}
    if abs(now - usual) < MIN_CONFIDENCE:
        return language.gettext(
            "the confidences are spread in another way than usual: mean confidence %(mean)s, "
            "usually %(usual)s.",
            **values,
        )
    if now < usual:
        return language.gettext(
            "the network is less confident than usual: mean confidence %(mean)s, usually "
            "%(usual)s.",
            **values,
        )
    return language.gettext(
        "the network is more confident than usual: mean confidence %(mean)s, usually %(usual)s.",
        **values,
    )


def _novelty(unusual: Unusual, language: Language) -> str:
    now, usual = unusual.now["mean"], unusual.usual["mean"]
    values = {"mean": language.decimal(now, 2), "usual": language.decimal(usual, 2)}
    if abs(now - usual) < MIN_NOVELTY:
        return language.gettext(
            "the novelty is spread in another way than usual: mean novelty %(mean)s, usually "
            "%(usual)s.",
            **values,
        )
    if now > usual:
        return language.gettext(
            "the images are not as like those of training as usual: mean novelty %(mean)s, usually "
            "%(usual)s.",
            **values,
        )
    return language.gettext(
        "the images are more like those of training than usual: mean novelty %(mean)s, usually "
        "%(usual)s.",
        **values,
    )


def _features(unusual: Unusual, language: Language) -> str:
    return language.gettext(
        "the images look different from those of earlier runs (weather, light, lens or scene)."
    )
