"""Parses the markers of a JPEG (ITU T.81, annex B) before decoding."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import NamedTuple

from boatinfer.errors import Failure, ImageError
from boatinfer.images.exif import EXIF_PREFIX

__all__ = ["Header", "is_jpeg", "read_header", "split_at_scan", "tidied"]

_DHT, _DAC, _EOI, _SOS, _DNL, _DRI, _COM = 0xC4, 0xCC, 0xD9, 0xDA, 0xDC, 0xDD, 0xFE
_APP0, _APP1, _APP14, _APP15 = 0xE0, 0xE1, 0xEE, 0xEF
_RESTARTS = range(0xD0, 0xD8)
_STANDALONE_MARKERS = frozenset({0x01, *_RESTARTS})  # markers without a segment: TEM, RST0 to RST7
_NO_MARKERS = frozenset({0x00, 0xFF})  # a stuffed zero, a fill byte
#: SOF0 to SOF15 without DHT, JPG and DAC between them; SOF55 is JPEG-LS (ITU T.87, C.1.1).
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {_DHT, 0xC8, _DAC})
_SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC9})
_LOSSLESS = 0xC3

#: Names of the processes that no decoder here supports.
_UNSUPPORTED = {
    0xF7: "JPEG-LS",
    0xCB: "lossless JPEG with arithmetic coding",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical JPEG"),
}

#: A marker in entropy-coded data, after any number of fill bytes (B.1.1.2).
_MARKER = re.compile(rb"\xff+([^\0\xff])", re.DOTALL)

_DAMAGED = "a JPEG whose header is cut off or damaged"


class Header(NamedTuple):
    """The header: everything before the first scan.

    Attributes:
        process: the second byte of the frame's marker: 0xC0 for SOF0 and so on.
        precision: bits of a sample.
        height: pixels, as stored.
        width: likewise.
        components: 3 bytes each: id, sampling factors (horizontal * 16 + vertical), number of the
            quantisation table.
        exif: the content of the first EXIF segment; empty if there is none.
        scan: offset of the first scan's marker (SOS).
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
        """Whether the process is lossless, which libjpeg-turbo cannot scale."""
        return self.process == _LOSSLESS

    @property
    def frame(self) -> bytes:
        """The content of the frame's segment (B.2.2)."""
        return self.resized(self.height, self.width)

    def resized(self, height: int, width: int) -> bytes:
        """The frame's segment for a picture of another size."""
        size = height.to_bytes(2) + width.to_bytes(2)
        return bytes([self.precision]) + size + bytes([self.colours]) + self.components

    @property
    def colours(self) -> int:
        """The number of components."""
        return len(self.components) // 3

    def refuse_unsupported(self) -> None:
        """Refuses a JPEG that no decoder here supports.

        Raises:
            ImageError: ``unsupported``, or ``corrupt`` if it violates T.81.
        """
        if not self.width:
            raise ImageError(Failure.CORRUPT, _DAMAGED)
        kind = _unsupported_kind(self.process, self.precision, self.components[1::3])
        if kind is None and self.height == 0:
            kind = "JPEG that tells its height only after the picture (DNL)"
        if kind is not None:
            message = f"a {kind}, which cannot be read here; convert it to a usual JPEG"
            raise ImageError(Failure.UNSUPPORTED, message)


@functools.lru_cache(256)
def _unsupported_kind(process: int, precision: int, sampling: bytes) -> str | None:
    """Names the kind of JPEG, if no decoder here supports it; else None.

    Raises:
        ImageError: ``corrupt``.
    """
    if process in _UNSUPPORTED:
        return _UNSUPPORTED[process]
    if precision != 8:
        return f"{precision}-bit JPEG"
    if len(sampling) not in {1, 3, 4}:
        return f"JPEG of {len(sampling)} components"
    factors = [(factor >> 4, factor & 15) for factor in sampling]
    if not all(1 <= h <= 4 and 1 <= v <= 4 for h, v in factors):
        raise ImageError(Failure.CORRUPT, _DAMAGED)
    horizontal, vertical = (max(column) for column in zip(*factors, strict=True))
    if any(horizontal % h or vertical % v for h, v in factors):
        return "JPEG of fractional chroma sampling"
    return None


def is_jpeg(data: bytes) -> bool:
    """Whether a file begins like a JPEG; some cameras write zeros after the first marker."""
    return data[:3] == b"\xff\xd8\xff" or (
        data[:2] == b"\xff\xd8" and data[2:4096].lstrip(b"\0")[:1] == b"\xff"
    )


def read_header(data: bytes) -> Header:
    """Reads the markers up to the first scan, ignoring what libjpeg ignores.

    Raises:
        ImageError: ``corrupt``: there is no frame or no scan.
    """
    frame, exif, process, offset = b"", b"", 0, 2
    try:
        while True:
            marker = data[offset + 1]
            if data[offset] != 0xFF or marker in _NO_MARKERS:
                offset = _next_marker(data, offset)
                continue
            if marker in _STANDALONE_MARKERS:
                offset += 2
                continue
            content = offset + 4
            offset = _segment_end(data, offset + 2)
            if marker == _SOS:
                break
            if marker in _FRAME_MARKERS:
                process, frame = process or marker, frame or data[content:offset]
            elif marker == _APP1 and not exif and data.startswith(EXIF_PREFIX, content):
                exif = data[content:offset]
    except IndexError:
        raise ImageError(Failure.CORRUPT, _DAMAGED) from None
    if len(frame) < 9 or len(frame) != 6 + 3 * frame[5]:
        raise ImageError(Failure.CORRUPT, _DAMAGED)
    height, width = frame[1] << 8 | frame[2], frame[3] << 8 | frame[4]
    return Header(process, frame[0], height, width, frame[6:], exif, content - 4)


