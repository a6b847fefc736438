"""The microkernels of matrix products, emitted as LLVM vector IR.

A tile is a block of C held in registers while the sum over k runs over it: each element of A is
broadcast and multiplied with a row of B, two vectors wide. A is read where it lies, with any
strides, and so is B as long as its rows are contiguous; nothing needs packing to be correct. Loops
over tiles are in `product.py`.

Method: Goto & van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from dyn.kernels.runtime.jit import instance, kernel, microkernel
from dyn.kernels.vector.factors import Rows, accumulate, adjacent, paired, scattered
from dyn.kernels.vector.simd import (
    BYTE,
    F32,
    F64,
    LANES,
    WORD,
    Emitter,
    Value,
    fma,
    intrinsic,
    repeat,
)
from dyn.kernels.vector.sums import store_sums

HEIGHTS = {16: (14, 8, 4), 8: (6, 4, 2), 4: (6, 4, 2)}[LANES]
"""Rows of the tiles there are: the tallest fills the vector registers, the others take the rest."""
VECTORS = 2
EDGES = LANES > 4
"""Whether loads can leave out lanes at no cost: a row of B may then end within a vector."""
TILE_ROWS = -(-HEIGHTS[0] // LANES) * LANES
"""Numbers of A per step of k in a packed tile; those beyond its rows are zero."""
WIDE = 3
"""Panels of the widest tile: with them a few rows have sums enough to keep the units busy."""


def _clamped(emit: Emitter, count: int, a: Any, a_row: Any, a_step: Any, height: Any) -> Rows:
    """Rows of which `height` are there; those beyond read what the last one reads."""
    builder = emit.builder
    last = builder.sub(height, WORD(1))
    starts = []
    for r in range(count):
        inside = builder.icmp_signed("<", WORD(r), last)
        offset = builder.mul(a_row, builder.select(inside, WORD(r), last))
        starts.append(emit.pointer(builder.add(a, offset), BYTE))
    return scattered(emit, starts, WORD(0), a_step)


def _whole(emit: Emitter, count: int, a: Any, a_row: Any, a_step: Any) -> Rows:
    """Rows that are all there."""
    builder = emit.builder
    starts = [builder.add(a, builder.mul(a_row, WORD(r))) for r in range(0, count, 2)]
    return paired(emit, starts, a_row, a_step)


def _tile(element: ir.Type, count: int, kind: str, vectors: int) -> Any:
    """The generator of one tile kernel of `count` rows of so many vectors.

    C[r, :] = sum over i < depth of A[a + r * a_row + i * a_step] * B[b + i * b_step, :]
              (+ C) (+ bias) (relu)

    Steps are in bytes; depth is at least 1. `height` rows, at most the tile's, and `width` columns
    are stored. `bias` is an address or 0; flags are those of `store_sums`.

    Kinds: a "whole" tile has all its rows. Of a "clamped" one those beyond `height` read what the
    last one reads. The numbers of a "column" are neighbours, and it has all of them, or is packed
    with TILE_ROWS to a step; a_row is not looked at. A tile of one vector takes the columns that
    are left: with EDGES it reads `width` numbers of a row of B, and else a whole vector.
    """

    @intrinsic
    def tile(
        typing: Any, depth: Any, a: Any, a_row: Any, a_step: Any, b: Any, b_step: Any, c: Any,
        c_row: Any, height: Any, width: Any, bias: Any, flags: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            depth, a, a_row, a_step, b, b_step, c, c_row, height, width, bias, flags = arguments
            emit = Emitter(builder, element)
            rows = {
                "whole": lambda: _whole(emit, count, a, a_row, a_step),
                "clamped": lambda: _clamped(emit, count, a, a_row, a_step, height),
                "column": lambda: adjacent(emit, count, a, a_step),
            }[kind]()
            shifts = [WORD(v * emit.bytes) for v in range(vectors)]
            mask = emit.mask_below(width) if EDGES and vectors < VECTORS else None
            sums = _sum(emit, rows, depth, b, b_step, shifts, mask)
            store_sums(emit, sums, _row_of(emit, c, c_row), height, width, bias, flags)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 12), generate

    return tile


@intrinsic
def _wide_tile(
    typing: Any, between: Any, depth: Any, a: Any, a_row: Any, a_step: Any, b: Any, b_step: Any,
    c: Any, c_row: Any, height: Any, width: Any, bias: Any, flags: Any,
) -> Any:  # fmt: skip
    """What a clamped tile does for few rows and several panels of B, `between` bytes apart."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        between, depth, a, a_row, a_step, b, b_step, c, c_row, height, *rest = arguments
        emit = Emitter(builder, F32)
        rows = _clamped(emit, HEIGHTS[2], a, a_row, a_step, height)
        shifts = []
        for panel in range(WIDE):
            start = builder.mul(between, WORD(panel))
            shifts += [builder.add(start, WORD(v * emit.bytes)) for v in range(VECTORS)]
        sums = _sum(emit, rows, depth, b, b_step, shifts)
        store_sums(emit, sums, _row_of(emit, c, c_row), height, *rest)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 13), generate


