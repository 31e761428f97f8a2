"""When, where and with which camera an image was taken."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from boatinfer.images.capture import Capture, read_capture, time_in_name

MTIME = int(datetime(2026, 4, 1, 2, 0, 5, tzinfo=UTC).timestamp() * 1e9)
UNKNOWN = Capture("2026-04-01T02:00:05+00:00", "mtime")

GPS: dict[int, Any] = {
    ExifTags.GPS.GPSLatitudeRef: "N",
    ExifTags.GPS.GPSLatitude: (45.0, 26.0, 15.0),
    ExifTags.GPS.GPSLongitudeRef: "W",
    ExifTags.GPS.GPSLongitude: (12.0, 19.0, 48.0),
}


def picture(
    taken: object = None,
    offset: object = None,
    gps: dict[int, Any] | None = None,
    kind: str = "JPEG",
    **camera: str,
) -> bytes:
    """A picture with EXIF data."""
    exif = Image.Exif()
    details = exif.get_ifd(ExifTags.IFD.Exif)
    for tag, value in (
        (ExifTags.Base.DateTimeOriginal, taken),
        (ExifTags.Base.OffsetTimeOriginal, offset),
    ):
        if value is not None:
            details[tag] = value
    for name, text in camera.items():
        exif[ExifTags.Base[name]] = text
    if gps is not None:
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(gps)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind, exif=exif)
    return file.getvalue()


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def call(data: bytes, name: str = "a.jpg") -> Capture:
        (tmp_path / "image").write_bytes(data)
        return read_capture(tmp_path / "image", name, MTIME)

    return call


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_data_are_read(read: Any, kind: str) -> None:
    data = picture("2025:12:31 23:59:58", "+02:00", GPS, kind, Make="ACME", Model="Trap 3")
    assert read(data) == ("2025-12-31T23:59:58+02:00", "exif", 45.4375, -12.33, "ACME Trap 3")


def test_a_time_without_offset_is_that_of_the_camera(read: Any) -> None:
    found = read(picture("2025:12:31 23:59:58"), "20200101.jpg")
    assert found[:2] == ("2025-12-31T23:59:58", "exif")


@pytest.mark.parametrize(
    "taken", ["0000:00:00 00:00:00", "2025:13:31 23:59:58", "    :  :     :  :  ", "", "x\0y"]
)
def test_a_time_that_is_none_says_nothing(read: Any, taken: str) -> None:
    assert read(picture(taken)) == UNKNOWN
    assert read(picture(taken), "a/IMG_20240229_101112.jpg").taken == "2024-02-29T10:11:12"


def test_offsets_may_be_negative(read: Any) -> None:
    found = read(picture("2025:12:31 23:59:58", "-03:30"))
    assert found.taken == "2025-12-31T23:59:58-03:30"


@pytest.mark.parametrize("offset", ["", "Z", "+99:00", "   :  ", "+2"])
def test_an_offset_that_is_none_is_left_out(read: Any, offset: str) -> None:
    found = read(picture("2025:12:31 23:59:58", offset))
    assert found[:2] == ("2025-12-31T23:59:58", "exif")


@pytest.mark.parametrize(
    "changed",
    [
        {ExifTags.GPS.GPSLatitude: (95.0, 0.0, 0.0)},
        {ExifTags.GPS.GPSLatitudeRef: "X"},
        {ExifTags.GPS.GPSLatitude: (45.0,)},
        {ExifTags.GPS.GPSLatitude: (0.0, 0.0, 0.0), ExifTags.GPS.GPSLongitude: (0.0, 0.0, 0.0)},
    ],
)
def test_coordinates_that_are_none_say_nothing(read: Any, changed: dict[int, Any]) -> None:
    assert read(picture(gps=GPS | changed))[2:4] == (None, None)


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("NIKON ", " D750\0\0", "NIKON D750"),
        ("", "D750", "D750"),
        ("\0", "", None),
    ],
)
def test_a_make_is_there_once(read: Any, make: str, model: str, camera: str | None) -> None:
    assert read(picture(Make=make, Model=model)).camera == camera


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("site/20260401_020304.jpg", "2026-04-01T02:03:04"),
        ("IMG-2026-04-01 02.03.04-x.jpg", "2026-04-01T02:03:04"),
        ("PXL_20260401_020304123.jpg", "2026-04-01T02:03:04"),
        ("cam_2026-04-01.jpg", "2026-04-01T00:00:00"),
        ("2026-04-01T02:03:04.jpg", "2026-04-01T02:03:04"),
        ("20261301_020304.jpg", None),
        ("DSC01234.jpg", None),
        ("20260401/a.jpg", None),
        ("120260401.jpg", None),
    ],
)
def test_a_time_in_a_name(name: str, taken: str | None) -> None:
    assert time_in_name(name) == taken


@given(cut=st.integers(0, 400), place=st.integers(0, 400), byte=st.integers(0, 255))
def test_damaged_data_fail_nothing(
    tmp_path_factory: pytest.TempPathFactory, cut: int, place: int, byte: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "damaged.jpg"
    data = bytearray(picture("2025:12:31 23:59:58", "+02:00", GPS, Make="ACME"))
    data[place % len(data)] = byte
    file.write_bytes(data[: len(data) - cut])
    found = read_capture(file, "a.jpg", MTIME)
    assert datetime.fromisoformat(found.taken or "")
    assert found.taken_source in ("exif", "mtime")
    assert found.latitude is None or -90 <= found.latitude <= 90


def test_what_is_no_image_has_the_time_of_its_last_change(read: Any, tmp_path: Path) -> None:
    assert read(b"") == UNKNOWN
    assert read(b"no image") == UNKNOWN
    assert read_capture(tmp_path / "gone.jpg", "a.jpg", MTIME) == UNKNOWN
