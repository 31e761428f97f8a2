from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from boattrain.fitting.ema import WeightAverage


def test_it_follows_the_weights_as_its_formula_says(keras: ModuleType) -> None:
    weight = keras.Variable([1.0, 2.0])
    average = WeightAverage([weight], decay=0.5)
    expected = np.array([1.0, 2.0])
    for step in range(1, 30):
        weight.assign([step, -step])
        average.update()
        kept = min(0.5, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * np.array([step, -step])

    with average.applied():
        assert weight.numpy() == pytest.approx(expected, rel=1e-5)
    assert weight.numpy().tolist() == [29, -29]


def test_weights_come_back_after_an_error(keras: ModuleType) -> None:
    weight = keras.Variable([1.0])
    average = WeightAverage([weight], decay=0.9)
    weight.assign([5.0])
    with pytest.raises(KeyError), average.applied():
        assert weight.numpy() == pytest.approx([1.0])
        raise KeyError
    assert weight.numpy() == pytest.approx([5.0])


def test_it_continues_where_another_was(keras: ModuleType) -> None:
    weight = keras.Variable([1.0])
    first = WeightAverage([weight], decay=0.9)
    weight.assign([3.0])
    first.update()
    second = WeightAverage([weight], decay=0.9)
    second.restore(first.state)
    for average in (first, second):
        average.update()
    assert [array.tolist() for array in first.state] == [a.tolist() for a in second.state]


def test_without_a_decay_the_weights_are_used(keras: ModuleType) -> None:
    weight = keras.Variable([1.0])
    average = WeightAverage([weight], decay=0.0)
    weight.assign([5.0])
    average.update()
    with average.applied():
        assert weight.numpy() == pytest.approx([5.0])
