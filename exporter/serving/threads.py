"""How many threads this process may use: its affinity and its cgroup's CPU quota.

onnxruntime sizes its pool from the host, which in a container is far too many. Only the standard
library is used here: `dyn.kernels.runtime.limits` has the same rule and must not be imported.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def thread_budget(root: str | Path = "/") -> int:
    """Threads to compute with, at least 1.

    `DYN_NUM_THREADS` decides when it is set; otherwise the smaller of the CPUs that this process
    may be scheduled on and its cgroup quota, rounded up (calls are short, so that a thread for
    the fraction seldom uses the quota up).

    Args:
        root: where the file system's `proc` and `sys` lie.

    Raises:
        ValueError: `DYN_NUM_THREADS` is not a positive whole number.
    """
    setting = os.environ.get("DYN_NUM_THREADS", "").strip()
    if setting:
        if not setting.isdecimal() or int(setting) < 1:
            raise ValueError(f"DYN_NUM_THREADS is {setting!r}, wanted a whole number from 1")
        return int(setting)
    quota = cpu_quota(root)
    cpus = usable_cpus()
    return cpus if quota is None else max(1, min(cpus, math.ceil(quota)))


def usable_cpus() -> int:
    """CPUs that this process may be scheduled on (its affinity, where the system has one)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(root: str | Path = "/") -> float | None:
    """CPUs' worth of time that the cgroup grants this process, None without a limit.

    Reads version 2 (`cpu.max`) and version 1 (`cpu.cfs_quota_us`); the strictest of the group and
    the groups above it counts. Source: Linux Documentation/admin-guide/cgroup-v2.rst ("CPU") and
    Documentation/scheduler/sched-bwc.rst.

    Args:
        root: where the file system's `proc` and `sys` lie.
    """
    base = Path(root)
    limits = [limit for folder in _cgroup_folders(base) for limit in _folder_limits(folder)]
    return min(limits, default=None)


def _cgroup_folders(base: Path) -> Iterator[Path]:
    """The folder of every cgroup with CPU limits that this process is in, and those above it."""
    for line in _read(base / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 1 mounts one controller a folder; inside a container the group's path, which is
        # the host's, often does not exist below the mount: the mount itself is then the group.
        mounts = ("cpu", "cpu,cpuacct", "cpuacct,cpu") if controllers else ("", "unified")
        path = PurePosixPath("/" + group.strip("/")).relative_to("/")
        for mount in mounts:
            for part in (path, *path.parents):
                yield base / "sys/fs/cgroup" / mount / part


def _folder_limits(folder: Path) -> Iterator[float]:
    """The limits that one cgroup folder states, in CPUs."""
    quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota = _read(folder / "cpu.cfs_quota_us").strip()
        period = _read(folder / "cpu.cfs_period_us").strip()
    if quota.isdecimal() and period.isdecimal() and int(period) > 0:
        yield int(quota) / int(period)


def _read(path: Path) -> str:
    """The text of a small system file, empty when it cannot be read."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
