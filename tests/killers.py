"""A run's task whose reader dies, hangs or grows on images that say so; for worker processes."""

from __future__ import annotations

import ctypes
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np

import colours
from boatinfer import images
from boatinfer.images import isolated
from boatinfer.pipeline import worker

__all__ = ["KILLERS", "Classification", "install", "killer", "write_killer"]

_SAYS = re.compile(rb"killer:(\w+)")


def _overflow() -> None:
    """Overflows the C stack: the hash of a tuple calls itself for what it holds."""
    nested: tuple[Any, ...] = ()
    for _ in range(1_000_000):
        nested = (nested,)
    hash(nested)


def _later() -> None:
    """Crashes when other threads have had time to take images in hand."""
    time.sleep(1)
    ctypes.string_at(0)


def _out_of_memory() -> None:
    """Takes 100 GB, piece by piece, and uses all of it."""
    pieces = [np.ones(10**8, np.uint8) for _ in range(1000)]
    del pieces


#: What a decoder can do, by name.
KILLERS = {
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "later": _later,
    "overflow": _overflow,
    "killed": lambda: os.kill(os.getpid(), 9),
    "exit": lambda: os._exit(5),
    "spin": lambda: re.match(r"(a+)+$", "a" * 60 + "b"),  # holds the GIL for years
    "sleep": lambda: time.sleep(10**6),
    "memory": _out_of_memory,
}


def killer(kind: str) -> bytes:
    """A JPEG at which `Classification` does what ``kind`` says."""
    picture = colours.picture("red")
    comment = f"killer:{kind}".encode()
    return picture[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + picture[2:]


def write_killer(path: Path, kind: str) -> None:
    """Writes a `killer`; no two have the same content."""
    path.write_bytes(killer(kind) + str(path).encode())


def install() -> None:
    """Puts the reader that is not safe in the place of the reader, in this process."""
    read = images.read

    def dangerous(data: bytes, *arguments: Any, **options: Any) -> images.Pixels:
        says = _SAYS.search(data)
        if says:
            KILLERS[says[1].decode()]()
        return read(data, *arguments, **options)

    for module in (images, isolated):
        vars(module)["read"] = dangerous


class Classification(worker.Classification):
    """As a run's, with a reader that is not safe."""

    def open(self) -> worker.Classifying:
        """Opens the model, and puts the reader in its place."""
        opened = super().open()
        install()
        return opened
