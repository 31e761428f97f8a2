"""Pixels are proved: hundreds of files, read here and by independent decoders."""

from __future__ import annotations

import pytest

from boatinfer.errors import ImageError
from corpus.compare import Verdict, judged, table
from corpus.other import other_samples


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    return list(judged(other_samples()))


def test_every_file_is_read_rightly_or_fails_with_the_true_reason(verdicts: list[Verdict]) -> None:
    print(table(verdicts))  # noqa: T201
    assert [line for verdict in verdicts for line in verdict.wrong] == []


def test_the_corpus_is_wide_and_most_of_it_is_confirmed(verdicts: list[Verdict]) -> None:
    read = [verdict for verdict in verdicts if not isinstance(verdict.found, ImageError)]
    assert len(verdicts) >= 600
    assert len({verdict.name for verdict in verdicts}) == len(verdicts)
    assert sum(bool(verdict.confirmed) for verdict in read) / len(read) > 0.85
