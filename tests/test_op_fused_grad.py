"""Gradient rules on arrays, against the rules made of ops, for every row whose op has both."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import dyn
from dyn.core.autograd import grad
from dyn.core.op import OPS
from dyn.core.tensor import Tensor
from dyn.ops.solutions import SingularError
from tests.optable import cases
from tests.optable.case import SPECIAL, OpCase

CASES = [
    case
    for case in cases()
    if case.order
    and case.op in OPS
    and any(r.fused is not None for r in OPS[case.op].rules.values())
]
TOLERANCE = {"float64": 1e-12, "float32": 2e-5, "float16": 2e-2}


def _gradients(case: OpCase, arrays: list[Any], of_ops: bool) -> list[Any]:
    wrt = case.differentiable(arrays)
    tensors = [
        None if a is None else Tensor(a, stop_gradient=i not in wrt) for i, a in enumerate(arrays)
    ]
    out = case.call(*tensors)[0]
    rng = np.random.default_rng(5)
    seed = Tensor(np.asarray(rng.standard_normal(out._array.shape)).astype(out._array.dtype))
    inputs = [tensors[i] for i in wrt]
    return [g._array for g in grad(out, inputs, seed, create_graph=of_ops)]


def _compare(case: OpCase, arrays: list[Any], bound: float) -> None:
    fused, of_ops = _gradients(case, arrays, False), _gradients(case, arrays, True)
    for one, other in zip(fused, of_ops, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(one.astype(np.float64), other.astype(np.float64), bound, bound)


def test_there_are_such_rows() -> None:
    assert CASES


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_both_rules_agree(case: OpCase, dtype: str) -> None:
    _compare(case, case.arrays(dtype=dtype), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_they_agree_where_functions_go_wrong(case: OpCase, dtype: str) -> None:
    rng = np.random.default_rng(6)
    arrays = case.arrays(dtype=dtype)
    for i in case.differentiable(arrays):
        arrays[i] = rng.choice(SPECIAL, arrays[i].shape).astype(dtype)
    # A matrix that cannot be factored has no gradient of either kind.
    with np.errstate(all="ignore"), contextlib.suppress(SingularError):
        _compare(case, arrays, TOLERANCE[dtype])


@pytest.mark.parametrize("case", [c for c in CASES if c.empty and c.names], ids=lambda c: c.id)
def test_they_agree_on_nothing(case: OpCase) -> None:
    _compare(case, case.arrays(dtype="float32", sizes=dict.fromkeys(case.names, 0)), 0)


def test_the_size_of_complex_numbers() -> None:
    case = next(c for c in CASES if c.op == "abs")
    x = np.array([3 + 4j, -2j, 0, -1], np.complex64)
    fused, of_ops = (_gradients(replace(case, wrt=(0,), run=None), [x], b) for b in (False, True))
    np.testing.assert_allclose(fused[0], of_ops[0], 1e-6)


@pytest.mark.parametrize("create_graph", [False, True])
def test_quotients_by_tiny_numbers_have_a_gradient(create_graph: bool) -> None:
    x = dyn.to_tensor(np.array([0.0, 2.0], np.float32))
    y = dyn.to_tensor(np.array([1e-40, 4.0], np.float32))
    y.stop_gradient = False
    (found,) = dyn.grad([x / y], [y], create_graph=create_graph)
    np.testing.assert_array_equal(found.numpy(), [0.0, -0.125])


@pytest.mark.parametrize("create_graph", [False, True])
def test_certain_float16_probabilities_that_are_right_have_no_gradient(create_graph: bool) -> None:
    p = dyn.to_tensor(np.array([0.0, 1.0, 0.5], np.float16))
    p.stop_gradient = False
    target = dyn.to_tensor(np.array([0.0, 1.0, 0.5], np.float16))
    loss = dyn.nn.functional.binary_cross_entropy(p, target, reduction="sum")
    (found,) = dyn.grad([loss], [p], create_graph=create_graph)
    np.testing.assert_array_equal(found.numpy(), [0.0, 0.0, 0.0])
