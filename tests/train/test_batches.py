from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatinfer.images.spec import ImageSpec
from boattrain.augment import Augmentation
from boattrain.fitting.batches import Batches, balanced_weights, sampling_rates
from boattrain.fitting.pixels import Split, TrainingData
from boattrain.options import CnnOptions

COUNT, CLASSES = 10, 3
LABELS = np.arange(COUNT) % CLASSES


def pixels() -> Any:
    """Image i is all i."""
    return np.broadcast_to(np.arange(COUNT, dtype=np.uint8)[:, None, None, None], (COUNT, 4, 6, 3))


def batches(inputs: Any = None, labels: Any = LABELS, **options: Any) -> Batches:
    split = Split(pixels(), labels, [], {}, {})
    data = TrainingData(["a", "b", "c"], ImageSpec(height=4, width=6), split, split)
    chosen = CnnOptions(Path("data"), **({"batch_size": 4} | options))
    return Batches.from_data(split.pixels if inputs is None else inputs, data, chosen)


def epoch(made: Batches, number: int) -> list[int]:
    """The images of an epoch, in order."""
    steps = range(number * made.steps, (number + 1) * made.steps)
    return [int(image[0, 0, 0]) for step in steps for image in made[step].inputs]


def test_an_epoch_has_every_image_once_and_the_next_another_order() -> None:
    made = batches()
    assert made.steps == 3
    assert [len(made[step].inputs) for step in range(3)] == [4, 4, 2]
    assert sorted(epoch(made, 0)) == sorted(epoch(made, 1)) == list(range(COUNT))
    assert epoch(made, 0) != epoch(made, 1)


def test_targets_are_those_of_the_images() -> None:
    inputs, targets, weights = batches()[1]
    assert targets.argmax(axis=1).tolist() == [LABELS[image[0, 0, 0]] for image in inputs]
    assert targets.sum(axis=1).tolist() == weights.tolist() == [1.0] * 4


def test_the_seed_alone_decides() -> None:
    options: dict[str, Any] = {"flip": True, "brightness": 0.5, "mixup": 0.5}
    for one, other in zip(batches(**options)[5], batches(**options)[5], strict=True):
        np.testing.assert_array_equal(one, other)
    another = batches(seed=1, **options)[5]
    assert not np.array_equal(batches(**options)[5].inputs, another.inputs)


def test_augmentation_is_new_in_every_epoch() -> None:
    made = batches(brightness=1, batch_size=COUNT)
    assert not np.array_equal(np.sort(made[0].inputs, 0), np.sort(made[1].inputs, 0))


def test_mixup_blends_within_the_batch() -> None:
    _, targets, _ = batches(mixup=5.0)[0]
    assert targets.sum(axis=1) == pytest.approx(1)
    assert (targets.max(axis=1) < 1).any()


def test_balanced_weights_give_every_class_the_same() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = balanced_weights(labels, 3)
    assert weights.dtype == np.float32
    assert np.bincount(labels, weights[labels]) == pytest.approx([10 / 3] * 3)
    made = batches(class_weights="balanced")
    _, targets, found = made[0]
    expected = balanced_weights(LABELS, CLASSES)[targets.argmax(axis=1)]
    assert found == pytest.approx(expected)


def test_the_dataset_is_the_batches_in_order_from_any_on(keras: object) -> None:
    made = batches(flip=True, shift=0.1, mixup=0.2)
    for number, batch in zip(range(2, 9), made.dataset(2), strict=False):
        for found, expected in zip(batch, made[number], strict=True):
            np.testing.assert_array_equal(found.numpy(), expected)


def test_features_take_the_place_of_pixels(keras: object) -> None:
    features = np.random.default_rng(0).random((COUNT, 5), np.float32)
    made = batches(features)
    (batch,) = made.dataset().take(1)
    assert batch[0].shape == (4, 5)
    assert set(map(tuple, batch[0].numpy())) <= set(map(tuple, features))


def test_nothing_is_changed_unless_asked_for() -> None:
    assert not batches().augmentation.has_augmentation
    assert isinstance(batches().augmentation, Augmentation)
    assert {image.tobytes() for image in batches()[0].inputs} <= {x.tobytes() for x in pixels()}


@given(st.floats(0, 1), st.integers(0, 99))
def test_every_image_is_shown_its_share_of_an_epoch(oversampling: float, seed: int) -> None:
    labels = np.repeat([0, 1, 2], [7, 2, 1])
    share = sampling_rates(labels, oversampling)
    assert share.mean() == pytest.approx(1)
    made = batches(labels=labels, oversampling=oversampling, seed=seed)
    shown = np.bincount(epoch(made, 0), minlength=COUNT)
    assert shown.sum() == COUNT
    assert (np.floor(share - 1e-9) <= shown).all()
    assert (shown <= np.ceil(share + 1e-9)).all()


def test_full_oversampling_shows_all_classes_as_often() -> None:
    share = sampling_rates(np.repeat([0, 1, 2], [7, 2, 1]), 1.0)
    assert share.tolist() == pytest.approx([10 / 21] * 7 + [10 / 6] * 2 + [10 / 3])
