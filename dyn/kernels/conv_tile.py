"""The microkernels of direct convolution, emitted as LLVM vector IR.

A tile is a block of outputs held in registers while a reduction runs over it. Its rows are wherever
a table says they are, so padding, stride, dilation, groups and memory layout are the caller's
business, and one microkernel serves convolution and both its gradients. Loops over tiles do not
belong here (`conv_bands`, `conv_weight`).

Method: indirect convolution (Dukhan, arXiv 1907.02129), with one table of row offsets for all taps.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from dyn.kernels.conv_ir import BYTE, F32, F64, LANES, WORD, Emitter, intrinsic
from dyn.kernels.jit import microkernel

ACCUMULATE, RELU = 1, 2
"""Bits of a tile's `flags`: add to what C holds; replace negative results by zero."""

WIDE = {16: 14, 8: 6, 4: 6}[LANES]
"""Rows of a tile two vectors wide: accumulators and operands just fit the vector registers."""
NARROW = {16: 14, 8: 10, 4: 10}[LANES]
"""Rows of a tile one vector wide."""


(STEPS, STEP_TABLE, RUN, A_STEP, B_STEP, A, B, C, ROW_TABLE, COUNT, WIDTH, BIAS, FLAGS) = range(13)
"""Words of a tile's job, at the address that the kernel gets."""
JOB_WORDS = 16


