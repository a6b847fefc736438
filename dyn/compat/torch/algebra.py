"""Products of matrices and of collections that dyn composes from its own, under PyTorch's names.

Elements alone are in `elements.py`, order and shape in `arranging.py`.
"""

from __future__ import annotations

from functools import reduce as fold
from typing import Any

import numpy as np

from dyn.compat.torch import reduction
from dyn.compat.torch.tensor import Base
from dyn.core.errors import ShapeError
from dyn.ops import bounds, composed, distance, elementwise, gather, join, linalg, matrix, unary
from dyn.ops import reduce as sums
from dyn.ops import shape as ops
from dyn.ops.creation import arange
from dyn.ops.index import slice as cut
from dyn.ops.index import where
from dyn.ops.infer import axis_of, show


def _mixed(input: Any, product: Any, beta: Any, alpha: Any) -> Any:
    """beta * input + alpha * product; nan in an input that does not count is not seen."""
    product = product if alpha == 1 else product * alpha
    if beta == 0:
        return product
    return (input if beta == 1 else input * beta) + product


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta * input + alpha * (batch1 @ batch2), (B, n, m) @ (B, m, p)."""
    return _mixed(input, linalg.bmm(batch1, batch2), beta, alpha)


def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta * input + alpha * the sum of all products of the batches, (n, p)."""
    return _mixed(input, sums.sum(linalg.bmm(batch1, batch2), 0), beta, alpha)


def addmv(input: Any, mat: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta * input + alpha * (mat @ vec), (n, m) @ (m,)."""
    return _mixed(input, linalg.mv(mat, vec), beta, alpha)


def addr(input: Any, vec1: Any, vec2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta * input + alpha * the outer product, (n, m)."""
    return _mixed(input, linalg.outer(vec1, vec2), beta, alpha)


def chain_matmul(*matrices: Any) -> Any:
    """The product of matrices, from left to right."""
    return fold(linalg.mm, matrices)


def trace(x: Any) -> Any:
    """The sum of the diagonal of a matrix, 0-d."""
    return matrix.trace(x)


def renorm(x: Any, p: float, dim: int, maxnorm: float) -> Any:
    """x, each slice along `dim` scaled down to the p-norm `maxnorm` where it is above."""
    if x.ndim < 2:
        raise ShapeError(f"renorm needs at least 2 axes, got shape {show(x.shape)}")
    at = axis_of(dim, x.ndim)
    axes = [axis for axis in range(x.ndim) if axis != at]
    sizes = reduction.norm(x, p, axes, keepdim=True)
    return x * where(sizes > maxnorm, maxnorm / (sizes + 1e-7), 1.0)


def block_diag(*tensors: Any) -> Any:
    """Matrices along the diagonal of one that is zero elsewhere."""
    return composed.block_diag(tensors)


def cartesian_prod(*tensors: Any) -> Any:
    """All tuples of elements of vectors, (n1 * n2 * ..., number of vectors)."""
    return composed.cartesian_prod(tensors)


def combinations(x: Any, r: int = 2, with_replacement: bool = False) -> Any:
    """All choices of r elements of a vector in order, (number of choices, r)."""
    return composed.combinations(x, r, with_replacement)


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Powers of the elements of a vector, the highest first: (n, N)."""
    count = int(x.shape[0]) if N is None else N
    powers = arange(0, count, 1, x._array.dtype.name)
    if not increasing:
        powers = join.flip(powers, [0])
    return elementwise.pow(ops.unsqueeze(x, 1), powers)


def cov(x: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    """Covariances of variables, the rows of x (v, n): (v, v).

    Args:
        correction: what is taken off the number of observations in the divisor.
        fweights: (n,) how often each observation was made.
        aweights: (n,) how much each observation counts.
    """
    rows = ops.reshape(x, [1, -1]) if x.ndim < 2 else x
    if fweights is None and aweights is None:
        apart = weighted = rows - sums.mean(rows, 1, keepdim=True)
        divisor: Any = max(rows.shape[1] - correction, 0)
    else:
        given = [
            unary.cast(w, rows._array.dtype.name) for w in (fweights, aweights) if w is not None
        ]
        weights = given[0] if len(given) == 1 else given[0] * given[1]
        count = sums.sum(weights)
        apart = rows - sums.sum(rows * weights, 1, keepdim=True) / count
        weighted = apart * weights
        # Frequencies are observations; of other weights only their spread says how many there are.
        spread = 1 if aweights is None else sums.sum(weights * given[-1]) / count
        divisor = bounds.clip(count - correction * spread, 0)
    found = linalg.matmul(weighted, apart, transpose_y=True) / divisor
    return found if rows.shape[0] != 1 else ops.reshape(found, [])


def corrcoef(x: Any) -> Any:
    """Correlations of variables, the rows of x (v, n): (v, v)."""
    found = cov(x)
    if found.ndim < 2:
        return found / found
    scale = unary.sqrt(matrix.diagonal(found))
    found = found / ops.unsqueeze(scale, 1) / ops.unsqueeze(scale, 0)
    return bounds.clip(found, -1.0, 1.0)


def _steps(y: Any, x: Any, dx: Any, dim: int) -> Any:
    """The area under each piece of a line through the points."""
    axis, count = axis_of(dim, y.ndim), y.shape[dim]
    low = cut(y, [axis], [0], [count - 1])
    high = cut(y, [axis], [1], [count])
    if x is None:
        return (low + high) * (0.5 * (1.0 if dx is None else dx))
    if x.ndim == 1:
        x = ops.reshape(x, [-1] + [1] * (y.ndim - 1 - axis))
    at = x.ndim - (y.ndim - axis)
    width = cut(x, [at], [1], [count]) - cut(x, [at], [0], [count - 1])
    return (low + high) * width * 0.5


def trapezoid(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    """The integral along `dim` by the trapezoidal rule, at places x or so far apart."""
    return sums.sum(_steps(y, x, dx, dim), dim)


def cumulative_trapezoid(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    """The integral up to each place along `dim` but the first, by the trapezoidal rule."""
    from_start = _steps(y, x, dx, dim)
    return from_start.cumsum(dim)


def diag_embed(x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """The last axis on a diagonal of two new axes."""
    found = matrix.diag_embed(x, offset)
    ndim = x.ndim + 1
    if (dim1 % ndim, dim2 % ndim) == (ndim - 2, ndim - 1):
        return found
    return ops.moveaxis(found, [-2, -1], [dim1, dim2])


def diagflat(x: Any, offset: int = 0) -> Any:
    """All elements on a diagonal of a matrix."""
    return composed.diagflat(x, offset)


def pdist(x: Any, p: float = 2.0) -> Any:
    """The p-norm distances of all pairs of rows of x (n, m): (n * (n - 1) / 2,)."""
    rows = int(x.shape[0])
    first, second = np.triu_indices(rows, 1)
    if p == 2:
        # Half of what is computed is left out, and still it is faster: nothing is copied before.
        whole = ops.reshape(distance.cdist(x, x), [-1])
        return gather.index_select(whole, Base(first * rows + second), 0)
    apart = gather.index_select(x, Base(first), 0) - gather.index_select(x, Base(second), 0)
    return reduction.norm(apart, p, 1)


def tensors_of(listed: Any) -> list[Any]:
    """Tensors given one by one or as one sequence."""
    if len(listed) == 1 and not isinstance(listed[0], Base):
        return list(listed[0])
    return list(listed)
