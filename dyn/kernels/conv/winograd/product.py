"""The products between Winograd's transforms: many small matrices times one panel of weights.

Tile kernels without tables, flags or masks: their buffers are made to measure. While one panel is
multiplied, the next is asked for: few tiles would end before it came.
"""

from __future__ import annotations

from typing import Any

from numba import types

from dyn.kernels.conv.tile import WIDE
from dyn.kernels.runtime.jit import kernel, microkernel
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

    C[count][PANEL] = A[count][depth] B[depth][PANEL], all float32, rows of A a_row bytes apart; it
    is added to C where `add` is not 0. In every step it asks for a line of what is read next,
    `ahead_step` bytes after the last.
    """

    @intrinsic
    def tile(
        typing: Any,
        depth: Any,
        a: Any,
        a_row: Any,
        b: Any,
        c: Any,
        ahead: Any,
        ahead_step: Any,
        add: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            depth, a, a_row, b, c, ahead, ahead_step, add = arguments
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
            targets = [builder.add(c, WORD(n * emit.bytes)) for n in range(2 * count)]
            with builder.if_else(builder.icmp_signed("!=", add, WORD(0))) as (yes, no):
                with yes:
                    for at, vector in zip(targets, sums, strict=True):
                        emit.store(vector + emit.load(at), at)
                with no:
                    for at, vector in zip(targets, sums, strict=True):
                        emit.store(vector, at)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), generate

    return tile


_tall, _middle, _low = map(_product, (ROWS, *LOW))


SHARED = 2 * LOW[0]
"""Rows that two middle tiles take in less time than a tall and a low one."""


@kernel
def rows_of(count):
    """Rows of A that `products` reads for `count`: whole tiles, the last ones as low as can be."""
    left = count % ROWS
    whole = count - left
    if left == 0:
        return count
    if whole and left <= SHARED - ROWS:
        return whole - ROWS + SHARED
    if left > LOW[0]:
        return whole + ROWS
    return whole + (LOW[0] if left > LOW[1] else LOW[1])


@microkernel(9)
def products(count, depth, a, a_row, b, c, ahead, ahead_step, add):
    """C[count][PANEL] = A[count][depth] B[depth][PANEL], or added to C where `add` is not 0.

    In every step a line of what lies at `ahead` is asked for, `ahead_step` bytes after the last.
    """
    while count > 0:
        if count > LOW[0] and not ROWS < count <= SHARED:
            rows = ROWS
            _tall(depth, a, a_row, b, c, ahead, ahead_step, add)
        elif count > LOW[1]:
            rows = LOW[0]
            _middle(depth, a, a_row, b, c, ahead, ahead_step, add)
        else:
            rows = LOW[1]
            _low(depth, a, a_row, b, c, ahead, ahead_step, add)
        ahead += ahead_step * depth
        a += rows * a_row
        c += rows * PANEL * 4
        count -= rows
