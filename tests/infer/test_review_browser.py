"""The page of ``boatinfer review`` in a real browser: keys, grid, phone, two people, kills."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

import colours
from boatinfer.pipeline.options import RunOptions
from boatinfer.pipeline.run import run
from boatinfer.results.labels import LABELS, LabelFile, read_labels
from boatinfer.review.options import ReviewOptions
from reviewing import reviewing

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 720}
HOSTILE = ["<img src=x onerror=alert(1)>.jpg", '"><script>alert(2)<&script>.jpg']


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("there is no Chromium to look at the page with: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    colours.write_pictures(folder / "in", each=10)
    for number, name in enumerate(HOSTILE):
        (folder / "in" / name).write_bytes(colours.picture("red", 60 + number))
    model = colours.write_model(folder / "colours.onnx")
    run(RunOptions(folder / "in", folder / "out", model, min_confidence=1.0))
    return folder


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished / "out", tmp_path / "out")
    return tmp_path / "out"


class Visit:
    """The page, opened by a link, with all that it complained of."""

    def __init__(self, browser: Browser, link: str, **context: Any) -> None:
        self.trouble: list[str] = []
        self.page: Page = browser.new_context(**context).new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda said: self.trouble.append(said.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: self.trouble.append(dialog.message))
        self.page.goto(link)
        self.shown()

    def shown(self) -> str:
        """Waits until the picture of the question is there; the path of the image."""
        self.page.wait_for_selector("body[data-shown]")
        return self.page.locator("#name").inner_text()

    def press(self, key: str) -> None:
        """Presses a key, and waits until the next question is there."""
        before = self.page.locator("body").get_attribute("data-shown")
        self.page.keyboard.press(key)
        self.page.wait_for_selector(f"body[data-shown]:not([data-shown='{before}'])")

    def saved(self, count: int) -> None:
        """Waits until so many answers of this session are saved."""
        expect(self.page.locator("#saved")).to_contain_text(f"{count} saved now")


def _labels(out: Path) -> list[str]:
    return [answer.label for answer in read_labels(out / LABELS).answers.values()]


def test_one_key_an_image(browser: Browser, out: Path) -> None:
    with reviewing(ReviewOptions(out, name="ann")) as review:
        visit = Visit(browser, review.links[-1])
        paths = []
        for key in ("1", "g", "0", "5", "9", "ArrowRight"):
            paths.append(visit.shown())
            visit.press(key)
        visit.saved(5)
        first, *rest = _labels(out)
        assert first in colours.CLASSES
        assert rest == ["green", "(none of these)", "(several)", "(cannot tell)"]
        answered = [answer.path for answer in read_labels(out / LABELS).answers.values()]
        assert answered == paths[:5]
        visit.page.keyboard.press("/")
        visit.page.keyboard.type("kayak")
        visit.press("Enter")
        visit.saved(6)
        assert _labels(out)[-1] == "kayak"
        expect(visit.page.get_by_role("button", name="k kayak")).to_be_visible()
        visit.press("Backspace")
        visit.saved(5)
        assert len(_labels(out)) == 5
        assert visit.trouble == []


def test_a_key_that_is_held_down_answers_once(browser: Browser, out: Path) -> None:
    with reviewing(ReviewOptions(out)) as review:
        visit = Visit(browser, review.links[-1])
        visit.press("1")
        for _ in range(5):  # further presses without a release are repetitions
            visit.page.keyboard.down("g")
            visit.shown()
        visit.page.keyboard.up("g")
        visit.press("b")
        visit.saved(3)
        assert _labels(out)[1:] == ["green", "blue"]


def test_nothing_is_answered_before_its_picture_is_there(browser: Browser, out: Path) -> None:
    with reviewing(ReviewOptions(out)) as review:
        visit = Visit(browser, review.links[-1])
        visit.page.route("**/image/*", lambda route: None)  # no further picture comes
        name = visit.page.locator("#name")
        for _ in range(12):  # more than were fetched ahead
            before = name.inner_text()
            visit.page.keyboard.press("ArrowRight")
            expect(name).not_to_have_text(before)
        expect(visit.page.locator("body")).not_to_have_attribute("data-shown", re.compile("."))
        visit.page.keyboard.press("g")
        expect(visit.page.locator("#live")).to_have_text("The image is not shown yet.")
        visit.page.get_by_role("button", name="None of these").click()
        visit.page.keyboard.press("/")
        visit.page.keyboard.type("kayak")
        visit.page.keyboard.press("Enter")
        expect(visit.page.locator("#class")).to_have_value("kayak")
        assert not (out / LABELS).exists()


def test_a_letter_stays_with_its_class(browser: Browser, out: Path) -> None:
    with reviewing(ReviewOptions(out)) as review:
        visit = Visit(browser, review.links[-1])
        for number, name in enumerate(["kayak", "ketch", "kaa"], 1):
            visit.page.keyboard.press("/")
            visit.page.keyboard.type(name)
            visit.press("Enter")
            visit.saved(number)
        for key, name in (("k", "kayak"), ("e", "ketch"), ("a", "kaa")):
            expect(visit.page.get_by_role("button", name=f"{key} {name}")).to_be_visible()
        visit.press("Backspace")
        visit.saved(2)
        visit.press("Backspace")
        visit.saved(1)
        expect(visit.page.get_by_role("button", name="a kaa")).to_be_visible()


def test_what_was_left_out_is_asked_next_and_undo_brings_back_the_rest(
    browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(30):  # but for their comments they are the same
        comment = bytes([255, 254, 0, 3, number])
        data = colours.picture("red", 1)
        (tmp_path / "in" / f"{number:02}.jpg").write_bytes(data[:2] + comment + data[2:])
    model = colours.write_model(tmp_path / "colours.onnx")
    run(RunOptions(tmp_path / "in", tmp_path / "out", model, min_confidence=1.0))
    with reviewing(ReviewOptions(tmp_path / "out")) as review:
        visit = Visit(browser, review.links[-1])
        frames = visit.page.locator("#frames button")
        count = frames.count()
        assert count > 2
        first = visit.shown()
        frames.nth(0).click()
        visit.page.keyboard.press("g")
        visit.saved(count - 1)
        while visit.shown() != first:
            visit.press("ArrowRight")
        assert frames.count() == 0
        visit.page.keyboard.press("Backspace")
        visit.saved(0)
        expect(frames).to_have_count(count)
        assert visit.trouble == []


def test_a_selection_in_the_grid_is_labelled_together(browser: Browser, out: Path) -> None:
    with reviewing(ReviewOptions(out)) as review:
        visit = Visit(browser, review.links[-1])
        visit.page.keyboard.press("3")
        tiles = visit.page.locator("#tiles button")
        expect(tiles.nth(23)).to_be_visible()
        for place in (0, 2):
            tiles.nth(place).focus()
            visit.page.keyboard.press("Space")
        expect(visit.page.locator("#selected")).to_have_text("2 selected")
        visit.page.keyboard.press("b")
        visit.saved(2)
        assert _labels(out) == ["blue", "blue"]
        visit.page.get_by_role("button", name="Select all").click()
        visit.page.keyboard.press("r")
        expect(visit.page.locator("#saved")).not_to_contain_text("2 saved now")
        assert _labels(out).count("red") >= 20
        assert visit.trouble == []


def test_it_is_accessible_on_a_desk_and_on_a_phone(browser: Browser, out: Path) -> None:
    with reviewing(ReviewOptions(out)) as review:
        for scheme in ("light", "dark"):
            visit = Visit(browser, review.links[-1], color_scheme=scheme, viewport=PHONE)
            for _ in range(2):
                found = Axe().run(visit.page)
                assert found.violations_count == 0, found.generate_report()
                wide = visit.page.evaluate("document.documentElement.scrollWidth")
                assert wide == PHONE["width"]
                visit.page.get_by_role("button", name="Grid").click()
            visit.shown()
            visit.page.keyboard.press("4")
            expect(visit.page.locator("#picture")).to_have_attribute("src", re.compile("^/full/"))
        expect(visit.page.locator("#live")).to_contain_text("Guesses:")
        assert visit.page.locator("#live").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_no_answer_covers_the_picture_or_its_name(
    browser: Browser, out: Path, size: dict[str, int]
) -> None:
    with reviewing(ReviewOptions(out)) as review:
        visit = Visit(browser, review.links[-1], viewport=size)
        names = [f"class number {number}" for number in range(20)]
        visit.page.evaluate("names => showClasses([...classes, ...names])", names)

        def box_of(name: str) -> Any:
            return visit.page.evaluate("name => at(name).getBoundingClientRect().toJSON()", name)

        answers = box_of("answers")
        for name in ("picture", "name", "when"):
            box = box_of(name)
            assert box["top"] >= 0 and box["bottom"] <= size["height"]
            assert box["width"] > 50
            below = answers["top"] >= box["bottom"]
            beside = answers["left"] >= box["right"]
            assert below if size is PHONE else beside
        if size is DESK:
            assert box_of("skip")["bottom"] <= size["height"]
            hidden = "at('answers').scrollHeight - at('answers').clientHeight"
            assert visit.page.evaluate(hidden) <= 0


def test_hostile_names_are_text(browser: Browser, out: Path) -> None:
    with reviewing(ReviewOptions(out)) as review:
        visit = Visit(browser, review.links[-1])
        seen = set()
        for _ in range(32):
            seen.add(visit.shown())
            if set(HOSTILE) <= seen:
                break
            visit.press("ArrowRight")
        assert set(HOSTILE) <= seen
        assert visit.page.query_selector_all("main script, main img[onerror]") == []
        assert visit.trouble == []


def test_two_people_at_once(browser: Browser, out: Path) -> None:
    with (
        reviewing(ReviewOptions(out, name="ann")) as one,
        reviewing(ReviewOptions(out, name="bob")) as two,
    ):
        ann, bob = Visit(browser, one.links[-1]), Visit(browser, two.links[-1])
        both = ann.shown()
        assert bob.shown() == both
        bob.press("1")
        expect(ann.page.locator("#name")).not_to_have_text(both)
        assert len(_labels(out)) == 1
        bob.page.keyboard.press("Backspace")
        expect(bob.page.locator("#name")).to_have_text(both)


def test_an_answer_that_was_not_saved_is_said_and_asked_again(
    browser: Browser, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boatinfer.errors import OutputError

    def full(*_: object) -> None:
        raise OutputError("labels.csv could not be written: No space left on device; make room.")

    with reviewing(ReviewOptions(out)) as review:
        visit = Visit(browser, review.links[-1])
        path = visit.shown()
        with monkeypatch.context() as context:
            context.setattr(LabelFile, "append", full)
            visit.page.keyboard.press("1")
            expect(visit.page.get_by_role("alert")).to_contain_text("No space left on device")
            expect(visit.page.locator("#name")).to_have_text(path)
        visit.press("1")
        visit.saved(1)
        expect(visit.page.locator("#alert")).to_have_text("")
        assert [answer.path for answer in read_labels(out / LABELS).answers.values()] == [path]


def test_a_killed_server_loses_and_doubles_nothing(browser: Browser, out: Path) -> None:
    shown_as_saved = 0
    for kill in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "boatinfer", "review", str(out)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        visit = Visit(browser, process.stdout.readline().split()[-1])
        for _ in range(3):
            visit.press("1")
        visit.saved(3)
        shown_as_saved += 3
        visit.page.keyboard.press("1")  # and the kill in the middle of it
        process.send_signal(signal.SIGKILL)
        process.communicate()
        expect(visit.page.get_by_role("alert")).to_contain_text("The server has ended")
        lines = (out / LABELS).read_text().splitlines()[1:]
        contents = [line.split(",")[-7] for line in lines]
        assert len(contents) == len(set(contents))
        assert shown_as_saved <= len(contents) <= shown_as_saved + 1 + kill
