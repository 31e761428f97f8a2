"""How many processors this process may use."""

from __future__ import annotations

import os
from pathlib import Path

from boatinfer.cgroups import MEMBER, MOUNTED, groups

__all__ = ["usable_cpus"]


def usable_cpus() -> int:
    """CPUs this process may use: its affinity, and the quotas of its control groups.

    A quota is ``cpu.max`` of cgroup v2 or ``cpu.cfs_quota_us`` of v1.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _quota(MOUNTED, MEMBER)
    return cpus if quota is None else max(1, min(cpus, round(quota)))


def _quota(mounted: Path, member: Path) -> float | None:
    """The least quota, in CPUs, of the process's control groups and those around them.

    Args:
        mounted: where the control groups are.
        member: the file that says which of them are the process's.

    Returns:
        None where there is no quota.
    """
    quotas = [_quota_of(group) for group in groups("cpu", mounted, member)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_of(group: Path) -> float | None:
    """One control group's own quota in CPUs; None where it has none."""
    try:
        limit, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if limit in {"max", "-1"} else float(limit) / float(period)
