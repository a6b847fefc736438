"""Sums, extremes, sorting and searching under PyTorch's names: `dim`, and pairs with indices."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from dyn.compat.torch.tensor import Tensor
from dyn.core.dtype import BOOL
from dyn.core.lift import cast_to
from dyn.core.modes import is_grad_enabled
from dyn.core.op import OPS
from dyn.ops import (
    compare,
    creation,
    extremes,
    reduce,
    scan,
    search,
    shape,
    softmax,
    unary,
    vector_norm,
)
from dyn.ops import sort as sorts
from dyn.ops.index import where
from dyn.ops.infer import product, reduced_axes


class _Pair(NamedTuple):
    values: Any
    indices: Any


class _Printed:
    """Named results print as `torch.return_types.max(\\nvalues=...,\\nindices=...)`."""

    __slots__ = ()

    def __repr__(self) -> str:
        fields = ",\n".join(
            f"{name}={value!r}"
            for name, value in zip(self._fields, self, strict=True)  # type: ignore[attr-defined]
        )
        return f"torch.return_types.{type(self).__name__}(\n{fields})"


def _pair(name: str, fields: Any = _Pair) -> Any:
    return type(name, (_Printed, fields), {"__slots__": (), "__doc__": f"What `{name}` returns."})


MaxResult, MinResult, SortResult, TopkResult, MedianResult, KthResult, ModeResult = map(
    _pair, ("max", "min", "sort", "topk", "median", "kthvalue", "mode")
)
CummaxResult, CumminResult, NanmedianResult = map(_pair, ("cummax", "cummin", "nanmedian"))


class _Ends(NamedTuple):
    min: Any
    max: Any


class _Bins(NamedTuple):
    hist: Any
    bin_edges: Any


AminmaxResult, HistogramResult = _pair("aminmax", _Ends), _pair("histogram", _Bins)


def _plain(function: Any) -> Any:
    def along(
        x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, axis: Any = None
    ) -> Any:
        found = function(x, dim if axis is None else axis, keepdim=keepdim)
        return found if dtype is None else cast_to(found, dtype.numpy)

    along.__name__, along.__doc__ = function.__name__, function.__doc__
    return along


def allclose(
    x: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are equal but for rounding, as a Python bool."""
    return bool(compare.allclose(x, other, rtol, atol, equal_nan))


sum, mean, amax, amin, all, any, logsumexp, prod, nansum, nanmean = map(
    _plain,
    (
        reduce.sum, reduce.mean, reduce.amax, reduce.amin, reduce.all, reduce.any,
        reduce.logsumexp, reduce.prod, reduce.nansum, reduce.nanmean,
    ),
)  # fmt: skip


def _share(count: Any, less: float, kind: Any) -> Any:
    """count / max(count - less, 0), as a tensor where the count is known in the file only."""
    if isinstance(count, int):
        return count / (count - less) if count > less else math.inf
    number = creation.full([], count, (kind if kind.kind == "f" else np.dtype(np.float32)).name)
    return number / extremes.maximum(number - less, 0.0)


def _spread(function: Any, squares: bool) -> Any:
    op = OPS[function.__name__]

    def along(
        x: Any,
        dim: Any = None,
        unbiased: bool = True,
        keepdim: bool = False,
        *,
        correction: float | None = None,
    ) -> Any:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        less = unbiased if correction is None else correction
        axes, keep = reduced_axes(dim, x.ndim), bool(keepdim)
        if less == int(less):
            return op(x, axes=axes, keepdims=keep, correction=int(less))
        # The op divides by whole numbers: what more it divides by is a factor.
        more = _share(product([x.shape[a] for a in axes]), less, x._array.dtype)
        return op(x, axes=axes, keepdims=keep, correction=0) * (more if squares else more**0.5)

    along.__name__, along.__doc__ = function.__name__, function.__doc__
    return along


var, std = _spread(reduce.var, True), _spread(reduce.std, False)


