"""How many processors and how much memory this process may use: affinity and container limits.

Plain Python that reads the system; no numba and no policy (that is `threads.py` and `memory.py`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


def available_cpus() -> int:
    """Processors this process may run on: its affinity mask, cut to the cgroup's CPU quota."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = cpu_quota()
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def available_memory() -> int:
    """Bytes of memory this process may use: what the machine has, cut to the cgroup's limit."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        total = 8 << 30
    limit = memory_limit()
    return total if limit is None else min(total, limit)


def cpu_quota(proc: Path = PROC, mount: Path = MOUNT) -> float | None:
    """Processors' worth of time the cgroup grants, the least along the path; None if unlimited."""
    found = []
    for folder in _folders("cpu", proc, mount):
        both = _words(folder / "cpu.max")  # version 2: "quota period" or "max period"
        if len(both) != 2:  # version 1
            both = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(both) == 2 and both[0] > 0 and both[1] > 0:
            found.append(both[0] / both[1])
    return min(found, default=None)


def memory_limit(proc: Path = PROC, mount: Path = MOUNT) -> int | None:
    """Bytes the cgroup may hold, the least along the path; None if unlimited."""
    found = []
    for folder in _folders("memory", proc, mount):
        found += _words(folder / "memory.max") + _words(folder / "memory.limit_in_bytes")
    return min((size for size in found if size > 0), default=None)


def _folders(controller: str, proc: Path, mount: Path) -> Iterator[Path]:
    """The folders of this process's cgroup for a controller, from the innermost to the root.

    A container may see the host's path in `proc` and only its own part below `mount`: folders that
    do not exist are passed over by the readers.
    """
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            roots = [mount, mount / "unified"]
        elif controller in names.split(","):
            roots = [mount / names, mount / controller]
        else:
            continue
        inner = Path(path.strip().lstrip("/"))
        for root in roots:
            for part in (inner, *inner.parents):
                yield root / part


def _words(file: Path) -> list[int]:
    """The integers in a file; none where it is absent or says "max"."""
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []
