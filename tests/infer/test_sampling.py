"""The accuracy that a random sample shows: unbiased, with an interval that holds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from boatinfer.analysis.sampling import Estimate, estimate, positions
from boatinfer.results.labels import CANNOT_TELL, SEVERAL, Answer


def _contents(count: int, seed: int) -> pa.Array:
    random = np.random.default_rng(seed)
    return pa.array([random.bytes(16).hex() for _ in range(count)])


def test_places_are_even_and_belong_to_the_content() -> None:
    contents = _contents(2000, 0)
    places = positions(contents)
    assert np.histogram(places, 4, (0, 1))[0].min() > 430
    assert (positions(contents.take(pa.array([7, 3]))) == places[[7, 3]]).all()


def _night(seed: int, doubtful_first: int, asked: int) -> tuple[float, Estimate]:
    """The true accuracy, and its estimate where a person has looked at doubtful images first."""
    random = np.random.default_rng(seed)
    contents = _contents(1000, seed)
    right = random.random(1000) < 0.8
    doubt = random.random(1000) + right  # wrong ones are more doubtful
    places = positions(contents)
    truth = ["a" if one else "b" for one in right]
    answers = {
        contents[row].as_py(): Answer("", contents[row].as_py(), truth[row], reason="unsure")
        for row in np.argsort(doubt)[:doubtful_first].tolist()
    }
    for row in np.argsort(places)[:asked].tolist():
        content = contents[row].as_py()
        answers.setdefault(content, Answer("", content, truth[row], reason="random"))
    return right.mean(), estimate(contents, places, pa.array(["a"] * 1000), answers)


@pytest.mark.parametrize("doubtful_first", [0, 150])
def test_the_interval_holds_whatever_was_labelled_before(doubtful_first: int) -> None:
    inside, error = 0, 0.0
    for seed in range(150):
        true, found = _night(seed, doubtful_first, 200)
        assert found.accuracy is not None
        assert found.interval is not None
        inside += found.interval[0] <= true <= found.interval[1]
        error += found.accuracy - true
    assert inside >= 0.9 * 150
    assert abs(error) / 150 < 0.01


def test_all_labelled_is_exact_and_what_nobody_can_tell_is_left_out() -> None:
    true, found = _night(1, 0, 1000)
    assert found.accuracy == pytest.approx(true)
    assert found.interval == (found.accuracy, found.accuracy)
    assert found.more == 0
    contents = _contents(4, 3)
    names = [contents[row].as_py() for row in np.argsort(positions(contents)).tolist()]
    labels = ["a", SEVERAL, CANNOT_TELL, "(none of these)"]
    answers = {
        name: Answer("", name, label, reason="random")
        for name, label in zip(names, labels, strict=True)
    }
    found = estimate(contents, positions(contents), pa.array(["a"] * 4), answers)
    assert found == Estimate(4, labelled=2, correct=1, left_out=2)
    del answers[names[1]]
    found = estimate(contents, positions(contents), pa.array(["a"] * 4), answers)
    assert (found.left_out, found.unanswered) == (1, 1)


def test_copies_of_an_image_are_one_answer() -> None:
    contents = _contents(1000, 5)
    order = np.argsort(positions(contents))
    copied = np.repeat(order, np.where(np.arange(1000) == 2, 4000, 1))  # of the third one
    contents = contents.take(pa.array(copied))
    names = [contents[row].as_py() for row in (0, 1, 2, 4002, 4003)]
    answers = {name: Answer("", name, "a", reason="random") for name in names}
    found = estimate(contents, positions(contents), pa.array(["a"] * len(contents)), answers)
    assert (found.images, found.labelled, found.correct) == (4999, 4004, 4004)
    assert found.effective == pytest.approx(1, abs=0.01)
    assert found.interval is not None
    assert found.interval == (4004 / 4999, 1)  # the others may all be wrong
    assert found.more is not None
    assert found.more > 10
    assert "sample of 4,004, as much as 1 without copies;" in found.text()


def test_the_interval_holds_where_images_have_copies() -> None:
    inside = 0
    for seed in range(150):
        random = np.random.default_rng(seed)
        copies = random.choice([1, 1, 1, 12], 800)
        right = random.random(800) < 0.8
        each = _contents(800, seed)
        places = positions(each)
        names = each.to_pylist()
        answers = {
            names[row]: Answer("", names[row], "a" if right[row] else "b", reason="random")
            for row in np.argsort(places)[:150].tolist()
        }
        rows = np.repeat(np.arange(800), copies)
        contents, predicted = each.take(pa.array(rows)), pa.array(["a"] * len(rows))
        ends = estimate(contents, places[rows], predicted, answers).interval
        assert ends is not None
        inside += ends[0] <= np.average(right, weights=copies) <= ends[1]
    assert 0.9 * 150 <= inside < 150


def test_as_many_more_labels_as_it_says_suffice() -> None:
    first = Estimate(100_000, labelled=200, correct=190)
    assert first.more is not None
    then = 200 + first.more
    after = Estimate(100_000, labelled=then, correct=round(0.95 * then))
    assert after.interval is not None
    assert (after.interval[1] - after.interval[0]) / 2 == pytest.approx(0.01, rel=0.15)
    assert "1 point" in first.text()
    assert Estimate(0).text() == "The last run had no new images to estimate the accuracy on."
    assert Estimate(10).text().startswith("No image of the random sample of 10 images")
