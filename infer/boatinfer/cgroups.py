"""The control groups (cgroups) of this process, by which containers and services limit it.

``/proc/self/cgroup`` names the group of the process; a limit of a group also holds for all groups
below it (Linux kernel documentation, admin-guide/cgroup-v2 and cgroup-v1).
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["CGROUP_ROOT", "SELF_CGROUP", "cgroup_folders"]

#: Where the cgroup file systems are mounted, and the file that lists this process's groups.
CGROUP_ROOT, SELF_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cgroup_folders(controller: str, root: Path, membership: Path) -> list[Path]:
    """The folders of the process's control groups and of their parent groups.

    Args:
        controller: name in cgroup v1, such as ``cpu``; v2 has one tree for all controllers.
        root: where the cgroup file systems are mounted.
        membership: the file that lists the process's groups, ``/proc/self/cgroup``.
    """
    try:
        lines = membership.read_text(errors="surrogateescape").splitlines()
    except OSError:  # no cgroups on this system
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controller in (controllers or controller).split(","):  # v2 lists no controllers
            top = root / controller if controllers else root
            inner = top / group.lstrip("/")
            # In a container the path may be the host's, and only the top of it may exist.
            folders += [path for path in (inner, *inner.parents) if path.is_relative_to(top)]
    return folders
