"""The page of each night: what its first screen says, where it leads, and that it is kept."""

from __future__ import annotations

import csv
import re
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pytest
from msgspec.structs import replace
from PIL import Image

import colours
from boatinfer.errors import UsageError
from boatinfer.i18n import ENGLISH, Choice
from boatinfer.pages import report as report_page
from boatinfer.pages.first_screen import time_of_day
from boatinfer.pages.links import Links
from boatinfer.pages.report import make_report
from boatinfer.pages.selection import LabelSample, Selection, quotas
from boatinfer.pages.trends import Trends
from boatinfer.pipeline.merge_shards import finish
from boatinfer.pipeline.options import RunOptions
from boatinfer.results.folder import Results
from boatinfer.results.mix import Mix
from boatinfer.results.published_tables import read_tables
from boatinfer.results.summary import Summary, Unusual
from boatinfer.storage.locations import place
from support import Command, rows

Night = Callable[..., Summary]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The results folder of `night`."""
    return tmp_path / "out"


def _add(pictures: Path, name: str, count: int = 1, colour: str = "red") -> None:
    for number in range(count):
        seed = zlib.crc32(f"{name}-{number}".encode())
        (pictures / f"{name}-{number}.jpg").write_bytes(colours.picture(colour, seed=seed))


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html[html.index("<main") :])).strip()


def _links(file: Path) -> set[str]:
    return set(re.findall(r'href="([^"#]+)"', file.read_text()))


def _dead_links(file: Path) -> list[str]:
    """The relative links of a page that lead to nothing."""
    return [link for link in _links(file) if not (file.parent / unquote(link)).exists()]


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("2026-11-25T02:10:00", "Tuesday night"),
        ("2026-11-24T22:00:00", "Tuesday night"),
        ("2026-11-24T18:30:00", "Tuesday evening"),
        ("2026-11-24T12:00:00", "Tuesday afternoon"),
        ("2026-11-24T05:00:00", "Tuesday morning"),
    ],
)
def test_a_night_has_the_name_of_the_day_on_which_it_begins(start: str, said: str) -> None:
    assert time_of_day(start, ENGLISH) == said  # without a time zone it is local time


def test_the_first_screen_is_in_plain_words(night: Night, pictures: Path, out: Path) -> None:
    night()
    _add(pictures, "new", 4)
    (pictures / "bad.jpg").write_text("hello")
    summary = night(max_failures="50%", min_confidence=1, title="Harbour <b>3</b>")
    text = "More red than usual: 100 %, usually 33 %."
    summary = replace(summary, unusual=[Unusual("classes", text)], started="2026-11-25T01:00:00")
    results = Results(out)
    report_page.write(results, summary, read_tables(results))
    html = (out / "report.html").read_text()
    screen, details = html.split("<details", 1)
    assert _text(screen).startswith("Harbour &lt;b&gt;3&lt;/b&gt; &larr; ")
    assert (
        "Tuesday night: 5 new images, 1 problem, 4 to check. Something is unusual. " + text
        in _text(screen)
    )
    assert "bits" not in screen
    assert "Compared with other nights and the training" in details
    assert "<title>Harbour &lt;b&gt;3" in html


class Measured(Unusual, frozen=True):
    """As `Unusual`, with figures."""

    value: float | None = None
    limit: float | None = None


def test_figures_of_what_is_unusual_are_folded(night: Night, out: Path) -> None:
    found = [Measured("classes", "More red.", None, 3.14159, 2.5), Measured("folder_gone", "Gone.")]
    summary = replace(night(), unusual=found)
    report_page.write(Results(out), summary, read_tables(Results(out)))
    screen, details = (out / "report.html").read_text().split("<details", 1)
    assert "More red. Gone. Complete, but look" in _text(screen)
    assert "3.14" not in screen
    assert "More red. (3.14, where ordinary nights are near 1" in _text("<main" + details)
    assert "Gone." not in details


def test_small_lines_tell_how_figures_went(night: Night, pictures: Path, out: Path) -> None:
    night()
    assert "<polyline" not in (out / "report.html").read_text()  # of one night there is no line
    _add(pictures, "more", 4)
    night()
    html = (out / "report.html").read_text()
    labels = re.findall(r'class="spark"[^>]* aria-label="([^"]+)"', html)
    assert labels[0] == "New images over the last 2 runs: from 4 to 12, 4 in this one."
    assert labels[1] == "Failures over the last 2 runs: from 0 to 0, 0 in this one."
    assert labels[2].startswith("Mean confidence over the last 2 runs: from 1.00 to 1.00")
    shares = [re.sub(r"\s", " ", label) for label in labels[3:]]
    assert shares[0] == "Share of red over the last 2 runs: from 33 % to 100 %, 100 % in this one."
    assert len(shares) == 3


def test_a_line_goes_from_the_first_run_to_this_one() -> None:
    runs = [Summary(run="r", folder="/f", started="", new=Mix(found=n)) for n in (10, 0, 5)]
    line = Trends(runs, ENGLISH).found
    assert line is not None
    points = [tuple(map(float, point.split(","))) for point in line.points.split()]
    assert points == [(3, 12), (50, 21), (97, 3)]  # 5, 0, 10; y grows downwards
    assert line.end == points[-1]


def test_every_night_is_kept_and_linked_to_those_beside_it(
    night: Night, pictures: Path, out: Path
) -> None:
    runs = [night().run]
    for number in range(2):
        _add(pictures, f"night {number}")
        runs.append(night().run)
    kept = [out / "reports" / f"{run}.html" for run in runs]
    assert sorted((out / "reports").iterdir()) == kept
    names = [file.name for file in kept]
    beside = [{link for link in _links(file) if link.startswith("../reports")} for file in kept]
    assert beside[0] == {f"../reports/{names[1]}"}
    assert beside[1] == {f"../reports/{names[0]}", f"../reports/{names[2]}"}
    assert f"reports/{names[1]}" in _links(out / "report.html")
    for file in [*kept, out / "report.html"]:
        assert _dead_links(file) == []
        assert "\0" not in file.read_text()
    assert "../../pictures/night%201-0.jpg" in _links(kept[2])


def test_a_run_without_new_images_leaves_the_page_of_the_night(
    boatinfer: Command, night: Night, pictures: Path, out: Path
) -> None:
    night()
    _add(pictures, "late", 2)
    run = night().run
    again = night()
    html = (out / "report.html").read_text()
    assert ": 2 new images, 0 problems." in _text(html)
    assert "Nothing new since" in html
    assert f"{again.found} found = 0 classified + 14 reused" in _text(html)
    assert "late-0.jpg" in html
    assert [file.stem for file in sorted((out / "reports").iterdir())][1:] == [run]
    assert "Nothing new since" not in (out / "reports" / f"{run}.html").read_text()
    (out / "report.html").unlink()
    assert boatinfer("report", out).code == 0
    assert (out / "report.html").read_text() == html
    (out / "report.html").unlink()
    night()
    assert ": 2 new images, 0 problems." in _text((out / "report.html").read_text())


def test_a_problem_of_a_run_without_new_images_is_told(
    night: Night, pictures: Path, out: Path
) -> None:
    night()
    (pictures / "red/000.jpg").unlink()
    night()
    html = (out / "report.html").read_text()
    assert "1 image of the last run is gone: 1 from red." in _text(html)
    night(limit=5)
    html = (out / "report.html").read_text()
    assert "Only a part of the folder: " in html[: html.index('class="lead"')]
    assert html.count("Nothing new since") == 1


def test_the_page_of_an_earlier_run_can_be_made_again(
    boatinfer: Command, night: Night, pictures: Path, out: Path
) -> None:
    (pictures / "bad.jpg").write_text("hello")
    first = night(max_failures="50%").run
    time.sleep(1.1)  # failures.csv has the second since when an image fails
    _add(pictures, "later", 3)
    (pictures / "worse.jpg").write_text("hello")
    night(max_failures="50%")
    nothing = night().run
    file = out / "reports" / f"{first}.html"
    before, latest = file.read_text(), (out / "report.html").read_text()
    file.write_text("lost")
    done = boatinfer("report", out, "--run", first)
    assert (done.code, done.out) == (0, f"report: {file}\n")
    assert "later-0" not in file.read_text()
    assert "worse.jpg" not in file.read_text()
    assert _text(file.read_text()) == _text(before)
    assert (out / "report.html").read_text() == latest
    for run, why in [(nothing, "no new images"), ("20200101", "there is no run"), ("../run", "no")]:
        with pytest.raises(UsageError, match=why):
            make_report(out, run)


def test_a_page_whose_images_were_classified_again_is_kept_as_it_is(
    night: Night, out: Path
) -> None:
    first = night().run
    before = (out / "reports" / f"{first}.html").read_text()
    night(fresh=True)
    with pytest.raises(UsageError, match="have been classified again or are gone"):
        make_report(out, first)
    after = (out / "reports" / f"{first}.html").read_text()
    assert after.count("data:image") == before.count("data:image") > 0
    assert "There are no new images" not in after


def test_a_report_is_made_of_tables_of_older_versions(
    night: Night, pictures: Path, out: Path
) -> None:
    (pictures / "bad.jpg").write_text("hello")
    night(max_failures="50%")
    for name, columns in [("predictions.csv", {"run", "new"}), ("failures.csv", {"since", "new"})]:
        old = [{key: row[key] for key in row if key not in columns} for row in rows(out, name)]
        with (out / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, old[0].keys())
            writer.writeheader()
            writer.writerows(old)
    make_report(out)
    assert "bad.jpg" in (out / "report.html").read_text()


def test_a_killed_run_leaves_nothing_in_the_kept_pages(night: Night, out: Path) -> None:
    run = night().run
    for name in (f"{run}.html", f"{run}.3.html"):
        (out / "reports" / f".{name}.77.tmp").write_text("half")
    (out / "reports" / "notes.txt").write_text("mine")
    night()
    assert {file.name for file in (out / "reports").iterdir()} == {f"{run}.html", "notes.txt"}


def test_links_may_lead_to_a_server(night: Night, pictures: Path, out: Path) -> None:
    _add(pictures, "a b")
    night(link_prefix="https://boats.example/night 1/")
    links = _links(out / "report.html")
    assert "https://boats.example/night 1/a%20b-0.jpg" in links
    assert not any("pictures/" in link for link in links)
    assert {"predictions.csv"} <= links
    for prefix in ("javascript:alert(1)", " ", "data:text/html,x", "http://[x"):
        with pytest.raises(UsageError, match="give the address of DIR"):
            RunOptions(pictures, out, link_prefix=prefix)


def test_links_are_relative_where_that_leads_somewhere(tmp_path: Path) -> None:
    folder = str(tmp_path / "a b")
    assert Links(folder, tmp_path / "out")("c#.jpg") == "\0../a%20b/c%23.jpg"
    assert Links(str(tmp_path), tmp_path)("javascript:x.jpg") == "\0./javascript%3Ax.jpg"
    assert Links(folder, tmp_path / "out")("/else/x.jpg") == "file:///else/x.jpg"
    bucket = place("s3://boats/night")
    assert Links("s3://boats/night/in", bucket)("x.jpg") == "\0./in/x.jpg"
    assert Links("s3://other/in", bucket)("x.jpg") == "s3://other/in/x.jpg"
    assert Links(folder, bucket)("x.jpg") == (tmp_path / "a b/x.jpg").as_uri()


def test_a_class_leads_to_its_pictures(night: Night, pictures: Path, out: Path) -> None:
    _add(pictures, "many", 60)
    _add(pictures, "few", 1, "blue")
    night()
    html = (out / "report.html").read_text()
    anchor = re.search(r'<a href="#(class-\d)">blue</a>', html)
    assert anchor is not None
    part = html[html.index(f'id="{anchor[1]}"') :].split("<h3", 1)[0].split("</details>")[0]
    assert "blue: 5 new images" in _text("<main>" + part)
    assert part.count("data:image/jpeg") == 5  # all, however many red ones there are
    assert re.search(r'alt="blue, confidence [01]\.\d\d"', part)
    assert 'title="few-0.jpg">few-0.jpg<' in part


def test_rare_classes_are_sampled_in_full() -> None:
    assert quotas({"a": 1000, "b": 13, "c": 2}, 400) == {"c": 2, "b": 13, "a": 385}
    assert quotas({"a": 5, "b": 5}, 3) == {"a": 1, "b": 2}
    labels = np.array(["Water"] * 900 + ["Topa"] * 13 + ["Gondola"] * 87)
    np.random.default_rng(0).shuffle(labels)
    table = pa.table(
        {
            "path": [f"{number:04}.jpg" for number in range(1000)],
            "label": pa.array(labels.tolist()).dictionary_encode(),
            "confidence": np.linspace(0, 1, 1000),
        }
    )
    selection = Selection({"Water": 900, "Topa": 13, "Gondola": 87})
    for start in range(0, 1000, 170):
        selection.add(table.slice(start, 170))
    shown = [row["label"] for row in selection.sample]
    assert {label: shown.count(label) for label in set(shown)} == {
        **{"Water": 300, "Topa": 13, "Gondola": 87},
    }
    paths = [row["path"] for row in selection.sample]
    assert paths == sorted(set(paths))
    assert len(selection.of_classes["Topa"]) == 13


def test_unsure_images_and_the_least_confident_are_apart(
    night: Night, pictures: Path, out: Path
) -> None:
    for number in range(5):
        colour = (140 + number, 40 * number, 130)  # between red and blue
        Image.new("RGB", (80, 24), colour).save(pictures / f"violet-{number}.png")
    night(min_confidence=0.9)
    html = (out / "report.html").read_text()
    assert re.search(r"<dt>To check</dt><dd>5 ", html)
    part = html[html.index('id="review"') : html.index('id="failed"')]
    unsure, others = part.split("The least confident of the others")
    assert "Unsure tonight: 5" in unsure
    assert set(re.findall(r">(violet-\d)", unsure)) == {f"violet-{number}" for number in range(5)}
    assert "violet" not in others
    assert others.count("<figure>") == 6


def test_a_gallery_has_a_page_of_each_class(night: Night, pictures: Path, out: Path) -> None:
    _add(pictures, "many", 30)
    run = night(gallery=True).run
    pages = [out / "reports" / f"{run}.{number}.html" for number in (1, 2, 3)]
    assert sorted((out / "reports").iterdir()) == sorted([*pages, out / "reports" / f"{run}.html"])
    assert [file.read_text().count("data:image/jpeg") for file in pages] == [34, 4, 4]
    assert "red: 34 new images" in _text(pages[0].read_text())
    for file in [*pages, out / "report.html", out / "reports" / f"{run}.html"]:
        assert _dead_links(file) == []
    assert {f"reports/{file.name}" for file in pages} <= _links(out / "report.html")
    _add(pictures, "more", 2)
    night()
    assert not list((out / "reports").glob("*.4.html"))
    assert len(list((out / "reports").iterdir())) == 5


def test_options_of_the_page_reach_the_end_of_a_run_in_shards(night: Night, out: Path) -> None:
    options = {"title": "Harbour 3", "link_prefix": "https://h/x", "gallery": True}
    for number in (1, 2):
        night(shard=f"{number}/2", language=Choice.ITALIAN, **options)
    summary = finish(out)
    assert (summary.title, summary.link_prefix, summary.gallery) == tuple(options.values())
    html = (out / "report.html").read_text()
    assert '<html lang="it">' in html
    assert "<h1>Harbour 3</h1>" in html
    assert 'href="https://h/x/red/000.jpg"' in html
    assert (out / "reports" / f"{summary.run}.3.html").exists()


def test_of_a_label_as_many_rows_are_taken_as_wanted() -> None:
    table = pa.table({"label": ["a", "b", "a", "a", "b", "a"], "n": range(6)})
    sample = LabelSample({"a": 4, "b": 2}, {"a": 2, "b": 0})
    for start in range(0, 6, 2):
        sample.add(table.slice(start, 2))
    assert [row["n"] for row in sample.rows()] == [0, 5]
    assert sample.rows("b") == []
