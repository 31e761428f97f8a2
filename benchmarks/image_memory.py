"""Memory that reading one image takes, by format: as estimated from its header, and as measured.

Usage: python benchmarks/image_memory.py [--megapixels N] [FORMAT ...]    (default 20, all)

Every image is read in a process of its own, at the size of the built-in model. Linux.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from boatinfer import images
from boatinfer.errors import ImageError
from boatinfer.images.memory import estimate_memory
from boatinfer.images.spec import ImageSpec

SPEC = ImageSpec(height=120, width=400)


Maker = Callable[[int], bytes]


def _pillow(
    mode: str, form: str, turned: bool = False, **options: object
) -> Callable[[int], bytes]:
    """Makes the maker of a striped picture, which compresses to little."""

    def make(side: int) -> bytes:
        image = Image.effect_noise((64, 64), 50).resize((side, side), Image.Resampling.BOX)
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
        elif mode == "LA":
            image = Image.merge("LA", [image, image])
        elif mode in {"RGBA", "P+"}:
            image = image.convert("RGB")
            image.putalpha(200)
        else:
            image = image.convert(mode)
        if mode == "P+":
            image = image.quantize(16)
            options["transparency"] = 3
        exif = Image.Exif()
        if turned:
            exif[0x0112] = 6
            options["exif"] = exif
        file = io.BytesIO()
        image.save(file, form, **options)
        return file.getvalue()

    return make


def _vips(form: str, deep: bool = False, **options: object) -> Maker:
    """The same by libvips, for what Pillow cannot write."""

    def make(side: int) -> bytes:
        import pyvips

        image = pyvips.Image.black(side, side, bands=3).cast("ushort" if deep else "uchar")
        return bytes(image.write_to_buffer(form, **options))

    return make


MAKERS: dict[str, Maker] = {
    "jpeg": _pillow("RGB", "JPEG"),
    "jpeg-turned": _pillow("RGB", "JPEG", turned=True),
    "jpeg-grey": _pillow("L", "JPEG"),
    "jpeg-progressive": _pillow("RGB", "JPEG", progressive=True),
    "jpeg-progressive-444": _pillow("RGB", "JPEG", progressive=True, subsampling=0),
    "jpeg-cmyk": _pillow("CMYK", "JPEG"),
    "jpeg-cmyk-progressive": _pillow("CMYK", "JPEG", progressive=True),
    "png-grey": _pillow("L", "PNG"),
    "png-rgb": _pillow("RGB", "PNG"),
    "png-rgb-turned": _pillow("RGB", "PNG", turned=True),
    "png-rgba": _pillow("RGBA", "PNG"),
    "png-grey-alpha": _pillow("LA", "PNG"),
    "png-palette": _pillow("P", "PNG"),
    "png-palette-transparent": _pillow("P+", "PNG"),
    "png-16-bit-grey": _pillow("I;16", "PNG"),
    "png-16-bit-rgb": _vips(".png", deep=True),
    "png-interlaced": _vips(".png", interlace=True),
    "tiff-raw": _pillow("RGB", "TIFF"),
    "tiff-strips": _pillow("RGB", "TIFF", compression="tiff_deflate"),
    "tiff-strips-turned": _pillow("RGB", "TIFF", compression="tiff_deflate", turned=True),
    "tiff-one-strip": _pillow("RGB", "TIFF", compression="tiff_deflate", strip_size=2**31 - 1),
    "tiff-tiles": _vips(".tif", tile=True, compression="deflate"),
    "tiff-16-bit-grey": _pillow("I;16", "TIFF", compression="tiff_deflate"),
    "tiff-16-bit-rgb": _vips(".tif", deep=True, compression="deflate"),
    "tiff-jpeg": _pillow("RGB", "TIFF", compression="jpeg"),
    "webp": _pillow("RGB", "WEBP", method=0),
    "webp-lossless": _pillow("RGB", "WEBP", method=0, lossless=True),
    "webp-rgba": _pillow("RGBA", "WEBP", method=0),
    "gif": _pillow("P", "GIF"),
    "gif-transparent": _pillow("P+", "GIF"),
    "bmp": _pillow("RGB", "BMP"),
    "tga": _pillow("RGB", "TGA", compression="tga_rle"),
    "ppm": _pillow("RGB", "PPM"),
    "jpeg2000": _pillow(
        "RGB", "JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[200]
    ),
    "jpeg2000-lossless": _pillow("RGB", "JPEG2000"),
    "jpeg2000-rgba": _pillow("RGBA", "JPEG2000"),
    "avif": _pillow("RGB", "AVIF", speed=10),
    "avif-rgba": _pillow("RGBA", "AVIF", speed=10),
}
#: WebP has no larger sides, and at some sizes other encoders give up.
_SIDES = {"webp": 16_383, "avif": 8_000}


def read_alone(file: Path) -> None:
    """Reads one image, and prints the estimate and the peak in bytes."""
    images.read(file.with_suffix(".small").read_bytes(), SPEC)  # loads the libraries
    before = _status("VmRSS")
    data = file.read_bytes()
    estimate = estimate_memory(data, SPEC)
    said = "ok"
    try:
        images.read(data, SPEC)
    except ImageError as error:
        said = f"{error.reason}: {error}"
    print(estimate, _status("VmHWM") - before, said)


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def main() -> None:
    """Prints a row for each format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=20)
    parser.add_argument("--read", type=Path)
    parser.add_argument("formats", nargs="*")
    options = parser.parse_args()
    if options.read:
        read_alone(options.read)
        return
    print(f"{'format':<24} {'side':>6} {'file':>6} {'estimate':>8} {'peak':>8}  (MiB)")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.formats or MAKERS:
            side = min(
                int((options.megapixels * 1e6) ** 0.5), _SIDES.get(name.split("-")[0], 2**16)
            )
            file = Path(folder, name)
            file.write_bytes(MAKERS[name](side))
            file.with_suffix(".small").write_bytes(MAKERS[name](64))
            command = [sys.executable, __file__, "--read", str(file)]
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            estimate, peak, said = told.split(" ", 2)
            numbers = [n / 2**20 for n in (file.stat().st_size, int(estimate), int(peak))]
            ratio = numbers[1] / numbers[2]
            columns = f"{numbers[0]:>6.1f} {numbers[1]:>8.0f} {numbers[2]:>8.0f}"
            print(f"{name:<24} {side:>6} {columns} {ratio:>6.2f}  {said.strip()}", flush=True)
            file.unlink()


if __name__ == "__main__":
    main()
