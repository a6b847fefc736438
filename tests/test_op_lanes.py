"""The main ops with vectors of every width there is: the same results on other processors.

LLVM makes vectors wider than the machine's of several, so that every width runs everywhere. The
width is fixed when the package is imported: each runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dyn.kernels.vector.lanes import LANES

OPS = ("matmul", "linear", "conv", "conv_transpose", "max_pool", "avg_pool", "softmax", "exp",
       "tanh", "gelu", "sum", "max", "layer_norm", "batch_norm", "softmax_cross_entropy",
       "attention", "lstm", "lstm_cell", "embedding", "where", "adam_update", "interpolate",
       "group_norm", "lerp", "kl_div", "pad_grad", "gather_grad", "prod_grad", "grid_sample",
       "grid_sample_grad_x", "grid_sample_grad_grid", "rprop_update", "lamb_update",
       "clip_each", "sum_bags")  # fmt: skip

PROGRAM = """
import sys
from dyn.kernels.vector.lanes import LANES
from tests.test_op_forward import VALUED, check, run

assert str(LANES) == sys.argv[1]
names = set()
for case in VALUED:
    if case.op in sys.argv[2:]:
        arrays = case.arrays()
        try:
            check(run(case, arrays), case.expected(arrays), case.tol, case.dtypes[0])
        except AssertionError as error:
            raise SystemExit(f"{case.id}: {error}")
        names.add(case.op)
print(*sorted(names))
"""


@pytest.mark.parametrize("lanes", [n for n in (4, 8, 16) if n != LANES])
def test_results_do_not_depend_on_the_width(lanes: int) -> None:
    root = Path(__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(lanes), *OPS],
        capture_output=True,
        text=True,
        cwd=root,
        env=dict(os.environ, PYTHONPATH=str(root), DYN_LANES=str(lanes)),
        timeout=900,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert len(result.stdout.split()) > len(OPS) // 2
