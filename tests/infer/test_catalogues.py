"""The catalogues of messages agree with the source, and keep what messages hold."""

from __future__ import annotations

import gettext
import html
import io
import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.frontend import CommandLineInterface
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from jinja2 import Environment

from boatinfer.i18n import LOCALES, Choice, language_of

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "infer/boatinfer"
TRANSLATED = sorted(set(Choice) - {Choice.ENGLISH, Choice.SYSTEM})


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The messages of the source."""
    file = tmp_path_factory.mktemp("messages") / "boatinfer.pot"
    options = ["-q", "extract", "-F", str(ROOT / "pyproject.toml"), "-o", str(file)]
    CommandLineInterface().run(["pybabel", *options, str(SOURCE)])  # type: ignore[no-untyped-call]
    with file.open("rb") as opened:
        return read_po(opened)


def catalogue(code: str) -> Catalog:
    with (LOCALES / code / "LC_MESSAGES/boatinfer.po").open("rb") as file:
        return read_po(file)


def _ids(messages: Catalog) -> set[str | tuple[str, ...]]:
    return {_id(message) for message in messages if message.id}


def _id(message: Message) -> str | tuple[str, ...]:
    return message.id if isinstance(message.id, str) else tuple(message.id)


def _all(texts: str | tuple[str, ...] | list[str] | None) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts or [""])


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_catalogue_has_every_message_of_the_source_and_no_other(
    code: str, messages: Catalog
) -> None:
    found = catalogue(code)
    assert _ids(found) == _ids(messages)
    assert not found.obsolete
    for message in found:
        assert all(_all(message.string)), message.id
        assert not (message.fuzzy and message.id), message.id


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_translation_keeps_values_and_can_stand_in_an_attribute(code: str) -> None:
    for message in (message for message in catalogue(code) if message.id):
        for text in _all(message.string):
            values = set(re.findall(r"%\(\w+\)s", " ".join(_all(message.id))))
            assert set(re.findall(r"%\(\w+\)s", text)) == values, text
            assert not re.search(r"%(?!\(\w+\)s|%)", text.replace("%%", "")), text
            assert not set('<>"&') & set(text), text


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_catalogue_has_the_plural_forms_of_its_language(code: str) -> None:
    plural = language_of(code).catalogue.ngettext
    forms = [plural("%(num)s new image", "%(num)s new images", n) for n in (0, 1, 2, 1_000_000)]
    assert (forms[0] == forms[1]) == (code == "fr")  # French says 0 image
    assert forms[1] != forms[2] == forms[3]


@pytest.mark.parametrize("code", TRANSLATED)
def test_the_compiled_catalogue_is_that_of_the_text(code: str) -> None:
    compiled = io.BytesIO()
    write_mo(compiled, catalogue(code))
    compiled.seek(0)
    with (LOCALES / code / "LC_MESSAGES/boatinfer.mo").open("rb") as file:
        there = vars(gettext.GNUTranslations(file))["_catalog"]
    made = vars(gettext.GNUTranslations(compiled))["_catalog"]
    assert there.keys() == made.keys()
    assert {key: made[key] for key in there if key} == {key: there[key] for key in there if key}


def test_templates_have_no_words_beside_messages() -> None:
    for file in (SOURCE / "pages/templates").glob("*.html"):
        tokens = Environment().lex(file.read_text())
        text = html.unescape("".join(value for _, kind, value in tokens if kind == "data"))
        seen = re.sub(r"<(style|script).*?</\1>|<!--.*?-->|<[^<>]*>", " ", text, flags=re.DOTALL)
        words = set(re.findall(r"[^\W\d_]{2,}", re.sub(r"[\w-]+=\"[^\"]*\"|[<>]", " ", seen)))
        assert words <= {"SVM", "href", "class", "th", "td", "tr", "li"}, file.name
