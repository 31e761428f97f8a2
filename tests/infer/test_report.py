from __future__ import annotations

import itertools
import json
import os
import re
import signal
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from msgspec.structs import replace

import colours
from boatinfer.errors import ModelError, OutputError, RunInterruptedError, UsageError
from boatinfer.models.card import Training
from boatinfer.pages import report as report_page
from boatinfer.pages import thumbnails
from boatinfer.pages.report import make_report
from boatinfer.pipeline.classifier import Classifier
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.folder import Results
from boatinfer.results.published_tables import read_tables
from boatinfer.results.summary import Summary
from boatinfer.storage.base import Place
from support import Command

Night = Callable[..., Summary]
HOSTILE = "<script>alert(1)<&script>.jpg"


class Page(HTMLParser):
    """The text of a page, its tags and its addresses."""

    def __init__(self, file: Place) -> None:
        super().__init__()
        self.html = file.read_text()
        self.raw = ""
        self.tags: list[str] = []
        self.addresses: list[str | None] = []
        self.pictures: list[str | None] = []
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.raw += " " if tag in {"br", "dd", "li", "span", "td", "th"} else ""
        self.addresses += [value for name, value in attrs if name == "href"]
        self.pictures += [value for name, value in attrs if name == "src"]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] not in (["script"], ["style"]):
            self.raw += data

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", self.raw)


@pytest.fixture
def page(pictures: Path, model_file: Path, tmp_path: Path) -> Page:
    """The report of a folder with a hostile name and a broken picture."""
    (pictures / HOSTILE).write_bytes(colours.picture("red", seed=5))
    (pictures / "bad one.jpg").write_text("hello")
    run(RunOptions(pictures, tmp_path / "out", model_file, max_failures="100%"))
    return Page(tmp_path / "out" / "report.html")


def test_it_says_what_came_in(page: Page) -> None:
    assert "14 found = 13 classified + 0 reused + 1 failed" in page.text
    assert re.search(r"red 5 38\.5 % .*green 4 ", page.text)
    assert re.search(
        r"\w+day (night|morning|afternoon|evening): 14 new images, 1 problem\.", page.text
    )
    assert "not an image: 1" in page.text


def test_it_shows_pictures_to_review_with_both_guesses(page: Page) -> None:
    assert "The least confident" in page.text
    assert "Pictures of each class" in page.text
    assert len(page.pictures) == 6 + 13
    assert re.search(rf"red 0\.\d+ or (green|blue) 0\.\d+ {re.escape(HOSTILE)}", page.text)


def test_a_hostile_name_is_only_a_name(page: Page) -> None:
    assert HOSTILE in page.text
    assert page.tags.count("script") == 1
    assert "alert(1)<&" not in page.html


def test_it_needs_nothing_from_elsewhere(page: Page, pictures: Path) -> None:
    beside = {"failures.csv", "predictions.csv"}
    assert all(a and (a in beside or a.startswith(("#", "../pictures/"))) for a in page.addresses)
    assert "../pictures/bad%20one.jpg" in page.addresses
    assert all(source and source.startswith("data:image/jpeg") for source in page.pictures)
    assert "link" not in page.tags
    assert "default-src 'none'" in page.html


def _add(pictures: Path, night: int, **counts: int) -> None:
    for colour, count in counts.items():
        for number in range(count):
            encoded = colours.picture(colour, seed=1000 * night + number)
            (pictures / f"{night}-{colour}-{number}.jpg").write_bytes(encoded)


def test_it_says_when_the_classes_of_a_night_are_unusual(
    night: Night, pictures: Path, tmp_path: Path
) -> None:
    night()
    assert "There is no earlier run" in Page(tmp_path / "out/report.html").text
    for number in range(1, 6):
        _add(pictures, number, red=9, green=9, blue=9)
        night()
    assert "shows from 5 earlier runs on" in Page(tmp_path / "out/report.html").text
    _add(pictures, 6, red=9, green=9, blue=9)
    assert night().unusual == []
    usual = Page(tmp_path / "out/report.html").text
    assert "The classes are about as usual (Jensen-Shannon divergence" in usual
    assert "about as confident as usual" in usual
    _add(pictures, 7, red=30, green=2, blue=1)
    summary = night()
    shifted = Page(tmp_path / "out/report.html").text
    assert summary.new is not None
    assert summary.new.labels == {"blue": 1, "green": 2, "red": 30}
    sentence = "More red than usual: 91 %, usually 33 %; less blue than usual: 3 %, usually 33 %"
    assert "Complete, but look" in shifted
    assert sentence in shifted
    assert shifted.count("More red than usual") == 2
    assert "The classes are about as usual" not in shifted
    assert re.search(r"red 30 90\.9 % 33\.3 % 88 ", shifted)


