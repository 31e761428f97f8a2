"""The deployments of a Camera Trap Data Package: folders of images with a place and a period."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from boatinfer.errors import UsageError
from boatinfer.images.capture import EXIF, Capture

__all__ = ["Deployments"]

_COORDINATES = {"latitude": 90.0, "longitude": 180.0}
#: Columns that every table of deployments has here.
_COLUMNS = (
    *("deploymentID", *_COORDINATES, "deploymentStart", "deploymentEnd"),
    *("cameraModel", "timestampIssues"),
)


@dataclass
class _Deployment:
    """What the images of a deployment say of it."""

    start: datetime
    end: datetime
    latitude: float | None = None
    longitude: float | None = None
    camera: str | None = None
    without_offset: bool = False
    not_exif: bool = False


class Deployments:
    """The deployments of the images seen so far.

    Args:
        file: a CSV file with ``deploymentID``, ``latitude``, ``longitude`` and other columns of the
            standard; None if there is none.

    Raises:
        UsageError: the file cannot be read, or has wrong values.
    """

    def __init__(self, file: Path | None) -> None:
        self._given = {} if file is None else _read(file)
        self._found: dict[str, _Deployment] = {}

    @property
    def without_offset(self) -> bool:
        """Whether the offset from UTC of a time was not known."""
        return any(found.without_offset for found in self._found.values())

    @property
    def not_exif(self) -> bool:
        """Whether a time was not that of the EXIF data."""
        return any(found.not_exif for found in self._found.values())

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `rows`."""
        more = {name for row in self._given.values() for name in row}
        return (*_COLUMNS, *sorted(more - {*_COLUMNS}))

    def note(self, name: str, capture: Capture) -> str:
        """Notes an image of a deployment.

        Args:
            name: the id of the deployment.
            capture: when and where it was taken; it has a time.

        Returns:
            Its time as the standard wants it.
        """
        moment = datetime.fromisoformat(capture.taken or "")
        without_offset = moment.tzinfo is None
        if without_offset:
            moment = moment.replace(tzinfo=UTC)
        found = self._found.setdefault(name, _Deployment(moment, moment))
        found.start, found.end = min(found.start, moment), max(found.end, moment)
        found.without_offset |= without_offset
        found.not_exif |= capture.taken_source != EXIF
        if found.latitude is None:
            found.latitude, found.longitude = capture.latitude, capture.longitude
        found.camera = found.camera or capture.camera
        return _text(moment)

    def rows(self) -> Iterator[list[object]]:
        """The rows of deployments.csv.

        Raises:
            UsageError: a deployment has no coordinates.
        """
        for row in self._complete():
            yield [row.get(column) for column in self.columns]

    def period(self) -> tuple[str, str]:
        """The days of the first and of the last image, in UTC; today if there are none."""
        found = self._found.values()
        today = datetime.now(UTC)
        start = min((one.start for one in found), default=today)
        end = max((one.end for one in found), default=today)
        return start.astimezone(UTC).date().isoformat(), end.astimezone(UTC).date().isoformat()

    def area(self) -> dict[str, Any]:
        """The smallest rectangle around all, as GeoJSON (RFC 7946)."""
        rows = self._complete()
        if not rows:
            return {"type": "Polygon", "coordinates": []}
        east_west, north_south = (
            [float(row[name]) for row in rows] for name in ("longitude", "latitude")
        )
        (west, east), (south, north) = ((min(x), max(x)) for x in (east_west, north_south))
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        return {"type": "Polygon", "bbox": [west, south, east, north], "coordinates": [ring]}

    def _complete(self) -> list[dict[str, Any]]:
        """What is known of each deployment, by column; what is given comes before what is found."""
        rows = []
        for name, found in sorted(self._found.items()):
            row = {
                "latitude": found.latitude,
                "longitude": found.longitude,
                "deploymentStart": _text(found.start),
                "deploymentEnd": _text(found.end),
                "cameraModel": found.camera,
                "timestampIssues": "true" if found.without_offset or found.not_exif else None,
            }
            given = {key: value for key, value in self._given.get(name, {}).items() if value}
            rows.append({**row, **given, "deploymentID": name})
        missing = [row["deploymentID"] for row in rows if row["latitude"] is None]
        if missing:
            more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
            raise UsageError(
                f"the place of {missing[0]}{more} is not known; give a CSV file with the columns "
                "deploymentID, latitude and longitude with --deployments."
            )
        return rows


def _read(file: Path) -> dict[str, dict[str, str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = [row for row in csv.DictReader(lines, restkey="") if any(row.values())]
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{file} cannot be read ({error}); give a CSV file in UTF-8.") from error
    found = {}
    for number, row in enumerate(rows, 2):
        if not row.get("deploymentID") or not all(map(_is_coordinate, row.items())):
            raise UsageError(
                f"{file}, line {number}: give deploymentID, latitude and longitude in degrees."
            )
        found[row["deploymentID"]] = row
    return found


def _is_coordinate(cell: tuple[str, str | None]) -> bool:
    """Whether a cell is right, if it is a coordinate."""
    name, text = cell
    try:
        return name not in _COORDINATES or abs(float(text or "")) <= _COORDINATES[name]
    except ValueError:
        return False


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
