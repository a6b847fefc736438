"""Random programs of views and writes: eager as numpy, onnxruntime as eager, gradients as slopes.

A program is drawn for numpy at one batch size, where every step is made to fit; then the same steps
run on tensors, in a file at several batch sizes, and in float64 on either side of a point. With
PyTorch the same programs are compared by `tests/peers/programs.py`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnxruntime as ort
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dyn
from exporter import model as files
from exporter.lowering import lower
from tests.runtime import RUNNABLE
from tracer import InputSpec, optimize, trace

BATCH = 23
"""The batch that programs are drawn for: far from the sizes of the other axes, 2 and 3."""
SIZES = (3, 1, 4)
Step = tuple[Any, ...]

ALL = slice(None)
ENDS = (slice(1, None), slice(None, -1), slice(None, None, -1))
BATCH_SLICES = (*ENDS, slice(0, 1), slice(-1, None))
SLICES = (*ENDS, slice(0, 2), slice(None, None, 2))

KINDS = (
    "view", "view", "move", "fold", "diagonal", "new", "set", "set", "copy", "add", "mul", "mask",
    "where", "scatter", "pair", "die",
)  # fmt: skip
"""Kinds of steps; those named twice are drawn twice as often."""

pick = st.integers(0, 5)
draws = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        pick,
        pick,
        pick,
        st.sampled_from([-1.5, -0.5, 0.25, 2.0]),
    ),
    min_size=1,
    max_size=8,
)


def fitted(program: list[Any]) -> list[Step]:
    """The steps that fit, with all their places chosen, as numpy runs them."""
    variables = start(np.ones((BATCH, 2, 3), np.float32))
    steps: list[Step] = []
    for kind, i, j, place, number in program:
        i, j = i % len(variables), j % len(variables)
        x = variables[i]
        step: Step | None = None
        if kind in ("view", "set", "copy") and x.ndim and x.size:
            index = chosen(x, place, number)
            if kind == "view" and x[index].ndim:
                step = ("view", i, index)
            elif kind == "set":
                step = ("set", i, index, number)
            elif kind == "copy":
                target = x[index].shape
                step = ("copy", i, index, j, variables[j].shape == target)
        elif kind == "move" and x.ndim > 1:
            step = ("move", i, tuple(np.roll(range(x.ndim), 1 + place % (x.ndim - 1))))
        elif kind == "fold" and x.ndim > 1:
            step = ("fold", i)
        elif kind == "diagonal" and x.ndim > 1:
            axes = [n for n in range(x.ndim) if x.shape[n] < 5]
            if len(axes) > 1:
                step = ("diagonal", i, (0, 1, -1)[place % 3], axes[place % 2 - 1], axes[place % 2])
        elif kind == "new":
            step = ("new", i, number)
        elif kind in ("add", "mul", "where"):
            step = (kind, i, j, x.shape == variables[j].shape, number)
        elif kind in ("mask", "pair"):
            step = (kind, i, number)
        elif kind == "scatter" and x.ndim > 1 and 2 <= x.shape[1] < 5:
            step = ("scatter", i, [x.shape[1] - 1, 0], number)
        elif kind == "die" and len(variables) > 1:
            step = ("die", i)
        if step is not None:
            steps.append(step)
            run_step(step, variables)
    return steps


def chosen(x: np.ndarray, place: int, number: float) -> Any:
    """An index: the batch axis is sliced, another may be counted from either end."""
    axis = place % x.ndim
    if x.shape[axis] > 4:
        item: Any = BATCH_SLICES[(place + int(2 * number)) % len(BATCH_SLICES)]
    elif place % 2:
        item = (0, -1)[int(number > 0)]
    else:
        item = SLICES[(place + int(2 * number)) % len(SLICES)]
    return (*[ALL] * axis, item) if number < 1 else (..., item, *[ALL] * (x.ndim - axis - 1))


def start(x: Any) -> list[Any]:
    return [x * 1, x[:, 0] * 2]


def run_step(step: Step, v: list[Any]) -> None:
    """Run one step on numpy arrays or on tensors."""
    kind, i, *rest = step
    x = v[i]
    if kind == "view":
        v.append(x[rest[0]])
    elif kind == "move":
        v.append(x.transpose(rest[0]) if isinstance(x, np.ndarray) else x.transpose(list(rest[0])))
    elif kind == "diagonal":
        v.append(x.diagonal(*rest))
        if isinstance(x, np.ndarray):
            v[-1].flags.writeable = True
    elif kind == "fold":
        v.append(x.reshape((x.shape[0], math.prod(x.shape[1:]))))
    elif kind == "new":
        if isinstance(x, np.ndarray):
            v.append(np.ascontiguousarray(np.tanh(x * rest[0])))
        else:
            v.append(dyn.tanh(x * rest[0]))
    elif kind == "set":
        x[rest[0]] = rest[1]
    elif kind == "copy":
        index, j, same = rest
        x[index] = v[j] if same else v[j].sum() * 0.125
    elif kind == "add":
        j, same, number = rest
        v[i] += v[j] * number if same else v[j].sum() * 0.125
    elif kind == "mul":
        j, same, number = rest
        v[i] *= v[j] * 0.5 if same else number
    elif kind == "mask":
        x[x > rest[0] + 0.111] = rest[0]
    elif kind == "where":
        j, same, number = rest
        mask = v[j] < number if same else x < number
        x[mask] = 0.375
    elif kind == "pair":
        x[...] = x * 0.5 + rest[0]
    elif kind == "scatter":
        x[:, rest[0]] = rest[1]
    else:
        del v[i]


def run(steps: list[Step], x: Any) -> list[Any]:
    variables = start(x)
    for step in steps:
        run_step(step, variables)
    return variables


def numbers(batch: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(batch).standard_normal((batch, 2, 3)).astype(dtype)


def check_eager(steps: list[Step], batch: int) -> list[np.ndarray]:
    """Tensors and arrays come to the same; what tensors come to."""
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = run(steps, numbers(batch, "float32"))
        given = [t.numpy() for t in run(steps, dyn.to_tensor(numbers(batch, "float32")))]
    assert len(wanted) == len(given)
    for a, b in zip(wanted, given, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4)
    return given


def copied_folds(steps: list[Step], batch: int) -> list[bool]:
    """Which reshapes of a program are copies, no views, at a size."""
    found, variables = [], start(numbers(batch, "float32"))
    with np.errstate(over="ignore", invalid="ignore"):
        for step in steps:
            run_step(step, variables)
            if step[0] == "fold":
                found.append(not np.may_share_memory(variables[step[1]], variables[-1]))
    return found


def check_file(steps: list[Step], opset: int) -> None:
    """The file gives at every batch what tensors give.

    But for sizes at which numpy gives a view where it gives a copy at others: a file has one of
    them. `export` finds such sizes as it verifies.
    """
    graph, _ = optimize(trace(lambda x: run(steps, x), InputSpec(["n", 2, 3], name="x")))
    lowered = lower(graph, opset)
    model = files.skeleton(lowered, {})
    for name, array in lowered.weights.items():
        model.graph.initializer.append(files.tensor_proto(np.asarray(array), name))
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    for batch in SIZES:
        wanted = check_eager(steps, batch)
        if copied_folds(steps, batch) != copied_folds(steps, 2):
            continue
        given: Any = session.run(None, {"x": numbers(batch, "float32")})
        for a, b in zip(wanted, given, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4)


def check_gradient(steps: list[Step]) -> None:
    """The gradient in one direction is the slope in that direction."""

    def total(x: Any) -> Any:
        parts = [(v * v).sum() * 0.25 + v.sum() for v in run(steps, x)]
        return sum(parts[1:], parts[0])

    at, rng = numbers(4, "float64"), np.random.default_rng(1)
    direction = rng.standard_normal(at.shape)
    x = dyn.to_tensor(at)
    x.stop_gradient = False
    (gradient,) = dyn.grad(total(x), x, allow_unused=True)
    along = 0.0 if gradient is None else float((gradient.numpy() * direction).sum())
    step = 1e-6
    slope = (total(at + step * direction) - total(at - step * direction)) / (2 * step)
    assert math.isclose(along, slope, rel_tol=1e-4, abs_tol=1e-4)


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(draws)
def test_programs(program: list[Any]) -> None:
    steps = fitted(program)
    check_file(steps, RUNNABLE[len(steps) % len(RUNNABLE)])
    check_gradient(steps)
