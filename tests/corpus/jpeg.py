"""A corpus of JPEGs: processes, samplings, colours, restarts, metadata, orientations, oddities."""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Iterator
from fractions import Fraction

import cv2
import numpy as np
from PIL import Image

from corpus.drawing import (
    after_start,
    exif,
    lossless,
    mosaic,
    pillow_jpeg,
    scan_place,
    scene,
    segment,
    smooth,
)

#: Names that begin so are of sound files that no decoder of the project can read.
UNSUPPORTED = "unsupported-"


def jpeg_corpus() -> Iterator[tuple[str, bytes]]:
    """Yields a name and the content of every file; all are sound."""
    yield from _by_pillow()
    yield from _by_opencv()
    yield from _samplings()
    yield from _orientations()
    yield from _metadata()
    yield from warned()
    yield from _lossless()
    yield from _unsupported()


def _by_pillow() -> Iterator[tuple[str, bytes]]:
    ways = itertools.product(["RGB", "L", "CMYK"], [False, True], [0, 1, 2], [0, 1])
    for mode, progressive, subsampling, rows in ways:
        if mode == "RGB" or subsampling == 0:
            kind = f"pillow-{mode}-{subsampling}-{'progressive' if progressive else 'sequential'}"
            yield (
                f"{kind}-restart{rows}",
                pillow_jpeg(
                    scene(),
                    mode,
                    progressive=progressive,
                    subsampling=subsampling,
                    restart_marker_rows=rows,
                    optimize=rows == 0,
                ),
            )
    for height, width in [(1, 1), (7, 9), (8, 1000), (1000, 8), (97, 321), (48, 160), (300, 900)]:
        yield f"pillow-size-{height}x{width}", pillow_jpeg(scene(height, width))
    for keep in (True, False):
        yield f"pillow-rgb-{keep}", pillow_jpeg(scene(), keep_rgb=keep)


def _by_opencv() -> Iterator[tuple[str, bytes]]:
    samplings = {
        "411": 0x411111,
        "420": 0x221111,
        "422": 0x211111,
        "440": 0x121111,
        "444": 0x111111,
    }
    for (name, factor), progressive, interval in itertools.product(
        samplings.items(), [0, 1], [0, 3]
    ):
        options = {
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR: factor,
            cv2.IMWRITE_JPEG_PROGRESSIVE: progressive,
            cv2.IMWRITE_JPEG_RST_INTERVAL: interval,
            cv2.IMWRITE_JPEG_QUALITY: 90,
        }
        flat = [number for item in options.items() for number in item]
        done, encoded = cv2.imencode(".jpg", scene()[..., ::-1].copy(), flat)
        assert done
        yield f"opencv-{name}-{progressive}-{interval}", encoded.tobytes()


def _samplings() -> Iterator[tuple[str, bytes]]:
    sizes = [0x11, 0x12, 0x21, 0x22, 0x41, 0x14, 0x42, 0x24]
    for factors in itertools.product(sizes, repeat=3):
        across, down = max(f >> 4 for f in factors), max(f & 15 for f in factors)
        whole = all(across % (f >> 4) == 0 and down % (f & 15) == 0 for f in factors)
        blocks = sum((f >> 4) * (f & 15) for f in factors)
        if whole and blocks <= 10:
            name = "-".join(f"{f:02x}" for f in factors)
            yield f"sampling-{name}", mosaic(smooth(), factors)
    for factors in [(0x11, 0x11, 0x11), (0x22, 0x11, 0x11), (0x22, 0x21, 0x11)]:
        name = "-".join(f"{f:02x}" for f in factors)
        yield f"restart-{name}", mosaic(smooth(), factors, restart=5)
        yield f"scans-{name}", mosaic(smooth(), factors, interleaved=False)
    yield "extended", mosaic(smooth(), process=0xC1)
    yield "three-33", mosaic(smooth(), (0x31, 0x11, 0x11))
    for number in (0x11, 0x22, 0x33, 0x44, 0x41):
        yield f"grey-{number:x}", mosaic(smooth(), [number], ids=[1])
    for ids in [(0, 1, 2), (7, 8, 9), (1, 34, 35), (2, 1, 3)]:
        yield f"ids-{ids}", mosaic(smooth(), ids=ids)
    for transform in (0, 1):
        adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))
        yield f"adobe-{transform}", mosaic(smooth(), middle=adobe)
        yield f"rgb-adobe-{transform}", mosaic(smooth(), ids=b"RGB", middle=adobe)
    yield "rgb-ids", mosaic(smooth(), ids=b"RGB")
    for transform in (0, 2):
        adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))
        four = {"factors": [0x11] * 4, "ids": (1, 2, 3, 4)}
        yield f"inks-adobe-{transform}", mosaic(smooth(), **four, middle=adobe)  # type: ignore[arg-type]


