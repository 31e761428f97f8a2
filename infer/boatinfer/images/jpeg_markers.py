"""The markers of a JPEG (ITU T.81, annex B): what it is, before any decoder sees it."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import NamedTuple

from boatinfer.errors import Failure, ImageError
from boatinfer.images.exif import EXIF

__all__ = ["Header", "header_of", "is_jpeg", "scan_of", "tidied"]

_DHT, _DAC, _EOI, _SOS, _DNL, _DRI, _COM = 0xC4, 0xCC, 0xD9, 0xDA, 0xDC, 0xDD, 0xFE
_APP0, _APP1, _APP14, _APP15 = 0xE0, 0xE1, 0xEE, 0xEF
_RESTARTS = range(0xD0, 0xD8)
_BARE = frozenset({0x01, *_RESTARTS})  # markers without a segment: TEM, RST0 to RST7
_NO_MARKERS = frozenset({0x00, 0xFF})  # a stuffed zero, a fill byte
#: SOF0 to SOF15 without DHT, JPG and DAC between them; SOF55 is JPEG-LS (ITU T.87, C.1.1).
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {_DHT, 0xC8, _DAC})
_SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC9})
_LOSSLESS = 0xC3

#: Names of the processes of which no decoder here is capable.
_UNSUPPORTED = {
    0xF7: "JPEG-LS",
    0xCB: "lossless JPEG with arithmetic coding",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical JPEG"),
}

#: A marker in entropy-coded data; before it may be any number of fill bytes (B.1.1.2).
_MARKER = re.compile(rb"\xff+([^\0\xff])", re.DOTALL)

_DAMAGED = "a JPEG whose header is cut off or damaged"


class Header(NamedTuple):
    """What stands before the picture.

    Attributes:
        process: the second byte of the frame's marker: 0xC0 for SOF0 and so on.
        precision: bits of a sample.
        height: pixels, as stored.
        width: likewise.
        components: of each an id, sampling factors (horizontal * 16 + vertical) and the number
            of its quantisation table: 3 bytes each.
        exif: the content of the first EXIF segment; empty if there is none.
        scan: where the first scan's marker (SOS) is.
    """

    process: int
    precision: int
    height: int
    width: int
    components: bytes
    exif: bytes
    scan: int

    @property
    def lossless(self) -> bool:
        """Whether it is of the lossless process, which libjpeg-turbo cannot scale."""
        return self.process == _LOSSLESS

    @property
    def frame(self) -> bytes:
        """What stands in the frame's segment (B.2.2)."""
        return self.resized(self.height, self.width)

    def resized(self, height: int, width: int) -> bytes:
        """The same for a picture of another size."""
        size = height.to_bytes(2) + width.to_bytes(2)
        return bytes([self.precision]) + size + bytes([self.colours]) + self.components

    @property
    def colours(self) -> int:
        """The number of its components."""
        return len(self.components) // 3

    def refuse_unsupported(self) -> None:
        """Refuses what no decoder here can read.

        Raises:
            ImageError: ``unsupported``, and the kind; ``corrupt``, for what is against T.81.
        """
        if not self.width:
            raise ImageError(Failure.CORRUPT, _DAMAGED)
        kind = _unsupported(self.process, self.precision, self.components[1::3])
        if kind is None and self.height == 0:
            kind = "JPEG that tells its height only after the picture (DNL)"
        if kind is not None:
            message = f"a {kind}, which cannot be read here; convert it to a usual JPEG"
            raise ImageError(Failure.UNSUPPORTED, message)


@functools.lru_cache(256)
def _unsupported(process: int, precision: int, sampling: bytes) -> str | None:
    """The kind of JPEG, if it is one that no decoder here can read.

    Raises:
        ImageError: ``corrupt``.
    """
    if process in _UNSUPPORTED:
        return _UNSUPPORTED[process]
    if precision != 8:
        return f"{precision}-bit JPEG"
    if len(sampling) not in {1, 3, 4}:
        return f"JPEG of {len(sampling)} components"
    factors = [(f >> 4, f & 15) for f in sampling]
    if not all(1 <= h <= 4 and 1 <= v <= 4 for h, v in factors):
        raise ImageError(Failure.CORRUPT, _DAMAGED)
    across, down = (max(column) for column in zip(*factors, strict=True))
    if any(across % h or down % v for h, v in factors):
        return "JPEG of fractional chroma sampling"
    return None


def is_jpeg(data: bytes) -> bool:
    """Whether a file begins as a JPEG does; some cameras write zeros after the first marker."""
    return data[:3] == b"\xff\xd8\xff" or (
        data[:2] == b"\xff\xd8" and data[2:4096].lstrip(b"\0")[:1] == b"\xff"
    )


