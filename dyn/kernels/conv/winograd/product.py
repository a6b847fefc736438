"""The products between Winograd's transforms: many small matrices times one panel of weights.

A tile kernel without tables, flags or masks: its buffers are made to measure.
"""

from __future__ import annotations

from typing import Any

from numba import types

from dyn.kernels.conv.tile import WIDE
from dyn.kernels.runtime.jit import microkernel
from dyn.kernels.vector.ir import BYTE, F32, WORD, Emitter, intrinsic
from dyn.kernels.vector.lanes import LANES

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
        rows = [
            emit.pointer(builder.add(a, builder.mul(a_row, emit.word(r))), BYTE)
            for r in range(ROWS)
        ]
        grid = [(r, v) for r in range(ROWS) for v in range(2)]
        before = builder.block
        loop, done = builder.append_basic_block("loop"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        left, offset, b_at = (builder.phi(WORD) for _ in range(3))
        old = {at: builder.phi(emit.vector) for at in grid}
        factors = [emit.load(builder.add(b_at, emit.word(v * emit.bytes))) for v in range(2)]
        new = {}
        for r, row in enumerate(rows):
            number = emit.splat_at(builder.ptrtoint(builder.gep(row, [offset]), WORD))
            for v in range(2):
                new[r, v] = emit.fma(number, factors[v], old[r, v])
        less = builder.sub(left, emit.word(1))
        for phi, start, following in (
            (left, depth, less),
            (offset, emit.word(0), emit.opaque(builder.add(offset, emit.word(emit.size)))),
            (b_at, b, builder.add(b_at, emit.word(2 * emit.bytes))),
        ):
            phi.add_incoming(start, before)
            phi.add_incoming(following, loop)
        for at in grid:
            old[at].add_incoming(emit.zero, before)
            old[at].add_incoming(new[at], loop)
        builder.cbranch(builder.icmp_signed(">", less, emit.word(0)), loop, done)
        builder.position_at_end(done)
        for r, v in grid:
            emit.store(new[r, v], builder.add(c, emit.word((2 * r + v) * emit.bytes)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


@microkernel(6)
def products(tiles, depth, a, a_row, b, c):
    """C[tiles * ROWS][PANEL] = A[tiles * ROWS][depth] B[depth][PANEL]."""
    for _ in range(tiles):
        _product(depth, a, a_row, b, c)
        a += ROWS * a_row
        c += ROWS * PANEL * 4
