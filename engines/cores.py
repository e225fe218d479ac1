"""How many processor cores this process may really use."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["available_cores"]


def available_cores(cgroup_root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """Count the cores left to this process by its CPU affinity and by its cgroup's quota.

    Engines size their pools by the machine otherwise: in a container limited to 2 of 64 cores that means 64 threads
    throttled by the kernel. A quota of a fraction of a core is rounded up.

    Args:
        cgroup_root: Where cgroup v2 is mounted.
        membership: The file that names this process's cgroup (cgroups(7)).

    Returns:
        At least 1.
    """
    quotas = [_quota(folder / "cpu.max") for folder in _cgroups(cgroup_root, membership)]
    return max(1, min([len(os.sched_getaffinity(0)), *(math.ceil(quota) for quota in quotas if quota < math.inf)]))


def _cgroups(root: Path, membership: Path) -> list[Path]:
    """This process's cgroup and its ancestors: the tightest quota among them holds."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if path is None:
        return []
    own = root / path
    return [own, *(parent for parent in own.parents if parent.is_relative_to(root))]


def _quota(cpu_max: Path) -> float:
    """Cores granted by a cpu.max file: "quota period" in microseconds, or "max period" for no limit."""
    try:
        quota, period = cpu_max.read_text().split()
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota == "max" else int(quota) / int(period)