def header_of(data: bytes) -> Header:
    """Reads the markers up to the first scan, passing over what libjpeg passes over.

    Raises:
        ImageError: ``corrupt``: there is no frame or no scan.
    """
    frame, exif, process, place = b"", b"", 0, 2
    try:
        while True:
            marker = data[place + 1]
            if data[place] != 0xFF or marker in _NO_MARKERS:
                place = _marker_after(data, place)
                continue
            if marker in _BARE:
                place += 2
                continue
            content = place + 4
            place = _end(data, place + 2)
            if marker == _SOS:
                break
            if marker in _FRAMES:
                process, frame = process or marker, frame or data[content:place]
            elif marker == _APP1 and not exif and data.startswith(EXIF, content):
                exif = data[content:place]
    except IndexError:
        raise ImageError(Failure.CORRUPT, _DAMAGED) from None
    if len(frame) < 9 or len(frame) != 6 + 3 * frame[5]:
        raise ImageError(Failure.CORRUPT, _DAMAGED)
    height, width = frame[1] << 8 | frame[2], frame[3] << 8 | frame[4]
    return Header(process, frame[0], height, width, frame[6:], exif, content - 4)


def _marker_after(data: bytes, place: int) -> int:
    """Where the next two bytes are that may be a marker."""
    found = data.find(b"\xff", place + 1)
    return len(data) if found < 0 else found


def _end(data: bytes, start: int) -> int:
    """Where a segment ends; its length counts itself, and libjpeg takes less than 2 for that."""
    return start + max(2, data[start] << 8 | data[start + 1])


def scan_of(jpeg: bytes) -> tuple[bytes, bytes, int]:
    """Cuts a tidied JPEG in two at its first scan.

    Returns:
        What stands before the entropy-coded data, these (and further scans) without the end
        marker, and the restart interval in units (MCUs), 0 if there is none.
    """
    place, interval = 2, 0
    while True:
        marker, start = jpeg[place + 1], place + 2
        place = _end(jpeg, start)
        if marker == _DRI:
            interval = int.from_bytes(jpeg[start + 2 : start + 4])
        elif marker == _SOS:
            return jpeg[:place], jpeg[place:-2], interval


# What follows is for a JPEG of which the decoder warns.


class _UntidyError(Exception):
    """It cannot be tidied."""


@dataclass(slots=True)
class _Tidy:
    """Copies a JPEG without what decoders warn of and do not need.

    Attributes:
        data: the JPEG.
        header: its header.
        out: what is written so far.
        missing: of each component, by id, a bit for each coefficient that is not complete.
    """

    data: bytes
    header: Header
    out: list[bytes]
    missing: dict[int, int]

    def all(self) -> bytes:
        place = self._segments(2)
        while place is not None:
            place = self._segments(self._scan(place))
        if any(self.missing.values()):
            raise _UntidyError
        return b"".join([*self.out, b"\xff\xd9"])

    def _segments(self, place: int) -> int | None:
        """Copies segments up to a scan, and gives its place; None at the end."""
        data = self.data
        while True:
            following = place
            while following < len(data) and data[following] == 0:
                following += 1
            if following >= len(data):
                return None
            match = _MARKER.match(data, following)
            if match is None:
                raise _UntidyError  # something else than zeros between segments
            marker, start = match[1][0], match.end()
            if marker == _EOI:
                return None
            if marker == _SOS:
                return start
            if marker in _BARE:
                raise _UntidyError
            place = _end(data, start)
            self._segment(marker, data[start + 2 : place])

    def _segment(self, marker: int, content: bytes) -> None:
        if marker == _APP0 and content.startswith(b"JFIF\0"):
            content = content[:5] + b"\1\1" + content[7:]
        elif marker == _APP14 and content.startswith(b"Adobe"):
            known = content[11:12] in {b"\0", b"\1", b"\2"}
            if not known:  # as libjpeg takes it
                content = content[:11] + (b"\2" if self.header.colours == 4 else b"\1")
        elif _APP0 <= marker <= _APP15 or marker in {_COM, _DNL}:
            return
        self.out.append(_segment(marker, content))

    def _scan(self, start: int) -> int:
        """Copies a scan, and gives the place after it."""
        data, place = self.data, _end(self.data, start)
        self._begin_scan(data[start + 2 : place])
        for match in _MARKER.finditer(data, place):
            self.out.append(data[place : match.start()])
            if match[1][0] not in _RESTARTS:
                return match.start()
            self.out.append(b"\xff" + match[1])
            place = match.end()
        self.out.append(data[place:])
        return len(data)

    def _begin_scan(self, content: bytes) -> None:
        """Writes a scan's header, and notes which coefficients it completes (T.81, B.2.3, G.1)."""
        components, (first, last, bits) = content[1:-3:2], content[-3:]
        if self.header.process in _SEQUENTIAL:
            first, last, bits = 0, 63, 0
        if self.header.lossless or not bits & 15:
            complete = -1 if self.header.lossless else (2 << last) - (1 << first)
            for component in components:
                self.missing[component] &= ~complete
        self.out.append(_segment(_SOS, content[:-3] + bytes([first, last, bits])))


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2) + content


def tidied(data: bytes, header: Header) -> bytes | None:
    """Copies a JPEG without what libjpeg warns of although no part of the picture is missing.

    Left out are metadata, zeros between segments and wrong parameters where the process
    prescribes them; an end marker is appended.

    Args:
        data: the JPEG.
        header: its header.

    Returns:
        The copy; None if other things stand where they should not, or a scan is missing.
    """
    missing = dict.fromkeys(header.components[::3], (1 << 64) - 1)
    try:
        return _Tidy(data, header, [b"\xff\xd8"], missing).all()
    except (_UntidyError, LookupError, ValueError, OverflowError):
        return None
