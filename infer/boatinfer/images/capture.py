"""When, where and with which camera an image was taken, as its EXIF data or its name say."""

from __future__ import annotations

import math
import os
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

from PIL import ExifTags, Image

from boatinfer.images.warned import collected_warnings

__all__ = ["EXIF", "MTIME", "NAME", "Capture", "capture_of_exif", "read_capture", "time_in_name"]

#: A date and, if it has one, a time of day in a name of a file: ``20260401_020000``,
#: ``2026-04-01 02.00.00``, ``IMG_20260401``.
_IN_NAME = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<s>[-_.]?)(?P<month>\d\d)(?P=s)(?P<day>\d\d)"
    r"(?:[-_T .]{0,3}(?P<hour>\d\d)(?P<t>[-_.:h]?)(?P<minute>\d\d)(?P=t)(?P<second>\d\d)"
    r"(?:\d{3})?)?(?!\d)"
)
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)")

#: Where `Capture.taken` is from.
EXIF, NAME, MTIME = "exif", "name", "mtime"


class Capture(NamedTuple):
    """What is known of the moment of a photograph.

    Attributes:
        taken: ISO 8601, with the offset from UTC where that is known, else as the camera's clock
            showed it.
        taken_source: ``exif``, ``name`` or ``mtime``; None where ``taken`` is.
        latitude: degrees, north positive; None if unknown.
        longitude: degrees, east positive; None if unknown.
        camera: make and model; None if unknown.
    """

    taken: str | None = None
    taken_source: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    camera: str | None = None


def read_capture(file: Path, name: str, mtime_ns: int) -> Capture:
    """Reads it from the header of a file; what is damaged or missing says nothing.

    Args:
        file: the image.
        name: its path, in which a date may stand.
        mtime_ns: its last change, nanoseconds since 1970.
    """
    exif: Any = {}
    try:
        with collected_warnings(), Image.open(file) as image:
            exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
            found = capture_of_exif(exif)
    except Exception:  # Pillow raises anything for damaged data
        found = Capture()
    if found.taken is not None:
        return found
    taken, source = time_in_name(name), NAME
    if taken is None:
        try:
            moment = datetime.fromtimestamp(mtime_ns / 1e9, UTC)
        except (ValueError, OverflowError, OSError):  # no year from 1 to 9999
            return found
        taken, source = moment.isoformat(timespec="seconds"), MTIME
    return found._replace(taken=taken, taken_source=source)


def capture_of_exif(exif: Any) -> Capture:
    """What EXIF data say (EXIF 2.32: DateTimeOriginal, OffsetTimeOriginal, GPS, Make, Model).

    Args:
        exif: what `PIL.Image.Image.getexif` has returned.
    """
    details = _directory(exif, ExifTags.IFD.Exif)
    gps = _directory(exif, ExifTags.IFD.GPSInfo)
    taken = _time(
        details.get(ExifTags.Base.DateTimeOriginal), details.get(ExifTags.Base.OffsetTimeOriginal)
    )
    latitude = _degrees(gps, ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef, "NS", 90)
    longitude = _degrees(gps, ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef, "EW", 180)
    if latitude is None or longitude is None or latitude == longitude == 0:  # no fix
        latitude = longitude = None
    camera = _camera(exif.get(ExifTags.Base.Make), exif.get(ExifTags.Base.Model))
    return Capture(taken, EXIF if taken else None, latitude, longitude, camera)


def time_in_name(name: str) -> str | None:
    """The date or time in the name of a file, ISO 8601; None if there is none.

    Args:
        name: a path; folders say nothing.
    """
    match = _IN_NAME.search(os.path.basename(name))  # noqa: PTH119 (it is the text of a path)
    if match is None:
        return None
    parts = (match[part] for part in ("year", "month", "day", "hour", "minute", "second"))
    return _iso(*(int(part or 0) for part in parts))


def _directory(exif: Any, number: int) -> Any:
    try:
        return exif.get_ifd(number)
    except Exception:  # damaged, or no directory
        return {}


def _time(text: object, offset: object) -> str | None:
    """A time of EXIF, ``2026:04:01 02:00:00``, in ISO 8601; None if it is none."""
    digits = re.fullmatch(r"(\d{4})\D(\d\d)\D(\d\d)\D(\d\d)\D(\d\d)\D(\d\d)", _clean(text) or "")
    if digits is None:
        return None
    return _iso(*map(int, digits.groups()), offset=_clean(offset))


def _iso(*parts: int, offset: str | None = None) -> str | None:
    try:
        taken = datetime(*parts, tzinfo=_zone(offset))  # type: ignore[misc,arg-type]
    except ValueError:  # 0000:00:00, as a camera without a clock writes
        return None
    return taken.isoformat(timespec="seconds")


def _zone(offset: str | None) -> timezone | None:
    match = _OFFSET.fullmatch(offset or "")
    if match is None:
        return None
    shift = timedelta(hours=int(match[2]), minutes=int(match[3]))
    try:
        return timezone(-shift if match[1] == "-" else shift)
    except ValueError:  # a day or more
        return None


def _degrees(gps: Any, tag: int, reference: int, signs: str, limit: int) -> float | None:
    """Degrees, minutes and seconds as one number; None if they are none."""
    try:
        degrees, minutes, seconds = (float(part) for part in gps[tag])
        sign = {signs[0]: 1, signs[1]: -1}[str(_clean(gps[reference])).upper()]
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    found = sign * (degrees + minutes / 60 + seconds / 3600)
    return round(found, 7) if math.isfinite(found) and abs(found) <= limit else None


def _camera(make: object, model: object) -> str | None:
    """Make and model, without the make twice."""
    maker, kind = _clean(make), _clean(model)
    if maker and kind and kind.casefold().startswith(maker.casefold()):
        return kind
    return " ".join(filter(None, (maker, kind))) or None


def _clean(value: object) -> str | None:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if not isinstance(value, str):
        return None
    return "".join(c for c in value.partition("\0")[0] if c.isprintable()).strip() or None
