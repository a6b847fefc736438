"""What an export costs: work in proportion to the nodes, memory far below the weights.

No clock is read: work is counted in function calls, memory is the kernel's own high-water mark.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import exporter
from dyn import nn
from tests.exporter.serving.models import run_python
from tracer import InputSpec


def calls(work: Any) -> int:
    """Function calls, Python's and C's, that a piece of work makes."""
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_work_is_in_proportion_to_the_nodes(tmp_path: Path) -> None:
    def cost(layers: int) -> int:
        net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(layers)))
        spec = InputSpec(["n", 4])
        return calls(lambda: exporter.export(net, tmp_path / "m.onnx", spec, verify=False))

    cost(5)
    counts = [cost(layers) for layers in (40, 80, 160)]
    assert counts[1] < 2.2 * counts[0] and counts[2] < 2.2 * counts[1]
    assert counts[2] < 160 * 2500


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from dyn import nn
import exporter
from exporter import InputSpec

def mark(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024

def net(width, layers):
    if sys.argv[3] == "linear":
        return nn.Sequential(*(nn.Linear(width, width) for _ in range(layers)))
    pairs = [(nn.Conv2D(width, width, 1), nn.BatchNorm2D(width)) for _ in range(layers)]
    return nn.Sequential(*(layer for pair in pairs for layer in pair)).eval()

path, external = sys.argv[1], sys.argv[2] == "True"
spec = InputSpec([None, 1024] + [1, 1] * (sys.argv[3] != "linear"))
options = dict(verify=False, external_data=external)
exporter.export(net(1024, 1), path, spec, **options)
large = net(1024, 32)
weights = sum(p.numpy().nbytes for p in large.parameters())
Path("/proc/self/clear_refs").write_text("5")
before = mark("VmRSS")
exporter.export(large, path, spec, **options)
print((mark("VmHWM") - before) / weights)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("external", "layers"), [(False, "linear"), (True, "linear"), (False, "folded")]
)
def test_memory_while_writing_is_a_fifth_of_the_weights(
    tmp_path: Path, external: bool, layers: str
) -> None:
    extra = float(run_python(MEMORY, tmp_path / "m.onnx", external, layers).split()[-1])
    assert extra < 0.2, "also where a batch norm changes every weight"