def _next_marker(data: bytes, offset: int) -> int:
    """The offset of the next possible marker."""
    offset = data.find(b"\xff", offset + 1)
    return len(data) if offset < 0 else offset


def _segment_end(data: bytes, start: int) -> int:
    """The end of a segment; its length includes itself, so libjpeg takes less than 2 for 2."""
    return start + max(2, data[start] << 8 | data[start + 1])


def split_at_scan(jpeg: bytes) -> tuple[bytes, bytes, int]:
    """Splits a tidied JPEG after the header of its first scan.

    Returns:
        The bytes before the entropy-coded data, the data (and further scans) without the end
        marker, and the restart interval in MCUs, 0 if there is none.
    """
    offset, interval = 2, 0
    while True:
        marker, start = jpeg[offset + 1], offset + 2
        offset = _segment_end(jpeg, start)
        if marker == _DRI:
            interval = int.from_bytes(jpeg[start + 2 : start + 4])
        elif marker == _SOS:
            return jpeg[:offset], jpeg[offset:-2], interval


# The following is only used if the decoder warns about a JPEG.


class _UntidyError(Exception):
    """The JPEG cannot be tidied."""


@dataclass(slots=True)
class _Tidy:
    """Copies a JPEG without unnecessary data about which decoders warn.

    Attributes:
        data: the JPEG.
        header: its header.
        out: the chunks written so far.
        missing: bit mask of the incomplete coefficients of each component, by id.
    """

    data: bytes
    header: Header
    out: list[bytes]
    missing: dict[int, int]

    def copy(self) -> bytes:
        offset = self._segments(2)
        while offset is not None:
            offset = self._segments(self._scan(offset))
        if any(self.missing.values()):
            raise _UntidyError
        return b"".join([*self.out, b"\xff\xd9"])

    def _segments(self, offset: int) -> int | None:
        """Copies segments up to a scan, and returns its offset; None at the end."""
        data = self.data
        while True:
            start = offset
            while start < len(data) and data[start] == 0:
                start += 1
            if start >= len(data):
                return None
            match = _MARKER.match(data, start)
            if match is None:
                raise _UntidyError  # bytes other than zero between segments
            marker, start = match[1][0], match.end()
            if marker == _EOI:
                return None
            if marker == _SOS:
                return start
            if marker in _STANDALONE_MARKERS:
                raise _UntidyError
            offset = _segment_end(data, start)
            self._segment(marker, data[start + 2 : offset])

    def _segment(self, marker: int, content: bytes) -> None:
        if marker == _APP0 and content.startswith(b"JFIF\0"):
            content = content[:5] + b"\1\1" + content[7:]
        elif marker == _APP14 and content.startswith(b"Adobe"):
            is_known = content[11:12] in {b"\0", b"\1", b"\2"}
            if not is_known:  # replace it by what libjpeg assumes
                content = content[:11] + (b"\2" if self.header.colours == 4 else b"\1")
        elif _APP0 <= marker <= _APP15 or marker in {_COM, _DNL}:
            return
        self.out.append(_segment(marker, content))

    def _scan(self, start: int) -> int:
        """Copies a scan, and returns the offset after it."""
        data, offset = self.data, _segment_end(self.data, start)
        self._begin_scan(data[start + 2 : offset])
        for match in _MARKER.finditer(data, offset):
            self.out.append(data[offset : match.start()])
            if match[1][0] not in _RESTARTS:
                return match.start()
            self.out.append(b"\xff" + match[1])
            offset = match.end()
        self.out.append(data[offset:])
        return len(data)

    def _begin_scan(self, content: bytes) -> None:
        """Writes a scan's header; marks the coefficients that it completes (T.81, B.2.3, G.1)."""
        components, (first_coefficient, last_coefficient, bits) = content[1:-3:2], content[-3:]
        if self.header.process in _SEQUENTIAL:
            first_coefficient, last_coefficient, bits = 0, 63, 0
        if self.header.lossless or not bits & 15:
            complete = (
                -1 if self.header.lossless else (2 << last_coefficient) - (1 << first_coefficient)
            )
            for component in components:
                self.missing[component] &= ~complete
        self.out.append(
            _segment(_SOS, content[:-3] + bytes([first_coefficient, last_coefficient, bits]))
        )


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2) + content


def tidied(data: bytes, header: Header) -> bytes | None:
    """Copies a JPEG without data about which libjpeg warns although the picture is complete.

    Metadata and zeros between segments are left out, wrong parameters that the process prescribes
    are corrected, and an end marker is appended.

    Args:
        data: the JPEG.
        header: its header.

    Returns:
        The copy; None if there are other bytes between segments, or a scan is missing.
    """
    missing = dict.fromkeys(header.components[::3], (1 << 64) - 1)
    try:
        return _Tidy(data, header, [b"\xff\xd8"], missing).copy()
    except (_UntidyError, LookupError, ValueError, OverflowError):
        return None
