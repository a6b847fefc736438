"""What a process may use: affinity, and the limits of both versions of cgroups."""

from __future__ import annotations

import os

import pytest

from dyn.kernels.runtime import limits


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {"proc": root / "proc", "mount": root / "mount"}


@pytest.mark.parametrize(
    ("files", "cpus", "memory"),
    [
        ({}, None, None),
        ({"proc": "0::/\n"}, None, None),
        (
            {"proc": "0::/\n", "mount/cpu.max": "max 100000\n", "mount/memory.max": "max\n"},
            None,
            None,
        ),
        (
            {"proc": "0::/\n", "mount/cpu.max": "150000 100000", "mount/memory.max": "4096"},
            1.5,
            4096,
        ),
        (
            {
                "proc": "0::/outer/inner\n",
                "mount/outer/cpu.max": "200000 100000",
                "mount/outer/inner/cpu.max": "max 100000",
                "mount/outer/inner/memory.max": "9000",
                "mount/outer/memory.max": "5000",
            },
            2.0,
            5000,
        ),
        (
            {
                "proc": "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n",
                "mount/cpu,cpuacct/cpu.cfs_quota_us": "50000",
                "mount/cpu,cpuacct/cpu.cfs_period_us": "100000",
                "mount/memory/docker/x/memory.limit_in_bytes": "12345",
            },
            0.5,
            12345,
        ),
        (
            {
                "proc": "3:cpu:/\n",
                "mount/cpu/cpu.cfs_quota_us": "-1",
                "mount/cpu/cpu.cfs_period_us": "100000",
            },
            None,
            None,
        ),
    ],
)
def test_container_limits(tmp_path, files, cpus, memory):
    places = tree(tmp_path, files)
    assert limits.cpu_quota(**places) == cpus
    assert limits.memory_limit(**places) == memory


@pytest.mark.parametrize(("quota", "count"), [(None, 6), (0.3, 1), (1.5, 2), (4.0, 4), (64.0, 6)])
def test_the_quota_cuts_the_affinity(monkeypatch, quota, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr(limits, "cpu_quota", lambda: quota)
    assert limits.available_cpus() == count


def test_memory_is_at_most_what_the_container_may_hold(monkeypatch):
    monkeypatch.setattr(limits, "memory_limit", lambda: None)
    total = limits.available_memory()
    assert total > 1 << 20
    monkeypatch.setattr(limits, "memory_limit", lambda: 1 << 20)
    assert limits.available_memory() == 1 << 20
    monkeypatch.setattr(limits, "memory_limit", lambda: 1 << 62)
    assert limits.available_memory() == total
