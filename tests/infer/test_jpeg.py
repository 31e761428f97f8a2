"""JPEGs: what is odd but sound, what is damaged, what is not supported, and what kills decoders."""

from __future__ import annotations

import itertools
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import colours
from boatinfer import images
from boatinfer.errors import WARNING, Failure, ImageError
from boatinfer.images.exif import parse_orientation
from boatinfer.images.spec import ImageSpec
from boatinfer.images.warned import collected_warnings
from boatinfer.results.summary import Summary
from corpus.drawing import (
    after_start,
    exif,
    lossless,
    mosaic,
    pillow_jpeg,
    scan_place,
    scene,
    smooth,
)
from corpus.jpeg import SPARE, warned, with_spare

SPEC = ImageSpec(height=48, width=160)


def failure(data: bytes) -> Failure:
    with pytest.raises(ImageError) as raised:
        images.read(data, SPEC)
    return raised.value.reason


def readings(data: bytes) -> tuple[images.Pixels, list[str]]:
    notes: list[str] = []
    return images.read(data, SPEC, notes=notes), notes


def coded_place(jpeg: bytes) -> int:
    scan = scan_place(jpeg)
    return scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4])


# What could end the process is read in another one.

_READ_ALL = """
import sys
from boatinfer import images
from boatinfer.errors import ImageError
from boatinfer.models.card import ImageSpec
data = sys.stdin.buffer.read()
while data:
    length = int.from_bytes(data[:4])
    one, data = data[4 : 4 + length], data[4 + length :]
    for height, width in [(1, 1), (300, 1000)]:
        try:
            images.read(one, ImageSpec(height=height, width=width), lenient=True)
        except ImageError:
            pass
print("alive")
"""


def survives(files: list[bytes]) -> bool:
    sent = b"".join(struct.pack(">I", len(data)) + data for data in files)
    run = subprocess.run(
        [sys.executable, "-c", _READ_ALL], input=sent, capture_output=True, check=False
    )
    return run.returncode == 0 and run.stdout == b"alive\n" and run.stderr == b""


def test_a_lossless_jpeg_ends_no_process() -> None:
    grey = scene()[..., 0]
    assert survives([lossless(scene()), lossless(grey), lossless(smooth(24, 800))])


def test_no_header_that_lies_ends_the_process() -> None:
    files = []
    for process, precision in itertools.product([*range(0xC0, 0xD0), 0xF7], [2, 8, 12, 16]):
        files.append(mosaic(smooth(16, 32), process=process, precision=precision))
    for made in (mosaic(smooth()), lossless(scene()), pillow_jpeg(scene(), "CMYK")):
        frame = next(made.index(mark) for mark in (b"\xff\xc0", b"\xff\xc3") if mark in made)
        for height, width in [(0, 320), (96, 0), (1, 1), (2000, 999), (60_000, 9)]:
            size = struct.pack(">HH", height, width)
            files.append(made[: frame + 5] + size + made[frame + 9 :])
        for sampling in (0x00, 0x22, 0x44, 0x14, 0xFF):
            files.append(made[: frame + 11] + bytes([sampling]) + made[frame + 12 :])
        for count in (0, 1, 2, 4, 255):
            files.append(made[: frame + 9] + bytes([count]) + made[frame + 10 :])
        other = bytearray(made)
        other[frame + 1] ^= 3  # lossless for baseline, and the other way round
        files += [bytes(other), made[:frame] + made[frame:] * 2]
    assert survives(files)


def test_lossless_is_read_exactly() -> None:
    spec = ImageSpec(height=96, width=320)
    assert (images.read(lossless(scene()), spec) == scene()).all()
    assert (images.read(lossless(scene()[..., 0]), spec) == scene()[..., :1]).all()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (mosaic(smooth(), process=0xC1, precision=12), "a 12-bit JPEG"),
        (lossless(scene(), precision=16), "a 16-bit JPEG"),
        (mosaic(smooth(), process=0xF7), "a JPEG-LS"),
        (mosaic(smooth(), process=0xC5), "a hierarchical JPEG"),
        (mosaic(smooth(), [0x11] * 2, ids=(1, 2)), "a JPEG of 2 components"),
        (mosaic(smooth(), (0x31, 0x21, 0x11)), "a JPEG of fractional chroma sampling"),
    ],
)
def test_what_is_sound_and_not_read_is_named(data: bytes, kind: str) -> None:
    with pytest.raises(ImageError, match=f"^{kind}, which cannot be read here") as raised:
        images.read(data, SPEC)
    assert raised.value.reason is Failure.UNSUPPORTED
    with pytest.raises(ImageError, match=kind):
        images.size(data)


