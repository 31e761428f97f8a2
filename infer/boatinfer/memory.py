"""How much memory this process uses and may use."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from boatinfer.cgroups import MEMBER, MOUNTED, groups
from boatinfer.errors import UsageError

if sys.platform != "win32":
    import resource

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


#: Addresses that a process maps later and that hold little: stacks of threads (8 MiB each), and
#: what allocators set apart (that of pyarrow 1 GiB).
_RESERVED = 2 * 2**30


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
    return min([_of_machine(), *_of_groups(MOUNTED, MEMBER), *_of_resources()])


def _of_machine() -> int:
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    import psutil

    return int(psutil.virtual_memory().total)


def free_memory() -> int:
    """Bytes of memory that this process may still take."""
    import psutil

    return min(int(psutil.virtual_memory().available), usable_memory() - in_use())


def _of_groups(mounted: Path, member: Path) -> Iterator[int]:
    """The limits of the process's control groups and of those around them."""
    for group in groups("memory", mounted, member):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                yield int((group / name).read_text())


def _of_resources() -> Iterator[int]:
    for number, mapped in _limited():
        limit = resource.getrlimit(number)[0]
        if limit != resource.RLIM_INFINITY:
            yield max(0, limit - max(0, mapped - in_use()))


def _limited() -> list[tuple[int, int]]:
    """Numbers of the resource limits that bound memory, and the bytes that each counts now."""
    if sys.platform != "linux":  # Windows has none, and macOS does not obey them
        return []
    return [(resource.RLIMIT_AS, _pages(0)), (resource.RLIMIT_DATA, _pages(5))]


def in_use() -> int:
    """Bytes of memory that this process uses now (its resident set)."""
    if sys.platform == "linux":  # this way it takes no library, and a thirtieth of the time
        return _pages(1)
    import psutil

    return int(psutil.Process().memory_info().rss)


def _pages(field: int) -> int:
    """Bytes that a field of ``/proc/self/statm`` tells (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[field]) * resource.getpagesize()


def limit_process(size: int) -> None:
    """Has the system refuse this process more than some bytes beyond what it has mapped now.

    A backstop behind the estimates of `boatinfer.images`: a decoder that asks for more ends in
    a `MemoryError` or dies alone, before the system ends other processes. It is RLIMIT_DATA,
    which on Linux bounds all private memory (getrlimit(2)); elsewhere nothing is done. Not for
    processes that use a GPU, whose drivers map far more than they use. Addresses count, whether or
    not they hold anything, so it comes with 2 GiB to spare; call it when the libraries are loaded.

    Args:
        size: bytes.
    """
    if sys.platform != "linux":
        return
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    mapped = dict(_limited())[resource.RLIMIT_DATA]
    wanted = mapped + size + _RESERVED
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
