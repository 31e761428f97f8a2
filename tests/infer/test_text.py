"""Counts and lists of names in words, and names that do nothing to a terminal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from boatinfer.text import counted, duration, joined, percent, table
from support import Command


@pytest.mark.parametrize(
    ("number", "noun", "said"),
    [
        *((0, "image", "0 images"), (1, "image", "1 image"), (1200, "file", "1,200 files")),
        *((1, "class", "1 class"), (2, "class", "2 classes")),
    ],
)
def test_a_count_has_the_right_ending(number: int, noun: str, said: str) -> None:
    assert counted(number, noun) == said


@pytest.mark.parametrize(
    ("names", "said"),
    [("a", "a"), ("ab", "a and b"), ("abc", "a, b and c"), ("abcde", "a, b, c and 2 more")],
)
def test_names_are_joined(names: str, said: str) -> None:
    assert joined(list(names)) == said


def test_a_name_does_nothing_to_the_terminal(
    boatinfer: Command, pictures: Path, model_file: Path
) -> None:
    good = (pictures / "red" / "000.jpg").rename(pictures / "\x1b[31mred.jpg")
    bad = pictures / "\x1b[2J.jpg"
    bad.write_text("hello")
    done = boatinfer("classify", good, bad, "-m", model_file)
    assert done.out.startswith(f"{pictures}/\\x1b[31mred.jpg\n")
    assert done.err == f"boatinfer: {pictures}/\\x1b[2J.jpg: no known image format\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (99, "99 s"), (99.6, "2 min")),
        *((5940, "99 min"), (5999, "1 h 40 min"), (5_000_000, "1,388 h 53 min")),
    ],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.0001, "under 1 %"), (0.524, "52 %"), (0.9999, "over 99 %"), (1, "100 %")],
)
def test_a_percentage_claims_neither_all_nor_nothing_wrongly(share: float, text: str) -> None:
    assert percent(share) == text


def test_whole_numbers_of_a_table_have_thousands_separators() -> None:
    rows = [("a", 1234567, 0.5), ("b", np.int64(1000), True)]
    assert table(rows) == ["  a  1,234,567   0.5", "  b      1,000  True"]
