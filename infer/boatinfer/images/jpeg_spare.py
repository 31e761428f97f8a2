"""Removes spare bytes of a JPEG: after the picture's data, or before restart markers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from boatinfer.images.jpeg_markers import Header, split_at_scan

__all__ = ["without_spare", "without_zeros"]

_RESTART = re.compile(rb"\xff+([\xd0-\xd7])", re.DOTALL)
_MAX_WIDTH = 65_500  # pixels, libjpeg's limit
_BLOCK = 8

#: Maximum number of spare bytes other than zeros.
_MAX_SPARE_BYTES = 4


def without_spare(jpeg: bytes, header: Header, is_exact: Callable[[bytes], bool]) -> bytes | None:
    """Removes the spare bytes of each restart interval.

    Each interval is decoded on its own, as a picture of as many MCUs as it must contain; this shows
    how many of its bytes the decoder needs (ITU T.81, E.1.4 and E.2.4). Spare bytes are removed
    only if at least half of the intervals have some; otherwise they are damage.

    Args:
        jpeg: result of `jpeg_markers.tidied`.
        header: its header.
        is_exact: whether a JPEG decodes without a warning.

    Returns:
        The JPEG; None if it is not a single scan with restart intervals, or one is damaged.
    """
    head, coded, interval = split_at_scan(jpeg)
    pieces = _RESTART.split(coded)
    mcus = _mcu_count(header)
    if not interval or b"\xff\xda" in coded or len(pieces) < 3:
        return None
    bodies, marks = pieces[::2], pieces[1::2]
    if marks != [bytes([0xD0 + i % 8]) for i in range(len(bodies) - 1)]:
        return None
    if len(bodies) != -(-mcus // interval):
        return None
    exact_bodies = []
    for i, body in enumerate(bodies):
        count = min(interval, mcus - i * interval)
        interval_head = head.replace(header.frame, _frame_of_mcus(header, count))
        exact = next(
            (
                shortened
                for shortened in _shortened(body)
                if is_exact(interval_head + shortened + b"\xff\xd9")
            ),
            None,
        )
        if exact is None:
            return None
        exact_bodies.append(exact)
    spare = sum(len(a) > len(b) for a, b in zip(bodies[:-1], exact_bodies, strict=False))
    if 2 * spare < len(bodies):  # not a habit of the camera, but damage
        return None
    joined = exact_bodies[0] + b"".join(
        b"\xff" + mark + body for mark, body in zip(marks, exact_bodies[1:], strict=True)
    )
    return head + joined + b"\xff\xd9"


def _mcu_size(header: Header) -> tuple[int, int]:
    """Height and width of an MCU in pixels; with a single component it is a block (A.2.2)."""
    factors = header.components[1::3]
    if len(factors) == 1:
        return _BLOCK, _BLOCK
    return _BLOCK * max(f & 15 for f in factors), _BLOCK * max(f >> 4 for f in factors)


def _mcu_count(header: Header) -> int:
    height, width = _mcu_size(header)
    return -(-header.height // height) * -(-header.width // width)


def _frame_of_mcus(header: Header, count: int) -> bytes:
    """The frame of a picture of ``count`` MCUs: one row, or rows as long as the picture's."""
    height, width = _mcu_size(header)
    columns = count if count * width <= _MAX_WIDTH else -(-header.width // width)
    return header.resized(-(-count // columns) * height, columns * width)


def _shortened(body: bytes) -> Iterator[bytes]:
    """An interval's data without possibly spare bytes, the shortest first.

    (libjpeg does not warn about a few bytes too many before an end marker.)
    """
    truncated = [
        body[:length] for length in range(max(0, len(body) - _MAX_SPARE_BYTES), len(body) + 1)
    ]
    yield from sorted({*without_zeros(body, max_own_zeros=2), *truncated}, key=len)


def without_zeros(coded: bytes, max_own_zeros: int) -> Iterator[bytes]:
    """Entropy-coded data without trailing zeros, the shortest first.

    Args:
        coded: the data and the zeros.
        max_own_zeros: how many of the zeros may belong to the data.
    """
    shortest = len(coded.rstrip(b"\0"))
    if coded[shortest - 1 : shortest] == b"\xff" and shortest < len(coded):
        shortest += 1  # a zero after 0xFF belongs to it
    longest = min(shortest + max_own_zeros, len(coded))
    yield from (coded[:length] for length in range(shortest, longest + 1))
