"""Counts and lists of names in words."""

from __future__ import annotations

import pytest

from boatinfer.text import counted, joined


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
