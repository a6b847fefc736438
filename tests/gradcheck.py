"""Numerical checks of gradients, in float64, along one random direction.

The derivative of a function along a random direction tells a wrong gradient from a right one as
surely as all its entries do, at the cost of two evaluations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dyn.core.autograd import grad
from dyn.core.tensor import Tensor

STEP = 1e-3


def check_gradients(
    function: Callable[..., Any],
    arrays: Sequence[Any],
    wrt: Sequence[int],
    order: int = 2,
    tol: float = 1e-6,
    seed: int = 11,
) -> None:
    """Compare the derivatives of `function` up to `order` with differences.

    Args:
        function: takes one Tensor (or None) per array, returns a Tensor or a tuple of them.
        arrays: where to differentiate, float64; None for an absent input.
        wrt: positions of the inputs to differentiate by.
        order: 1, or 2 for the derivative of the derivative as well.
        tol: largest error relative to 1 + |derivative|.
        seed: of the directions.

    Raises:
        AssertionError: a derivative is wrong, or an output that should have a gradient has none.
    """
    rng = np.random.default_rng(seed)

    def scalar(tensors: Sequence[Any]) -> Tensor:
        """The outputs weighted at random and summed."""
        weights = np.random.default_rng(seed + 1)
        made = function(*tensors)
        total: Any = None
        for out in made if isinstance(made, (tuple, list)) else (made,):
            w = weights.standard_normal(out._array.shape)
            if out.stop_gradient:
                continue
            term = (out * Tensor(w.astype(out._array.dtype))).sum()
            total = term if total is None else total + term
        assert total is not None, "no output has a gradient"
        return total

    _compare(scalar, list(arrays), list(wrt), order, tol, rng)


def _compare(
    scalar: Callable[[Sequence[Any]], Tensor | None],
    arrays: list[Any],
    wrt: list[int],
    order: int,
    tol: float,
    rng: np.random.Generator,
) -> None:
    direction = {i: rng.standard_normal(arrays[i].shape) for i in wrt}

    def value(step: float) -> float:
        moved = [a + step * direction[i] if i in direction else a for i, a in enumerate(arrays)]
        return _number(scalar(_leaves(moved, wrt)))

    def along(tensors: Sequence[Any], create_graph: bool) -> Tensor | None:
        """The derivative along the direction, as a Tensor; None where it is zero for certain."""
        total = scalar(tensors)
        if total is None or total.stop_gradient:
            return None
        inputs = [tensors[i] for i in wrt]
        found = grad(total, inputs, create_graph=create_graph, allow_unused=True)
        derivative: Any = None
        for i, g in zip(wrt, found, strict=True):
            if g is None:
                continue
            assert g._array.shape == arrays[i].shape, (g._array.shape, arrays[i].shape)
            assert g._array.dtype == arrays[i].dtype, (g._array.dtype, arrays[i].dtype)
            term = (g * Tensor(direction[i])).sum()
            derivative = term if derivative is None else derivative + term
        return derivative

    derivative = _number(along(_leaves(arrays, wrt), False))
    # Four evaluations: the error falls with the fourth power of the step.
    near, far = (value(s * STEP) - value(-s * STEP) for s in (1, 2))
    wanted = (8 * near - far) / (12 * STEP)
    assert np.isfinite(derivative), "the gradient is not finite"
    error = abs(derivative - wanted) / (1 + abs(wanted))
    assert error <= tol, f"derivative {derivative}, by differences {wanted}, order left {order}"
    if order > 1:
        _compare(lambda tensors: along(tensors, True), arrays, wrt, order - 1, tol * 10, rng)


def _number(x: Tensor | None) -> float:
    return 0.0 if x is None else float(x._array)


def _leaves(arrays: Sequence[Any], wrt: Sequence[int]) -> list[Any]:
    return [
        None if a is None else Tensor(a, stop_gradient=i not in wrt) for i, a in enumerate(arrays)
    ]
