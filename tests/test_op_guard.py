"""Every row of the op table, and its gradient, between pages that nobody may touch.

A kernel that reads or writes one byte past an array stops its process, so the rows run in one of
their own, which says what it is about to do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels import guard

PROGRAM = """
import sys
import numpy as np
import dyn
from dyn.core.tensor import Tensor
from tests.kernels import guard
from tests.optable import cases

def given(x):
    # Between pages; strides of axes of size 1, which no address may depend on, lead far away.
    x = guard.guarded(x, side) if x.size else x
    strides = [1 << 44 if n == 1 else s for n, s in zip(x.shape, x.strides)]
    return np.lib.stride_tricks.as_strided(x, strides=strides)

def row(case, sizes):
    print(case.id, sizes, flush=True)
    arrays = case.arrays(dtype=dtype if case.order else None, sizes=sizes)
    wrt = case.differentiable(arrays) if case.order else ()
    tensors = [None if x is None else Tensor._of(given(x)) for x in arrays]
    for i, x in enumerate(tensors):
        if x is not None:
            x.stop_gradient = i not in wrt
    outputs = list(case.call(*tensors))
    wanted = [y for y in outputs if not y.stop_gradient]
    if wanted:
        gradients = [Tensor._of(given(np.ones_like(y._read()))) for y in wanted]
        dyn.grad(wanted, [t for t in tensors if t is not None and not t.stop_gradient],
                 gradients, allow_unused=True)

side, dtype = sys.argv[1:]
done = 0
with guard.guarded_results(side):
    for case in cases():
        row(case, None)
        done += 1
        for name in case.names if case.single else ():
            row(case, {name: 1})
print("done", done)
"""


@pytest.mark.skipif(not guard.AVAILABLE, reason="no mprotect on this system")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("side", ["start", "end"])
def test_no_kernel_touches_what_is_not_its_own(side: str, dtype: str) -> None:
    root = Path(__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, side, dtype],
        capture_output=True,
        text=True,
        cwd=root,
        env=dict(os.environ, PYTHONPATH=str(root)),
        timeout=500,
    )
    lines = result.stdout.splitlines()
    assert result.returncode == 0, (
        f"{lines[-1] if lines else 'start-up'}: rc {result.returncode}\n{result.stderr[-2000:]}"
    )
    assert int(lines[-1].split()[1]) > 500
