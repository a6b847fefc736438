"""Functions that ops compose: other ways to join and cut, places of triangles, members and runs.

Nothing here is an op or has a kernel; what needs one is in the family of its name.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.core import dtype as dtypes
from dyn.core.dim import Dim
from dyn.core.errors import AttributeValueError
from dyn.core.lift import cast_to
from dyn.core.tensor import Tensor
from dyn.ops.bounds import clip
from dyn.ops.compare import equal, logical_not, not_equal
from dyn.ops.creation import arange, zeros
from dyn.ops.elementwise import logaddexp
from dyn.ops.gather import index_select
from dyn.ops.index import slice as cut
from dyn.ops.index import where
from dyn.ops.infer import axis_of
from dyn.ops.join import concat, expand, parts, stack
from dyn.ops.matrix import diag
from dyn.ops.places import take
from dyn.ops.reduce import any as any_of
from dyn.ops.repeat import meshgrid
from dyn.ops.scan import cumsum
from dyn.ops.search import nonzero
from dyn.ops.shape import reshape, transpose, unsqueeze

_INT64 = np.dtype(np.int64)

# ---- joining and cutting -----------------------------------------------------------------------


def column_stack(x: Sequence[Tensor]) -> Tensor:
    """Tensors side by side as columns; numbers and vectors become columns."""
    return concat([reshape(t, [-1, 1]) if t.ndim < 2 else t for t in x], 1)


def row_stack(x: Sequence[Tensor]) -> Tensor:
    """Tensors one below the other; numbers and vectors become rows."""
    return concat([reshape(t, [1, -1]) if t.ndim < 2 else t for t in x], 0)


def dstack(x: Sequence[Tensor]) -> Tensor:
    """Tensors one after the other along the third axis; rows and matrices get one of size 1."""
    return concat(
        [reshape(t, [1, -1, 1]) if t.ndim < 2 else unsqueeze(t, 2) if t.ndim < 3 else t for t in x],
        2,
    )


def tensor_split(x: Tensor, num_or_indices: Any, axis: int = 0) -> list[Tensor]:
    """Cut along an axis into so many parts, or at the listed places; views.

    Args:
        x: a tensor.
        num_or_indices: a number of parts, the first of which are longer by one where the size does
            not divide; or where parts begin, counted from the end if negative.
        axis: which is cut.

    Raises:
        AttributeValueError: no part is wanted.
    """
    axis, given = axis_of(axis, x.ndim), num_or_indices
    total = x.shape[axis]
    if isinstance(given, Tensor):
        given = given.tolist()
    if isinstance(given, int):
        if given < 1:
            raise AttributeValueError(f"tensor_split: there must be a piece or more, got {given}")
        sizes = [(total + (given - 1 - i)) // given for i in range(given - 1)]
        sizes.append(total - sum(sizes))
    else:
        total = int(total)
        ends = [*(min(n % total if n < 0 else n, total) for n in given), total]
        sizes = [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return list(parts(x, sizes, axis))


def hsplit(x: Tensor, num_or_indices: Any) -> list[Tensor]:
    """`tensor_split` along the second axis, or the only one."""
    return tensor_split(x, num_or_indices, 0 if x.ndim == 1 else 1)


def vsplit(x: Tensor, num_or_indices: Any) -> list[Tensor]:
    """`tensor_split` along the first axis."""
    return tensor_split(x, num_or_indices, 0)


def dsplit(x: Tensor, num_or_indices: Any) -> list[Tensor]:
    """`tensor_split` along the third axis."""
    return tensor_split(x, num_or_indices, 2)


def block_diag(inputs: Sequence[Tensor]) -> Tensor:
    """Matrices along the diagonal of one that is zero elsewhere; vectors are rows."""
    listed = [reshape(t, [1, -1]) if t.ndim < 2 else t for t in inputs]
    widths = [t.shape[1] for t in listed]
    rows = []
    for i, t in enumerate(listed):
        sides = [
            zeros([t.shape[0], sum(widths[part])], t.dtype)
            for part in (slice(0, i), slice(i + 1, None))
        ]
        rows.append(concat([sides[0], t, sides[1]], 1))
    return concat(rows, 0)


# ---- places ------------------------------------------------------------------------------------


def _triangle(rows: Any, columns: Any, offset: Any, dtype: Any, *, lower: bool) -> Tensor:
    if any(isinstance(n, Dim) for n in (rows, columns, offset)):
        away = arange(0, columns) - unsqueeze(arange(0, rows), 1)
        found = transpose(nonzero(away <= offset if lower else away >= offset), [1, 0])
    else:
        below = np.tri(rows, columns, offset if lower else offset - 1, dtype=bool)
        found = Tensor(np.stack(np.nonzero(below if lower else ~below)).astype(np.int64))
    return cast_to(found, dtypes.as_numpy(dtype))


def tril_indices(row: Any, col: Any = None, offset: Any = 0, dtype: Any = "int64") -> Tensor:
    """Places on and below a diagonal of a matrix: rows and columns, (2, n).

    Args:
        row, col: sizes of the matrix; square by default.
        offset: the diagonal, counted upwards from the main one.
        dtype: int64 or int32.
    """
    return _triangle(row, row if col is None else col, offset, dtype, lower=True)


def triu_indices(row: Any, col: Any = None, offset: Any = 0, dtype: Any = "int64") -> Tensor:
    """Places on and above a diagonal of a matrix, with the arguments of `tril_indices`."""
    return _triangle(row, row if col is None else col, offset, dtype, lower=False)


def diagflat(x: Tensor, offset: int = 0) -> Tensor:
    """All elements on a diagonal of a matrix that is zero elsewhere."""
    return diag(reshape(x, [-1]), offset)


def masked_scatter(x: Tensor, mask: Tensor, value: Tensor) -> Tensor:
    """x, with the elements of `value` in order where the mask, which broadcasts, is true."""
    mask = mask if tuple(mask.shape) == tuple(x.shape) else expand(mask, x.shape)
    order = cumsum(cast_to(reshape(mask, [-1]), _INT64), 0) - 1
    values = take(value, clip(order, 0, None))
    return where(mask, reshape(values, list(x.shape)), x)


# ---- members, runs, choices --------------------------------------------------------------------


def isin(x: Tensor, test_x: Tensor, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Which elements are among those of `test_x` (or are not, if `invert`); each pair is compared.

    Args:
        x, test_x: any shapes.
        assume_unique: accepted; it makes no difference.
        invert: whether the opposite is wanted.
    """
    found = any_of(equal(unsqueeze(x, x.ndim), reshape(test_x, [-1])), -1)
    return logical_not(found) if invert else found


