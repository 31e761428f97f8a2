from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatinfer.images import Pixels
from boattrain.augment import Augmentation, augment, mixup

ALL = Augmentation(
    flip=True,
    shift=0.2,
    zoom=0.3,
    rotate=20,
    brightness=0.2,
    contrast=0.3,
    saturation=0.4,
    tint=0.1,
    erase=0.5,
)


def noise(count: int = 8, height: int = 12, width: int = 24) -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def ramp(count: int, height: int, width: int) -> Pixels:
    """Red is the column and green the row, times two."""
    pixels = np.zeros((count, height, width, 3), np.uint8)
    pixels[..., 0] = 2 * np.arange(width)
    pixels[..., 1] = 2 * np.arange(height)[:, None]
    return pixels


def changed(pixels: Pixels, options: Augmentation, seed: int = 0) -> Pixels:
    return augment(pixels, options, np.random.default_rng(seed))


def test_nothing_asked_for_changes_nothing() -> None:
    assert not Augmentation().has_augmentation
    for field in dataclasses.fields(Augmentation):
        some: dict[str, Any] = {field.name: 0.1}
        assert Augmentation(**some).has_augmentation
    np.testing.assert_array_equal(changed(noise(), Augmentation()), noise())


def test_the_same_seed_gives_the_same_images_and_another_seed_others() -> None:
    pixels = noise()
    first = changed(pixels, ALL, seed=1)
    np.testing.assert_array_equal(first, changed(pixels, ALL, seed=1))
    assert not np.array_equal(first, changed(pixels, ALL, seed=2))
    np.testing.assert_array_equal(pixels, noise())
    assert first.dtype == np.uint8
    assert first.shape == pixels.shape


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    amounts=st.tuples(
        st.booleans(), st.floats(0, 0.5), st.floats(0, 0.9), st.floats(0, 180)
    ),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_a_plain_image_stays_plain(
    size: tuple[int, int], amounts: tuple[Any, ...], seed: int
) -> None:
    """However it is moved, nothing but the image itself comes into view at its edges."""
    pixels = np.full((3, *size, 3), (10, 200, 77), np.uint8)
    np.testing.assert_array_equal(changed(pixels, Augmentation(*amounts), seed), pixels)


def test_flip_mirrors_some_images_and_leaves_the_others() -> None:
    pixels = noise(64)
    flipped = changed(pixels, Augmentation(flip=True))
    kinds = [
        (np.array_equal(new, old), np.array_equal(new, old[:, ::-1]))
        for new, old in zip(flipped, pixels, strict=True)
    ]
    assert set(kinds) == {(True, False), (False, True)}
    assert 16 < sum(same for same, _ in kinds) < 48


def test_a_flip_among_other_moves_is_still_a_mirror() -> None:
    slopes = np.diff(changed(ramp(64, 20, 40), Augmentation(flip=True, zoom=0.1))[:, 10, 10:30, 0])
    rises = np.sign(slopes.astype(np.int8).mean(axis=1))
    assert set(rises.tolist()) == {-1.0, 1.0}


def test_shift_moves_by_up_to_its_part_of_the_size() -> None:
    moved = changed(ramp(200, 40, 100), Augmentation(shift=0.1))[:, 20, 50].astype(float) / 2
    across, down = moved[:, 0] - 50, moved[:, 1] - 20
    assert 8.5 < across.max() <= 10.5
    assert -10.5 <= across.min() < -8.5
    assert 3.2 < down.max() <= 4.5
    assert -4.5 <= down.min() < -3.2


def test_zoom_enlarges_and_shrinks_about_the_middle() -> None:
    rows = changed(ramp(200, 40, 100), Augmentation(zoom=0.2))[:, 20, :, 0].astype(float) / 2
    window = rows[:, 60] - rows[:, 40]
    assert 15.5 <= window.min() < 17
    assert 23 < window.max() <= 24.5
    assert np.abs(rows[:, 50] - 50).max() <= 1


def test_rotation_turns_by_up_to_its_angle_about_the_middle() -> None:
    turned = changed(ramp(200, 41, 41), Augmentation(rotate=30)).astype(float) / 2
    rise = (turned[:, 20, 30, 1] - turned[:, 20, 10, 1]) / 20
    angles = np.degrees(np.arcsin(rise.clip(-1, 1)))
    assert 25 < angles.max() <= 32
    assert -32 <= angles.min() < -25
    assert np.abs(turned[:, 20, 20, :2] - 20).max() <= 1


def test_brightness_adds_one_amount_to_all_pixels_of_an_image() -> None:
    pixels = noise(50) // 4 + 96  # away from both ends
    added = changed(pixels, Augmentation(brightness=0.2)).astype(int) - pixels
    assert (np.ptp(added, axis=(1, 2, 3)) == 0).all()
    amounts = added[:, 0, 0, 0]
    assert -51 <= amounts.min() < -40
    assert 40 < amounts.max() <= 51


def test_contrast_stretches_about_the_mean_and_never_wraps_around() -> None:
    pixels = noise(50)
    stretched = changed(pixels, Augmentation(contrast=0.5)).astype(float)
    ratios = stretched.std(axis=(1, 2, 3)) / pixels.std(axis=(1, 2, 3))
    assert ratios.min() < 0.6
    assert ratios.max() > 1.1
    assert np.abs(stretched.mean(axis=(1, 2, 3)) - pixels.mean(axis=(1, 2, 3))).max() < 3
    darkest = pixels == pixels.min()
    assert stretched[darkest].max() < 100


