"""The linear map x @ w + bias over the last axis, and the gradients of x, w and bias in one call.

The gradient of w lies in memory as w does, whichever of its axes comes first there: what updates w
then reads both side by side.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.gemm.bound import Run, Shape, bound
from dyn.kernels.gemm.matmul import matmul
from dyn.kernels.reduce import sum, summing


def linear(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """x @ w + bias over the last axis: x (..., in), w (in, out), bias (out,) or None."""
    return matmul(x, w, bias=bias)


class _Products(NamedTuple):
    """The products that gradients of a linear map are made of.

    Attributes:
        of_x: from g (..., out) and w the gradient of x.
        inputs_first: from the rows of x and of g that of w as (in, out).
        outputs_first: from the rows of g and of x that of w as (out, in).
        of_bias: from the rows of g that of the bias.
    """

    of_x: Run
    inputs_first: Run
    outputs_first: Run
    of_bias: Run


def linear_grad(
    g: np.ndarray, w: np.ndarray, x: np.ndarray | None, *, transposed: bool, wanted: tuple[str, ...]
) -> tuple[np.ndarray, ...]:
    """Gradients of a linear map.

    Args:
        g: (..., out), the gradient of its result.
        w: (in, out), or (out, in).
        x: (..., in); None if the gradient of w is not wanted.
        transposed: whether w lies as (out, in).
        wanted: the inputs whose gradients are wanted, of "x", "w" and "b".

    Returns:
        The gradient of each that is wanted.
    """
    return _gradients(_GENERAL[transposed], transposed, wanted, g, w, x)


def bound_linear_grad(
    g: Shape, w: Shape, dtype: np.dtype, *, transposed: bool, wanted: tuple[str, ...]
) -> Run | None:
    """`linear_grad` for arrays of these shapes, called with g, w and x; None as in `bound`."""
    rows, columns = math.prod(g[:-1]), g[-1]
    inner = w[1] if transposed else w[0]
    of_x, inputs_first, outputs_first, _ = _GENERAL[transposed]
    made = (
        bound(g, w, dtype, of_x, transpose_b=not transposed),
        bound((rows, inner), (rows, columns), dtype, inputs_first, transpose_a=True),
        bound((rows, columns), (rows, inner), dtype, outputs_first, transpose_a=True),
        summing((rows, columns), dtype, (0,)),
    )
    if None in made:
        return None
    return partial(_gradients, _Products(*made), transposed, wanted)  # type: ignore[arg-type]


def linear_vjp(
    g: np.ndarray,
    w: np.ndarray,
    x: np.ndarray | None,
    *,
    transposed: bool,
    wanted: frozenset[str],
) -> tuple[np.ndarray | None, ...]:
    """`linear_grad` with a place for each of x, w and bias: None where no gradient is wanted."""
    run, whole = _bound_grads(g.shape, w.shape, g.dtype, transposed, wanted)
    made = run(g, w, x)
    if whole:
        return made
    found = iter(made)
    return tuple([next(found) if name in wanted else None for name in "xwb"])


@lru_cache(4096)
def _bound_grads(
    g: Shape, w: Shape, dtype: np.dtype, transposed: bool, wanted: frozenset[str]
) -> tuple[Run, bool]:
    """What computes the gradients that are wanted, and whether these are all three."""
    names = tuple([name for name in "xwb" if name in wanted])
    run = bound_linear_grad(g, w, dtype, transposed=transposed, wanted=names)
    return run or partial(linear_grad, transposed=transposed, wanted=names), len(names) == 3


def _gradients(
    products: _Products,
    transposed: bool,
    wanted: tuple[str, ...],
    g: np.ndarray,
    w: np.ndarray,
    x: np.ndarray | None,
) -> tuple[np.ndarray, ...]:
    rows = _rows(g)
    made = []
    for name in wanted:
        if name == "x":
            made.append(products.of_x(g, w))
        elif name == "b":
            made.append(products.of_bias(rows))
        elif w.flags.c_contiguous == transposed:
            found = products.outputs_first(rows, _rows(x))
            made.append(found if transposed else found.T)
        else:
            found = products.inputs_first(_rows(x), rows)
            made.append(found.T if transposed else found)
    return tuple(made)


def _rows(x: np.ndarray | None) -> np.ndarray:
    """All vectors along the last axis as the rows of one matrix."""
    assert x is not None
    return x if x.ndim == 2 else contiguous(x).reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _transposed_times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return matmul(a.T, b)


_summed = partial(sum, axes=(0,), keepdims=False)
_GENERAL = (
    _Products(lambda g, w: matmul(g, w.T), _transposed_times, _transposed_times, _summed),
    _Products(matmul, _transposed_times, _transposed_times, _summed),
)
"""The products for arrays of any strides and dtype; those of a weight that is transposed second."""
