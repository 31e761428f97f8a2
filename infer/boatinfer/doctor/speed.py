"""Examines models: seal, self-test, device, and how many images a second they classify."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from boatinfer import images
from boatinfer.cpus import usable_cpus
from boatinfer.doctor.findings import Finding, Level
from boatinfer.errors import BoatinferError, DeviceError, ImageError, ModelError
from boatinfer.models import svm as svms
from boatinfer.models.built_in import BUILT_IN
from boatinfer.models.device import Device
from boatinfer.models.model import Model, open_model
from boatinfer.pipeline.options import RunOptions
from boatinfer.results.folder import Results
from boatinfer.results.manifest import read_manifest
from boatinfer.text import counted, from_text

__all__ = ["examine_model"]

#: Images that the speed is measured on, and seconds for each measurement.
_IMAGES, _SECONDS = 48, 0.6
#: Larger images are left out, in bytes.
_LARGE = 64 << 20
#: Bytes of images that are held at once at most, and images of a batch.
_HELD, _BATCH = 256 << 20, 32


def examine_model(options: RunOptions, subject: str) -> Finding:
    """Opens the model of a folder, and measures it on images that a run has classified before.

    Args:
        options: of the folder's run.
        subject: the name of the folder.
    """
    check = "model of"
    try:
        model = open_model(options.model, options.device, 1, options.batch_size)
        svms.load_for_model(model, options.svm)
    except BoatinferError as error:
        return Finding(
            check=check,
            level=Level.FAULT,
            text=_fault(error),
            subject=subject,
            detail=str(error).rstrip("."),
        )
    own = _known_images(options)
    contents = own or [golden.image for golden in model.golden.images]
    rates = _rates(model, contents, options.threads or usable_cpus())
    figures = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
    which = "of the folder" if own else "of the self-test"
    text = (
        f"sealed, self-test passed on {model.device}; images a second: {figures} "
        f"({counted(len(contents), 'image')} {which})"
    )
    unwanted = options.device is Device.AUTO and model.device is Device.CPU and _has_gpu()
    return Finding(
        check=check,
        level=Level.WARNING if unwanted else Level.OK,
        text=text,
        advice="there is a GPU that is not used; see docs/install.md" if unwanted else None,
        figures=rates,
        subject=subject,
        detail=None if model.path == BUILT_IN else str(model.path),
    )


def _fault(error: BoatinferError) -> str:
    if isinstance(error, DeviceError):
        return "the device that is asked for does not work"
    return "the model cannot be used" if isinstance(error, ModelError) else "it cannot be opened"


def _has_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists()


def _known_images(options: RunOptions) -> list[bytes]:
    """The first images that the last complete run classified, so that none ends this process."""
    results, folder = Results(options.results_folder), options.folder
    if not isinstance(folder, Path):
        return []
    try:
        manifest = read_manifest(results.manifest)
    except BoatinferError:
        return []
    paths = manifest.images.filter(manifest.images["classified"])["path"].slice(0, _IMAGES)
    found: list[bytes] = []
    room = _HELD
    for path in paths.to_pylist():
        try:
            file = folder / from_text(path)
            size = file.stat().st_size
            if size <= min(_LARGE, room):
                found.append(file.read_bytes())
                room -= size
        except OSError:
            continue
    return found


def _rates(model: Model, contents: Sequence[bytes], threads: int) -> dict[str, float]:
    """Images a second, by what is done with them, in as many threads as a run has."""
    spec, size = model.card.image, min(model.batch_size, _BATCH)

    def decode(data: bytes) -> images.Pixels | None:
        try:
            return images.read(data, spec)
        except ImageError:  # it has changed since
            return None

    pixels = [image for image in map(decode, contents) if image is not None]
    if not pixels:
        return {}
    batch = np.stack([*itertools.islice(itertools.cycle(pixels), size)])
    group = [*itertools.islice(itertools.cycle(contents), size)]

    def decode_batch() -> None:
        for data in group:
            decode(data)

    def infer_batch() -> None:
        model.infer(batch)

    def both() -> None:
        decode_batch()
        infer_batch()

    work = {"decoded": decode_batch, "inferred": infer_batch, "together": both}
    return {name: _rate(one, size, threads) for name, one in work.items()}


def _rate(work: Callable[[], None], size: int, threads: int) -> float:
    """Images a second of work on batches of a size, in threads."""
    work()  # what is slow the first time
    started = time.monotonic()

    def repeat(_: int) -> int:
        done = 0
        while True:
            work()
            done += size
            if time.monotonic() >= started + _SECONDS:
                return done

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(repeat, range(threads)))
    return round(done / (time.monotonic() - started), 1)
