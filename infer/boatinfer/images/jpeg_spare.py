"""Bytes in a JPEG that are no part of the picture: after its data, or before restart markers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from boatinfer.images.jpeg_markers import Header, scan_of

__all__ = ["without_spare", "without_zeros"]

_RESTART = re.compile(rb"\xff+([\xd0-\xd7])", re.DOTALL)
_MOST = 65_500  # pixels across that libjpeg takes
_BLOCK = 8

#: The most spare bytes other than zeros.
_FEW = 4


def without_spare(jpeg: bytes, header: Header, is_exact: Callable[[bytes], bool]) -> bytes | None:
    """Leaves out the bytes of each restart interval that are no part of the picture.

    Each interval is decoded on its own, as a picture of as many units (MCUs) as it has to hold;
    so it shows how many of its bytes the decoder needs (ITU T.81, E.1.4 and E.2.4). Spare bytes are
    believed where at least half of the intervals have some.

    Args:
        jpeg: `jpeg_markers.tidied`, with everything that stands in the entropy-coded data.
        header: its header.
        is_exact: whether a JPEG decodes without a warning.

    Returns:
        The JPEG; None if it has no restart intervals in a single scan, or one of them is damaged.
    """
    head, coded, interval = scan_of(jpeg)
    pieces = _RESTART.split(coded)
    units = _units(header)
    if not interval or b"\xff\xda" in coded or len(pieces) < 3:
        return None
    bodies, marks = pieces[::2], pieces[1::2]
    if marks != [bytes([0xD0 + i % 8]) for i in range(len(bodies) - 1)]:
        return None
    if len(bodies) != -(-units // interval):
        return None
    whole = []
    for i, body in enumerate(bodies):
        count = min(interval, units - i * interval)
        alone = head.replace(header.frame, _frame(header, count))
        fitting = (some for some in _shortened(body) if is_exact(alone + some + b"\xff\xd9"))
        exact = next(fitting, None)
        if exact is None:
            return None
        whole.append(exact)
    spare = sum(len(a) > len(b) for a, b in zip(bodies[:-1], whole, strict=False))
    if 2 * spare < len(bodies):  # not what the camera always does
        return None
    joined = whole[0] + b"".join(
        b"\xff" + mark + body for mark, body in zip(marks, whole[1:], strict=True)
    )
    return head + joined + b"\xff\xd9"


def _unit(header: Header) -> tuple[int, int]:
    """Height and width of a unit in pixels; that of a single component is a block (A.2.2)."""
    factors = header.components[1::3]
    if len(factors) == 1:
        return _BLOCK, _BLOCK
    return _BLOCK * max(f & 15 for f in factors), _BLOCK * max(f >> 4 for f in factors)


def _units(header: Header) -> int:
    height, width = _unit(header)
    return -(-header.height // height) * -(-header.width // width)


def _frame(header: Header, units: int) -> bytes:
    """The frame of a picture of some units: one row of them, or rows as long as the picture's."""
    height, width = _unit(header)
    across = units if units * width <= _MOST else -(-header.width // width)
    return header.resized(-(-units // across) * height, across * width)


def _shortened(body: bytes) -> Iterator[bytes]:
    """An interval's data without what may be spare, the shortest first.

    (Of a few bytes too many before an end marker libjpeg does not warn.)
    """
    few = [body[:length] for length in range(max(0, len(body) - _FEW), len(body) + 1)]
    yield from sorted({*without_zeros(body, most=2), *few}, key=len)


def without_zeros(coded: bytes, most: int) -> Iterator[bytes]:
    """Entropy-coded data without the zeros after them, the shortest first.

    Args:
        coded: the data and what follows them.
        most: how many zeros may be the data's own last bytes.
    """
    bare = len(coded.rstrip(b"\0"))
    if coded[bare - 1 : bare] == b"\xff" and bare < len(coded):
        bare += 1  # a zero after 0xFF belongs to it
    yield from (coded[:length] for length in range(bare, min(bare + most, len(coded)) + 1))
