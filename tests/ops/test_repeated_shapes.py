"""Two operands of which one is repeated along an axis, against numpy."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

from dyn.core.op import OPS
from dyn.core.tensor import Tensor
from dyn.kernels.elementwise import nest
from dyn.kernels.elementwise.apply import FAST
from dyn.kernels.elementwise.ufuncs import UFUNCS


def _called(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """An op called as users call it, twice, as the second call has a plan."""
    for _ in range(2):
        found = OPS[name](Tensor._of(x), Tensor._of(y))._array
    return found


@pytest.mark.parametrize("name", ["add", "divide", "less_than", "maximum"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((64, 256), (256,)),
        ((64, 256), (64, 1)),
        ((64, 1), (1, 96)),
        ((5, 40, 30), (40, 1)),
        ((7, 1, 30, 4), (50, 1, 4)),
        ((3, 700, 6), (3, 1, 1)),
        ((1, 6000), (6000,)),
    ],
)
def test_pairs_of_shapes_that_repeat(name: str, one: tuple, other: tuple) -> None:
    rng = np.random.default_rng(3)
    x, y = (rng.standard_normal(shape).astype(np.float32) for shape in (one, other))
    wanted = UFUNCS[name](x, y)
    for first, second, expected in ((x, y, wanted), (y, x, UFUNCS[name](y, x))):
        np.testing.assert_array_equal(_called(name, first, second), expected)
    # The same shapes with other strides.
    turned = np.ascontiguousarray(x.T).T
    np.testing.assert_array_equal(_called(name, turned, y), wanted)


def test_a_bound_formula_keeps_its_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[Any] = []

    def planned(*layouts: Any) -> Any:
        found = plan(*layouts)
        known.append(weakref.ref(found.words))  # type: ignore[union-attr]
        return found

    plan = nest.plan
    monkeypatch.setattr(nest, "plan", planned)
    nest._nest.cache_clear()
    run = nest.bound_pair(FAST["add"], (40, 30), (30,))
    assert run is not None
    nest._nest.cache_clear()
    assert known[-1]() is not None
    x, y = np.ones((40, 30), np.float32), np.arange(30, dtype=np.float32)
    np.testing.assert_array_equal(run(x, y), x + y)