def _orientations() -> Iterator[tuple[str, bytes]]:
    for number, order, kind in itertools.product(range(1, 9), "<>", (3, 4)):
        segment_ = exif(number, order, kind)
        yield f"exif-{number}-{order}-{kind}", after_start(pillow_jpeg(scene()), segment_)
    plain = pillow_jpeg(scene())
    for number in (3, 6):
        yield f"exif-fill-{number}", after_start(plain, b"\xff\xff\xff" + exif(number))
        yield f"exif-lie-{number}", after_start(plain, exif(number, lie=True))
        yield f"exif-scaled-{number}", after_start(pillow_jpeg(scene(300, 900)), exif(number))
        yield (
            f"exif-unusual-{number}",
            after_start(mosaic(smooth(), (0x22, 0x21, 0x11)), exif(number)),
        )
    for number in (0, 9, 65535):
        yield f"exif-none-{number}", after_start(plain, exif(number))
    yield "exif-cut", after_start(plain, exif(6)[:2] + struct.pack(">H", 20) + exif(6)[4:22])


def _metadata() -> Iterator[tuple[str, bytes]]:
    plain = pillow_jpeg(scene())
    thumbnail = segment(0xE0, b"JFXX\0\x10" + pillow_jpeg(scene(24, 80)))
    extras = {
        "comment": segment(0xFE, b"a comment"),
        "icc-cut": segment(0xE2, b"ICC_PROFILE\0\1"),
        "jfxx": thumbnail,
        "xmp": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>"),
        "large": b"".join(segment(0xE2, bytes([i]) * 65_000) for i in range(20)),
        "empty": segment(0xE5, b""),
        "jpeg-inside": segment(0xE4, plain[:60_000]),
        "tables-twice": plain[plain.index(b"\xff\xdb") : scan_place(plain)].split(b"\xff\xc0")[0],
    }
    for name, extra in extras.items():
        yield f"metadata-{name}", after_start(plain, extra)
    yield "metadata-none", plain[:2] + plain[20:]
    yield "metadata-after-the-end", plain + b"more " * 1000
    yield "metadata-second-picture", plain + pillow_jpeg(255 - scene())
    file = io.BytesIO()
    frames = [Image.fromarray(scene(seed=i)) for i in range(2)]
    frames[0].save(file, "MPO", save_all=True, append_images=frames[1:], quality=92)
    yield "metadata-mpo", file.getvalue()


