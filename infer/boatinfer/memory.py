"""How much memory this process uses and may use."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from boatinfer.cgroups import CGROUP_ROOT, SELF_CGROUP, cgroup_folders
from boatinfer.errors import UsageError

if sys.platform != "win32":
    import resource

__all__ = [
    "SMALLEST_LIMIT",
    "format_size",
    "free_memory",
    "limit_process_memory",
    "memory_in_use",
    "parse_size",
    "release_freed_memory",
    "usable_memory",
]

_UNITS = "KMGT"
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:(i)?B)?|B)?", re.IGNORECASE)

#: Smallest limit: less would not hold Python and the libraries, so the unit was forgotten.
SMALLEST_LIMIT = 64 * 2**20


#: Address space that is mapped later and mostly stays empty: thread stacks (8 MiB each) and the
#: reserves of allocators (pyarrow's is 1 GiB).
_RESERVED_ADDRESSES = 2 * 2**30


def parse_size(text: str | int) -> int:
    """Parses an amount of memory, such as ``2G``, into bytes.

    Args:
        text: bytes, or a number and a unit: ``2G`` and ``2GiB`` are 2 * 1024**3 bytes, ``2GB`` are
            2 * 1000**3.

    Raises:
        UsageError: it is not an amount of memory, or is less than 64 MiB.
    """
    match = _SIZE.fullmatch(str(text).strip())
    if match is None:
        raise UsageError(f"--memory {text}: give bytes or a size such as 1500M, 2G or 4GiB.")
    number, unit, binary = match.groups()
    decimal = not binary and str(text).strip().upper().endswith("B")
    power = _UNITS.index(unit.upper()) + 1 if unit else 0
    size = int(float(number) * (1000 if decimal else 1024) ** power)
    if size < SMALLEST_LIMIT:
        raise UsageError(f"--memory {text}: give at least {format_size(SMALLEST_LIMIT)}.")
    return size


def format_size(size: int) -> str:
    """Formats an amount of memory for display: ``1.5 GiB``, ``64 MiB``."""
    mebibytes = size / 2**20
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1024 else f"{mebibytes:.0f} MiB"


def usable_memory() -> int:
    """Bytes of memory that this process may use, including what it uses already.

    That is the minimum of the machine's memory, the limits of the process's control groups
    (``memory.max`` and ``memory.high`` of cgroup v2, ``memory.limit_in_bytes`` of v1), and the
    resource limits of the address space and the data segment (``ulimit -v`` and ``-d``), which also
    count addresses that are not backed by memory.
    """
    return min([_machine_memory(), *_cgroup_limits(CGROUP_ROOT, SELF_CGROUP), *_rlimits()])


def _machine_memory() -> int:
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    import psutil

    return int(psutil.virtual_memory().total)


def free_memory() -> int:
    """Bytes of memory that this process may still allocate."""
    import psutil

    return min(int(psutil.virtual_memory().available), usable_memory() - memory_in_use())


def _cgroup_limits(root: Path, membership: Path) -> Iterator[int]:
    """The memory limits of the process's control groups and their parents."""
    for group in cgroup_folders("memory", root, membership):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                yield int((group / name).read_text())


def _rlimits() -> Iterator[int]:
    for number, mapped in _memory_rlimits():
        limit = resource.getrlimit(number)[0]
        if limit != resource.RLIM_INFINITY:
            yield max(0, limit - max(0, mapped - memory_in_use()))


def _memory_rlimits() -> list[tuple[int, int]]:
    """The resource limits that bound memory, each with the bytes that count against it now."""
    if sys.platform != "linux":  # Windows has none, and macOS does not enforce them
        return []
    return [(resource.RLIMIT_AS, _statm_bytes(0)), (resource.RLIMIT_DATA, _statm_bytes(5))]


def memory_in_use() -> int:
    """Bytes of memory that this process uses now (its resident set size)."""
    if sys.platform == "linux":  # needs no library, and is 30 times faster
        return _statm_bytes(1)
    import psutil

    return int(psutil.Process().memory_info().rss)


def _statm_bytes(field: int) -> int:
    """A field of ``/proc/self/statm`` in bytes (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[field]) * resource.getpagesize()


def limit_process_memory(size: int) -> None:
    """Limits the memory that this process may allocate beyond what it has mapped now.

    A safety net behind the estimates of `boatinfer.images`: a decoder that allocates more gets a
    `MemoryError` or dies alone, before the out-of-memory killer ends other processes. The limit is
    RLIMIT_DATA, which on Linux bounds all private memory (getrlimit(2)); other systems are left
    alone. Not for processes that use a GPU, whose drivers map far more than they use. Address
    space counts whether or not it is used, so 2 GiB are added; call it after the libraries are
    loaded.

    Args:
        size: bytes.
    """
    if sys.platform != "linux":
        return
    _, hard_limit = resource.getrlimit(resource.RLIMIT_DATA)
    mapped = dict(_memory_rlimits())[resource.RLIMIT_DATA]
    soft_limit = mapped + size + _RESERVED_ADDRESSES
    if hard_limit != resource.RLIM_INFINITY:
        soft_limit = min(soft_limit, hard_limit)
    resource.setrlimit(resource.RLIMIT_DATA, (soft_limit, hard_limit))


def release_freed_memory() -> None:
    """Returns freed memory to the system, which glibc would otherwise keep."""
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)
