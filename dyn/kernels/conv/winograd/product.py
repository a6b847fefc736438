"""The products between Winograd's transforms: many small matrices times one panel of weights.

A tile kernel without tables, flags or masks: its buffers are made to measure.
"""

from __future__ import annotations

from typing import Any

from numba import types

from dyn.kernels.conv.tile import WIDE
from dyn.kernels.runtime.jit import microkernel
from dyn.kernels.vector.factors import accumulate, paired
from dyn.kernels.vector.simd import F32, LANES, WORD, Emitter, Value, intrinsic, repeat

PANEL = 2 * LANES
"""Output channels of a panel."""
ROWS = WIDE
"""Rows of a product; buffers have room for a whole number of them."""


@intrinsic
def _product(typing: Any, depth: Any, a: Any, a_row: Any, b: Any, c: Any) -> Any:
    """C[ROWS][PANEL] = A[ROWS][depth] B[depth][PANEL], all float32, rows of A a_row bytes apart."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        depth, a, a_row, b, c = arguments
        emit = Emitter(builder, F32)
        starts = [builder.add(a, builder.mul(a_row, WORD(r))) for r in range(0, ROWS, 2)]
        rows = paired(emit, starts, a_row, WORD(emit.size))
        places = len(rows.first)

        def step(carried: list[Value]) -> list[Value]:
            at, b_at, sums = carried[:places], carried[places], carried[places + 1 :]
            panel = [emit.load((b_at + v * emit.bytes).value) for v in range(2)]
            found = accumulate(emit, rows, at, panel, sums)
            return [*rows.following(at), b_at + 2 * emit.bytes, *found]

        first = [*rows.first, Value(builder, b), *[emit.numbers(0)] * (2 * ROWS)]
        sums = repeat(builder, depth, step, first)[places + 1 :]
        for place, vector in enumerate(sums):
            emit.store(vector, builder.add(c, WORD(place * emit.bytes)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


@microkernel(6)
def products(tiles, depth, a, a_row, b, c):
    """C[tiles * ROWS][PANEL] = A[tiles * ROWS][depth] B[depth][PANEL]."""
    for _ in range(tiles):
        _product(depth, a, a_row, b, c)
        a += ROWS * a_row
        c += ROWS * PANEL * 4
