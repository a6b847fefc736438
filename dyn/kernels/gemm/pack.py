"""Packing for matrix products: what a product is (its words), and copies in the order of the tiles.

A tile reads rows of B, a panel wide, and a few numbers of A at each step of k. Where B's columns
are not contiguous, or B does not fit the cache, its panels are copied one after the other: panel j
holds [k][PANEL_BYTES]. Where A's rows are not contiguous, tile i holds [k][TILE_ROWS]; where they
are, but begin so far apart that they meet in one set of the cache, it holds them one after the
other. They are read row by row, as they lie, and all written at once. The loops that read the
copies are in `product.py`.
"""

from __future__ import annotations

from typing import Any

from numba import types

from dyn.kernels.gemm.tile import TILE_ROWS, VECTORS
from dyn.kernels.runtime.bytes import clear_bytes
from dyn.kernels.runtime.jit import call_address, instance, kernel, microkernel
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.simd import F32, F64, WORD, Emitter, Value, intrinsic, loop

# Words that describe a product, at the address that the kernels get; steps are in bytes. The first
# WHOLE columns of B are read in place, the others at PACKED_B, where they are before the product
# begins or, if OWN, are brought block by block. Tiles of A are brought to PACKED_A unless it is 0.
(
    M, N, K, A, A_ROW, A_STEP, B, B_STEP, B_COLUMN, C, C_ROW, BIAS, FLAGS, ELEMENT, WHOLE,
    PACKED_A, PACKED_B, OWN, TALL, MIDDLE, LOW, COLUMN, NARROW, PACK, TRANSPOSE, COPY_A, COPY_B,
) = (*range(23), *range(26, 30))  # fmt: skip
WORDS, CODES = 30, 12
"""Number of words; the last CODES are addresses of microkernels for the dtype. From NARROW on there
are tiles of one vector, in the order of the others."""

TOGETHER = 8
"""Steps of k that are copied at a time."""

PANEL_BYTES = VECTORS * LANES * 4
LINE = 64
"""Bytes of a line of the cache."""


def _copier(element: Any, count: int) -> Any:
    """The generator of a copy of rows, cut into units of `count` numbers."""
    vectors = count // LANES

    @intrinsic
    def copy(
        typing: Any, source: Any, step: Any, target: Any, target_step: Any, between: Any,
        width: Any, rows: Any,
    ) -> Any:  # fmt: skip
        """Copy `rows` rows of `width` numbers; unit i goes to `target + i * between`.

        What the last unit lacks is zeros.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, step, target, target_step, between, width, rows = arguments
            emit = Emitter(builder, element, LANES)

            def block(height: int, first: Any) -> None:
                """Some rows, unit by unit: each is read from end to end, as is foreseen."""
                a = builder.add(source, builder.mul(first, step))
                b = builder.add(target, builder.mul(first, target_step))

                def unit(column: Any, carried: list[Any]) -> list[Any]:
                    (to,) = carried
                    start = builder.add(a, builder.mul(column, WORD(emit.size)))
                    left = builder.sub(width, column)
                    with builder.if_else(builder.icmp_signed(">=", left, WORD(count))) as way:
                        for branch, whole in zip(way, (True, False), strict=True):
                            with branch:
                                _copy_unit(emit, start, step, to, target_step, left, height, whole)
                    return [Value(builder, builder.add(to.value, between))]

                loop(builder, WORD(0), width, WORD(count), unit, [Value(builder, b)])

            def turn(height: int) -> Any:
                def body(first: Any, carried: list[Any]) -> list[Any]:
                    block(height, first)
                    return carried

                return body

            most = builder.and_(rows, WORD(-TOGETHER))
            loop(builder, WORD(0), most, WORD(TOGETHER), turn(TOGETHER))
            loop(builder, most, rows, WORD(1), turn(1))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), generate

    def _copy_unit(
        emit: Emitter, a: Any, step: Any, b: Any, b_step: Any, left: Any, height: int, whole: bool
    ) -> None:
        builder, masks = emit.builder, [None] * vectors
        if not whole:
            masks = [emit.mask_below(builder.sub(left, WORD(v * LANES))) for v in range(vectors)]
        at, to = a, b.value
        for _ in range(height):
            for v in range(vectors):
                shift = WORD(v * LANES * emit.size)
                emit.store(emit.load(builder.add(at, shift), masks[v]), builder.add(to, shift))
            at, to = builder.add(at, step), builder.add(to, b_step)

    return copy


def _body(source, step, target, target_step, between, width, rows):
    copy(  # type: ignore[name-defined]  # noqa: F821
        source, step, target, target_step, between, width, rows
    )


copy_tile_f32, copy_tile_f64 = (
    instance(f"copy_tile_{name}", _body, copy=_copier(element, TILE_ROWS))
    for name, element in (("f32", F32), ("f64", F64))
)
"""Steps of k of tiles of A."""
copy_panel_f32, copy_panel_f64 = (
    instance(f"copy_panel_{name}", _body, copy=_copier(element, PANEL_BYTES // size))
    for name, element, size in (("f32", F32, 4), ("f64", F64, 8))
)
"""Steps of k of panels of B."""


@kernel(forceinline=True)
def pitch(k):
    """Steps of k from a unit to the next: were it a power of two, all would meet in few lines."""
    return k | TOGETHER


@microkernel(7)
def pack_panels(p, first, last, start, depth, target, between):
    """Copy steps `start` to `start + depth` of some columns of B; `between`: bytes from panel to
    panel."""
    step, neighbour, element = argument(p, B_STEP), argument(p, B_COLUMN), argument(p, ELEMENT)
    source, width = argument(p, B) + start * step + first * neighbour, last - first
    if neighbour == element:
        copy = argument(p, COPY_B)
        call_address(copy, source, step, target, PANEL_BYTES, between, width, depth)
        return
    transpose, unit, column = argument(p, TRANSPOSE), PANEL_BYTES // element, 0
    while column < width:
        wide = min(unit, width - column)
        if wide < unit:  # what is left over in memory may be denormal, which is slow to multiply
            clear_bytes(target, depth * PANEL_BYTES)
        call_address(
            transpose, source + column * neighbour, neighbour, target, PANEL_BYTES, wide, depth
        )
        target += between
        column += unit


@kernel(forceinline=True)
def row_pitch(width):
    """Bytes from one row of a tile to the next, for rows of `width` bytes: all its whole units, and
    a line more, without which rows would meet in few sets of the cache."""
    return (width | (TILE_ROWS * 8 - 1)) + 1 + LINE


@kernel
def pack_tile(p, first, rows, start, depth, target):
    """Copy steps `start` to `start + depth` of some rows of A, of which either the rows are
    neighbours, or the steps."""
    row, step, element = argument(p, A_ROW), argument(p, A_STEP), argument(p, ELEMENT)
    source, wide = argument(p, A) + first * row + start * step, TILE_ROWS * element
    if step == element:
        apart = row_pitch(depth * element)
        call_address(argument(p, COPY_A), source, row, target, apart, wide, depth, rows)
    else:
        call_address(argument(p, COPY_A), source, step, target, wide, 0, rows, depth)
