"""How much memory this process uses and may use."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from boatinfer.cgroups import MEMBER, MOUNTED, groups
from boatinfer.errors import UsageError

__all__ = [
    "free_memory",
    "in_use",
    "limit_process",
    "parse_size",
    "size_text",
    "trim",
    "usable_memory",
]

_UNITS = "KMGT"
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:(i)?B)?|B)?", re.IGNORECASE)

#: Less would not hold Python and the libraries; who writes less has forgotten the unit.
_LEAST = 64 * 2**20


#: Addresses of the stacks of 64 threads, of 8 MiB each.
_STACKS = 64 * 8 * 2**20


def parse_size(text: str | int) -> int:
    """Reads an amount of memory as people write it, in bytes.

    Args:
        text: bytes, or a number and a unit: ``2G`` and ``2GiB`` are 2 * 1024**3 bytes, ``2GB`` are
            2 * 1000**3.

    Raises:
        UsageError: it is none, or less than 64 MiB.
    """
    found = _SIZE.fullmatch(str(text).strip())
    if found is None:
        raise UsageError(f"--memory {text}: give bytes or a size such as 1500M, 2G or 4GiB.")
    number, unit, binary = found.groups()
    decimal = not binary and str(text).strip().upper().endswith("B")
    power = _UNITS.index(unit.upper()) + 1 if unit else 0
    size = int(float(number) * (1000 if decimal else 1024) ** power)
    if size < _LEAST:
        raise UsageError(f"--memory {text}: give at least {size_text(_LEAST)}.")
    return size


def size_text(size: int) -> str:
    """An amount of memory for people: ``1.5 GiB``, ``64 MiB``."""
    mebibytes = size / 2**20
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1024 else f"{mebibytes:.0f} MiB"


def usable_memory() -> int:
    """Bytes of memory that this process may use, with what it uses already.

    That is the least of the machine's memory, the limits of the process's control groups
    (``memory.max`` and ``memory.high`` of cgroup v2, ``memory.limit_in_bytes`` of v1), and the
    resource limits of the address space and of data (``ulimit -v`` and ``-d``), which count
    addresses without memory too.
    """
    import psutil

    total: int = psutil.virtual_memory().total
    return min([total, *_of_groups(MOUNTED, MEMBER), *_of_resources()])


def free_memory() -> int:
    """Bytes of memory that this process may still take."""
    import psutil

    return min(psutil.virtual_memory().available, usable_memory() - in_use())


def _of_groups(mounted: Path, member: Path) -> Iterator[int]:
    """The limits of the process's control groups and of those around them."""
    for group in groups("memory", mounted, member):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                yield int((group / name).read_text())


def _of_resources() -> Iterator[int]:
    for number, mapped in _limited():
        import resource

        limit = resource.getrlimit(number)[0]
        if limit != resource.RLIM_INFINITY:
            yield max(0, limit - max(0, mapped - in_use()))


def _limited() -> list[tuple[int, int]]:
    """Numbers of the resource limits that bound memory, and the bytes that each counts now."""
    import psutil

    try:
        import resource
    except ImportError:  # Windows
        return []
    info = psutil.Process().memory_info()
    limited = [(resource.RLIMIT_AS, info.vms)]
    if sys.platform == "linux":  # elsewhere it does not bound what `mmap` gives
        limited.append((resource.RLIMIT_DATA, info.data))
    return limited


def in_use() -> int:
    """Bytes of memory that this process uses now (its resident set)."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def limit_process(size: int) -> None:
    """Has the system refuse this process more than some bytes beyond what it has mapped now.

    A backstop behind the estimates of `boatinfer.images`: a decoder that asks for more ends in
    a `MemoryError` or dies alone, before the system ends other processes. It is RLIMIT_DATA,
    which on Linux bounds all private memory (getrlimit(2)); elsewhere nothing is done. Not for
    processes that use a GPU, whose drivers map far more than they use. Call it when the libraries
    are loaded; the stacks of threads count whole, whatever they hold, and there is room for them.

    Args:
        size: bytes.
    """
    if sys.platform != "linux":
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    mapped = dict(_limited())[resource.RLIMIT_DATA]
    wanted = mapped + size + _STACKS
    if most != resource.RLIM_INFINITY:
        wanted = min(wanted, most)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, most))


def trim() -> None:
    """Gives memory that was freed back to the system, where the C library would keep it (glibc)."""
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)
