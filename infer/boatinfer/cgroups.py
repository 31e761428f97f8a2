"""The control groups of this process: what a container, a service or a job limits.

``/proc/self/cgroup`` says which group the process is in; a limit is shared with all groups below
(Linux kernel documentation, admin-guide/cgroup-v2 and cgroup-v1).
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["MEMBER", "MOUNTED", "groups"]

#: Where the control groups are, and the file that says which of them are the process's.
MOUNTED, MEMBER = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def groups(controller: str, mounted: Path, member: Path) -> list[Path]:
    """The folders of the process's control groups and of those around them.

    Args:
        controller: of cgroup v1, such as ``cpu``; v2 has one tree for all.
        mounted: where the control groups are.
        member: the file that says which of them are the process's.
    """
    try:
        lines = member.read_text(errors="surrogateescape").splitlines()
    except OSError:  # this system has none
        return []
    found: list[Path] = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controller in (controllers or controller).split(","):  # v2 names none
            top = mounted / controller if controllers else mounted
            inner = top / group.lstrip("/")
            # In a container the group may be named as its host names it, and only the top be there.
            found += [at for at in (inner, *inner.parents) if at.is_relative_to(top)]
    return found
