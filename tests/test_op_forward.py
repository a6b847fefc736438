"""Every row of the op table, forward: values, special values, layouts, sizes 0 and 1, inference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dyn.core import observe
from dyn.core.dispatch import run_infer
from dyn.core.op import Type
from dyn.core.tensor import Tensor
from tests.optable import cases
from tests.optable.case import SPECIAL, OpCase, is_real

TOL = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 3e-6, "float64": 1e-12}
CASES = cases()
VALUED = [case for case in CASES if case.reference is not None]


class Watch(observe.Observer):
    """Checks, for every op that runs, that `infer` told the truth and no input was returned."""

    def on_op(self, op: Any, inputs: Any, attrs: Any, outputs: Any) -> None:
        types = [None if x is None else Type(x._array.shape, x._array.dtype) for x in inputs]
        inferred = run_infer(op, types, attrs)
        assert len(inferred) == len(outputs), op.name
        for found, out in zip(inferred, outputs, strict=True):
            assert isinstance(out._array, np.ndarray), f"{op.name} made a {type(out._array)}"
            assert found.dtype == out._array.dtype, op.name
            assert len(found.shape) == out._array.ndim, op.name
            for size, actual in zip(found.shape, out._array.shape, strict=True):
                assert size == actual or (size is None and op.dynamic), op.name
            assert all(x is None or out._array is not x._array for x in inputs), op.name


def run(case: OpCase, arrays: list[Any]) -> list[np.ndarray]:
    """The outputs of a row for read-only inputs."""
    before = [None if a is None else a.copy() for a in arrays]
    tensors = []
    for a in arrays:
        if a is not None:
            a.flags.writeable = False
        tensors.append(None if a is None else Tensor._of(a))
    with observe.observing(Watch()):
        outputs = [out._array for out in case.call(*tensors)]
    for a, b in zip(arrays, before, strict=True):
        if a is not None:
            np.testing.assert_array_equal(a, b, err_msg="an input was modified")
    return outputs


def check(outputs: list[np.ndarray], expected: Any, tol: float | None, dtype: str) -> None:
    """Compare outputs with the reference; NaN and infinities must be in the same places."""
    assert len(outputs) == len(expected)
    for out, wanted in zip(outputs, expected, strict=True):
        assert out.shape == wanted.shape, (out.shape, wanted.shape)
        if out.dtype.kind not in "fc" and not is_real(out.dtype):
            assert wanted.dtype.kind in "biu", f"{out.dtype} where the reference is {wanted.dtype}"
            np.testing.assert_array_equal(out, wanted)
            continue
        bound = tol if tol is not None else TOL.get(out.dtype.name, TOL["float32"])
        if dtype == "float64" and tol is None:
            bound = TOL.get(out.dtype.name, bound)
        with np.errstate(all="ignore"):
            wide = out.astype(np.complex128 if out.dtype.kind == "c" else np.float64)
            wanted = wanted.astype(out.dtype).astype(wide.dtype)
            np.testing.assert_array_equal(np.isnan(wide), np.isnan(wanted))
            at = ~np.isnan(wanted)
            same = wide[at] == wanted[at]
            error = np.where(same, 0, np.abs(wide[at] - wanted[at]) / (1 + np.abs(wanted[at])))
        assert not error.size or error.max() <= bound, f"relative error {error.max():.3g}"


@pytest.mark.parametrize(
    ("case", "dtype"),
    [pytest.param(c, d, id=f"{c.id}-{d}") for c in VALUED for d in c.dtypes],
)
def test_values(case: OpCase, dtype: str) -> None:
    arrays = case.arrays(dtype=dtype)
    check(run(case, arrays), case.expected(arrays), case.tol, dtype)


@pytest.mark.parametrize("case", [c for c in CASES if c.reference is None], ids=lambda c: c.id)
def test_shapes_without_a_reference(case: OpCase) -> None:
    assert case.shapes is not None, "a row has a reference, or the shapes of its outputs"
    sizes = case.at(0)
    wanted = [tuple(sizes.get(str(n), n) for n in shape) for shape in case.shapes]
    for dtype in case.dtypes:
        outputs = run(case, case.arrays(dtype=dtype))
        assert [out.shape for out in outputs] == wanted
        assert all(np.isfinite(out).all() for out in outputs)


@pytest.mark.parametrize("case", [c for c in VALUED if c.points], ids=lambda c: c.id)
def test_special_values(case: OpCase) -> None:
    for dtype in (d for d in case.dtypes if d in ("float32", "float64")):
        points = np.array(case.points, dtype)
        grid = np.meshgrid(*[points] * len(case.inputs), indexing="ij")
        arrays = [np.ascontiguousarray(g.reshape(-1)) for g in grid]
        check(run(case, arrays), case.expected(arrays), case.tol, dtype)


def layouts(a: np.ndarray) -> list[np.ndarray]:
    """The same elements with other strides: permuted, every second one, backwards."""
    found = [np.repeat(a, 2, axis=-1)[..., ::2]] if a.ndim else []
    if a.ndim > 1:
        found.append(np.asfortranarray(a))
        order = (0, *range(2, a.ndim), 1)
        back = tuple(int(i) for i in np.argsort(order))
        found.append(np.ascontiguousarray(a.transpose(order)).transpose(back))
        found.append(np.ascontiguousarray(a[::-1])[::-1])
    return found


@pytest.mark.parametrize("case", VALUED, ids=lambda c: c.id)
def test_layouts(case: OpCase) -> None:
    arrays = case.arrays()
    expected = case.expected(arrays)
    for i, a in enumerate(arrays):
        for other in layouts(a) if a is not None else ():
            changed = [*arrays[:i], other, *arrays[i + 1 :]]
            check(run(case, changed), expected, case.tol, case.dtypes[0])
    together = [a if a is None or a.ndim < 2 else layouts(a)[-2] for a in arrays]
    check(run(case, together), expected, case.tol, case.dtypes[0])


@pytest.mark.parametrize(
    ("case", "size"),
    [
        pytest.param(c, n, id=f"{c.id}-{n}")
        for c in VALUED
        for n, allowed in ((0, c.empty), (1, c.single))
        if c.names and allowed
    ],
)
def test_size(case: OpCase, size: int) -> None:
    arrays = case.arrays(sizes=dict.fromkeys(case.names, size))
    check(run(case, arrays), case.expected(arrays), case.tol, case.dtypes[0])


def test_special_points_hold_every_kind_of_number() -> None:
    points = np.array(SPECIAL)
    assert np.isnan(points).any() and np.isposinf(points).any() and np.isneginf(points).any()
    assert (np.signbit(points) & (points == 0)).any()
