"""The microkernels of matrix products, emitted as LLVM vector IR.

A tile is a block of C held in registers while the sum over k runs over it: each element of A is
broadcast and multiplied with a row of B, two vectors wide. A is read where it lies, with any
strides, and so is B as long as its rows are contiguous; nothing needs packing to be correct. Loops
over tiles are in `product.py`.

Method: Goto & van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from dyn.kernels.runtime.jit import instance, microkernel
from dyn.kernels.vector.simd import (
    BYTE,
    F32,
    F64,
    LANES,
    WORD,
    Emitter,
    Value,
    choose,
    fma,
    intrinsic,
    opaque,
    repeat,
)
from dyn.kernels.vector.value import branch

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
    last = builder.sub(height, WORD(1))
    starts = []
    for r in range(rows):
        inside = builder.icmp_signed("<", WORD(r), last)
        offset = builder.mul(a_row, builder.select(inside, WORD(r), last))
        starts.append(emit.pointer(builder.add(a, offset), BYTE))
    shifts = []
    for panel in range(panels):
        start = builder.mul(between, WORD(panel)) if panel else WORD(0)
        shifts += [builder.add(start, WORD(v * emit.bytes)) for v in range(VECTORS)]
    sums = _sum(emit, starts, depth, a_step, b, b_step, shifts)
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
) -> list[list[Value]]:  # fmt: skip
    """The loop over k; the sums row by row. `shifts` lead to each vector of B."""
    builder = emit.builder
    rows, vectors = len(starts), len(shifts)

    def step(carried: list[Value]) -> list[Value]:
        offset, b_at, *old = carried
        new = list(old)

        def factor_of(start: Any) -> Value:
            return emit.splat_at(builder.ptrtoint(builder.gep(start, [offset.value]), WORD))

        def row_of_b(shift: Any) -> Value:
            return emit.load(builder.add(b_at.value, shift))

        # The shorter side of the tile is what the registers hold beside the sums.
        if vectors <= rows:
            row = [row_of_b(shift) for shift in shifts]
            for r, start in enumerate(starts):
                factor = factor_of(start)
                for v in range(vectors):
                    new[r * vectors + v] = fma(factor, row[v], old[r * vectors + v])
        else:
            factors = [factor_of(start) for start in starts]
            for v, shift in enumerate(shifts):
                numbers = row_of_b(shift)
                for r in range(rows):
                    new[r * vectors + v] = fma(factors[r], numbers, old[r * vectors + v])
        following = opaque(offset + offset.made(a_step))
        return [following, b_at + b_at.made(b_step), *new]

    first = [Value(builder, WORD(0)), Value(builder, b)]
    first += [emit.numbers(0)] * (rows * vectors)
    _, _, *sums = repeat(builder, depth, step, first)
    return [sums[r * vectors : (r + 1) * vectors] for r in range(rows)]


def _store(
    emit: Emitter,
    sums: list[list[Value]],
    c: Any,
    c_row: Any,
    height: Any,
    width: Any,
    bias: Any,
    flags: Any,
) -> None:
    """Add C or bias, clamp, store: whole vectors where the width allows it, else masked ones."""
    builder, vectors = emit.builder, len(sums[0])

    def has(flag: int) -> Any:
        return builder.icmp_signed("!=", builder.and_(flags, WORD(flag)), WORD(0))

    low = builder.select(has(RELU), emit.element(0.0), emit.element(float("-inf")))
    floor = emit.splat(low)

    def places(address: Any) -> list[Any]:
        return [builder.add(address, WORD(v * emit.bytes)) for v in range(vectors)]

    def zeros() -> list[Value]:
        return [emit.numbers(0)] * vectors

    def store_rows(masks: list[Any]) -> None:
        def loaded(address: Any) -> list[Value]:
            return [emit.load(at, mask) for at, mask in zip(places(address), masks, strict=True)]

        given = builder.icmp_signed("!=", bias, WORD(0))
        shift = branch(builder, given, lambda: loaded(bias), zeros)
        for r, row in enumerate(sums):
            with builder.if_then(builder.icmp_signed(">", height, WORD(r))):
                start = builder.add(c, builder.mul(c_row, WORD(r)))
                held = branch(builder, has(ACCUMULATE), lambda start=start: loaded(start), zeros)
                for v, at in enumerate(places(start)):
                    found = row[v] + held[v] + shift[v]
                    # A comparison with NaN is false, so NaN stays.
                    emit.store(choose(found < floor, floor, found), at, masks[v])

    whole = builder.icmp_signed(">=", width, WORD(vectors * emit.lanes))
    with builder.if_else(whole) as (yes, no):
        with yes:
            store_rows([None] * vectors)
        with no:
            widths = [builder.sub(width, WORD(v * emit.lanes)) for v in range(vectors)]
            store_rows([emit.mask_below(left) for left in widths])


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
