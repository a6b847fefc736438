"""The microkernels of matrix products, emitted as LLVM vector IR.

A tile is a block of C held in registers while the sum over k runs over it: each element of A is
broadcast and multiplied with a row of B, two vectors wide. A is read where it lies, with any
strides, and so is B as long as its rows are contiguous; nothing needs packing to be correct. Loops
over tiles are in `gemm.py`.

Method: Goto & van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from dyn.kernels.runtime.jit import instance, microkernel
from dyn.kernels.vector.ir import BYTE, F32, F64, WORD, Emitter, intrinsic
from dyn.kernels.vector.lanes import LANES

ACCUMULATE, RELU = 1, 2
"""Bits of a tile's flags: add to what C holds; replace negative results by zero."""

HEIGHTS = {16: (14, 8, 4), 8: (6, 4, 2), 4: (6, 4, 2)}[LANES]
"""Rows of the tiles there are: the tallest fills the vector registers, the others take the rest."""
HEIGHTS_OF = dict(zip(("tall", "middle", "low"), HEIGHTS, strict=True))
VECTORS = 2
WIDE = 3
"""Panels of the widest tile: with them a few rows have sums enough to keep the units busy."""


def _write(
    builder: Any, element: ir.Type, rows: int, panels: int, between: Any, arguments: Any
) -> None:
    """A tile of `rows` rows and `panels` panels, of which B's lie `between` bytes apart."""
    depth, a, a_row, a_step, b, b_step, c, c_row, height, width, bias, flags = arguments
    emit = Emitter(builder, element)
    last = builder.sub(height, emit.word(1))
    offsets = []
    for r in range(rows):
        inside = builder.icmp_signed("<", emit.word(r), last)
        offsets.append(builder.mul(a_row, builder.select(inside, emit.word(r), last)))
    shifts = []
    for panel in range(panels):
        start = builder.mul(between, emit.word(panel)) if panel else emit.word(0)
        shifts += [builder.add(start, emit.word(v * emit.bytes)) for v in range(VECTORS)]
    sums = _sum(emit, [builder.add(a, o) for o in offsets], depth, a_step, b, b_step, shifts)
    _store(emit, sums, c, c_row, height, width, bias, flags)


