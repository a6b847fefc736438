"""Matrix products: `matmul` and `linear` for arrays of any strides and dtype.

float32 and float64 go through the register tiles of `gemm_tile.py`. A product is cut into chunks
along its longer side, by sizes alone; each chunk walks over blocks of k and, inside, over column
panels and row tiles. B is read in place where its rows are contiguous and it fits the cache, else a
block is packed into panels; A is packed only where its rows are not contiguous. Batches are cut
over their matrices. Products with one column or one row have loops of their own (`gemm_thin.py`).

Method: Goto & van de Geijn 2008; blocks follow the cache, sums never follow the threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dyn.kernels import gemm_tile as tiles
from dyn.kernels import memory, threads
from dyn.kernels.arrays import data, size, stride
from dyn.kernels.conv_copy import transpose_f32, transpose_f64
from dyn.kernels.conv_ir import copy_bytes
from dyn.kernels.gemm_thin import thin
from dyn.kernels.gemm_tile import ACCUMULATE, HEIGHTS, RELU, VECTORS
from dyn.kernels.jit import call_address, kernel, microkernel, task
from dyn.kernels.lanes import LANES
from dyn.kernels.threads import argument, bounds, pack, parallel_for

DEPTH = 256
"""Steps of k in a block: a panel of B of this depth stays in the first-level cache."""
COLUMNS = 512
"""Columns of a packed block of B, which stays in the second-level cache."""
IN_PLACE = 160 * 1024
"""Elements of B up to which packing costs more than it saves."""
GRAIN = 1 << 19
"""Multiplications worth a chunk of their own."""
MAX_CHUNKS = 16
PANEL_BYTES = VECTORS * LANES * 4
ROW_PAD = 16
"""Elements between two steps of k in a packed tile of A."""

# Words that describe a product, at the address that the serial kernel gets; steps are in bytes.
(
    M, N, K, A, A_ROW, A_STEP, B, B_STEP, B_COLUMN, C, C_ROW, BIAS, FLAGS, WORK, ELEMENT,
    TALL, MIDDLE, LOW, TRANSPOSE,
) = range(19)  # fmt: skip
WORDS = 20


@kernel(forceinline=True)
def _work_bytes() -> int:
    """Scratch of one chunk: a block of B and a tile of A."""
    return 8 * (DEPTH * COLUMNS + DEPTH * ROW_PAD + 64)


@microkernel(7)
def _pack_b(p, at, work, first, columns, start, depth):
    """Panels [columns / panel][depth][panel] of B[start:, first:] at `work`."""
    element, step, column = argument(p, ELEMENT), argument(p, B_STEP), argument(p, B_COLUMN)
    panel = PANEL_BYTES // element
    for j in range(0, columns, panel):
        wide = min(panel, columns - j)
        source = at + start * step + (first + j) * column
        target = work + j * depth * element
        if column == element:
            for i in range(depth):
                copy_bytes(target + i * PANEL_BYTES, source + i * step, wide * element)
        else:
            call_address(argument(p, TRANSPOSE), source, column, target, PANEL_BYTES, wide, depth)


@microkernel(6)
def _pack_a(p, source, row, step, target, depth):
    """Rows of a tile of A, `ROW_PAD` elements a step: row lies next to row."""
    element = argument(p, ELEMENT)
    rows = row
    if argument(p, A_ROW) == element:
        for i in range(depth):
            copy_bytes(target + i * ROW_PAD * element, source + i * step, rows * element)
    else:
        call_address(
            argument(p, TRANSPOSE), source, argument(p, A_ROW), target, ROW_PAD * element, rows,
            depth,
        )  # fmt: skip


@microkernel(4)
def multiply(p, pack_a, pack_b, unused):
    """One product on the calling thread, described by the words at `p`."""
    m, n, k = argument(p, M), argument(p, N), argument(p, K)
    element, c_row, bias = argument(p, ELEMENT), argument(p, C_ROW), argument(p, BIAS)
    a_row, a_step = argument(p, A_ROW), argument(p, A_STEP)
    b_step, b_column = argument(p, B_STEP), argument(p, B_COLUMN)
    work = argument(p, WORK)
    tall, middle, low = argument(p, TALL), argument(p, MIDDLE), argument(p, LOW)
    panel = PANEL_BYTES // element
    in_place = b_column == element and (n * k <= IN_PLACE or m <= 2 * HEIGHTS[0])
    packs_a = a_step != element and k > 32 and n > panel
    a_work = work + 8 * DEPTH * COLUMNS
    for start in range(0, k, DEPTH):
        depth = min(DEPTH, k - start)
        first_pass, last_pass = start == 0, start + depth == k
        flags = argument(p, FLAGS) & (ACCUMULATE if first_pass else 0)
        flags |= 0 if first_pass else ACCUMULATE
        flags |= argument(p, FLAGS) & RELU if last_pass else 0
        for block in range(0, n, COLUMNS):
            columns = min(COLUMNS, n - block)
            # The last panel of B may not be read in place: its vectors would reach beyond it.
            whole = columns - columns % panel if in_place else 0
            if whole < columns:
                call_address(
                    pack_b, p, argument(p, B), work, block + whole, columns - whole, start, depth
                )
            i = 0
            while i < m:
                left = m - i
                height = HEIGHTS[0] if left > HEIGHTS[1] else HEIGHTS[1]
                height = HEIGHTS[2] if left <= HEIGHTS[2] else height
                tile = tall if height == HEIGHTS[0] else middle
                tile = low if height == HEIGHTS[2] else tile
                rows = min(height, left)
                source = argument(p, A) + i * a_row + start * a_step
                row, step = a_row, a_step
                if packs_a:
                    call_address(pack_a, p, source, rows, a_step, a_work, depth)
                    source, row, step = a_work, element, ROW_PAD * element
                target = argument(p, C) + i * c_row + block * element
                for j in range(0, columns, panel):
                    if j < whole:
                        from_b = argument(p, B) + start * b_step + (block + j) * element
                        b_by = b_step
                    else:
                        from_b = work + (j - whole) * depth * element
                        b_by = PANEL_BYTES
                    shift = bias + (block + j) * element if bias and last_pass else 0
                    call_address(
                        tile, depth, source, row, step, from_b, b_by, target + j * element, c_row,
                        rows, columns - j, shift, flags,
                    )  # fmt: skip
                i += rows


@task
def _part(args, chunk, chunks):
    """One chunk of a product: words of the product, addresses of three microkernels, the side."""
    p = argument(args, 0)
    by_rows = argument(args, 4)
    element = argument(p, ELEMENT)
    words = np.empty(WORDS, np.int64)
    for i in range(WORDS):
        words[i] = argument(p, i)
    unit = HEIGHTS[0] if by_rows else PANEL_BYTES // element
    first, last = bounds(words[M] if by_rows else words[N], chunk, chunks, unit)
    if first >= last:
        return
    if by_rows:
        words[M] = last - first
        words[A] += first * words[A_ROW]
        words[C] += first * words[C_ROW]
    else:
        words[N] = last - first
        words[B] += first * words[B_COLUMN]
        words[C] += first * element
        words[BIAS] += first * element if words[BIAS] else 0
    words[WORK] += chunk * _work_bytes()
    call_address(argument(args, 1), words.ctypes.data, argument(args, 2), argument(args, 3), 0)


@task
def _batch_part(args, chunk, chunks):
    """Some matrices of a batch: words of one product, microkernels, and a table of offsets."""
    p = argument(args, 0)
    table, count = argument(args, 4), argument(args, 5)
    words = np.empty(WORDS, np.int64)
    for i in range(WORDS):
        words[i] = argument(p, i)
    words[WORK] += chunk * _work_bytes()
    first, last = bounds(count, chunk, chunks, 1)
    for i in range(first, last):
        words[A] = argument(p, A) + argument(table, 3 * i)
        words[B] = argument(p, B) + argument(table, 3 * i + 1)
        words[C] = argument(p, C) + argument(table, 3 * i + 2)
        call_address(argument(args, 1), words.ctypes.data, argument(args, 2), argument(args, 3), 0)


@kernel
def _drive(pool, part, codes, a, b, c, bias, flags, work, chunks, by_rows):
    """A product of two matrices given by `id`; codes are addresses of microkernels."""
    element = stride(c, 1)
    words = np.empty(WORDS, np.int64)
    words[M], words[N], words[K] = size(c, 0), size(c, 1), size(a, 1)
    words[A], words[A_ROW], words[A_STEP] = data(a), stride(a, 0), stride(a, 1)
    words[B], words[B_STEP], words[B_COLUMN] = data(b), stride(b, 0), stride(b, 1)
    words[C], words[C_ROW] = data(c), stride(c, 0)
    words[BIAS] = data(bias) if bias else 0
    words[FLAGS], words[WORK], words[ELEMENT] = flags, work, codes[7]
    for i in range(4):
        words[TALL + i] = codes[3 + i]
    args = pack(words.ctypes.data, codes[0], codes[1], codes[2], by_rows)
    if chunks == 1:
        call_address(codes[0], words.ctypes.data, codes[1], codes[2], 0)
    else:
        parallel_for(pool, part, args, chunks)
    return words[M] + element


@kernel
def _drive_batch(pool, part, codes, words, table, count, chunks):
    """Many products of the same sizes."""
    args = pack(words.ctypes.data, codes[0], codes[1], codes[2], table.ctypes.data, count)
    parallel_for(pool, part, args, chunks)
    return words[0] + table[0]


_CODES: dict[str, tuple[int, ...]] = {}


def _codes(dtype: np.dtype) -> tuple[int, ...]:
    """Addresses of the microkernels for a dtype, and the size of an element."""
    found = _CODES.get(dtype.char)
    if found is None:
        single = dtype == np.float32
        of_dtype = (
            (tiles.tall_f32, tiles.middle_f32, tiles.low_f32, transpose_f32)
            if single
            else (tiles.tall_f64, tiles.middle_f64, tiles.low_f64, transpose_f64)
        )
        made = [k.address for k in (multiply, _pack_a, _pack_b, *of_dtype)]
        found = _CODES[dtype.char] = (*made, dtype.itemsize)
    return found


def _chunks(m: int, n: int, k: int) -> int:
    """Into how many chunks a product is cut, by its sizes alone."""
    return max(1, min(m * n * k // GRAIN, MAX_CHUNKS))


def _scratch(chunks: int) -> np.ndarray:
    return memory.empty((chunks * 8 * (DEPTH * COLUMNS + DEPTH * ROW_PAD + 64),), np.uint8)


def _product(a: np.ndarray, b: np.ndarray, c: np.ndarray, bias: Any, flags: int) -> None:
    """c = a @ b (+ bias) for matrices of one floating-point dtype."""
    m, k = a.shape
    n = b.shape[1]
    if m == 1 or n == 1 or k == 1:
        thin(a, b, c, bias, bool(flags & RELU))
        return
    a, b = _with_unit_step(a), _with_unit_step(b)
    chunks = _chunks(m, n, k)
    by_rows = m >= n
    if chunks > 1:
        unit = HEIGHTS[0] if by_rows else PANEL_BYTES // c.itemsize
        chunks = min(chunks, -(-(m if by_rows else n) // unit))
    scratch = _scratch(chunks)
    _drive(
        threads.pool() if chunks > 1 else 0,
        _part.address,
        _codes(c.dtype),
        id(a),
        id(b),
        id(c),
        0 if bias is None else id(bias),
        flags,
        scratch.ctypes.data,
        chunks,
        by_rows,
    )


def _with_unit_step(x: np.ndarray) -> np.ndarray:
    """The matrices themselves if one of their axes is contiguous, else a copy."""
    return x if x.itemsize in x.strides[-2:] else np.ascontiguousarray(x)


def _batched(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    """c = a @ b over the leading axes of c, along which a and b are broadcast."""
    a, b = _with_unit_step(a), _with_unit_step(b)
    batch = c.shape[:-2]
    count = math.prod(batch)
    steps = np.zeros((count, 3), np.int64)
    for column, x in enumerate((a, b, c)):
        wide = np.broadcast_to(x, (*batch, *x.shape[-2:]))
        offsets: Any = 0
        for axis, length in enumerate(batch):
            shape = [1] * len(batch)
            shape[axis] = length
            offsets = offsets + (np.arange(length) * wide.strides[axis]).reshape(shape)
        steps[:, column] = np.broadcast_to(offsets, batch).reshape(-1)
    m, n, k = c.shape[-2], c.shape[-1], a.shape[-1]
    chunks = max(1, min(m * n * k * count // GRAIN, count, MAX_CHUNKS))
    scratch = _scratch(chunks)
    codes = _codes(c.dtype)
    words = np.zeros(WORDS, np.int64)
    words[M], words[N], words[K] = m, n, k
    words[A], words[A_ROW], words[A_STEP] = a.ctypes.data, a.strides[-2], a.strides[-1]
    words[B], words[B_STEP], words[B_COLUMN] = b.ctypes.data, b.strides[-2], b.strides[-1]
    words[C], words[C_ROW] = c.ctypes.data, c.strides[-2]
    words[WORK], words[ELEMENT] = scratch.ctypes.data, codes[7]
    words[TALL : TALL + 4] = codes[3:7]
    _drive_batch(
        threads.pool(), _batch_part.address, codes, words, steps.reshape(-1), count, chunks
    )


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
    if bias is not None and not bias.flags.c_contiguous:
        bias = np.ascontiguousarray(bias)
    if a.ndim == 2 and b.ndim == 2:
        c = memory.empty((a.shape[0], b.shape[1]), dtype)
        if c.size == 0:
            return c
        if a.shape[1] == 0:
            return _finished(np.zeros(c.shape, dtype), bias, flags)
        _product(a, b, c, bias, flags)
        return c
    row, column = a.ndim == 1, b.ndim == 1
    a = a[None, :] if row else a
    b = b[:, None] if column else b
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
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
    if math.prod(b.shape[:-2]) == 1 and a.flags.c_contiguous:
        # One matrix for the whole batch: the rows of all of a are one tall matrix.
        rows = a.reshape(-1, a.shape[-1])
        c = memory.empty((rows.shape[0], shape[-1]), a.dtype)
        _product(rows, b.reshape(b.shape[-2:]), c, bias, flags)
        return c.reshape(shape)
    c = memory.empty(shape, a.dtype)
    if math.prod(batch) == 1:
        _product(
            a.reshape(a.shape[-2:]), b.reshape(b.shape[-2:]), c.reshape(shape[-2:]), bias, flags
        )
        return c
    _batched(a, b, c)
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


def linear(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | None = None,
) -> np.ndarray:
    """x @ w + bias over the last axis: x (..., in), w (in, out), bias (out,) or None."""
    return matmul(x, w, bias=bias, activation=activation)
