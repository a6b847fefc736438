"""Matrix products: `matmul` for arrays of any strides and dtype.

float32 and float64 go through the register tiles of `tile.py`, driven by `product.py`;
half precision is summed in float32, integers are left to numpy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.elementwise import apply as elementwise
from dyn.kernels.gemm.product import batched, product
from dyn.kernels.runtime import memory
from dyn.kernels.vector.sums import RELU


def matmul(
    a: np.ndarray,
    b: np.ndarray,
    *,
    bias: np.ndarray | None = None,
    activation: str | None = None,
) -> np.ndarray:
    """a @ b by numpy's rules, plus `bias` along the last axis, then `activation`.

    Args:
        a: (..., m, k) or (k,), any strides.
        b: (..., k, n) or (k,), the dtype of a.
        bias: (n,) or None.
        activation: None or "relu".

    Returns:
        (..., m, n), C-contiguous; without the axis of an operand that is a vector. float16 and
        bfloat16 are summed in float32, integers exactly (modulo their width), booleans by or.
    """
    dtype = a.dtype
    if dtype != np.float32 and dtype != np.float64:
        return _of_other_dtype(a, b, bias, activation)
    flags = RELU if activation == "relu" else 0
    if a.ndim == b.ndim == 2 and a.shape[1] == 1:
        outer = elementwise.binary("multiply", a, b)
        return _finished(contiguous(outer), bias, flags)
    if bias is not None and not bias.flags.c_contiguous:
        bias = np.ascontiguousarray(bias)
    if a.ndim == 2 and b.ndim == 2:
        c = memory.empty((a.shape[0], b.shape[1]), dtype)
        if c.size == 0:
            return c
        if a.shape[1] == 0:
            return _finished(np.zeros(c.shape, dtype), bias, flags)
        product(a, b, c, bias, flags)
        return c
    row, column = a.ndim == 1, b.ndim == 1
    a = a[None, :] if row else a
    b = b[:, None] if column else b
    batch = a.shape[:-2]
    if batch != b.shape[:-2]:
        batch = np.broadcast_shapes(batch, b.shape[:-2])
    out = _leading_axes(a, b, batch, bias, flags)
    if row:
        out = out[..., 0, :]
    return out[..., 0] if column else out


def _leading_axes(
    a: np.ndarray, b: np.ndarray, batch: tuple[int, ...], bias: Any, flags: int
) -> np.ndarray:
    shape = (*batch, a.shape[-2], b.shape[-1])
    if math.prod(shape) == 0 or a.shape[-1] == 0:
        return _finished(np.zeros(shape, a.dtype), bias, flags)
    c = memory.empty(shape, a.dtype)
    if math.prod(b.shape[:-2]) == 1:
        # One matrix for the whole batch: the rows of all of a are one tall matrix.
        alone = math.prod(batch) == 1
        rows = a.reshape(a.shape[-2:]) if alone else contiguous(a).reshape(-1, a.shape[-1])
        product(rows, b.reshape(b.shape[-2:]), c.reshape(-1, shape[-1]), bias, flags)
        return c
    batched(a, b, c)
    return _finished(c, bias, flags)


def _finished(c: np.ndarray, bias: Any, flags: int) -> np.ndarray:
    """Bias and activation where the kernel had no part in them."""
    if bias is not None:
        c = c + bias
    return np.maximum(c, 0) if flags & RELU else c


def _of_other_dtype(a: np.ndarray, b: np.ndarray, bias: Any, activation: Any) -> np.ndarray:
    if a.dtype.itemsize == 2 and a.dtype.kind not in "iu":
        wide = matmul(
            a.astype(np.float32),
            b.astype(np.float32),
            bias=None if bias is None else bias.astype(np.float32),
            activation=activation,
        )
        return wide.astype(a.dtype)
    out = np.asarray(np.matmul(a, b))
    return _finished(out, bias, RELU if activation == "relu" else 0)
