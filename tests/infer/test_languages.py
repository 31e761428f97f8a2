"""Pages in other languages have no word that is in no message."""

from __future__ import annotations

import gettext
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from babel import Locale
from msgspec.structs import replace as replace_struct

import colours
from boatinfer.analysis.compare import compare
from boatinfer.analysis.evaluate import evaluate
from boatinfer.analysis.options import CompareOptions, EvaluateOptions
from boatinfer.analysis.similar import duplicates, nearest, pairs
from boatinfer.errors import UsageError
from boatinfer.i18n import Choice, Language, language_of
from boatinfer.night.index_page import write_index
from boatinfer.night.record import FolderResult, NightResult, Record
from boatinfer.pages import comparison, evaluation, likeness, page, report
from boatinfer.pages.report import make_report
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.folder import Results
from boatinfer.results.gone import Gone
from boatinfer.results.mix import Mix
from boatinfer.results.published_tables import read_tables
from boatinfer.results.summary import Summary, Trained, Unusual
from nightly import parsed
from support import Command

#: Elements of which nothing is seen or said.
SILENT = {"style", "script"}
#: Attributes that are seen or said.
SAID = {"alt", "aria-label", "title", "data-text"}
VOID = {"meta", "img", "br", "input", "link"}
#: Words that are the same in all languages, and names.
NAMES = ["SVM", "UTC", "min", "jpg", "txt", "unsure", "CPU"]
#: What is in the names of the images, of the model and of the classes of its SVM.
DATA = ["pictures", "more", "wrong", "colours", "no red", "blue", "green", "red"]
#: One of each kind.
UNUSUAL = [
    Unusual("classes", "", now={"red": 0.5}, usual={"red": 0.2}, value=3.0, limit=2.0),
    Unusual("classes", "", "red", now={"red": 0.1}, usual={"red": 0.2}),
    Unusual("classes", ""),
    Unusual("confidence", "", now={"mean": 0.5}, usual={"mean": 0.8}),
    Unusual("confidence", "", now={"mean": 0.9}, usual={"mean": 0.8}),
    Unusual("confidence", "", now={"mean": 0.8}, usual={"mean": 0.8}),
    Unusual("features", ""),
    Unusual("folder_gone", "", "red"),
    Unusual("folder_gone", "", "red", since="2026-04-01T02:00:00+00:00"),
    Unusual("folder_silent", "", "red", runs=5, usual={"least": 40.0}),
]
GONE = Gone(images=3, folders={"red": 3})
TRAINED = Trained(labels={"red": 5, "blue": 5}, accuracy=0.99)


class Pseudo(gettext.NullTranslations):
    """Puts every message into brackets."""

    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return f"⟦{msgid1 if n == 1 else msgid2}⟧"


@pytest.fixture
def brackets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Language]:
    """German, with every message in brackets instead."""
    catalogues = {"de": Pseudo()}
    none = gettext.NullTranslations()
    monkeypatch.setattr(
        Language, "catalogue", property(lambda self: catalogues.get(self.code, none))
    )
    page._environment.cache_clear()
    yield language_of("de")
    page._environment.cache_clear()


class _Seen(HTMLParser):
    """What is seen or said of a page, without the parts that are marked as English."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = ""
        self.attributes: list[str] = []
        self._open: list[tuple[str, bool]] = []
        self.feed(text)

    @property
    def _hidden(self) -> bool:
        return any(hidden for _, hidden in self._open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        hidden = tag in SILENT or (tag != "html" and values.get("lang") == "en")
        if not (hidden or self._hidden):
            self.attributes += [values[name] or "" for name in SAID & values.keys()]
        if tag not in VOID:
            self._open.append((tag, hidden))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += f" {data}"


def _words(*texts: object) -> set[str]:
    return {word.lower() for text in texts for word in re.findall(r"[^\W\d_]{2,}", str(text))}


def _untranslated(file: Path, *data: object) -> set[str]:
    """Words of a page that are in no message, and no data."""
    seen, words = _Seen(re.sub(r"\b[0-9a-f]{12}\b", " ", file.read_text())), set()
    for text in (seen.text, *seen.attributes):
        while text != (text := re.sub("⟦[^⟦⟧]*⟧", " ", text)):
            pass
        words |= _words(text)
    german = Locale("de")
    dates = [
        name
        for names in (german.months["format"], german.days["format"])
        for width in ("wide", "abbreviated")
        for name in names[width].values()
    ]
    return words - _words(*dates, *data, *NAMES, *DATA, file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with all that a page may have: ``out``, of ``pictures``, with an SVM."""
    folder = tmp_path_factory.mktemp("languages")
    pictures = folder / "pictures"
    colours.write_pictures(pictures, each=4)
    (pictures / "red/000.jpg").rename(pictures / "green/wrong.jpg")
    (pictures / "more").mkdir()
    for number in range(3):
        (pictures / "more" / f"{number}.jpg").write_text("no picture")
    (pictures / "notes.txt").write_text("a note")
    (pictures / "@eaDir").mkdir()
    colours.write_model_with_svm(folder / "svm.onnx")
    for images in ([], [("more/a.jpg", "red"), ("more/b.jpg", "blue")]):
        for number, (name, colour) in enumerate(images):
            (pictures / name).write_bytes(colours.picture(colour, seed=50 + number))
        run(_options(folder))
    return folder


def _options(folder: Path, **changes: Any) -> RunOptions:
    options = RunOptions(
        folder / "pictures",
        folder / "out",
        folder / "svm.onnx",
        features=True,
        min_confidence=0.99,
        max_failures="100%",
        gallery=True,
        language=Choice.GERMAN,
        isolate=False,
    )
    return replace(options, **changes)