def unique_consecutive(
    x: Tensor,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    dtype: Any = "int64",
) -> Any:
    """Runs of equal elements, or of equal slices along an axis, as one each.

    Args:
        x: a tensor; without `axis` it is taken as a vector.
        return_inverse: also the number of the run of each element.
        return_counts: also the lengths of the runs.
        axis: along which slices are compared.
        dtype: of numbers and lengths.
    """
    flat = reshape(x, [-1]) if axis is None else x
    at = 0 if axis is None else axis_of(axis, x.ndim)
    count = int(flat.shape[at])
    changes = not_equal(cut(flat, [at], [1], [count]), cut(flat, [at], [0], [count - 1]))
    others = [i for i in range(flat.ndim) if i != at]
    changes = any_of(changes, others) if others else changes
    begins = concat([Tensor(np.ones(min(count, 1), bool)), changes], 0)
    starts = reshape(nonzero(begins), [-1])
    found: list[Any] = [index_select(flat, starts, at)]
    kind = dtypes.as_numpy(dtype)
    if return_inverse:
        runs = cast_to(cumsum(cast_to(begins, _INT64), 0) - 1, kind)
        found.append(reshape(runs, list(x.shape)) if axis is None else runs)
    if return_counts:
        last = Tensor(np.array([count]))
        ends = concat([cut(starts, [0], [1], [len(starts)]), last], 0)
        found.append(cast_to(ends - starts, kind))
    return found[0] if len(found) == 1 else tuple(found)


def cartesian_prod(x: Sequence[Tensor]) -> Tensor:
    """All tuples of elements of vectors, (n1 * n2 * ..., number of vectors)."""
    listed = list(x)
    if len(listed) == 1:
        return listed[0]
    return stack([reshape(t, [-1]) for t in meshgrid(*listed)], 1)


def combinations(x: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector in order, (number of choices, r)."""
    again = itertools.combinations_with_replacement
    choose = again if with_replacement else itertools.combinations
    places = np.array(list(choose(range(int(x.shape[0])), r)), np.int64).reshape(-1, r)
    return reshape(take(x, Tensor(places.reshape(-1))), list(places.shape))


def logcumsumexp(x: Tensor, axis: int | None = None, dtype: Any = None) -> Tensor:
    """The logarithm of the sum of exponentials so far along an axis, without overflow.

    Args:
        x: floating point.
        axis: None for all elements as one vector.
        dtype: to compute in; that of x by default.
    """
    x = x if dtype is None else cast_to(x, dtypes.as_numpy(dtype))
    x = reshape(x, [-1]) if axis is None else x
    at, step = axis_of(axis or 0, x.ndim), 1
    count = x.shape[at]
    if isinstance(count, Dim):
        return _logcumsumexp_of_dynamic(x, at, count)
    while step < count:
        # Sums of 1, 2, 4, ... neighbours: as many passes as the size has binary digits.
        head = cut(x, [at], [0], [step])
        later = cut(x, [at], [step], [count])
        before = cut(x, [at], [0], [count - step])
        x = concat([head, logaddexp(later, before)], at)
        step *= 2
    return x


def _logcumsumexp_of_dynamic(x: Tensor, axis: int, count: Any) -> Tensor:
    """As many passes as any size has digits: one by more than the size adds nothing."""
    own = arange(count)
    for step in (1 << digit for digit in range(31)):
        place = own - step
        before = index_select(x, clip(place, 0, None), axis)
        inside = reshape(place >= 0, [-1] + [1] * (x.ndim - 1 - axis))
        x = where(inside, logaddexp(x, before), x)
    return x
