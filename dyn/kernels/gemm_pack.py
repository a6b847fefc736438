"""Packing for matrix products: what a product is (its words), and copies in the order of the tiles.

A tile reads rows of B, a panel wide, and a few numbers of A at each step of k. Where B's columns
are not contiguous, or B does not fit the cache, its panels are copied one after the other: panel j
holds [k][PANEL_BYTES]. Where A's rows are not contiguous, tile i holds [k][TILE_BYTES]. The loops
that read them are in `gemm_product.py`.
"""

from __future__ import annotations

from typing import Any

from numba import types

from dyn.kernels.gemm_tile import HEIGHTS, VECTORS
from dyn.kernels.jit import call_address, instance, microkernel
from dyn.kernels.lanes import LANES
from dyn.kernels.simd import F32, F64, WORD, Emitter, intrinsic, loop
from dyn.kernels.threads import argument

# Words that describe a product, at the address that the kernels get; steps are in bytes. The first
# WHOLE columns of B are read in place, the others at PACKED_B; A is read at PACKED_A if that is
# not 0.
(
    M, N, K, A, A_ROW, A_STEP, B, B_STEP, B_COLUMN, C, C_ROW, BIAS, FLAGS, ELEMENT, WHOLE,
    PACKED_A, PACKED_B, TALL, MIDDLE, LOW, TRANSPOSE, COPY_A, COPY_B,
) = range(23)  # fmt: skip
WORDS, CODES = 24, 6
"""Number of words; the last CODES are addresses of microkernels for the dtype."""

PANEL_BYTES = VECTORS * LANES * 4
TILE_ROWS = -(-HEIGHTS[0] // LANES) * LANES
"""Numbers of A per step of k in a packed tile; those beyond its rows are zero."""


def _copier(element: Any, count: int) -> Any:
    """The generator of a copy of rows of `count` numbers."""
    vectors = count // LANES

    @intrinsic
    def copy(
        typing: Any, source: Any, step: Any, target: Any, target_step: Any, width: Any, rows: Any
    ) -> Any:
        """Copy `rows` rows of `width` numbers; the rest of `count` is set to zero."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, step, target, target_step, width, rows = arguments
            emit = Emitter(builder, element, LANES)
            masks = [emit.mask_below(builder.sub(width, WORD(v * LANES))) for v in range(vectors)]

            def row(index: Any, carried: list[Any]) -> list[Any]:
                a = builder.add(source, builder.mul(index, step))
                b = builder.add(target, builder.mul(index, target_step))
                for v in range(vectors):
                    shift = WORD(v * LANES * emit.size)
                    emit.store(emit.load(builder.add(a, shift), masks[v]), builder.add(b, shift))
                return carried

            loop(builder, WORD(0), rows, WORD(1), row)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    return copy


def _body(source, step, target, target_step, width, rows):
    copy(  # type: ignore[name-defined]  # noqa: F821
        source, step, target, target_step, width, rows
    )


copy_tile_f32, copy_tile_f64 = (
    instance(f"copy_tile_{name}", _body, copy=_copier(element, TILE_ROWS))
    for name, element in (("f32", F32), ("f64", F64))
)
"""Steps of k of a tile of A."""
copy_panel_f32, copy_panel_f64 = (
    instance(f"copy_panel_{name}", _body, copy=_copier(element, PANEL_BYTES // size))
    for name, element, size in (("f32", F32, 4), ("f64", F64, 8))
)
"""Steps of k of a panel of B."""


@microkernel(3)
def pack_units(p, first, last):
    """Units `first` to `last` of what is packed: the panels of B, then the tiles of A."""
    m, n, k, element = argument(p, M), argument(p, N), argument(p, K), argument(p, ELEMENT)
    panel, height, tile_bytes = PANEL_BYTES // element, HEIGHTS[0], TILE_ROWS * element
    whole = argument(p, WHOLE)
    panels = (n - whole + panel - 1) // panel
    for unit in range(first, last):
        if unit < panels:
            column = whole + unit * panel
            step, neighbour = argument(p, B_STEP), argument(p, B_COLUMN)
            source = argument(p, B) + column * neighbour
            target, target_step = argument(p, PACKED_B) + unit * k * PANEL_BYTES, PANEL_BYTES
            wide, copy = min(panel, n - column), argument(p, COPY_B)
        else:
            row = (unit - panels) * height
            step, neighbour = argument(p, A_STEP), argument(p, A_ROW)
            source = argument(p, A) + row * neighbour
            target, target_step = argument(p, PACKED_A) + row // height * k * tile_bytes, tile_bytes
            wide, copy = min(height, m - row), argument(p, COPY_A)
        if neighbour == element:
            call_address(copy, source, step, target, target_step, wide, k)
        else:
            transpose = argument(p, TRANSPOSE)
            call_address(transpose, source, neighbour, target, target_step, wide, k)