def _tile(element: ir.Type, rows: int, columns: int, lanewise: bool = False) -> Any:
    """The generator of one tile kernel, `columns` vectors wide.

    C[r, :] = sum over t < STEPS, i < RUN of
                  A[A + row_table[r].a + step_table[t].a + i * A_STEP]
                * B[B + step_table[t].b + i * B_STEP, :]       (+ C) (+ bias) (relu)

    An element of A meets a vector of B; with `lanewise` A is a vector too and `columns` is 1.
    The tables hold pairs of byte offsets: (A, B) per step, (A, C) per row; steps are in bytes.
    COUNT rows and WIDTH elements of each are stored; STEPS, RUN and COUNT are at least 1. BIAS is
    an address or 0, and is not looked at when accumulating.
    """

    @intrinsic
    def tile(typing: Any, job: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            emit = Emitter(builder, element)
            job = [
                emit.load_word(builder.add(arguments[0], emit.word(8 * i)))
                for i in range(FLAGS + 1)
            ]
            a_rows, c_rows = _row_pointers(emit, rows, job)
            sums = _reduce(emit, a_rows, columns, lanewise, job)
            _finish(emit, sums, c_rows, job)
            return context.get_dummy_value()

        return types.void(types.int64), generate

    return tile


def _row_pointers(emit: Emitter, rows: int, job: list[Any]) -> tuple[list[Any], list[Any]]:
    """Where each row of A and of C starts; rows beyond COUNT read what the last one reads."""
    builder = emit.builder
    last = builder.sub(job[COUNT], emit.word(1))
    a_rows, c_rows = [], []
    for r in range(rows):
        inside = builder.icmp_signed("<", emit.word(r), last)
        index = builder.select(inside, emit.word(r), last)
        entry = builder.add(job[ROW_TABLE], builder.shl(index, emit.word(4)))
        a_rows.append(emit.pointer(builder.add(job[A], emit.load_word(entry)), BYTE))
        c_rows.append(builder.add(job[C], emit.load_word(builder.add(entry, emit.word(8)))))
    return a_rows, c_rows


def _reduce(
    emit: Emitter, a_rows: list[Any], columns: int, lanewise: bool, job: list[Any]
) -> list[list[Any]]:
    """The two loops of the reduction; returns the accumulators, one list per row."""
    builder = emit.builder
    grid = [(r, v) for r in range(len(a_rows)) for v in range(columns)]
    end_of_table = builder.add(job[STEP_TABLE], builder.shl(job[STEPS], emit.word(4)))
    before = builder.block
    outer, inner, after, done = (
        builder.append_basic_block(n) for n in ("step", "run", "next", "done")
    )
    builder.branch(outer)

    builder.position_at_end(outer)
    entry = builder.phi(WORD)
    outer_sums = {at: builder.phi(emit.vector) for at in grid}
    a_start = emit.load_word(entry)
    b_start = builder.add(job[B], emit.load_word(builder.add(entry, emit.word(8))))
    builder.branch(inner)

    builder.position_at_end(inner)
    left, offset, b_at = builder.phi(WORD), builder.phi(WORD), builder.phi(WORD)
    inner_sums = {at: builder.phi(emit.vector) for at in grid}
    b_vectors = [emit.load(builder.add(b_at, emit.word(v * emit.bytes))) for v in range(columns)]
    sums = {}
    for r, row in enumerate(a_rows):
        address = builder.ptrtoint(builder.gep(row, [offset]), WORD)
        factor = emit.load(address) if lanewise else emit.splat_at(address)
        for v in range(columns):
            sums[r, v] = emit.fma(factor, b_vectors[v], inner_sums[r, v])
    less = builder.sub(left, emit.word(1))
    left.add_incoming(job[RUN], outer)
    left.add_incoming(less, inner)
    offset.add_incoming(a_start, outer)
    # Opaque, or LLVM would keep one moving pointer per row and run out of registers.
    offset.add_incoming(emit.opaque(builder.add(offset, job[A_STEP])), inner)
    b_at.add_incoming(b_start, outer)
    b_at.add_incoming(builder.add(b_at, job[B_STEP]), inner)
    for at in grid:
        inner_sums[at].add_incoming(outer_sums[at], outer)
        inner_sums[at].add_incoming(sums[at], inner)
        outer_sums[at].add_incoming(emit.zero, before)
        outer_sums[at].add_incoming(sums[at], after)
    builder.cbranch(builder.icmp_signed(">", less, emit.word(0)), inner, after)

    builder.position_at_end(after)
    following = builder.add(entry, emit.word(16))
    entry.add_incoming(job[STEP_TABLE], before)
    entry.add_incoming(following, after)
    builder.cbranch(builder.icmp_unsigned("<", following, end_of_table), outer, done)
    builder.position_at_end(done)
    return [[sums[r, v] for v in range(columns)] for r in range(len(a_rows))]


def _finish(emit: Emitter, sums: list[list[Any]], c_rows: list[Any], job: list[Any]) -> None:
    """Add C and bias, clamp, store: whole vectors where the width allows it, else masked ones."""
    builder = emit.builder
    columns = len(sums[0])
    accumulate = emit.has_bit(job[FLAGS], ACCUMULATE)
    floor = emit.splat(
        builder.select(emit.has_bit(job[FLAGS], RELU), emit.number(0.0), emit.number(float("-inf")))
    )

    def store_rows(masks: list[Any]) -> None:
        def biases() -> list[Any]:
            return [
                emit.load(builder.add(job[BIAS], emit.word(v * emit.bytes)), masks[v])
                for v in range(columns)
            ]

        shift = emit.choose(emit.is_nonzero(job[BIAS]), biases, [emit.zero] * columns)
        for r, row in enumerate(c_rows):
            with builder.if_then(builder.icmp_signed(">", job[COUNT], emit.word(r))):
                at = [builder.add(row, emit.word(v * emit.bytes)) for v in range(columns)]

                def stored(at: list[Any] = at) -> list[Any]:
                    return [emit.load(at[v], masks[v]) for v in range(columns)]

                old = emit.choose(accumulate, stored, shift)
                for v in range(columns):
                    total = builder.fadd(sums[r][v], old[v])
                    # A comparison with NaN is false, so NaN stays.
                    below = builder.fcmp_ordered("<", total, floor)
                    emit.store(builder.select(below, floor, total), at[v], masks[v])

    whole = builder.icmp_signed(">=", job[WIDTH], emit.word(columns * emit.lanes))
    with builder.if_else(whole) as (yes, no):
        with yes:
            store_rows([None] * columns)
        with no:
            store_rows(
                [
                    emit.mask_below(builder.sub(job[WIDTH], emit.word(v * emit.lanes)))
                    for v in range(columns)
                ]
            )


_wide_f32 = _tile(F32, WIDE, 2)
_narrow_f32 = _tile(F32, NARROW, 1)
_lanes_f32 = _tile(F32, NARROW, 1, lanewise=True)
_wide_f64 = _tile(F64, WIDE, 2)
_narrow_f64 = _tile(F64, NARROW, 1)
_lanes_f64 = _tile(F64, NARROW, 1, lanewise=True)


@microkernel(1)
def wide_f32(job):
    """float32, WIDE rows, two vectors wide."""
    _wide_f32(job)


@microkernel(1)
def narrow_f32(job):
    """float32, NARROW rows, one vector wide."""
    _narrow_f32(job)


@microkernel(1)
def lanes_f32(job):
    """float32, NARROW rows, one vector wide, channel by channel (depthwise)."""
    _lanes_f32(job)


@microkernel(1)
def wide_f64(job):
    """float64, WIDE rows, two vectors wide."""
    _wide_f64(job)


@microkernel(1)
def narrow_f64(job):
    """float64, NARROW rows, one vector wide."""
    _narrow_f64(job)


@microkernel(1)
def lanes_f64(job):
    """float64, NARROW rows, one vector wide, channel by channel (depthwise)."""
    _lanes_f64(job)
