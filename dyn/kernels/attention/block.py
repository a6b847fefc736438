"""The loops of attention over blocks of queries and keys, in float32.

Forward, a unit is a block of queries of one head: key block by key block its scores are computed,
turned into exponentials and multiplied with the values. Backward, a unit is a range of keys of one
head of keys, which meets all queries that share it. No unit writes what another one writes. Keys
beyond the diagonal of a causal attention are left out tile by tile.

Method: Dao et al., FlashAttention, arXiv 2205.14135. Vector code is in `scores.py`.
"""

from __future__ import annotations

from dyn.kernels.attention import scores as simd
from dyn.kernels.attention.scores import PANEL, QUERIES, ROW_BYTES
from dyn.kernels.gemm import pack as gemm_pack
from dyn.kernels.gemm import tile as gemm_tile
from dyn.kernels.gemm.tile import tile_for
from dyn.kernels.runtime.arrays import data, size, stride
from dyn.kernels.runtime.bytes import clear_bytes
from dyn.kernels.runtime.jit import call_address, kernel, task
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.factors import SET_STEP
from dyn.kernels.vector.sums import ACCUMULATE
from dyn.kernels.vector.transpose import transpose_f32

KEYS = 128
"""Keys of a block: its scores fit the first-level cache."""
EVERYTHING = 1 << 30
"""As a shift: every key is seen."""
ONE = 0x3FF0000000000000
"""1.0 as a word."""

(
    Q, KEY, VALUE, OUT, LSE, BIAS, G, GQ, GK, GV, SCALE, CAUSAL, RANGE, RANGES, SCRATCH,
    SCRATCH_SIZE, CODES,
) = range(17)  # fmt: skip
"""Words of a task: arrays by `id` (0 for no bias), numbers; addresses of microkernels follow."""
(
    TALL, MIDDLE, LOW, TRANSPOSE, COPY, MASK_SCORES, UPDATE_SOFTMAX, BEGIN_SOFTMAX, FINISH_SOFTMAX,
    SCALE_ROWS, ZERO_ROWS, ROW_DOTS, SCORES_GRAD,
) = range(CODES, CODES + 13)  # fmt: skip
CALLED = (
    gemm_tile.tall_f32, gemm_tile.middle_f32, gemm_tile.low_f32, transpose_f32,
    gemm_pack.copy_panel_f32, simd.mask_scores, simd.update_softmax, simd.begin_softmax,
    simd.finish_softmax, simd.scale_rows, simd.zero_rows, simd.row_dots, simd.scores_grad,
)  # fmt: skip
"""The microkernels in the order of their words."""

SKIPPED, SHORT, LATE = range(3)
"""What the diagonal cuts from a product: tiles (rows are keys, columns queries), the end of its
sums (rows are queries) or their beginning (rows are keys)."""


