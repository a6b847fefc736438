"""The thread budget: affinity, cgroups of both versions (as trees of files), and the override."""

import os

import pytest

from exporter.serving import threads
from tests.exporter.serving.models import run_python, write_layers


def tree(root, files):
    """Lay files out below `root`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch):
    monkeypatch.delenv("DYN_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "usable_cpus", lambda: 8)


V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    ("files", "quota", "budget"),
    [
        ({}, None, 8),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "max 100000\n"}, None, 8),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "250000 100000\n"}, 2.5, 3),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "50000 100000\n"}, 0.5, 1),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "3200000 100000\n"}, 32, 8),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                f"{V2}/a/b/cpu.max": "max 100000",
                f"{V2}/a/cpu.max": "300000 100000",
                f"{V2}/cpu.max": "600000 100000",
            },
            3,
            3,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/x\n2:cpuset:/x\n",
                f"{V1}/x/cpu.cfs_quota_us": "400000",
                f"{V1}/x/cpu.cfs_period_us": "100000",
            },
            4,
            4,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/docker/0123\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000",
            },
            3,
            3,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
            8,
        ),
        ({"proc/self/cgroup": "nonsense\n0::\n", f"{V2}/cpu.max": "much 0"}, None, 8),
    ],
)
def test_quota_and_budget(tmp_path, files, quota, budget):
    root = tree(tmp_path, files)
    assert threads.cpu_quota(root) == quota
    assert threads.thread_budget(root) == budget


def test_the_environment_overrides(tmp_path, monkeypatch):
    monkeypatch.setenv("DYN_NUM_THREADS", "3")
    assert threads.thread_budget(tmp_path) == 3
    for wrong in ("0", "-1", "two"):
        monkeypatch.setenv("DYN_NUM_THREADS", wrong)
        with pytest.raises(ValueError, match="DYN_NUM_THREADS"):
            threads.thread_budget(tmp_path)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux's affinity calls")
def test_sessions_start_the_threads_of_the_budget_and_no_more(tmp_path):
    path = write_layers(tmp_path / "m.onnx", layers=1)
    code = """
import os, sys
import numpy as np
from exporter.serving import Predictor

def started(**options):
    before = len(os.listdir("/proc/self/task"))
    predictor = Predictor(sys.argv[1], **options)
    predictor(np.zeros((1, 4, 64), np.float32))
    predictors.append(predictor)
    return len(os.listdir("/proc/self/task")) - before

predictors = []
print(started(threads=3))                   # the calling thread works too
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
print(started())
"""
    assert run_python(code, path).split() == ["2", "0"]


def test_dyn_computes_with_the_same_budget(tmp_path):
    # Serving must not import dyn, so the rule stands twice; here the two meet.
    from dyn.kernels.runtime import limits

    root = tree(tmp_path, {"proc/self/cgroup": "0::/a\n3:cpu,cpuacct:/x\n"})
    assert limits.cpu_quota(root / "proc/self/cgroup", root / V2) is None
    for quota in ("150000 100000", "max 100000", "3 2"):
        tree(tmp_path, {f"{V2}/a/cpu.max": quota})
        assert threads.cpu_quota(root) == limits.cpu_quota(root / "proc/self/cgroup", root / V2)