def warned() -> Iterator[tuple[str, bytes]]:
    """Files of which libjpeg warns although the picture is whole."""
    plain = pillow_jpeg(scene())
    scan = scan_place(plain)
    coded = scan + 2 + int.from_bytes(plain[scan + 2 : scan + 4])
    table = plain.index(b"\xff\xdb")
    version = plain.index(b"JFIF\0") + 5
    comment = segment(0xFE, b"x" * 100)
    yield "warned-scan-parameters", plain[: coded - 3] + bytes(3) + plain[coded:]
    yield "warned-608-zeros", plain[:table] + comment + bytes(608) + comment + plain[table:]
    yield "warned-zero-before-table", plain[:table] + b"\0" + plain[table:]
    yield "warned-zeros-before-scan", plain[:scan] + bytes(5) + plain[scan:]
    yield "warned-zeros-at-the-start", after_start(plain, bytes(7))
    for major, minor in [(0, 0), (2, 1), (9, 9)]:
        other = plain[:version] + bytes([major, minor]) + plain[version + 2 :]
        yield f"warned-jfif-{major}.{minor:02}", other
    for count in (1, 2, 3):  # libjpeg says nothing of a few
        yield f"{count}-zeros-before-the-end", plain[:-2] + bytes(count) + plain[-2:]
    for count in (99, 70_000):
        yield f"warned-{count}-zeros-before-the-end", plain[:-2] + bytes(count) + plain[-2:]
        yield f"warned-{count}-zeros-and-no-end", plain[:-2] + bytes(count)
    yield "warned-no-end", plain[:-2]
    yield "warned-half-an-end", plain[:-1]
    yield "warned-progressive-no-end", pillow_jpeg(scene(), progressive=True)[:-2]
    yield (
        "warned-adobe",
        after_start(plain[:2] + plain[20:], segment(0xEE, b"Adobe\0\x64\0\0\0\0\7")),
    )
    for rows, (name, spare) in itertools.product([1, 3], SPARE.items()):
        restarts = pillow_jpeg(scene(), restart_marker_rows=rows)
        yield f"warned-{name}-before-restarts-{rows}", with_spare(restarts, spare)


#: What webcams write before restart markers.
SPARE = {"9-zeros": bytes(9), "40-zeros": bytes(40), "other-bytes": b"\x5a\xa5"}


def with_spare(jpeg: bytes, spare: bytes) -> bytes:
    """Puts spare bytes before each restart marker of a JPEG of one scan."""
    scan = scan_place(jpeg)
    head, coded = jpeg[:scan], jpeg[scan:]
    for number in range(0xD0, 0xD8):
        mark = bytes([0xFF, number])
        coded = coded.replace(mark, spare + mark)
    return head + coded


def _lossless() -> Iterator[tuple[str, bytes]]:
    yield "lossless-colour", lossless(scene())
    yield "lossless-grey", lossless(scene()[..., 0])
    yield "lossless-large", lossless(smooth(240, 800))


def _unsupported() -> Iterator[tuple[str, bytes]]:
    for process in (0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7):
        yield f"{UNSUPPORTED}process-{process:x}", mosaic(smooth(), process=process)
    for process, precision in [(0xC0, 12), (0xC1, 12), (0xC9, 12)]:
        name = f"{UNSUPPORTED}{precision}-bit-{process:x}"
        yield name, mosaic(smooth(), process=process, precision=precision)
    yield f"{UNSUPPORTED}lossless-10", lossless(scene(), precision=10)
    yield f"{UNSUPPORTED}lossless-16", lossless(np.zeros((96, 320), np.uint8) + 9, precision=11)
    yield f"{UNSUPPORTED}two-components", mosaic(smooth(), [0x11] * 2, ids=(1, 2))
    for factors in [(0x31, 0x21, 0x11), (0x13, 0x12, 0x11), (0x31, 0x21, 0x21)]:
        assert any(Fraction(3, f >> 4).denominator > 1 or f & 15 == 2 for f in factors)
        name = "-".join(f"{f:02x}" for f in factors)
        yield f"{UNSUPPORTED}fractional-{name}", mosaic(smooth(), factors)
    whole = mosaic(smooth())
    frame = whole.index(b"\xff\xc0") + 5
    later = whole[:-2] + segment(0xDC, whole[frame : frame + 2]) + whole[-2:]
    yield f"{UNSUPPORTED}height-later", later[:frame] + bytes(2) + later[frame + 2 :]