# Odd, but sound.


@pytest.mark.parametrize(("name", "data"), list(warned()))
def test_a_warning_is_a_note_and_the_pixels_are_those_of_the_clean_file(
    name: str, data: bytes
) -> None:
    rows = int(name[-1]) if "restarts" in name else 0
    progressive = "progressive" in name
    clean = pillow_jpeg(scene(), restart_marker_rows=rows, progressive=progressive)
    found, notes = readings(data)
    assert (found == images.read(clean, SPEC)).all()
    assert [note.startswith(WARNING) for note in notes] == [True] * name.startswith("warned")


def test_spare_bytes_are_no_excuse_for_damage() -> None:
    for spare in SPARE.values():
        whole = with_spare(pillow_jpeg(scene(), restart_marker_rows=1), spare)
        third = whole.index(b"\xff\xd2")
        assert failure(whole[: third - 60] + bytes(60) + whole[third:]) is Failure.CORRUPT
        assert failure(whole[: third - 60] + whole[third:]) is Failure.CORRUPT
        second = whole.index(b"\xff\xd1")
        assert failure(whole[:second] + whole[third:]) is Failure.CORRUPT


def test_spare_bytes_of_a_single_interval_are_damage() -> None:
    whole = pillow_jpeg(scene(), restart_marker_rows=1)
    third = whole.index(b"\xff\xd2")
    for spare in (b"\x5a\xa5" * 5, bytes(40)):
        assert failure(whole[:third] + spare + whole[third:]) is Failure.CORRUPT


# Damage.


def drawn() -> dict[str, bytes]:
    flat = scene()
    flat[60:] = 0  # with the best codes its end is all zeros
    return {
        "sequential": pillow_jpeg(scene()),
        "optimal": pillow_jpeg(scene(), optimize=True),
        "flat": pillow_jpeg(flat, optimize=True),
        "progressive": pillow_jpeg(scene(), progressive=True),
        "restarts": pillow_jpeg(scene(), restart_marker_rows=2),
        "grey": pillow_jpeg(scene(), "L"),
        "inks": pillow_jpeg(scene(), "CMYK"),
        "unusual": mosaic(smooth(), (0x22, 0x21, 0x11)),
    }


DRAWN = drawn()


@pytest.mark.parametrize("name", DRAWN)
def test_a_jpeg_that_is_cut_is_corrupt_everywhere(name: str) -> None:
    whole = DRAWN[name]
    for length in {*np.linspace(3, len(whole) - 12, 40).astype(int).tolist(), *_scans(whole)}:
        assert failure(whole[:length]) is Failure.CORRUPT, length


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
@pytest.mark.parametrize("name", DRAWN)
def test_a_jpeg_that_ends_in_zeros_is_corrupt(name: str, end: bytes) -> None:
    """As cards leave them when the battery dies."""
    whole = DRAWN[name]
    start = coded_place(whole)
    clean = images.read(whole, SPEC)
    for length in {*np.linspace(start, len(whole) - 12, 25).astype(int).tolist(), *_scans(whole)}:
        for zeros in (len(whole) - length, 5000):
            try:
                found, notes = readings(whole[:length] + bytes(zeros) + end)
            except ImageError as error:
                assert error.reason is Failure.CORRUPT
            else:  # zeros were overwritten, or so few bytes that libjpeg warns of nothing
                silent = end and not notes and len(whole) - length < 16
                assert silent or np.array_equal(found, clean), (length, zeros)


def _scans(jpeg: bytes) -> Iterator[int]:
    """Where scans begin: a progressive JPEG that is cut there is a whole one, but coarser."""
    place = scan_place(jpeg)
    while place >= 0:
        yield place
        place = jpeg.find(b"\xff\xda", place + 2)


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "unusual"])
def test_damage_in_the_middle_is_found_as_often_as_the_decoder_finds_it(name: str) -> None:
    """Nothing that libjpeg warns of passes, unless the pixels are those of the whole picture."""
    whole = DRAWN[name]
    clean, random = images.read(whole, SPEC).astype(int), np.random.default_rng(5)
    for trial in range(60):
        damaged, size = bytearray(whole), (1, 16, 512)[trial % 3]
        at = int(random.integers(2, len(whole) - 2))
        some = bytes(size) if trial % 2 else random.integers(0, 256, size, np.uint8).tobytes()
        damaged[at : at + size] = some[: len(whole) - at]
        try:
            found, notes = readings(bytes(damaged))
        except ImageError:
            continue
        assert not notes or np.abs(found - clean).max() <= 1, (at, size, notes)