def _extreme(function: Any, other: Any, kind: Any, *, largest: bool) -> Any:
    def along(x: Any, dim: Any = None, keepdim: bool = False, **named: Any) -> Any:
        if isinstance(dim, Tensor):
            return other(x, dim)
        if dim is None:
            return function(x)
        return kind(*search.extreme(x, dim, keepdim, largest))

    along.__name__ = function.__name__
    along.__doc__ = (
        f"The {function.__name__} of all elements; with `dim` a pair of values and indices along "
        "it; of a second tensor, elementwise."
    )
    return along


max = _extreme(reduce.max, extremes.maximum, MaxResult, largest=True)
min = _extreme(reduce.min, extremes.minimum, MinResult, largest=False)


def argmax(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Where the largest element is."""
    return search.argmax(x, dim, keepdim)


def argmin(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Where the smallest element is."""
    return search.argmin(x, dim, keepdim)


def sort(x: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """Sorted values along an axis, and where they were."""
    keys = _keys(x)
    values, places = sorts.sort(keys, dim, descending), sorts.argsort(keys, dim, descending)
    return SortResult(cast_to(values, x._read().dtype), places)


def _keys(x: Any) -> Any:
    """What stands for the elements in a comparison: numbers for truth values, False first."""
    return cast_to(x, np.dtype(np.int32)) if x._read().dtype == BOOL else x


def argsort(x: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """Where the sorted values along an axis were."""
    return sorts.argsort(_keys(x), dim, descending)


def topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The k largest values along an axis, and where they were."""
    return TopkResult(*sorts.topk(x, k, dim, largest, sorted))


def kthvalue(x: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest value along an axis, and where it was."""
    return KthResult(*sorts.kthvalue(x, k, dim, keepdim))


def mode(x: Any, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent value along an axis, and where it is."""
    return ModeResult(*sorts.mode(x, dim, keepdim))


def median(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower of the middle values, NaN where one is NaN; with `dim` a pair with where it was."""
    found = sorts.lower_median(x, dim, keepdim)
    return shared(x, found[0]) if dim is None else MedianResult(*found)


def shared(x: Any, value: Any) -> Any:
    """An element of x by its value: all that are equal to it share its gradient."""
    if x.stop_gradient or not is_grad_enabled():
        return value
    above = compare.logical_or(x > value, compare.isnan(x) & compare.isfinite(value))
    return reduce.amax(where(above, -math.inf, x))


def cummax(x: Any, dim: int) -> Any:
    """The largest value so far along an axis, and where it was."""
    return CummaxResult(*scan.cummax(x, dim))


def cummin(x: Any, dim: int) -> Any:
    """The smallest value so far along an axis, and where it was."""
    return CumminResult(*scan.cummin(x, dim))


def unique(
    x: Any,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different values in order; with them where each element went, and how often it is."""
    found = search.unique(x, False, return_inverse, return_counts, dim)
    if not return_inverse or dim is not None:
        return found
    values, inverse, *counts = found
    return values, shape.reshape(inverse, list(x.shape)), *counts


def norm(x: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False) -> Any:
    """The p-norm of all elements, or along axes; extremes share the gradient of p = inf, -inf."""
    if p in (math.inf, -math.inf):
        return (reduce.amax if p > 0 else reduce.amin)(unary.abs(x), dim, keepdim)
    return vector_norm.norm(x, 2.0 if p in ("fro", None) else p, dim, keepdim)


def softmax_along(x: Any, dim: int, dtype: Any = None) -> Any:
    """exp(x) divided by its sum along an axis: `torch.softmax`."""
    return softmax.softmax(x, dim, dtype)


def log_softmax_along(x: Any, dim: int, dtype: Any = None) -> Any:
    """The logarithm of `softmax` along an axis: `torch.log_softmax`."""
    return softmax.log_softmax(x, dim, dtype)


def bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each number from 0 on occurs."""
    return search.bincount(x, weights, minlength)


def count_nonzero(x: Any, dim: Any = None) -> Any:
    """How many elements are not zero."""
    return reduce.count_nonzero(x, dim)


def equal(x: Any, other: Any) -> bool:
    """Whether shape and all elements are equal, as a Python bool."""
    if tuple(x.shape) != tuple(other.shape):
        return False
    return bool(reduce.all(x == other))
