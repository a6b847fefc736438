"""Scaled dot-product attention and its gradient. Arrays are [batch, heads, length, width].

Keys and values may have fewer heads, each shared by a run of query heads. A row that sees nothing
gives zeros. Inputs are read where they lie if the numbers of a row are neighbours; results lie in
memory as [batch, length, heads, width], so that joining the heads afterwards moves nothing. float32
is done block by block (`block.py`), the 16-bit types by way of it, float64 in numpy
(`general.py`).
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

from dyn.kernels.attention import block as blocks
from dyn.kernels.attention import general
from dyn.kernels.copy import contiguous
from dyn.kernels.runtime.drive import chunks_of, float_word
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import scratch
from dyn.kernels.runtime.threads import launch

GRAIN = 1 << 18
"""Multiplications worth a chunk."""
UNITS = 8
"""Units of a gradient below which keys are cut into ranges."""
RANGE = 2 * blocks.KEYS
"""Keys of a range, at least."""


def _by_length(batch: int, heads: int, length: int, width: int) -> np.ndarray:
    """A float32 array that lies in memory as [batch, length, heads, width]."""
    return empty((batch, length, heads, width)).transpose(0, 2, 1, 3)


def _alike(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
    """Memory for the gradients of q, k and v: parts of one array where those are, so that joining
    the gradients moves nothing either."""
    if q.shape == k.shape == v.shape and q.strides == k.strides == v.strides:
        gap = k.ctypes.data - q.ctypes.data
        order = _joined((3, *q.shape), (gap, *q.strides))
        if order is not None and v.ctypes.data - k.ctypes.data == gap:
            return tuple(empty(order.sizes).transpose(order.back))
    return _by_length(*q.shape), _by_length(*k.shape), _by_length(*v.shape)


class _Order(NamedTuple):
    """Axes of an array from the slowest to the fastest in memory.

    Attributes:
        sizes: of the axes in that order.
        back: where in that order each axis stands.
    """

    sizes: tuple[int, ...]
    back: tuple[int, ...]


@lru_cache(256)
def _joined(shape: tuple[int, ...], strides: tuple[int, ...]) -> _Order | None:
    """How a float32 array of these strides lies in memory; None if it has gaps or overlaps."""
    order = sorted(range(len(shape)), key=lambda axis: (-strides[axis], shape[axis] != 1))
    step = 4
    for axis in reversed(order):
        # An axis of one element has any stride.
        if shape[axis] != 1 and strides[axis] != step:
            return None
        step *= shape[axis]
    return _Order(tuple(shape[axis] for axis in order), tuple(map(order.index, range(len(order)))))


def _with_rows(x: np.ndarray) -> np.ndarray:
    """x itself if the numbers of each row are neighbours, else a copy."""
    return x if x.shape[3] == 1 or x.strides[3] == 4 else contiguous(x)


def _bias(mask: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    """What a mask adds to the scores, as [batch, heads, keys, queries] with queries neighbours."""
    if mask is None:
        return None
    mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
    # Repeated numbers are converted once.
    once = tuple(slice(0, 1) if step == 0 else slice(None) for step in mask.strides)
    turned = mask[once].swapaxes(2, 3)
    if mask.dtype == bool:
        turned = np.where(turned, np.float32(0), np.float32(-np.inf))
    made = np.ascontiguousarray(turned, np.float32)
    batch, heads, queries, keys = shape
    return np.broadcast_to(made, (batch, heads, keys, queries))


@cache
def _codes() -> list[int]:
    """The end of a task's words: addresses, and the zero that a missing mask adds."""
    return [*(code.address for code in blocks.CALLED), 0]


def _run(task, work, units, size, scale, is_causal, span, ranges, *arrays):
    """Run a task of `block`; arrays as in its words, None for those it has not."""
    chunks = min(units, chunks_of(work, GRAIN))
    memory = scratch(size, chunks)
    ids = [0 if x is None else id(x) for x in arrays]
    numbers = (float_word(scale), is_causal, span, ranges, id(memory), size)
    launch(task, np.array([*ids, *numbers, *_codes()], np.int64), chunks)


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None,
    *,
    scale: float,
    is_causal: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """(out, lse): softmax(scores) v, and the logarithm of each row's sum of exponentials."""
    if q.dtype == np.float64:
        return general.attention(q, k, v, mask, scale=scale, is_causal=is_causal)
    if q.dtype != np.float32:
        wide = (x.astype(np.float32) for x in (q, k, v))
        out, lse = attention(*wide, mask, scale=scale, is_causal=is_causal)
        return out.astype(q.dtype), lse.astype(q.dtype)
    q, k, v = (_with_rows(x) for x in (q, k, v))
    batch, heads, length, width = q.shape
    keys, value_width = v.shape[2:]
    out = _by_length(batch, heads, length, value_width)
    lse = empty((batch, heads, length))
    units = batch * heads * -(-length // blocks.QUERIES)
    if units:
        bias = _bias(mask, (batch, heads, length, keys))
        work = batch * heads * length * keys * (width + value_width)
        size = blocks.forward_scratch(width, value_width)
        _run(
            blocks.forward, work, units, size, scale, is_causal, 0, 0,
            q, k, v, out, lse, bias, None, None, None, None,
        )  # fmt: skip
    return out, lse


def attention_grad(
    g: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None,
    out: np.ndarray,
    lse: np.ndarray,
    *,
    scale: float,
    is_causal: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gq, gk, gv)."""
    if q.dtype == np.float64:
        return general.attention_grad(g, q, k, v, mask, out, lse, scale=scale, is_causal=is_causal)
    if q.dtype != np.float32:
        wide = [x.astype(np.float32) for x in (g, q, k, v, out, lse)]
        found = attention_grad(*wide[:4], mask, *wide[4:], scale=scale, is_causal=is_causal)
        return tuple(x.astype(q.dtype) for x in found)  # type: ignore[return-value]
    g, q, k, v, out = (_with_rows(x) for x in (g, q, k, v, out))
    lse = contiguous(lse)
    batch, heads, length, width = q.shape
    shared, keys, value_width = v.shape[1:]
    gq, gk, gv = _alike(q, k, v)
    ranges = max(1, min(UNITS // max(1, batch * shared), -(-keys // RANGE)))
    span = -(-keys // ranges)
    # Ranges of keys add to the same queries: each has an array of its own.
    parts = gq[None] if ranges == 1 else empty((ranges, *gq.shape))
    units = batch * shared * ranges
    if units:
        bias = _bias(mask, (batch, heads, length, keys))
        work = batch * heads * length * keys * (3 * width + 2 * value_width)
        size = blocks.backward_scratch(width, value_width)
        _run(
            blocks.backward, work, units, size, scale, is_causal, span, ranges,
            q, k, v, out, lse, bias, g, parts, gk, gv,
        )  # fmt: skip
    if ranges > 1:
        np.add(parts[0], parts[1], out=gq)
        for part in parts[2:]:
            gq += part
    return gq, gk, gv
