"""Detects the format of an image by its first bytes."""

from __future__ import annotations

import re
import struct

from boatinfer.images import tiff

__all__ = ["detect_format"]

_SIGNATURES = re.compile(
    rb"""
      (?P<JPEG> \xff\xd8\xff)
    | (?P<PNG> \x89PNG\r\n\x1a\n)
    | (?P<GIF> GIF8[79]a)
    | (?P<WEBP> RIFF....WEBP)
    | (?P<BMP> BM)
    | (?P<PNM> P[1-6][\s\#])
    | (?P<JPEG2000> \xff\x4f\xff\x51 | \0\0\0\x0cjP\x20\x20\r\n\x87\n)
    | (?P<JXL> \xff\x0a | \0\0\0\x0cJXL\x20\r\n\x87\n)
    | (?P<RAW> FUJIFILMCCD-RAW | II(RO|RS|U\0) | MMOR | FOVb | \0MRM | II\x1a\0\0\0HEAPCCDR
             | ....ftypcrx\x20)
    | (?P<TIFF> II[*+]\0 | MM\0[*+])
    """,
    re.DOTALL | re.VERBOSE,
)
#: Signatures of image formats that are not supported.
_UNSUPPORTED_SIGNATURES = {
    b"8BPS": "a Photoshop file",
    b"v/1\x01": "an OpenEXR file",
    b"II\xbc": "a JPEG XR file",
    b"#?RADIANCE": "a Radiance HDR file",
    b"DDS ": "a DirectDraw surface",
    b"qoif": "a QOI file",
    b"gimp xcf": "a GIMP file",
    b"SIMPLE  =": "a FITS file",
    b"\0\0\1\0": "a Windows icon",
    b"\xff\x4f\xff\x52": "a JPEG 2000 code stream without a size",
    b"P7": "a PAM file",
    b"PF": "a PFM file",
    b"Pf": "a PFM file",
    b"AT&TFORM": "a DjVu file",
}
_AVIF_BRANDS = {b"avif", b"avis"}
#: ISO/IEC 23008-12, annex B.4; ``mif1`` and ``msf1`` may hold any codec.
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEIF_BRANDS |= {b"mif1", b"msf1"}
_DIB_HEADERS = {12, 40, 52, 56, 64, 108, 124}


def detect_format(data: bytes) -> str | None:
    """Names the format: a key of the table in `formats`, or None if it is unknown.

    An unsupported format is described in words, beginning with an article.
    """
    match = _SIGNATURES.match(data)
    if match is not None:
        kind = match.lastgroup
        return "RAW" if kind == "TIFF" and tiff.is_raw(data) else kind
    if data[4:8] == b"ftyp":
        return _by_brand(data)
    for signature, description in _UNSUPPORTED_SIGNATURES.items():
        if data.startswith(signature):
            return description
    return _without_magic(data)


def _by_brand(data: bytes) -> str | None:
    """The format of an ISO base media file, by its major and compatible brands."""
    end = min(int.from_bytes(data[:4]), 1024)
    brands = {data[offset : offset + 4] for offset in (8, *range(16, end, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else None


def _without_magic(data: bytes) -> str | None:
    """The format of a file without a signature (DIB, TGA), by the plausibility of its header."""
    if len(data) < 18:
        return None
    size, planes = struct.unpack_from("<I8xH", data)
    if size in _DIB_HEADERS and planes == 1:
        return "DIB"
    map_kind, kind, width, height, depth = struct.unpack_from("<xBB9xHHB", data)
    possible = map_kind <= 1 and kind in {1, 2, 3, 9, 10, 11} and depth in {8, 15, 16, 24, 32}
    return "TGA" if possible and width and height else None