def test_saturation_fades_and_strengthens_colours_and_leaves_grey_grey() -> None:
    grey = noise(50)[..., :1].repeat(3, axis=-1)
    np.testing.assert_array_equal(changed(grey, Augmentation(saturation=0.5)), grey)
    pixels = noise(50) // 4 + 96
    faded = changed(pixels, Augmentation(saturation=0.5)).astype(float)
    assert np.abs(faded.mean(axis=-1) - pixels.mean(axis=-1)).max() < 1
    spread = faded.std(axis=-1).mean(axis=(1, 2)) / pixels.std(axis=-1).mean(axis=(1, 2))
    assert 0.48 < spread.min() < 0.6
    assert 1.4 < spread.max() < 1.52


def test_tint_multiplies_each_colour_by_an_amount_of_its_own() -> None:
    pixels = np.full((200, 2, 2, 3), (50, 100, 200), np.uint8)
    factors = changed(pixels, Augmentation(tint=0.2))[:, 0, 0] / np.array([50, 100, 200])
    assert factors.min() == pytest.approx(0.8, abs=0.02)
    assert factors.max() == pytest.approx(1.2, abs=0.02)
    assert np.abs(np.corrcoef(factors.T)[np.triu_indices(3, 1)]).max() < 0.3


def test_the_shades_together_are_the_documented_map() -> None:
    pixels = noise(40)
    options = Augmentation(brightness=0.1, contrast=0.4, saturation=0.7, tint=0.2)
    generator = np.random.default_rng(0)
    generator.random(40)
    draws = generator.uniform(-1, 1, (10, 40))[4:, :, None, None, None]
    brightness, contrast, saturation = draws[:3] * np.array([0.1 * 255, 0.4, 0.7])[:, *[None] * 4]
    tint = np.moveaxis(draws[3:, ..., 0], 0, -1) * 0.2

    grey, mean = pixels.mean(axis=-1, keepdims=True), pixels.mean(axis=(1, 2, 3), keepdims=True)
    q = ((pixels - grey) * (1 + saturation) + grey) * (1 + tint)
    wanted = ((q - mean) * (1 + contrast) + mean + brightness).clip(0, 255)

    assert np.abs(changed(pixels, options) - wanted).max() < 0.51


def erased(height: int, width: int, **options: Any) -> list[tuple[int, int, int, int, bytes]]:
    """Top, left, bottom, right and colour of what is erased in each of 400 white images."""
    pixels = np.full((400, height, width, 3), 255, np.uint8)
    found = []
    for image in changed(pixels, Augmentation(erase=0.5, **options)):
        hidden = (image != 255).any(axis=-1)
        rows, columns = np.nonzero(hidden.any(axis=1))[0], np.nonzero(hidden.any(axis=0))[0]
        if rows.size:
            top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
            assert (image[top:bottom, left:right] == image[top, left]).all()
            found.append((top, left, bottom, right, image[top, left].tobytes()))
    return found


@given(st.integers(1, 9), st.integers(1, 9))
def test_erasing_hides_one_rectangle_in_a_share_of_the_images(height: int, width: int) -> None:
    assert 150 < len(erased(height, width)) < 250


def test_what_is_erased_varies_in_place_shape_and_colour() -> None:
    top, left, bottom, right, colour = map(np.array, zip(*erased(40, 50), strict=True))
    assert (top.min(), left.min(), bottom.max(), right.max()) == (0, 0, 40, 50)
    for sides in (bottom - top, right - left):
        assert (sides.min(), sides.max()) == (4, 20)
    assert abs(np.corrcoef(bottom - top, right - left)[0, 1]) < 0.2
    assert len(set(colour.tolist())) > 0.9 * len(colour)


def test_what_is_erased_is_the_last_change() -> None:
    pixels = noise(64, 20, 30)
    shaded: dict[str, Any] = {"flip": True, "shift": 0.1, "brightness": 0.3, "tint": 0.2}
    before, after = (
        changed(pixels, Augmentation(**shaded)),
        changed(pixels, Augmentation(**shaded, erase=1)),
    )
    alone = changed(pixels, Augmentation(erase=1))
    hidden = (before != after).any(axis=-1)
    assert hidden.any(axis=(1, 2)).all()
    np.testing.assert_array_equal(after[hidden], alone[hidden])


def test_an_option_changes_nothing_but_its_own_effect() -> None:
    flipped = changed(noise(32), Augmentation(flip=True))
    for name in ("brightness", "contrast", "saturation", "tint"):
        little: dict[str, Any] = {name: 0.02}
        both = changed(noise(32), Augmentation(flip=True, **little))
        assert 0 < np.abs(both.astype(int) - flipped).max() <= 6


def test_mixup_blends_targets_as_it_blends_images() -> None:
    values = np.array([0, 100, 200, 40], np.uint8)
    pixels = np.broadcast_to(values[:, None, None, None], (4, 2, 3, 3))
    targets = np.eye(4, dtype=np.float32)

    blended, mixed = mixup(pixels, targets, 0.4, np.random.default_rng(0))

    assert blended.dtype == np.uint8
    assert mixed.dtype == np.float32
    assert mixed.sum(axis=1) == pytest.approx(1)
    assert blended[:, 0, 0, 0] == pytest.approx(mixed @ values, abs=0.51)
    assert (mixed.max(axis=1) < 1).any()