def _sum(
    emit: Emitter,
    rows: Rows,
    depth: Any,
    b: Any,
    b_step: Any,
    shifts: list[Any],
    mask: Any = None,
) -> list[list[Value]]:
    """The loop over k; the sums row by row. `shifts` lead to each vector of B."""
    builder, vectors = emit.builder, len(shifts)
    taken = rows.count * vectors

    def step(carried: list[Value]) -> list[Value]:
        places, b_at, sums = carried[: -1 - taken], carried[-1 - taken], carried[-taken:]

        def row_of_b(shift: Any) -> Value:
            return emit.load(builder.add(b_at.value, shift), mask)

        # The shorter side of the tile is what the registers hold beside the sums.
        if vectors <= rows.count:
            sums = accumulate(emit, rows, places, [row_of_b(shift) for shift in shifts], sums)
        else:
            factors = [emit.splat_at(rows.address(places, r)) for r in range(rows.count)]
            for v, shift in enumerate(shifts):
                numbers = row_of_b(shift)
                for r in range(rows.count):
                    place = r * vectors + v
                    sums[place] = fma(factors[r], numbers, sums[place])
        return [*rows.following(places), b_at + b_at.made(b_step), *sums]

    first = [*rows.first, Value(builder, b), *[emit.numbers(0)] * taken]
    sums = repeat(builder, depth, step, first)[-taken:]
    return [sums[r * vectors : (r + 1) * vectors] for r in range(rows.count)]


def _row_of(emit: Emitter, c: Any, c_row: Any) -> Callable[[int], Any]:
    """Emits the address of a row of C."""
    builder = emit.builder
    return lambda r: builder.add(c, builder.mul(c_row, WORD(r)))


def _body(depth, a, a_row, a_step, b, b_step, c, c_row, height, width, bias, flags):
    tile(  # type: ignore[name-defined]  # noqa: F821
        depth, a, a_row, a_step, b, b_step, c, c_row, height, width, bias, flags
    )


_KINDS = (
    ("tall", HEIGHTS[0], "whole"),
    ("middle", HEIGHTS[1], "clamped"),
    ("low", HEIGHTS[2], "clamped"),
    ("column", HEIGHTS[0], "column"),
)


def _tiles(dtype: str, element: ir.Type, prefix: str, vectors: int) -> list[Any]:
    return [
        instance(f"{prefix}{name}_{dtype}", _body, tile=_tile(element, count, kind, vectors))
        for name, count, kind in _KINDS
    ]


tall_f32, middle_f32, low_f32, column_f32 = TILES_F32 = _tiles("f32", F32, "", VECTORS)
tall_f64, middle_f64, low_f64, column_f64 = TILES_F64 = _tiles("f64", F64, "", VECTORS)
NARROW_F32, NARROW_F64 = _tiles("f32", F32, "narrow_", 1), _tiles("f64", F64, "narrow_", 1)
"""The same tiles, one vector wide."""


@microkernel(13)
def wide_f32(between, depth, a, a_row, a_step, b, b_step, c, c_row, height, width, bias, flags):
    """A tile as low as the lowest and WIDE panels wide."""
    _wide_tile(between, depth, a, a_row, a_step, b, b_step, c, c_row, height, width, bias, flags)


@kernel(forceinline=True)
def tile_for(left, tall, middle, low):
    """(which, rows) of the tile that takes the next of `left` rows; tall is whole.

    Rows that would fill most of a tall tile, or a little more than one, take two lower ones.
    """
    halves = HEIGHTS[0] < left <= 2 * HEIGHTS[1]
    if left >= HEIGHTS[0] and not halves:
        return tall, HEIGHTS[0]
    if left > HEIGHTS[2]:
        return middle, min(left, HEIGHTS[1])
    return low, left
