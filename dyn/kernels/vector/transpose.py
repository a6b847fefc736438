"""Transposing blocks of numbers in registers: squares of vectors, shuffled in log2(lanes) stages.

What is transposed, and why, is the caller's affair.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from dyn.kernels.runtime.jit import microkernel
from dyn.kernels.vector.ir import F32, F64, INT32, LANES, Emitter, intrinsic


def _shuffled(emit: Emitter, rows: list[Any]) -> list[Any]:
    """The transpose of a square of vectors, in log2(lanes) stages of shuffles."""
    builder, n = emit.builder, emit.lanes
    lanes = ir.VectorType(INT32, n)
    step = 1
    while step < n:
        low = ir.Constant(lanes, [n + i - step if i & step else i for i in range(n)])
        high = ir.Constant(lanes, [n + i if i & step else i + step for i in range(n)])
        made = list(rows)
        for i in range(n):
            if not i & step:
                made[i] = builder.shuffle_vector(rows[i], rows[i + step], low)
                made[i + step] = builder.shuffle_vector(rows[i], rows[i + step], high)
        rows = made
        step *= 2
    return rows


def _block(element: Any) -> Any:
    """The generator of `block`: transpose at most lanes x lanes numbers."""

    @intrinsic
    def block(
        typing: Any,
        source: Any,
        source_step: Any,
        target: Any,
        target_step: Any,
        rows: Any,
        columns: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, source_step, target, target_step, rows, columns = arguments
            emit = Emitter(builder, element)
            n = emit.lanes

            def move(whole: bool) -> None:
                read = None if whole else emit.mask_below(columns)
                write = None if whole else emit.mask_below(rows)
                last = builder.sub(rows, emit.word(1))
                loaded = []
                for r in range(n):
                    index = emit.word(r)
                    if not whole:
                        inside = builder.icmp_signed("<", index, last)
                        index = builder.select(inside, index, last)
                    loaded.append(
                        emit.load(builder.add(source, builder.mul(index, source_step)), read)
                    )
                for c, vector in enumerate(_shuffled(emit, loaded)):
                    address = builder.add(target, builder.mul(emit.word(c), target_step))
                    if whole:
                        emit.store(vector, address)
                        continue
                    with builder.if_then(builder.icmp_signed("<", emit.word(c), columns)):
                        emit.store(vector, address, write)

            full = builder.and_(
                builder.icmp_signed(">=", rows, emit.word(n)),
                builder.icmp_signed(">=", columns, emit.word(n)),
            )
            with builder.if_else(full) as (yes, no):
                with yes:
                    move(True)
                with no:
                    move(False)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    return block


_block_f32 = _block(F32)
_block_f64 = _block(F64)


@microkernel(6)
def transpose_f32(source, source_step, target, target_step, rows, columns):
    """target[c][r] = source[r][c], float32; steps in bytes between rows and between columns."""
    for r in range(0, rows, LANES):
        for c in range(0, columns, LANES):
            _block_f32(
                source + r * source_step + 4 * c,
                source_step,
                target + c * target_step + 4 * r,
                target_step,
                rows - r,
                columns - c,
            )


@microkernel(6)
def transpose_f64(source, source_step, target, target_step, rows, columns):
    """target[c][r] = source[r][c], float64; steps in bytes between rows and between columns."""
    lanes = max(LANES // 2, 2)
    for r in range(0, rows, lanes):
        for c in range(0, columns, lanes):
            _block_f64(
                source + r * source_step + 8 * c,
                source_step,
                target + c * target_step + 8 * r,
                target_step,
                rows - r,
                columns - c,
            )
