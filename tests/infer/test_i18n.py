from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatinfer import text
from boatinfer.i18n import Choice, language_of, resolved
from boatinfer.pages.first_screen import in_words
from boatinfer.results.mix import Mix
from boatinfer.results.summary import Summary, Unusual

_SUMMARY = Summary(
    run="R",
    folder="/images",
    started="2026-11-25T02:10:00",
    new=Mix(found=1624, failed=1, labels={"unsure": 7}),
    min_confidence=0.5,
    unusual=[Unusual("classes", "", now={"Water": 0.36}, usual={"Water": 0.29})],
)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "en",
            "Tuesday night: 1,624 new images, 1 problem, 7 to check. "
            "More Water than usual: 36 %, usually 29 %.",
        ),
        (
            "it",
            "Martedì notte: 1.624 immagini nuove, 1 problema, 7 da controllare. "
            "Più Water del solito: 36%, di solito 29%.",
        ),
        (
            "de",
            "Dienstagnacht: 1.624 neue Bilder, 1 Problem, 7 zu prüfen. "
            "Mehr Water als üblich: 36\xa0%, sonst 29\xa0%.",
        ),
        (
            "es",
            "Martes por la noche: 1.624 imágenes nuevas, 1 problema, 7 por revisar. "
            "Más Water de lo habitual: 36\xa0%, normalmente 29\xa0%.",
        ),
        (
            "fr",
            "Nuit de mardi\xa0: 1\u202f624 nouvelles images, 1 problème, 7 à vérifier. "
            "Plus de Water que d\u2019habitude\xa0: 36\xa0%, habituellement 29\xa0%.",
        ),
    ],
)
def test_a_night_is_told_in_the_words_of_a_language(code: str, said: str) -> None:
    assert in_words(_SUMMARY, language_of(code)) == said


def test_only_the_first_of_many_unusual_things_are_told() -> None:
    said = in_words(_SUMMARY, language_of("en"), most=0)
    assert said == "Tuesday night: 1,624 new images, 1 problem, 7 to check."


@given(st.floats(0, 1), st.floats(0, 1e6), st.lists(st.text("abc", min_size=1), min_size=1))
def test_in_english_a_page_has_the_numbers_of_the_terminal(
    share: float, seconds: float, names: list[str]
) -> None:
    english = language_of("en")
    assert english.percent(share) == text.percent(share)
    assert english.decimal(share, 3) == text.decimal(share)
    assert english.duration(seconds) == text.duration(seconds)
    assert english.number(int(seconds)) == f"{int(seconds):,}"
    assert english.joined(names) == text.joined(names)


@pytest.mark.parametrize(
    ("code", "figures"),
    [
        ("en", ["1,234.50", "0.1235", "12.3 %", "over 99 %", "3.6 s", "1 Apr 2026", "a, b and c"]),
        ("it", ["1.234,50", "0,1235", "12,3%", "oltre il 99%", "3,6 s", "1 apr 2026", "a, b e c"]),
        ("de", ["1.234,50", "0,1235", "12,3\xa0%", "über 99\xa0%", "3,6 s"]),
        ("es", ["1.234,50", "0,1235", "12,3\xa0%", "más del 99\xa0%", "3,6 s"]),
        ("fr", ["1\u202f234,50", "0,1235", "12,3\xa0%", "plus de 99\xa0%", "3,6 s"]),
    ],
)
def test_figures_are_those_of_the_language(code: str, figures: list[str]) -> None:
    language = language_of(code)
    said = [
        language.decimal(1234.5, 2),
        language.figure(0.123456, 4),
        language.percent(0.123, 1),
        language.percent(0.9999),
        language.duration(3.649),
        language.date("2026-04-01T12:00:00", "yMMMd"),
        language.joined(["a", "b", "c"]),
    ]
    assert said[: len(figures)] == figures
    assert [language.figure(value, 4) for value in (0, 1, 12346)] == ["0", "1", "12350"]


@pytest.mark.parametrize(
    ("surroundings", "code"),
    [
        ({"LANG": "de_DE.UTF-8"}, "de"),
        ({"LC_ALL": "it_IT", "LANG": "de_DE"}, "it"),
        ({"LANGUAGE": "fr:de", "LC_ALL": "it_IT"}, "fr"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "ja_JP.UTF-8"}, "en"),
    ],
)
def test_the_language_is_that_of_the_system_only_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, surroundings: dict[str, str], code: str
) -> None:
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    assert resolved("auto") == code
    assert resolved(Choice.SPANISH) == "es"


def test_english_stands_in_for_a_language_that_is_not_known() -> None:
    assert language_of("xx").code == "en"
