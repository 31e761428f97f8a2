"""How many CPUs this process may use."""

from __future__ import annotations

import os
from pathlib import Path

from boatinfer.cgroups import CGROUP_ROOT, SELF_CGROUP, cgroup_folders

__all__ = ["usable_cpus"]


def usable_cpus() -> int:
    """Number of CPUs this process may use, by its CPU affinity and its control groups' quotas.

    A quota is ``cpu.max`` of cgroup v2 or ``cpu.cfs_quota_us`` of v1.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _quota(CGROUP_ROOT, SELF_CGROUP)
    return cpus if quota is None else max(1, min(cpus, round(quota)))


def _quota(root: Path, membership: Path) -> float | None:
    """The smallest quota, in CPUs, of the process's control groups and their parents.

    Args:
        root: where the cgroup file systems are mounted.
        membership: the file that lists the process's groups.

    Returns:
        None where there is no quota.
    """
    quotas = [_cgroup_quota(group) for group in cgroup_folders("cpu", root, membership)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _cgroup_quota(group: Path) -> float | None:
    """One control group's own quota in CPUs; None if it has none."""
    try:
        limit, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    return None if limit in {"max", "-1"} else float(limit) / float(period)