def _tile(element: ir.Type, rows: int) -> Any:
    """The generator of one tile kernel.

    C[r, :] = sum over i < depth of A[a + r * a_row + i * a_step] * B[b + i * b_step, :]
              (+ C) (+ bias) (relu)

    Steps are in bytes; depth is at least 1. `height` rows, at most the tile's, and `width` columns
    are stored; rows beyond read what the last one reads. `bias` is an address or 0.
    """

    @intrinsic
    def tile(
        typing: Any,
        depth: Any,
        a: Any,
        a_row: Any,
        a_step: Any,
        b: Any,
        b_step: Any,
        c: Any,
        c_row: Any,
        height: Any,
        width: Any,
        bias: Any,
        flags: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _write(builder, element, rows, 1, None, arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 12), generate

    return tile


@intrinsic
def _wide_tile(
    typing: Any, between: Any, depth: Any, a: Any, a_row: Any, a_step: Any, b: Any, b_step: Any,
    c: Any, c_row: Any, height: Any, width: Any, bias: Any, flags: Any,
) -> Any:  # fmt: skip
    """What `_tile` does for few rows and several packed panels of B, `between` bytes apart."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        between, *rest = arguments
        _write(builder, F32, HEIGHTS[2], WIDE, between, rest)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 13), generate


def _sum(
    emit: Emitter, starts: list[Any], depth: Any, a_step: Any, b: Any, b_step: Any,
    shifts: list[Any],
) -> Any:  # fmt: skip
    """The loop over k; the accumulators by (row, vector). `shifts` lead to each vector of B."""
    builder = emit.builder
    grid = [(r, v) for r in range(len(starts)) for v in range(len(shifts))]
    pointers = [emit.pointer(start, BYTE) for start in starts]
    before = builder.block
    loop, done = (builder.append_basic_block(name) for name in ("k", "done"))
    builder.branch(loop)
    builder.position_at_end(loop)
    left, offset, b_at = (builder.phi(WORD) for _ in range(3))
    old = {at: builder.phi(emit.vector) for at in grid}
    new = {}

    def factor_of(pointer: Any) -> Any:
        return emit.splat_at(builder.ptrtoint(builder.gep(pointer, [offset]), WORD))

    # The shorter side of the tile is what the registers hold beside the sums.
    if len(shifts) <= len(starts):
        row_of_b = [emit.load(builder.add(b_at, shift)) for shift in shifts]
        for r, pointer in enumerate(pointers):
            factor = factor_of(pointer)
            for v, numbers in enumerate(row_of_b):
                new[r, v] = emit.fma(factor, numbers, old[r, v])
    else:
        factors = [factor_of(pointer) for pointer in pointers]
        for v, shift in enumerate(shifts):
            numbers = emit.load(builder.add(b_at, shift))
            for r, factor in enumerate(factors):
                new[r, v] = emit.fma(factor, numbers, old[r, v])
    less = builder.sub(left, emit.word(1))
    left.add_incoming(depth, before)
    left.add_incoming(less, loop)
    offset.add_incoming(emit.word(0), before)
    # Opaque, or LLVM would keep one moving pointer per row and run out of registers.
    offset.add_incoming(emit.opaque(builder.add(offset, a_step)), loop)
    b_at.add_incoming(b, before)
    b_at.add_incoming(builder.add(b_at, b_step), loop)
    for at in grid:
        old[at].add_incoming(emit.zero, before)
        old[at].add_incoming(new[at], loop)
    builder.cbranch(builder.icmp_signed(">", less, emit.word(0)), loop, done)
    builder.position_at_end(done)
    return new


def _store(
    emit: Emitter,
    sums: Any,
    c: Any,
    c_row: Any,
    height: Any,
    width: Any,
    bias: Any,
    flags: Any,
) -> None:
    """Add C or bias, clamp, store: whole vectors where the width allows it, else masked ones."""
    builder = emit.builder
    rows, vectors = (1 + max(at) for at in zip(*sums, strict=True))
    accumulate = emit.has_bit(flags, ACCUMULATE)
    floor = emit.splat(
        builder.select(emit.has_bit(flags, RELU), emit.number(0.0), emit.number(float("-inf")))
    )

    def store_rows(masks: list[Any]) -> None:
        def biases() -> list[Any]:
            return [
                emit.load(builder.add(bias, emit.word(v * emit.bytes)), masks[v])
                for v in range(vectors)
            ]

        shift = emit.choose(emit.is_nonzero(bias), biases, [emit.zero] * vectors)
        for r in range(rows):
            with builder.if_then(builder.icmp_signed(">", height, emit.word(r))):
                row = builder.add(c, builder.mul(c_row, emit.word(r)))
                at = [builder.add(row, emit.word(v * emit.bytes)) for v in range(vectors)]

                def stored(at: list[Any] = at) -> list[Any]:
                    return [emit.load(at[v], masks[v]) for v in range(vectors)]

                old = emit.choose(accumulate, stored, [emit.zero] * vectors)
                for v in range(vectors):
                    total = builder.fadd(builder.fadd(sums[r, v], old[v]), shift[v])
                    # A comparison with NaN is false, so NaN stays.
                    below = builder.fcmp_ordered("<", total, floor)
                    emit.store(builder.select(below, floor, total), at[v], masks[v])

    whole = builder.icmp_signed(">=", width, emit.word(vectors * emit.lanes))
    with builder.if_else(whole) as (yes, no):
        with yes:
            store_rows([None] * vectors)
        with no:
            store_rows(
                [
                    emit.mask_below(builder.sub(width, emit.word(v * emit.lanes)))
                    for v in range(vectors)
                ]
            )


def _body(depth, a, a_row, a_step, b, b_step, c, c_row, height, width, bias, flags):
    tile(  # type: ignore[name-defined]  # noqa: F821
        depth, a, a_row, a_step, b, b_step, c, c_row, height, width, bias, flags
    )


tall_f32, middle_f32, low_f32 = (
    instance(f"{name}_f32", _body, tile=_tile(F32, rows)) for name, rows in HEIGHTS_OF.items()
)
tall_f64, middle_f64, low_f64 = (
    instance(f"{name}_f64", _body, tile=_tile(F64, rows)) for name, rows in HEIGHTS_OF.items()
)


@microkernel(13)
def wide_f32(between, depth, a, a_row, a_step, b, b_step, c, c_row, height, width, bias, flags):
    """A tile as low as the lowest and WIDE panels wide."""
    _wide_tile(between, depth, a, a_row, a_step, b, b_step, c, c_row, height, width, bias, flags)
