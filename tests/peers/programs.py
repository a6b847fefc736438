"""Random programs of views and writes in dyn and in PyTorch: the same numbers, the same gradients.

    python -m tests.peers.programs --torch PYTHON [--count N]

The programs are those of `tests/exporter/test_writes.py`, drawn here without hypothesis and without
negative steps, which PyTorch does not have. What is compared with numpy and onnxruntime is there.
"""

from __future__ import annotations

import argparse
import pickle
import random
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import dyn
from tests.exporter.test_writes import KINDS, Step, fitted, numbers, run

HERE = Path(__file__).parent
BATCH = 4
OVERLAP = "refer to a single memory location"
"""What PyTorch says of a copy between overlapping views; numpy and dyn read before they write."""
MODIFIED = "modified by an inplace operation"
"""What it says of a gradient that needs a value which was written over; dyn keeps the value."""


def drawn(count: int) -> list[list[Step]]:
    """Programs without negative steps."""
    source = random.Random(0)
    programs: list[list[Step]] = []
    while len(programs) < count:
        steps = fitted(
            [
                (
                    source.choice(KINDS),
                    *(source.randrange(6) for _ in range(3)),
                    source.choice([-1.5, -0.5, 0.25, 2.0]),
                )
                for _ in range(source.randint(1, 8))
            ]
        )
        if steps and not any(map(_reverses, steps)):
            programs.append(steps)
    return programs


def _reverses(step: Step) -> bool:
    indices = [item for part in step if isinstance(part, tuple) for item in part]
    return any(isinstance(i, slice) and i.step is not None and i.step < 0 for i in indices)


def play(steps: list[Step], at: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """What dyn makes of a program: all variables, and the gradient of a sum over them."""
    x = dyn.to_tensor(at)
    x.stop_gradient = False
    variables = run(steps, x)
    parts = [(v * v).sum() * 0.25 + v.sum() for v in variables]
    total: Any = sum(parts[1:], parts[0])
    (found,) = dyn.grad(total, x, allow_unused=True)
    gradient = np.zeros_like(at) if found is None else found.numpy()
    return [v.numpy() for v in variables], gradient


def main() -> int:
    """Play all programs in both, say how many agree, and show those that do not."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers.programs", description=__doc__)
    parser.add_argument("--torch", required=True, help="an interpreter with PyTorch")
    parser.add_argument("--count", type=int, default=1000)
    args = parser.parse_args()
    programs = drawn(args.count)
    at = numbers(BATCH, "float64")
    with tempfile.TemporaryDirectory() as folder:
        work, results = Path(folder, "programs"), Path(folder, "results")
        work.write_bytes(pickle.dumps([(steps, at) for steps in programs]))
        subprocess.run([args.torch, HERE / "programs_torch.py", work, results], check=True)
        theirs = pickle.loads(results.read_bytes())
    refused = different = 0
    for steps, their in zip(programs, theirs, strict=True):
        if isinstance(their, str):
            refused += 1
            if OVERLAP not in their and MODIFIED not in their:
                different += 1
                print(f"{steps}\n  PyTorch: {their}")
            continue
        values, gradient = play(steps, at)
        same = len(values) == len(their[0]) and all(
            a.shape == b.shape and np.allclose(a, b, 1e-9, 1e-9)
            for a, b in zip([*values, gradient], [*their[0], their[1]], strict=True)
        )
        if not same:
            different += 1
            print(f"{steps}\n  gradients {gradient.ravel()[:6]} and {their[1].ravel()[:6]}")
    print(
        f"{len(programs)} programs: {different} differ, PyTorch refuses {refused} "
        "(copies between overlapping views, gradients through values that were written over)"
    )
    return different > 0


if __name__ == "__main__":
    raise SystemExit(main())
