"""Reads the first directory of a TIFF or BigTIFF (TIFF 6.0, section 2)."""

from __future__ import annotations

import struct

from boatinfer.errors import Failure, ImageError

__all__ = ["Tags", "as_rgb", "first_value", "is_raw", "read_directory", "refuse_unsupported"]

Tags = dict[int, tuple[int, ...]]

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
ORIENTATION, SAMPLES, PLANAR, SUB_DIRECTORIES = 274, 277, 284, 330
EXTRA_SAMPLES, SAMPLE_FORMAT, SUBSAMPLING = 338, 339, 530
CFA, DNG_VERSION = 33421, 50706

#: Integer types: BYTE, SHORT, LONG, SBYTE, SSHORT, SLONG, IFD, LONG8, SLONG8, IFD8.
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
#: Tags with more values are tables of strips, which are not needed here.
_MAX_VALUES = 64

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR, LAB = 0, 1, 2, 3, 4, 5, 6, 8
_COLOURS = {WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR, LAB}
_GREY = {WHITE_IS_ZERO, BLACK_IS_ZERO}
_RAW_COLOURS = {32803, 34892}  # colour filter array, linear raw
OLD_JPEG, JPEG, LZMA, ZSTD = 6, 7, 34925, 50000
_COMPRESSIONS = {1, 2, 3, 4, 5, OLD_JPEG, JPEG, 8, 32773, 32946, LZMA, ZSTD, 50001}
_UNSIGNED = {1, 4}  # 4: undefined, which libtiff treats as unsigned


def read_directory(data: bytes) -> Tags:
    """Reads the integer tags of a TIFF's first directory.

    Raises:
        ImageError: ``corrupt``: the file ends before the directory does.
    """
    order, big, entries = _entries(data)
    try:
        tags = dict(_tag(data, offset, order, big=big) for offset in entries)
    except struct.error as error:
        raise _cut_off() from error
    if not (tags.get(WIDTH) and tags.get(HEIGHT)):
        raise ImageError(Failure.CORRUPT, "a TIFF whose directory gives no width or no height")
    return tags


def as_rgb(data: bytes) -> bytes:
    """A copy that declares its colours as RGB, so that a decoder does not convert them."""
    order, big, entries = _entries(data)
    copy = bytearray(data)
    for offset in entries:
        if struct.unpack_from(order + "H", data, offset)[0] == PHOTOMETRIC:
            struct.pack_into(order + "H", copy, offset + (12 if big else 8), RGB)
    return bytes(copy)


def _entries(data: bytes) -> tuple[str, bool, range]:
    """Byte order, whether it is a BigTIFF, and the offsets of the first directory's entries."""
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in data[2:4]
    try:
        start = struct.unpack_from(order + ("8xQ" if big else "4xI"), data)[0]
        count = struct.unpack_from(order + ("Q" if big else "H"), data, start)[0]
    except struct.error as error:
        raise _cut_off() from error
    first_entry, length = start + (8 if big else 2), 20 if big else 12
    if first_entry + count * length > len(data):
        raise _cut_off()
    return order, big, range(first_entry, first_entry + count * length, length)


def _cut_off() -> ImageError:
    return ImageError(Failure.CORRUPT, "a TIFF whose directory is cut off or damaged")


def _tag(data: bytes, entry: int, order: str, *, big: bool) -> tuple[int, tuple[int, ...]]:
    entry_header = "HHQ" if big else "HHI"
    tag, kind, count = struct.unpack_from(order + entry_header, data, entry)
    if kind not in _TYPES or count > _MAX_VALUES:
        return tag, ()
    values = f"{order}{count}{_TYPES[kind]}"
    offset = entry + struct.calcsize(order + entry_header)
    if struct.calcsize(values) > (8 if big else 4):
        offset = struct.unpack_from(order + ("Q" if big else "I"), data, offset)[0]
    return tag, struct.unpack_from(values, data, offset)


def is_raw(data: bytes) -> bool:
    """Whether a TIFF is a camera's RAW file (DNG, CR2, NEF, ARW, PEF and others).

    In most of them the first directory is a thumbnail.
    """
    if data[8:10] == b"CR":
        return True
    try:
        tags = read_directory(data)
    except ImageError:
        return False
    is_thumbnail = bool(first_value(tags, SUBFILE, 0) & 1) and SUB_DIRECTORIES in tags
    sensor = first_value(tags, PHOTOMETRIC, 0) in _RAW_COLOURS or CFA in tags
    return DNG_VERSION in tags or sensor or is_thumbnail


def refuse_unsupported(tags: Tags) -> None:
    """Refuses a TIFF that would not be decoded correctly.

    Raises:
        ImageError: ``unsupported``.
    """
    bits = set(tags.get(BITS) or (1,))
    colours = first_value(tags, PHOTOMETRIC, BLACK_IS_ZERO)
    compression = first_value(tags, COMPRESSION, 1)
    planes = first_value(tags, PLANAR, 1) == 2
    if not set(tags.get(SAMPLE_FORMAT) or (1,)) <= _UNSIGNED:
        problem = "its numbers are signed or floating-point, and their range is not known"
    elif compression not in _COMPRESSIONS:
        problem = f"its compression ({compression}) is not known"
    elif colours not in _COLOURS:
        problem = f"its colours ({colours}) are not known"
    elif len(bits) > 1 or not bits <= {1, 2, 4, 8, 16}:
        problem = f"it has {', '.join(map(str, sorted(bits)))} bits per sample"
    elif planes and colours in _GREY and first_value(tags, SAMPLES, 1) > 1:
        problem = "its grey and its alpha are stored apart"
    elif compression in {LZMA, ZSTD} and (planes or not _is_plain(bits, colours)):
        problem = "its compression is known with 8 bits per sample only"
    else:
        return
    raise ImageError(Failure.UNSUPPORTED, f"a TIFF that cannot be read here: {problem}")


def _is_plain(bits: set[int], colours: int) -> bool:
    return bits <= {1, 8} or (bits == {16} and colours == BLACK_IS_ZERO)


def first_value(tags: Tags, tag: int, default: int) -> int:
    """The first value of a tag, or the default."""
    return (tags.get(tag) or (default,))[0]
