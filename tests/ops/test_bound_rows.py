"""Ops over rows, bound to shapes: arrays of other layouts and hard numbers, against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dyn.core.op import OPS
from dyn.core.tensor import Tensor

LABELS = np.array([3, 0, -100, 7, 2])
SCALE = np.linspace(0.5, 2.0, 9, dtype=np.float32)
REDUCED = {"axes": (1,), "keepdims": False}
LOSS = {"axis": 1}
CASES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    *[(name, (), REDUCED) for name in ("sum", "mean", "prod", "norm")],
    *[(name, (), {**REDUCED, "shared": True}) for name in ("max", "min")],
    *[(name, (), {**REDUCED, "correction": 1}) for name in ("var", "std")],
    *[(name, (), {"axis": 1}) for name in ("softmax", "log_softmax")],
    ("layer_norm", (SCALE, SCALE), {"axes_count": 1, "epsilon": 1e-5}),
    ("softmax_cross_entropy", (LABELS,), LOSS),
    ("softmax_cross_entropy", (LABELS, SCALE), {**LOSS, "reduction": "none"}),
    ("negative_log_likelihood", (LABELS, SCALE), LOSS),
    ("negative_log_likelihood", (LABELS,), {**LOSS, "reduction": "sum"}),
]


@pytest.mark.parametrize(("name", "others", "attrs"), CASES)
def test_arrays_of_one_shape_in_any_layout(name: str, others: tuple, attrs: dict) -> None:
    x = np.random.default_rng(3).standard_normal((5, 9)).astype(np.float32)
    wide = np.zeros((5, 18), np.float32)
    wide[:, ::2] = x
    rest = [Tensor._of(y) for y in others]

    def found(array: np.ndarray) -> np.ndarray:
        return OPS[name](Tensor._of(array), *rest, **attrs)._array

    wanted = found(x.astype(np.float64)) if not others else found(x)
    layouts = x, np.asfortranarray(x), x[::-1][::-1], wide[:, ::2], x[:, ::-1].copy()[:, ::-1]
    for array in layouts * 2:
        np.testing.assert_allclose(found(array), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1e-42, 1e-30, 1e-16, 1.0, 1e25, 1e38])
@pytest.mark.parametrize("turned", [False, True])
def test_deviations_of_any_size(size: float, turned: bool) -> None:
    x = (np.random.default_rng(4).uniform(-1, 1, (6, 50)) * size).astype(np.float32)
    given = np.repeat(x, 2, 1)[:, ::2] if turned else x
    found = OPS["std"](Tensor._of(given), **REDUCED, correction=1)._array
    wanted = x.astype(np.float64).std(1, ddof=1)
    # A number that has lost digits itself is as near as it can be.
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1.5e-45)


def test_deviations_of_what_is_no_number() -> None:
    x = np.float32([[1, np.inf, 2], [np.nan, 1, 2], [2, 2, 2]])
    for given in (x, np.asfortranarray(x)):
        found = OPS["std"](Tensor._of(given), **REDUCED, correction=1)._array
        np.testing.assert_array_equal(found, np.float32([np.nan, np.nan, 0]))