def _last(folder: Path) -> tuple[Results, Summary]:
    results = Results(folder / "out")
    summary = results.last_complete()
    assert summary is not None
    return results, summary


def test_the_pages_of_a_run_have_no_word_beside_messages(folder: Path, brackets: Language) -> None:
    _, summary = _last(folder)
    make_report(folder / "out")
    kept = sorted((folder / "out/reports").glob(f"{summary.run}*.html"))
    assert len(kept) > 2  # with those of the gallery
    for file in (folder / "out/report.html", *kept):
        assert "⟦" in file.read_text()
        assert _untranslated(file, folder, *summary.versions, summary.run) == set()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"complete": False, "finished": None},
        {"complete": False, "exit_code": 7, "error": "The disk is full."},
        {"exit_code": 3, "error": "Too many.", "restrictions": ["--limit", "3"]},
        {"exit_code": 8, "unlisted": 2, "error": "Unlisted.", "new": Mix()},
        {"new": Mix(), "classified": 0, "remarks": ["A part was damaged."]},
        {
            "min_confidence": None,
            "warnings": 3,
            "classified": 1,
            "gone": GONE,
        },
    ],
)
def test_nor_has_one_of_any_other_ending(
    folder: Path, brackets: Language, changes: dict[str, object]
) -> None:
    make_report(folder / "out")
    results, summary = _last(folder)
    summary = replace_struct(summary, unusual=UNUSUAL, training=TRAINED, **changes)
    report.write(results, summary, read_tables(results) if summary.complete else None)
    file = folder / "out/report.html"
    html = file.read_text()
    assert not re.search(r"[a-z⟧][.:]⟦|⟧⟦", html)  # sentences have a space between them
    assert _untranslated(file, folder, *summary.versions, summary.run, "limit", "red") == set()
    for error in filter(None, (summary.error, *summary.remarks)):
        assert error not in html or f'lang="en">{error}' in html


def test_nor_have_the_other_pages(folder: Path, brackets: Language) -> None:
    out, file = folder / "out", folder / "page.html"
    run(_options(folder, out=folder / "out2", model=colours.write_model(folder / "other.onnx")))
    images = [folder / "pictures/red/001.jpg", folder / "pictures/blue/001.jpg"]
    answers = [
        (evaluation, evaluate(EvaluateOptions(out, target_accuracy=0.6))),
        (comparison, compare(CompareOptions(out, folder / "out2"))),
        (likeness, nearest(images[0], out, k=3)),
        (likeness, pairs(out, images)),
        (likeness, duplicates(out, k=2)),
    ]
    for module, answer in answers:
        module.write(file, answer, brackets)
        text = file.read_text()
        assert '<html lang="de">' in text
        assert _untranslated(file, folder, "labels", "file", "out") == set()


def test_nor_has_the_page_of_the_nights(tmp_path: Path, brackets: Language) -> None:
    text = """language = "de"\n[[folder]]\nname = "cam"\ndir = "in"\n"""
    night = parsed(tmp_path, text)
    assert night.language == "de"
    assert night.folders[0].options.language == "de"
    result = FolderResult(name="cam", run="R", found=2, new=1)
    started = "2026-04-01T02:00:00+00:00"
    for code, of_folder in [
        (None, replace_struct(result, exit_code=None, run=None)),
        (0, replace_struct(result, exit_code=0)),
        (3, replace_struct(result, exit_code=3, failed=1, error="Too many failed.")),
        (0, replace_struct(result, exit_code=0, unusual=["More."], reasons=UNUSUAL)),
    ]:
        one = NightResult(started=started, whole=True, exit_code=code, folders=[of_folder])
        write_index(night, Record(config=str(night.file), nights=[one]))
        assert _untranslated(night.index, tmp_path, "cam", "index", "night", "red") == set()
    write_index(night, Record(config=str(night.file)))
    assert _untranslated(night.index, "night") == set()


def test_a_page_is_drawn_again_in_its_language_or_another(folder: Path) -> None:
    file = folder / "out/report.html"

    def drawn(**options: str) -> str:
        make_report(folder / "out", **options)
        return file.read_text()

    assert '<html lang="de">' in drawn()
    assert "neue Bilder" in drawn()
    italian = drawn(language="it")
    assert '<html lang="it">' in italian
    assert "immagini nuove" in italian
    assert "neue Bilder" in drawn()
    assert json.loads((folder / "out/run.json").read_text())["language"] == "de"


@pytest.mark.parametrize("code", sorted(set(Choice) - {Choice.SYSTEM}))
def test_commands_write_pages_in_a_language(boatinfer: Command, folder: Path, code: str) -> None:
    out, file = folder / "out", folder / "page.html"
    image = folder / "pictures/red/001.jpg"
    for command in [
        ("report", out),
        ("evaluate", out, "--html", file),
        ("compare", out, out, "--html", file),
        ("similar", image, out, "--html", file),
    ]:
        assert boatinfer(*command, "--language", code).code == 0
        page_file = out / "report.html" if command[0] == "report" else file
        assert f'<html lang="{code}">' in page_file.read_text()


def test_a_language_that_there_is_not_is_a_mistake_of_usage(
    boatinfer: Command, folder: Path
) -> None:
    done = boatinfer("report", folder / "out", "--language", "xx")
    assert done.code == 2
    assert "'xx'" in done.err
    with pytest.raises(UsageError, match="language must be one of en, it, de, es, fr, auto"):
        _options(folder, language="xx")
