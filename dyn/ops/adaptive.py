"""Adaptive pooling: the output size is given, the windows follow from the input's size."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.dim import Dim
from dyn.core.errors import AttributeValueError
from dyn.core.lift import shape_of
from dyn.core.op import op
from dyn.core.tensor import Tensor
from dyn.kernels import pool as kernels
from dyn.ops.infer import I64, Type, as_numbers, as_numpy, infer_resized, need_rank, whole
from dyn.ops.pool import _max_pool_grad, need_places

# ---- mean --------------------------------------------------------------------------------------


@op(infer=infer_resized)
def _adaptive_avg_pool(x, *, sizes):
    """Mean of each bin. ONNX: GlobalAveragePool, AveragePool or MatMul."""
    return kernels.adaptive_avg_pool(x, sizes=sizes)


_adaptive_avg_pool.shortcut = lambda x, sizes: kernels.adaptive_avg_pool_of(
    x.shape, x.dtype, tuple(sizes)
)


@_adaptive_avg_pool.vjp("x")
def _(g, *, x_shape):
    return _adaptive_avg_pool_grad(g, x_shape=x_shape)


@op(infer=lambda g, *, x_shape: Type(x_shape, g.dtype))
def _adaptive_avg_pool_grad(g, *, x_shape):
    """g spread evenly over its bins. ONNX: MatMul."""
    return kernels.adaptive_avg_pool_grad(g, x_shape=x_shape)


@_adaptive_avg_pool_grad.vjp("g")
def _(gg, *, g_shape):
    return _adaptive_avg_pool(gg, sizes=tuple(g_shape[2:]))


# ---- maximum -----------------------------------------------------------------------------------


def _infer_max(x: Type, *, sizes: Any) -> list[Type]:
    need_places(x)
    out = infer_resized(x, sizes=sizes)
    return [out, Type(out.shape, as_numpy("int32"))]


@op(infer=_infer_max, outputs=("out", "index"))
def _adaptive_max_pool(x, *, sizes):
    """Largest value of each bin. ONNX: GlobalMaxPool, MaxPool or ReduceMax."""
    return kernels.adaptive_max_pool(x, sizes=sizes)


@_adaptive_max_pool.vjp("x")
def _(g, *, index, x_shape):
    return _max_pool_grad(g, index, x_shape=x_shape)


@op(infer=lambda x, *, sizes: Type(infer_resized(x, sizes=sizes).shape, I64), differentiable=False)
def _adaptive_max_pool_index(x, *, sizes):
    """Flat position of each bin's largest value among the spatial axes. ONNX: ArgMax."""
    return kernels.adaptive_max_pool(x, sizes=sizes)[1].astype(np.int64)


# ---- Paddle's signatures -----------------------------------------------------------------------


def _sizes(x: Tensor, output_size: Any, count: int) -> tuple[Any, ...]:
    """One output size per spatial axis; None keeps that of x."""
    need_rank("x", Type(tuple(shape_of(x)), x._read().dtype), count + 2)
    output_size = as_numbers(output_size)
    listed = list(output_size) if isinstance(output_size, (list, tuple)) else [output_size] * count
    if len(listed) != count:
        raise AttributeValueError(f"output_size must have 1 or {count} values, got {output_size!r}")
    found = [n if o is None else o for n, o in zip(x.shape[2:], listed, strict=True)]
    found = [whole("output_size", n) for n in found]
    if any(not isinstance(n, Dim) and n < 1 for n in found):
        raise AttributeValueError(f"output_size must be positive, got {output_size!r}")
    return tuple(found)


def _max(x: Tensor, output_size: Any, return_mask: bool, count: int) -> Any:
    sizes = _sizes(x, output_size, count)
    out = _adaptive_max_pool(x, sizes=sizes)
    return (out, _adaptive_max_pool_index(x, sizes=sizes)) if return_mask else out


def adaptive_avg_pool1d(x: Tensor, output_size: Any) -> Tensor:
    """Mean over bins of x [N, C, L]; see `adaptive_avg_pool2d`."""
    return _adaptive_avg_pool(x, sizes=_sizes(x, output_size, 1))


def adaptive_avg_pool2d(x: Tensor, output_size: Any) -> Tensor:
    """Mean over as many bins as the output shall have.

    Args:
        x: [N, C, H, W], floating point.
        output_size: an int or [h, w]; None keeps the size of x.

    Returns:
        [N, C, h, w]; bin i of h reaches from floor(i * H / h) to ceil((i + 1) * H / h).
    """
    return _adaptive_avg_pool(x, sizes=_sizes(x, output_size, 2))


def adaptive_avg_pool3d(x: Tensor, output_size: Any) -> Tensor:
    """Mean over bins of x [N, C, D, H, W]; see `adaptive_avg_pool2d`."""
    return _adaptive_avg_pool(x, sizes=_sizes(x, output_size, 3))


def adaptive_max_pool1d(x: Tensor, output_size: Any, return_mask: bool = False) -> Any:
    """Maximum over bins of x [N, C, L]; see `adaptive_max_pool2d`."""
    return _max(x, output_size, return_mask, 1)


def adaptive_max_pool2d(x: Tensor, output_size: Any, return_mask: bool = False) -> Any:
    """Maximum over as many bins as the output shall have.

    Args:
        x: [N, C, H, W], floating point.
        output_size: an int or [h, w]; None keeps the size of x.
        return_mask: also return int64 positions h * W + w of the maxima.

    Returns:
        [N, C, h, w], with `return_mask` a pair of such tensors.
    """
    return _max(x, output_size, return_mask, 2)


def adaptive_max_pool3d(x: Tensor, output_size: Any, return_mask: bool = False) -> Any:
    """Maximum over bins of x [N, C, D, H, W]; see `adaptive_max_pool2d`."""
    return _max(x, output_size, return_mask, 3)


__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
]
