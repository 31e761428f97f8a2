from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import colours
from boatinfer.options import RunOptions
from boatinfer.run import run


class Page(HTMLParser):
    """The text of a page, its tags and its addresses."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.addresses: list[str | None] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(pictures: Path, model_file: Path, tmp_path: Path) -> Page:
    """The report of a folder with a hostile name and a broken picture."""
    (pictures / "<script>alert(1)<&script>.jpg").write_bytes(colours.picture("red", seed=5))
    (pictures / "bad one.jpg").write_text("hello")
    run(RunOptions(pictures, tmp_path / "out", model_file, max_failures="100%"))
    return Page((tmp_path / "out" / "report.html").read_text())


def test_it_says_what_came_in(page: Page) -> None:
    text = re.sub(r"\s+", " ", page.text)
    assert "14 found = 13 classified + 0 reused + 1 failed" in text
    assert re.search(r"red ?5.*green ?4.*What failed", text)
    assert "1 not_an_image" in text


def test_a_hostile_name_is_only_a_name(page: Page) -> None:
    assert "<script>alert(1)<&script>.jpg" in page.text
    assert "script" not in page.tags


def test_it_needs_nothing_from_elsewhere(page: Page, pictures: Path) -> None:
    assert page.addresses
    beside = {"failures.csv", "predictions.csv"}
    assert all(a and (a in beside or a.startswith("file://")) for a in page.addresses)
    assert (pictures / "bad one.jpg").as_uri() in page.addresses
    assert "link" not in page.tags
    assert "img" not in page.tags
