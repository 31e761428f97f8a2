"""The pages in a real browser: Chromium, which the operating system brings."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

import colours
from boatinfer.analysis.compare import compare
from boatinfer.analysis.evaluate import evaluate
from boatinfer.analysis.options import CompareOptions, EvaluateOptions
from boatinfer.analysis.similar import duplicates, nearest, pairs
from boatinfer.i18n import Choice, language_of
from boatinfer.pages import comparison, evaluation, likeness
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run

HOSTILE = [
    "<script>alert(1)</script>.jpg".replace("/", "&"),
    '"><img src=x onerror=alert(2)>.jpg',
    "' onmouseover='alert(3).jpg",
    "two\nlines.jpg",
    "javascript:alert(4).jpg",
    "\u202egpj.esrever.jpg",
]
OTHER_KINDS = ["evaluation", "comparison", "nearest", "pairs", "duplicates"]
KINDS = ["report", *OTHER_KINDS, "busy", "gallery", "german report", "german evaluation"]
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("there is no Chromium to look at the pages with: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All kinds of pages, over pictures with hostile names and some that are broken."""
    folder = tmp_path_factory.mktemp("pages")
    pictures = folder / "pictures"
    colours.write_pictures(pictures, each=3)
    model = colours.write_model(folder / "colours.onnx")
    mixed = colours.card(classes=["green", "blue", "red"])
    other = colours.write_model(folder / "other.onnx", mixed)
    options = RunOptions(pictures, folder / "out", model, features=True, max_failures="100%")
    run(options)
    (pictures / "bad<b>.jpg").write_text("hello")
    for seed, name in enumerate([*HOSTILE, *(f"{number}.jpg" for number in range(14))]):
        if name in HOSTILE:  # in a wrong folder, and all the same
            (pictures / "red" / name).write_bytes(colours.picture("green", seed=99))
        else:
            (pictures / name).write_bytes(colours.picture("blue", seed=100 + seed))
    run(options)
    run(replace(options, out=folder / "other-out", model=other))

    out, odd = folder / "out", [pictures / "red" / name for name in HOSTILE]
    found = {kind: folder / f"{kind}.html" for kind in OTHER_KINDS}
    evaluation.write(found["evaluation"], evaluate(EvaluateOptions(out)))
    comparison.write(found["comparison"], compare(CompareOptions(out, folder / "other-out")))
    likeness.write(found["nearest"], nearest(odd[0], out, k=40))
    likeness.write(found["pairs"], pairs(out, odd))
    likeness.write(found["duplicates"], duplicates(out, k=5))
    run(replace(options, min_confidence=1, title="A harbour", out=folder / "busy", gallery=True))
    (gallery,) = (folder / "busy/reports").glob("*.1.html")
    busy = {"busy": folder / "busy/report.html", "gallery": gallery}
    german = {
        f"german {kind}": folder / "german" / f"{kind}.html" for kind in ("report", "evaluation")
    }
    run(replace(options, min_confidence=1, out=folder / "german", language=Choice.GERMAN))
    result = evaluate(EvaluateOptions(folder / "german", target_accuracy=0.9))
    evaluation.write(german["german evaluation"], result, language_of("de"))
    return {"report": out / "report.html", **found, **busy, **german}