def padded(width: int) -> int:
    """A width in whole panels."""
    return -(-width // PANEL) * PANEL


def forward_scratch(width: int, value_width: int) -> int:
    """Bytes that a unit of `forward` needs."""
    return ROW_BYTES * (width + KEYS + 3) + 4 * KEYS * (padded(width) + padded(value_width))


def backward_scratch(width: int, value_width: int) -> int:
    """Bytes that a unit of `backward` needs."""
    blocks = ROW_BYTES * (width + value_width + 2 * KEYS + 2)
    return blocks + 4 * (QUERIES + KEYS) * (padded(width) + padded(value_width))


@kernel
def _multiply(p, cut, shift, m, n, depth, a, a_row, a_step, b, b_step, c, c_row, flags):
    """C[m, n] = (C +) A B tile by tile, but for what lies beyond the diagonal: key > query + shift.

    B's rows are read in whole panels.
    """
    i = 0
    while i < m:
        left = m - i
        tile, rows = tile_for(left, argument(p, TALL), argument(p, MIDDLE), argument(p, LOW))
        first, last = 0, depth
        if cut == SHORT:
            last = min(depth, i + rows + shift)
        elif cut == LATE:
            first = max(0, i - shift)
        if first < last:
            for j in range(0, n, PANEL):
                if cut == SKIPPED and i > j + PANEL - 1 + shift:
                    continue
                call_address(
                    tile, last - first, a + i * a_row + first * a_step, a_row, a_step,
                    b + first * b_step + 4 * j, b_step, c + i * c_row + 4 * j, c_row, rows, n - j,
                    0, flags,
                )  # fmt: skip
        i += rows


@kernel
def _rows_of(p, source, step, width, rows, spare, panels):
    """(address, step) of rows that do not meet in one set of the cache and, if `panels`, can be
    read in whole ones; copied if need be."""
    if (width % PANEL == 0 or not panels) and step % SET_STEP:
        return source, step
    wide = (width + PANEL - 1) // PANEL * PANEL
    call_address(argument(p, COPY), source, step, spare, 4 * wide, 4 * PANEL, width, rows)
    return spare, 4 * wide


@kernel
def _start(array, image, head, row):
    """Address of a row of a head of a [batch, heads, length, width] array."""
    at = data(array) + image * stride(array, 0) + head * stride(array, 1)
    return at + row * stride(array, 2)


@kernel
def _scores(p, image, head, top, queries, first, keys, shift, k, k_step, q, s):
    """Scores of a block of keys at `k`, from the transposed queries at `q`; what they are yet to be
    multiplied with, as a word."""
    _multiply(
        p, SKIPPED, shift, keys, queries, size(argument(p, Q), 3), k, k_step, 4, q, ROW_BYTES, s,
        ROW_BYTES, 0,
    )  # fmt: skip
    bias, scale = argument(p, BIAS), argument(p, SCALE)
    if bias == 0 and shift >= keys - 1:
        return scale
    # Without a bias the zero that follows the words is added: see `scaled_dot_product.py`.
    at, by_key, wide = p + 8 * (CODES + 13), 0, 0
    if bias:
        # Its axes are batch, heads, keys, queries.
        by_key, wide = stride(bias, 2), stride(bias, 3)
        at = _start(bias, image, head, first) + top * wide
    call_address(argument(p, MASK_SCORES), s, keys, queries, shift, scale, at, by_key, wide)
    return ONE


@kernel
def _clear(rows, length, count):
    """Clear rows of a number for each of QUERIES queries, if a block of `length` queries has less.

    What is left over in memory may be denormal, with which Intel's processors compute very slowly.
    """
    if length % QUERIES:
        clear_bytes(rows, ROW_BYTES * count)


@task
def forward(p, chunk, chunks):
    """Do a share of the blocks of queries."""
    q, k, v = argument(p, Q), argument(p, KEY), argument(p, VALUE)
    out, lse = argument(p, OUT), argument(p, LSE)
    heads, length, width = size(q, 1), size(q, 2), size(q, 3)
    total, value_width, group = size(v, 2), size(v, 3), size(q, 1) // size(v, 1)
    memory = data(argument(p, SCRATCH))
    slot = take(memory)
    turned = buffer(memory, slot, argument(p, SCRATCH_SIZE))
    s = turned + ROW_BYTES * width
    tops = s + ROW_BYTES * KEYS
    sums, factors = tops + ROW_BYTES, tops + 2 * ROW_BYTES
    spare_k = tops + 3 * ROW_BYTES
    spare_v = spare_k + 4 * KEYS * ((width + PANEL - 1) // PANEL * PANEL)
    _clear(turned, length, width)
    _clear(s, length, min(KEYS, total))
    blocks = (length + QUERIES - 1) // QUERIES
    start, stop = bounds(size(q, 0) * heads * blocks, chunk, chunks, 1)
    for unit in range(start, stop):
        image, head, top = unit // blocks // heads, unit // blocks % heads, unit % blocks * QUERIES
        queries = min(QUERIES, length - top)
        seen = min(total, top + queries) if argument(p, CAUSAL) else total
        source, target = _start(q, image, head, top), _start(out, image, head, top)
        transpose = argument(p, TRANSPOSE)
        call_address(transpose, source, stride(q, 2), turned, ROW_BYTES, queries, width)
        call_address(argument(p, BEGIN_SOFTMAX), tops, sums)
        for first in range(0, seen, KEYS):
            keys = min(KEYS, seen - first)
            shift = top - first if argument(p, CAUSAL) else EVERYTHING
            rows_k, step_k = _rows_of(
                p, _start(k, image, head // group, first), stride(k, 2), width, keys, spare_k, False
            )
            scale = _scores(
                p, image, head, top, queries, first, keys, shift, rows_k, step_k, turned, s
            )
            call_address(
                argument(p, UPDATE_SOFTMAX), s, keys, queries, shift, scale, tops, sums, factors
            )
            if first:
                rescale = argument(p, SCALE_ROWS)
                call_address(rescale, target, stride(out, 2), queries, value_width, factors)
            values, step = _rows_of(
                p, _start(v, image, head // group, first), stride(v, 2), value_width, keys, spare_v,
                True,
            )  # fmt: skip
            _multiply(
                p, SHORT, shift, queries, value_width, keys, s, 4, ROW_BYTES, values, step, target,
                stride(out, 2), ACCUMULATE if first else 0,
            )  # fmt: skip
        at = data(lse) + 4 * ((image * heads + head) * length + top)
        call_address(argument(p, FINISH_SOFTMAX), queries, tops, sums, factors, at)
        if seen:
            rescale = argument(p, SCALE_ROWS)
            call_address(rescale, target, stride(out, 2), queries, value_width, factors)
        else:
            call_address(argument(p, ZERO_ROWS), target, stride(out, 2), queries, value_width)
    leave(memory, slot)


@task
def backward(p, chunk, chunks):
    """Do a share of the ranges of keys; GQ is [range, batch, heads, length, width]."""
    q, k, v = argument(p, Q), argument(p, KEY), argument(p, VALUE)
    gk, gv = argument(p, GK), argument(p, GV)
    shared, group, total = size(k, 1), size(q, 1) // size(k, 1), size(k, 2)
    memory, ranges = data(argument(p, SCRATCH)), argument(p, RANGES)
    slot = take(memory)
    at = buffer(memory, slot, argument(p, SCRATCH_SIZE))
    _clear(at, size(q, 2), size(q, 3) + size(v, 3) + 2 * KEYS + 2)
    start, stop = bounds(size(q, 0) * shared * ranges, chunk, chunks, 1)
    for unit in range(start, stop):
        image, own, part = unit // ranges // shared, unit // ranges % shared, unit % ranges
        low = part * argument(p, RANGE)
        high = min(total, low + argument(p, RANGE))
        zero, rows = argument(p, ZERO_ROWS), high - low
        call_address(zero, _start(gk, image, own, low), stride(gk, 2), rows, size(k, 3))
        call_address(zero, _start(gv, image, own, low), stride(gv, 2), rows, size(v, 3))
        for head in range(own * group, (own + 1) * group):
            for top in range(0, size(q, 2), QUERIES):
                _backward_block(p, at, image, head, own, part, top, low, high)
    leave(memory, slot)


@kernel
def _backward_block(p, scratch, image, head, own, part, top, low, high):
    """What a block of queries adds to the gradients of keys `low` to `high`, and they to its."""
    q, k, v, g = argument(p, Q), argument(p, KEY), argument(p, VALUE), argument(p, G)
    out, lse, gq, gk, gv = (
        argument(p, OUT), argument(p, LSE), argument(p, GQ), argument(p, GK), argument(p, GV),
    )  # fmt: skip
    heads, length, width, value_width = size(q, 1), size(q, 2), size(q, 3), size(v, 3)
    queries = min(QUERIES, length - top)
    turned = scratch
    turned_g = turned + ROW_BYTES * width
    s = turned_g + ROW_BYTES * value_width
    ds = s + ROW_BYTES * KEYS
    bases = ds + ROW_BYTES * KEYS
    inner = bases + ROW_BYTES
    spare_k = inner + ROW_BYTES
    wide = (width + PANEL - 1) // PANEL * PANEL
    spare_q = spare_k + 4 * KEYS * wide
    spare_g = spare_q + 4 * QUERIES * wide
    spare_v = spare_g + 4 * QUERIES * ((value_width + PANEL - 1) // PANEL * PANEL)
    target = data(gq) + part * stride(gq, 0) + image * stride(gq, 1)
    target += head * stride(gq, 2) + top * stride(gq, 3)
    call_address(argument(p, ZERO_ROWS), target, stride(gq, 3), queries, width)
    if argument(p, CAUSAL):
        high = min(high, top + queries)
    if low >= high:
        return
    from_q, from_g = _start(q, image, head, top), _start(g, image, head, top)
    transpose = argument(p, TRANSPOSE)
    call_address(transpose, from_q, stride(q, 2), turned, ROW_BYTES, queries, width)
    call_address(transpose, from_g, stride(g, 2), turned_g, ROW_BYTES, queries, value_width)
    call_address(
        argument(p, ROW_DOTS), from_g, stride(g, 2), _start(out, image, head, top), stride(out, 2),
        queries, value_width, data(lse) + 4 * ((image * heads + head) * length + top), bases, inner,
    )  # fmt: skip
    rows_q, step_q = _rows_of(p, from_q, stride(q, 2), width, queries, spare_q, True)
    rows_g, step_g = _rows_of(p, from_g, stride(g, 2), value_width, queries, spare_g, True)
    for first in range(low, high, KEYS):
        keys = min(KEYS, high - first)
        shift = top - first if argument(p, CAUSAL) else EVERYTHING
        from_k, from_v = _start(k, image, own, first), _start(v, image, own, first)
        rows_k, step_k = _rows_of(p, from_k, stride(k, 2), width, keys, spare_k, True)
        rows_v, step_v = _rows_of(p, from_v, stride(v, 2), value_width, keys, spare_v, False)
        factor = _scores(
            p, image, head, top, queries, first, keys, shift, rows_k, step_k, turned, s
        )
        _multiply(
            p, SKIPPED, shift, keys, queries, value_width, rows_v, step_v, 4, turned_g, ROW_BYTES,
            ds, ROW_BYTES, 0,
        )  # fmt: skip
        call_address(
            argument(p, SCORES_GRAD), s, ds, keys, queries, shift, factor, argument(p, SCALE),
            bases, inner,
        )  # fmt: skip
        _multiply(
            p, LATE, shift, keys, value_width, queries, s, ROW_BYTES, 4, rows_g, step_g,
            _start(gv, image, own, first), stride(gv, 2), ACCUMULATE,
        )  # fmt: skip
        _multiply(
            p, LATE, shift, keys, width, queries, ds, ROW_BYTES, 4, rows_q, step_q,
            _start(gk, image, own, first), stride(gk, 2), ACCUMULATE,
        )  # fmt: skip
        _multiply(
            p, SHORT, shift, queries, width, keys, ds, 4, ROW_BYTES, rows_k, step_k, target,
            stride(gq, 3), ACCUMULATE,
        )  # fmt: skip
