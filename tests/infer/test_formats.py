"""Formats beside JPEG: large pictures, damage, and what must not leak into pixels."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, PngImagePlugin

from boatinfer import images
from boatinfer.errors import Failure, ImageError
from boatinfer.images import jpeg2000, pnm, with_libvips, with_pillow
from boatinfer.images.spec import ImageSpec
from corpus.encoded import saved
from corpus.other import other_samples
from corpus.png import RGB, chunk, png
from corpus.sample import Array, Sample, scene
from corpus.tiff import written

SPEC = ImageSpec(height=40, width=60)


def large() -> Array:
    return scene(500, 720)


def _large_files() -> dict[str, bytes]:
    alpha = np.dstack([large(), np.full((500, 720), 255, np.uint8)])
    return {
        "PNG": saved(large(), "PNG", compress_level=1),
        "PNG with alpha": saved(alpha, "PNG", compress_level=1),
        "TIFF": saved(large(), "TIFF"),
        "WebP": saved(large(), "WEBP", method=0),
        "JPEG 2000": saved(large(), "JPEG2000", irreversible=True),
        "PPM": saved(large(), "PPM"),
    }


@pytest.fixture
def large_files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Files that count as large."""
    for module in (jpeg2000, pnm, with_libvips, with_pillow):
        monkeypatch.setattr(module, "LARGE", 2**17)
    return _large_files()


@pytest.fixture(scope="module")
def corpus() -> list[Sample]:
    return list(other_samples())[::4]


def test_a_large_picture_is_what_it_would_be_in_one_step(large_files: dict[str, bytes]) -> None:
    right = images.fit(large(), SPEC).astype(int)
    for name, data in large_files.items():
        found = images.read(data, SPEC)
        assert np.abs(found - right).mean() < 1.5, name


@pytest.mark.parametrize(("height", "width"), [(500, 721), (501, 722), (502, 723), (503, 724)])
def test_a_large_jpeg2000_may_have_any_size(
    height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jpeg2000, "LARGE", 2**17)
    picture = scene(height, width)
    right = images.fit(picture, SPEC).astype(int)
    assert np.abs(images.read(saved(picture, "JPEG2000"), SPEC) - right).mean() < 1.5


def test_a_large_picture_that_is_cut_off_is_corrupt(large_files: dict[str, bytes]) -> None:
    for name, data in large_files.items():
        for share in (0.3, 0.9, 0.99):
            with pytest.raises(ImageError) as raised:
                images.read(data[: int(len(data) * share)], SPEC)
            assert raised.value.reason is Failure.CORRUPT, (name, share)


def test_every_size_is_what_its_reader_gives(corpus: list[Sample]) -> None:
    for sample in corpus:
        if not isinstance(sample.right, Failure):
            assert images.size(sample.data) == sample.right.shape[:2], sample.name


def test_warning_filters_change_nothing(corpus: list[Sample]) -> None:
    def rows() -> list[Any]:
        found: list[Any] = []
        for sample in corpus:
            try:
                found.append(images.read(sample.data, SPEC).tobytes())
            except ImageError as error:
                found.append(error.reason)
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        usual = rows()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rows() == usual


def test_what_an_application_switched_in_pillow_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (96, 320, 3), np.uint8)
    cut = {form: saved(noise, form)[:9000] for form in ("GIF", "PNG", "BMP")}
    text = png(scene().astype(int), 8, RGB, before=chunk(b"tEXt", b"a\0" + b"x" * 9999))
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 10)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", 10)
    assert np.array_equal(images.read(text, SPEC), images.fit(scene(), SPEC))
    for data in cut.values():
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        with pytest.raises(ImageError) as raised:
            images.read(data, SPEC)
        assert raised.value.reason is Failure.CORRUPT


def test_threads_give_the_same_pixels(corpus: list[Sample]) -> None:
    files = [sample.data for sample in corpus if sample.name.startswith("tiff/")]

    def read(data: bytes) -> Any:
        try:
            return images.read(data, SPEC).tobytes()
        except ImageError as error:
            return error.reason

    alone = list(map(read, files))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, files)) == alone


def test_libvips_is_loaded_for_those_files_alone_that_need_it(tmp_path: Path) -> None:
    code = """
import sys
from boatinfer import images
from boatinfer.models.card import ImageSpec
for name in sys.argv[1:]:
    images.read(open(name, "rb").read(), ImageSpec(height=4, width=4))
    print("pyvips" in sys.modules)
"""
    names = []
    for form in ("jpeg", "png", "tiff"):
        names.append(str(tmp_path / f"a.{form}"))
        Path(names[-1]).write_bytes(saved(scene(), form.upper()))
    run = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, check=True)
    assert run.stdout.split() == [b"False", b"False", b"True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_says_that_it_cannot_and_does_not_wait_for_ever() -> None:
    code = """
import os, sys
from boatinfer import images
from boatinfer.errors import ImageError
from boatinfer.models.card import ImageSpec
data, spec = sys.stdin.buffer.read(), ImageSpec(height=4, width=4)
images.read(data, spec)
if os.fork() == 0:
    try:
        images.read(data, spec)
    except ImageError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=saved(scene(), "TIFF"),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert b"forked" in run.stdout


@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_file_is_read_or_fails_with_a_reason(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(_SEEDS))
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + data.draw(st.binary(min_size=1, max_size=8)) + whole[at + 4 :]
    try:
        images.read(changed, SPEC)
    except ImageError as error:
        assert error.reason in {
            Failure.CORRUPT,
            Failure.UNSUPPORTED,
            Failure.TOO_LARGE,
            Failure.NOT_AN_IMAGE,
        }


_SEEDS = [
    written(scene().astype(int), 8, 2, tile=32, compression=8),
    png(scene().astype(int), 8, RGB),
    b"P3 2 1 255\n1 2 3 4 5 6\n",
    saved(scene(), "WEBP"),
    saved(scene(), "JPEG2000"),
    saved(Image.fromarray(scene()).quantize(32), "GIF"),
]


def test_no_bomb_is_decoded() -> None:
    bombs = {
        "pnm": b"P6 60000 60000 255\n" + bytes(99),
        "plain pnm": b"P3 60000 60000 255\n" + b"1 " * 99,
        "tiff": written(scene().astype(int), 8, 2).replace(
            (100).to_bytes(4, "little") + b"\1\1\4\0\1\0\0\0" + (60).to_bytes(4, "little"),
            (60_000).to_bytes(4, "little") + b"\1\1\4\0\1\0\0\0" + (60_000).to_bytes(4, "little"),
        ),
    }
    for name, data in bombs.items():
        with pytest.raises(ImageError) as raised:
            images.read(data, SPEC)
        assert raised.value.reason is Failure.TOO_LARGE, name
