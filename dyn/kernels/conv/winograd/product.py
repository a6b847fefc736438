"""The products between Winograd's transforms: many small matrices times one panel of weights.

Tile kernels without tables, flags or masks: their buffers are made to measure. While one panel is
multiplied, the next is asked for: few tiles would end before it came.
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


LOW = {16: (8, 4), 8: (4, 2), 4: (4, 2)}[LANES]
"""Rows of the lower tiles, which take what is left."""


def _product(count: int) -> Any:
    """The generator of a tile of so many rows.

    C[count][PANEL] = A[count][depth] B[depth][PANEL], all float32, rows of A a_row bytes apart. In
    every step it asks for a line of the weights that come next, `ahead_step` bytes after the last.
    """

    @intrinsic
    def tile(
        typing: Any, depth: Any, a: Any, a_row: Any, b: Any, c: Any, ahead: Any, ahead_step: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            depth, a, a_row, b, c, ahead, ahead_step = arguments
            emit = Emitter(builder, F32)
            starts = [builder.add(a, builder.mul(a_row, WORD(r))) for r in range(0, count, 2)]
            rows = paired(emit, starts, a_row, WORD(emit.size))
            places = len(rows.first)

            def step(carried: list[Value]) -> list[Value]:
                at, sums = carried[:places], carried[places + 2 :]
                b_at, line = carried[places : places + 2]
                emit.fetch(line.value)
                panel = [emit.load((b_at + v * emit.bytes).value) for v in range(2)]
                found = accumulate(emit, rows, at, panel, sums)
                next_line = line + line.made(ahead_step)
                return [*rows.following(at), b_at + 2 * emit.bytes, next_line, *found]

            zeros = [emit.numbers(0)] * (2 * count)
            first = [*rows.first, Value(builder, b), Value(builder, ahead), *zeros]
            sums = repeat(builder, depth, step, first)[places + 2 :]
            for place, vector in enumerate(sums):
                emit.store(vector, builder.add(c, WORD(place * emit.bytes)))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), generate

    return tile


_tall, _middle, _low = map(_product, (ROWS, *LOW))


@microkernel(7)
def products(count, depth, a, a_row, b, c, ahead):
    """C[count][PANEL] = A[count][depth] B[depth][PANEL]; the weights at `ahead` come next."""
    tiles = (count + ROWS - 1) // ROWS
    share = PANEL * 4 // tiles
    while count > 0:
        if count > LOW[0]:
            _tall(depth, a, a_row, b, c, ahead, share)
        elif count > LOW[1]:
            _middle(depth, a, a_row, b, c, ahead, share)
        else:
            _low(depth, a, a_row, b, c, ahead, share)
        ahead += share * depth
        a += ROWS * a_row
        c += ROWS * PANEL * 4
        count -= ROWS
