"""The pages in a real browser: Chromium, which the operating system brings."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

import colours
from boatinfer.analysis.compare import compare
from boatinfer.analysis.evaluate import evaluate
from boatinfer.analysis.options import CompareOptions, EvaluateOptions
from boatinfer.analysis.similar import duplicates, nearest, pairs
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
KINDS = ["report", "evaluation", "comparison", "nearest", "pairs", "duplicates"]
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1200, "height": 900}


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
    found = {kind: folder / f"{kind}.html" for kind in KINDS[1:]}
    evaluation.write(found["evaluation"], evaluate(EvaluateOptions(out)))
    comparison.write(found["comparison"], compare(CompareOptions(out, folder / "other-out")))
    likeness.write(found["nearest"], nearest(odd[0], out, k=40))
    likeness.write(found["pairs"], pairs(out, odd))
    likeness.write(found["duplicates"], duplicates(out, k=5))
    return {"report": out / "report.html", **found}


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
    visit = Visit(browser, file, color_scheme="light")
    found = Axe().run(visit.page)
    assert found.violations_count == 0, found.generate_report()
    visit.page.emulate_media(color_scheme="dark")
    dark = Axe().run(visit.page, options={"runOnly": ["color-contrast"]})
    assert dark.violations_count == 0, dark.generate_report()
    assert visit.trouble == []


def test_a_phone_shows_all_of_its_width_and_every_picture(browser: Browser, file: Path) -> None:
    page = Visit(browser, file, viewport=PHONE).page
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    columns = page.eval_on_selector_all("td.path", "all => all.map(one => one.offsetWidth)")
    assert min(columns, default=150) >= 150  # a name is no tower of syllables
    widths = page.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
    assert widths
    assert all(width > 0 for width in widths)


def test_hostile_names_are_shown_and_do_nothing(browser: Browser, file: Path) -> None:
    visit = Visit(browser, file)
    text = visit.page.inner_text("main")
    for name in HOSTILE[:3]:
        assert name in text
    assert "two\\nlines.jpg" in text
    assert "\u202e" not in visit.page.content()
    targets = visit.page.eval_on_selector_all("a", "all => all.map(one => one.protocol)")
    assert set(targets) == {"file:"}
    visit.page.locator("a", has_text="onmouseover").first.hover()
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


def _column(page: Page, number: int) -> list[str]:
    rows = ".sortable tbody tr:not([hidden])"
    return page.locator(f"{rows} td:nth-child({number})").all_inner_texts()


def test_the_table_filters_and_sorts(browser: Browser, pages: dict[str, Path]) -> None:
    page = Visit(browser, pages["report"]).page
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


def test_the_table_is_filtered_by_class(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    colours.write_pictures(tmp_path / "in", each=2)
    run(RunOptions(tmp_path / "in", tmp_path / "out", pages["report"].parents[1] / "colours.onnx"))
    page = Visit(browser, tmp_path / "out" / "report.html").page
    select = page.get_by_label("Class", exact=True)
    select.select_option("green")
    assert _column(page, 2) == ["green", "green"]
    assert "2 of 6 rows" in page.inner_text(".controls")
    select.select_option("")
    assert len(_column(page, 2)) == 6


def test_without_javascript_all_is_readable(browser: Browser, pages: dict[str, Path]) -> None:
    page = Visit(browser, pages["report"], java_script_enabled=False).page
    assert page.locator(".sortable tbody tr").count() == len(_column(page, 1)) == 20
    assert page.locator(".controls").is_hidden()
    assert page.get_by_text("Complete: nothing was skipped").is_visible()


def test_on_paper_there_are_no_controls(browser: Browser, pages: dict[str, Path]) -> None:
    page = Visit(browser, pages["report"], color_scheme="dark").page
    page.emulate_media(media="print")
    assert page.locator(".controls").is_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