def test_an_interrupted_run_and_its_continuation_are_one_night(
    night: Night, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left for the second, in the order of paths, is like no night."""
    night()
    _add(pictures, 1, red=9, green=9, blue=9)
    night()
    _add(pictures, 2, red=9, green=9, blue=9)
    work, batches = Classifier.__call__, itertools.count()

    def stop(self: Classifier, batch: Any) -> Any:
        if next(batches) == 17:  # of 27; the red ones are last
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)  # the main thread, which hears it, may be waiting for the disk
        return work(self, batch)

    with monkeypatch.context() as stopping:
        stopping.setattr(Classifier, "__call__", stop)
        with pytest.raises(RunInterruptedError):
            night(batch_size=1, threads=1)
    with pytest.raises(ModelError):
        night(model=tmp_path / "none.onnx")
    summary = night()
    assert 0 < summary.classified < 12
    assert summary.new is not None
    assert summary.new.labels == {"blue": 9, "green": 9, "red": 9}
    for file in (tmp_path / "out/report.html", make_report(tmp_path / "out")):
        page = Page(file)
        assert "red 9 33.3 % 33.3 %" in page.text
        said = f"{27 - summary.classified} images of an earlier, incomplete run"
        assert said in page.text
        assert re.search(r"All 27 new ones", page.text)
    _add(pictures, 3, red=9, green=9, blue=9)
    assert night().new.images == 27  # type: ignore[union-attr]
    assert "did not come to its end" not in Page(tmp_path / "out/report.html").text


def test_it_names_what_kept_the_run_from_the_whole_folder(
    boatinfer: Command, pictures: Path, model_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    restricted = ["--limit", "5", "--exclude", "gr*"]
    done = boatinfer("run", pictures, "-o", out, "-m", model_file, *restricted)
    assert "not of the whole folder: --exclude 'gr*' --limit 5\n" in done.out
    page = Page(out / "report.html")
    assert "Complete: no selected image was skipped" in page.text
    assert "Only a part of the folder: --exclude 'gr*' --limit 5." in page.text
    assert json.loads((out / "run.json").read_text())["restrictions"] == [
        *("--exclude 'gr*'", "--limit 5"),
    ]
    assert "restricted  --exclude 'gr*' --limit 5" in boatinfer("results", out).out
    done = boatinfer("run", pictures, "-o", out, "-m", model_file)
    assert "whole folder" not in done.out
    page = Page(out / "report.html")
    assert "Complete: nothing was skipped" in page.text
    assert "whole folder" not in page.text


def test_it_says_its_time_zone_and_keeps_options_whole(
    night: Night, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "XYZ-1")
    time.tzset()
    try:
        (pictures / "bad.jpg").write_text("hello")
        night(max_failures="0", include=["<b>--exclude*", "*.jpg"])
    finally:
        monkeypatch.undo()
        time.tzset()
    text = (tmp_path / "out/report.html").read_text()
    assert re.search(r"\d\d:\d\d XYZ<", text)
    assert 'more than <span class="option">--max-failures</span> 0 allows' in text
    assert "<b>--" not in text
    assert "&lt;b&gt;" in text


def test_without_a_classified_image_there_is_no_rate(night: Night, tmp_path: Path) -> None:
    summary, results = night(), Results(tmp_path / "out")
    assert "new images a second" in Page(tmp_path / "out/report.html").text
    rest = replace(summary, classified=0, reused=12)  # goes on after a run that was killed
    report_page.write(results, rest, read_tables(results))
    assert "new images a second" not in Page(tmp_path / "out/report.html").text


def test_a_night_of_another_model_is_no_measure(
    night: Night, pictures: Path, tmp_path: Path
) -> None:
    night()
    other = colours.write_model(tmp_path / "other.onnx", colours.card(notes="another"))
    _add(pictures, 1, red=30)
    night(model=other)
    assert "There is no earlier run with this model" in Page(tmp_path / "out/report.html").text


def test_it_compares_with_training(night: Night, pictures: Path, tmp_path: Path) -> None:
    labels = {"red": 98, "green": 1, "blue": 1}
    training = Training("f00d", {"train": 100}, {"accuracy": 0.5}, {}, labels)
    night(model=colours.write_model(tmp_path / "t.onnx", colours.card(training=training)))
    text = Page(tmp_path / "out/report.html").text
    assert "far from the training set" in text
    assert "The accuracy on the validation images was 50 %" in text
    assert re.search(r"red 4 33\.3 % 98\.0 %", text)


def test_where_nothing_is_new_it_shows_what_is_there(night: Night, tmp_path: Path) -> None:
    night()
    night()
    text = Page(tmp_path / "out/report.html").text
    assert "12 found = 0 classified + 12 reused + 0 failed" in text
    assert "Nothing new since" in text


def test_it_shows_where_network_and_svm_disagree(pictures: Path, tmp_path: Path) -> None:
    model = colours.write_model_with_svm(tmp_path / "svm.onnx")
    run(RunOptions(pictures, tmp_path / "out", model))
    text = Page(tmp_path / "out/report.html").text
    assert "Where network and SVM disagree 12 images" in text
    assert re.search(r"red 0\.\d+ or \w+ 0\.\d+ SVM: no (green|blue)", text)


def test_time_is_told_by_stage(night: Night, tmp_path: Path) -> None:
    summary = night()
    assert {"start", "list", "read", "decode", "infer", "record", "tables"} == set(summary.stages)
    assert all(seconds >= 0 for seconds in summary.stages.values())
    text = Page(tmp_path / "out/report.html").text
    assert re.search(r"Decoding images \d+\.\d\d ([\d,]+ )?Running the network", text)


def test_made_anew_it_is_the_same(
    boatinfer: Command, night: Night, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "=sum(1).jpg").write_bytes(colours.picture("red", seed=9))
    (pictures / "line\nbreak \"quoted\", 'too'.jpg").write_bytes(colours.picture("blue", seed=9))
    (pictures / "bad.jpg").write_text("hello")
    night(max_failures="1")
    _add(pictures, 1, green=5)
    night(max_failures="1")
    file = tmp_path / "out" / "report.html"
    written = file.read_text()
    file.unlink()
    done = boatinfer("report", tmp_path / "out")
    assert (done.code, done.out) == (0, f"report: {file}\n")
    assert file.read_text() == written


def test_a_class_may_have_any_name(night: Night, tmp_path: Path) -> None:
    names = ["NA", "null", 'two  "blanks"']
    model = colours.write_model(tmp_path / "names.onnx", colours.card(classes=names))
    night(model=model)
    tables = read_tables(Results(tmp_path / "out"))
    assert tables.predictions["label"].value_counts().to_pylist() == [
        {"values": names[place], "counts": 4} for place in (2, 1, 0)
    ]
    html = (tmp_path / "out" / "report.html").read_text()
    assert '<option value="two  &#34;blanks&#34;">' in html  # not its text, which loses a blank


def test_old_results_without_the_new_figures_still_give_a_page(
    night: Night, tmp_path: Path
) -> None:
    night()
    out = tmp_path / "out"
    for file in [out / "run.json", *(out / "runs").glob("*.json")]:
        summary = json.loads(file.read_text())
        for key in ("new", "stages", "threads", "training", "digest"):
            del summary[key]
        file.write_text(json.dumps(summary))
    assert "12 found = 12 classified" in Page(make_report(out)).text


def test_report_refuses_what_is_no_results_folder(
    boatinfer: Command, night: Night, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        make_report(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    night()
    (tmp_path / "out" / "predictions.csv").write_text("")
    with pytest.raises(OutputError, match="run again to rewrite it"):
        make_report(tmp_path / "out")


def test_the_page_stays_small_whatever_the_night(
    night: Night, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = pictures / "/".join(["'" * 250] * 12)
    deep.mkdir(parents=True)
    for number in range(600):
        (deep / f"{'&' * 240}{number:03}.jpg").write_bytes(colours.picture("red", seed=number))
    for number in range(100):
        (deep / f"bad{'&' * 240}{number:03}.jpg").write_text("hello")
    monkeypatch.setattr(thumbnails, "_QUALITY", 100)
    night(max_failures="50%")
    page = Page(tmp_path / "out/report.html")
    assert len(page.html.encode()) < 3_000_000
    assert re.search(
        r"\d+ of 612 are shown, of each class evenly spread over the folder", page.text
    )
    assert re.search(r"And \d+ more", page.text)


def test_of_a_million_images_a_sample_is_shown(night: Night, tmp_path: Path) -> None:
    summary, results = night(), Results(tmp_path / "out")
    tables, count = read_tables(results), 1_000_000
    names = pc.utf8_lpad(pa.array(np.arange(count)).cast(pa.string()), 7, "0")
    rows = tables.predictions.take(pa.array(np.arange(count) % 12)).set_column(0, "path", names)
    report_page.write(results, summary, tables._replace(predictions=rows))
    page = Page(tmp_path / "out/report.html")
    assert len(page.html.encode()) < 3_000_000
    assert "400 of 1,000,000 are shown, of each class evenly spread over the folder" in page.text
    assert {"0000000", "0999999"} <= set(re.findall(r"\b\d{7}\b", page.text))
    assert {f"0{tenth}" for tenth in range(10)} == set(re.findall(r"\b(0\d)\d{5}\b", page.text))


def test_unsure_images_count_as_their_likeliest_class(
    night: Night, pictures: Path, tmp_path: Path
) -> None:
    night(min_confidence=1)
    _add(pictures, 1, red=1)
    assert night(min_confidence=1).unsure == 13
    page = Page(tmp_path / "out/report.html")
    assert "1 new image, 0 problems, 1 to check." in page.text
    assert "To check 1 confidence below 1; 13 in all" in page.text
    assert "Unsure tonight: 1" in page.text
    assert "All are in review.csv , with those of earlier nights" in page.text.replace(",", " ,")
    assert {"#review", "review.csv"} <= set(page.addresses)
    assert re.search(r"unsure: red 0\.\d+ or \w+ 0\.\d+ 1-red-0.jpg", page.text)
    assert re.search(r"1-red-0.jpg unsure: red 0\.\d+ ", page.text)
    assert re.search(r"All images red 0 100\.0 % 33\.3 % 0 (.* )?unsure 1 \S+ \S+ 13 ", page.text)