class Visit:
    """A page as it was opened, with all that it did unasked."""

    def __init__(self, browser: Browser, file: Path, **context: Any) -> None:
        self.trouble: list[str] = []
        self.context = browser.new_context(**{"viewport": DESK, **context})
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(5000)
        self.page.on("console", lambda said: self.trouble.append(said.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: self.trouble.append(dialog.message))
        self.page.on("request", self._note)
        self._own = file.as_uri()
        self.page.goto(self._own)

    def _note(self, request: Any) -> None:
        if request.url != self._own and not request.url.startswith("data:image/"):
            self.trouble.append(request.url)


@pytest.fixture(params=KINDS)
def file(request: pytest.FixtureRequest, pages: dict[str, Path]) -> Path:
    return pages[request.param]


def test_it_loads_quietly_and_is_accessible(browser: Browser, file: Path) -> None:
    for viewport in (DESK, PHONE):
        visit = Visit(browser, file, color_scheme="light", viewport=viewport)
        found = Axe().run(visit.page)
        assert found.violations_count == 0, found.generate_report()
        _unfold(visit.page)
        unfolded = Axe().run(visit.page)
        assert unfolded.violations_count == 0, unfolded.generate_report()
        visit.page.emulate_media(color_scheme="dark")
        dark = Axe().run(visit.page, options={"runOnly": ["color-contrast"]})
        assert dark.violations_count == 0, dark.generate_report()
        assert visit.trouble == []


def test_where_the_network_looked_is_shown_on_demand(browser: Browser, tmp_path: Path) -> None:
    colours.write_pictures(tmp_path / "pictures", each=2)
    run(RunOptions(tmp_path / "pictures", tmp_path / "out"))
    visit = Visit(browser, tmp_path / "out" / "report.html", viewport=DESK)
    page, map_ = visit.page, visit.page.locator(".heat").first
    assert not map_.is_visible()
    page.locator("#looked").focus()
    page.keyboard.press("Space")
    assert map_.is_visible()
    box, picture = map_.bounding_box(), page.locator(".album img").first.bounding_box()
    assert box == picture
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.emulate_media(media="print")
    assert not map_.is_visible()
    assert visit.trouble == []


def _unfold(page: Page) -> None:
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")


def test_a_phone_shows_all_of_its_width_and_every_picture(browser: Browser, file: Path) -> None:
    page = Visit(browser, file, viewport=PHONE).page
    if file.name == "report.html":
        assert page.evaluate("document.documentElement.scrollHeight") < 12_000
    _unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    columns = page.eval_on_selector_all("td.path", "all => all.map(one => one.offsetWidth)")
    assert min(columns, default=150) >= 150  # a name is no tower of syllables
    widths = page.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
    assert widths
    assert all(width > 0 for width in widths)


def test_hostile_names_are_shown_and_do_nothing(browser: Browser, file: Path) -> None:
    visit = Visit(browser, file)
    _unfold(visit.page)
    text = visit.page.inner_text("main")
    for name in HOSTILE[:3]:
        assert name in text
    assert "two\\nlines.jpg" in text
    assert "\u202e" not in visit.page.content()
    targets = visit.page.eval_on_selector_all("a", "all => all.map(one => one.protocol)")
    assert set(targets) == {"file:"}
    visit.page.get_by_text("onmouseover").first.hover()
    assert visit.page.query_selector_all("main script, main img:not([src^=data])") == []
    assert visit.trouble == []


def test_no_other_script_may_run(browser: Browser, pages: dict[str, Path]) -> None:
    visit = Visit(browser, pages["report"])
    visit.page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            const image = document.createElement("img");
            image.src = "https://example.invalid/x.png";
            document.body.append(image);
        }"""
    )
    assert visit.page.evaluate("window.ran") is None
    assert any("Content Security Policy" in said for said in visit.trouble)


def test_the_keyboard_soon_comes_to_the_end(browser: Browser, pages: dict[str, Path]) -> None:
    """Of the content, also where there is much to see; the first stop leads past the links."""
    page = Visit(browser, pages["busy"]).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    stops = 0
    while stops < 60 and page.evaluate("document.activeElement !== document.body"):
        page.keyboard.press("Tab")
        stops += 1
    assert 10 < stops < 60
    assert page.evaluate("document.activeElement === document.body")


def test_a_class_opens_its_pictures(browser: Browser, pages: dict[str, Path]) -> None:
    page = Visit(browser, pages["report"]).page
    heading = page.get_by_role("heading", name="blue: 14 new images")
    assert not heading.is_visible()
    page.locator(".classes").get_by_role("link", name="blue").click()
    assert heading.is_visible()
    assert heading.bounding_box()["y"] < DESK["height"]  # type: ignore[index]


def test_pictures_are_in_three_columns_and_lead_to_the_images(
    browser: Browser, pages: dict[str, Path]
) -> None:
    page = Visit(browser, pages["report"]).page
    tiles = [tile.bounding_box() for tile in page.locator(".album").first.locator("img").all()]
    assert len({round(box["x"]) for box in tiles if box}) == 3
    assert all(box and box["width"] >= 335 for box in tiles)
    links = page.locator(".album a")
    for link in links.all():
        assert Path(unquote(urlsplit(link.evaluate("link => link.href")).path)).exists()
    assert re.fullmatch(r"(red|green|blue), confidence \d\.\d\d", _alternatives(page)[0])


def _alternatives(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all(".album img", "all => all.map(one => one.alt)")
    return found


def _column(page: Page, number: int) -> list[str]:
    rows = ".sortable tbody tr:not([hidden])"
    return page.locator(f"{rows} td:nth-child({number})").all_inner_texts()


def test_the_table_filters_and_sorts(browser: Browser, pages: dict[str, Path]) -> None:
    page = Visit(browser, pages["report"]).page
    _unfold(page)
    everything = _column(page, 1)
    assert len(everything) == 20
    confidence = page.get_by_role("button", name="Confidence")
    confidence.click()
    rising = [float(text) for text in _column(page, 3)]
    assert rising == sorted(rising)
    confidence.focus()
    page.keyboard.press("Enter")
    falling = [float(text) for text in _column(page, 3)]
    assert falling == sorted(falling, reverse=True)
    header = page.get_by_role("columnheader", name="Confidence", exact=True)
    assert header.get_attribute("aria-sort") == "descending"
    assert sorted(_column(page, 1)) == sorted(everything)


def test_numbers_with_a_comma_are_sorted(browser: Browser, pages: dict[str, Path]) -> None:
    page = Visit(browser, pages["german report"]).page
    _unfold(page)
    page.get_by_role("button", name="Konfidenz").click()
    rising = [float(text.replace(",", ".")) for text in _column(page, 3)]
    assert len(set(rising)) > 1
    assert rising == sorted(rising)
    assert f"{len(rising)} von {len(rising)} Zeilen" in page.inner_text(".controls")


def test_the_table_is_filtered_by_class(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    colours.write_pictures(tmp_path / "in", each=2)
    run(RunOptions(tmp_path / "in", tmp_path / "out", pages["report"].parents[1] / "colours.onnx"))
    page = Visit(browser, tmp_path / "out" / "report.html").page
    _unfold(page)
    select = page.get_by_label("Class", exact=True)
    select.select_option("green")
    assert _column(page, 2) == ["green", "green"]
    assert "2 of 6 rows" in page.inner_text(".controls")
    select.select_option("")
    assert len(_column(page, 2)) == 6


def test_without_javascript_all_is_readable(browser: Browser, pages: dict[str, Path]) -> None:
    page = Visit(browser, pages["report"], java_script_enabled=False).page
    page.get_by_text("Table of images").click()
    assert page.locator(".sortable tbody tr").count() == len(_column(page, 1)) == 20
    assert page.locator(".controls").is_hidden()
    assert page.get_by_text("Complete: nothing was skipped").is_visible()


def test_on_paper_there_are_no_controls(browser: Browser, pages: dict[str, Path]) -> None:
    page = Visit(browser, pages["busy"], color_scheme="dark").page
    _unfold(page)
    page.emulate_media(media="print")
    for hidden in (".controls", "nav", ".sortable", ".skip"):
        assert page.locator(hidden).first.is_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) <= 4