def test_a_damaged_jpeg_of_unusual_sampling_is_corrupt_or_read_leniently() -> None:
    whole = mosaic(smooth(), (0x22, 0x21, 0x11))
    start = coded_place(whole)
    middle = (start + len(whole)) // 2
    damaged = whole[:middle] + whole[middle + 40 :]
    assert failure(damaged) is Failure.CORRUPT
    for data in (damaged, whole[:middle]):
        notes: list[str] = []
        found = images.read(data, SPEC, lenient=True, notes=notes)
        assert np.abs(found[:12].astype(int) - images.read(whole, SPEC)[:12]).max() <= 4
        assert len(notes) == 1
        assert not notes[0].startswith(WARNING)


# EXIF.


@given(st.binary(max_size=60))
def test_no_exif_is_a_trouble(exif: bytes) -> None:
    for start in (b"", b"Exif\0\0II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        assert 1 <= parse_orientation(start + exif) <= 8


@given(
    st.integers(0, 12),
    st.sampled_from("<>"),
    st.sampled_from([3, 4]),
    st.integers(1, 3),
    st.booleans(),
)
def test_the_orientation_is_found(
    number: int, order: str, kind: int, count: int, lie: bool
) -> None:
    segment = exif(number, order, kind, count, lie)
    assert parse_orientation(segment[4:]) == (number if 1 <= number <= 8 else 1)


@pytest.mark.parametrize(
    "extra", [b"\xff\xff\xff" + exif(3), exif(3, lie=True), exif(3, count=2), bytes(9) + exif(3)]
)
@pytest.mark.parametrize("data", [pillow_jpeg(scene()), mosaic(smooth(), (0x22, 0x21, 0x11))])
def test_orientation_counts_whatever_filters_say(data: bytes, extra: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = images.read(after_start(data, extra), ImageSpec(height=96, width=192))
    upright = images.read(data, ImageSpec(height=96, width=192))
    assert np.abs(found.astype(int) - upright[::-1, ::-1]).mean() < 2


# Python's warnings.


def test_warnings_of_a_thread_are_its_own() -> None:
    found: dict[int, list[str]] = {}
    begun = threading.Barrier(8)

    def work(number: int) -> None:
        with collected_warnings() as said:
            begun.wait()
            for _ in range(200):
                warnings.warn(f"from {number}", UserWarning, stacklevel=2)
        found[number] = said

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: [f"from {i}"] for i in range(8)}


def test_warnings_of_others_are_as_ever() -> None:
    with pytest.warns(UserWarning, match="plain") as caught:
        warnings.warn("plain", UserWarning, stacklevel=1)
    assert caught[0].filename == __file__


def test_a_warning_of_pillow_is_a_note_and_reaches_nobody(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def odd(*_: object) -> images.Pixels:
        warnings.warn("something is odd", UserWarning, stacklevel=2)
        return np.zeros((48, 160, 3), np.uint8)

    monkeypatch.setattr("boatinfer.images.reader.read_any", odd)
    assert readings(b"some format")[1] == [WARNING + "something is odd"]
    assert capfd.readouterr() == ("", "")


# In a night.


def test_a_sound_image_with_a_warning_is_counted_and_reused(
    night: Callable[..., Summary], pictures: Path, tmp_path: Path
) -> None:
    whole = colours.picture("red", size=(320, 96))
    (pictures / "odd.jpg").write_bytes(whole[:-2])
    (pictures / "cut.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    lenient = night(lenient=True)
    assert (lenient.failed, lenient.warnings) == (0, 1)
    (part,) = (tmp_path / "out" / "parts").iterdir()
    errors = {row["path"]: row["error"] for row in pq.read_table(part).to_pylist()}
    assert errors["odd.jpg"] == "warning: Premature end of JPEG file"
    assert errors["cut.jpg"] == "Premature end of JPEG file"
    strict = night(max_failures="100%")
    assert (strict.classified, strict.failures, strict.warnings) == (0, {"corrupt": 1}, 1)
    assert strict.reused == strict.found - 1
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The decoder gave a warning for 1 image" in page


def test_a_picture_in_memory_is_what_it_says(tmp_path: Path) -> None:
    """The size that the header tells, for every orientation."""
    upright = Image.fromarray(scene())
    data = pillow_jpeg(np.asarray(upright.rotate(90, expand=True)))
    assert images.size(after_start(data, exif(6))) == (96, 320)
    assert images.size(after_start(data, exif(6)), orientation=False) == (320, 96)
