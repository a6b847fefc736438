"""Transposing matrices of numbers by squares of vectors, which are shuffled in registers.

What is transposed, and why, is up to the caller.
"""

from __future__ import annotations

from typing import Any

from numba import types

from dyn.kernels.runtime.jit import microkernel
from dyn.kernels.vector.simd import F32, F64, LANES, WORD, Emitter, intrinsic, transpose


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

            def move(whole: bool) -> None:
                read = None if whole else emit.mask_below(columns)
                write = None if whole else emit.mask_below(rows)
                last = builder.sub(rows, WORD(1))
                loaded = []
                for r in range(emit.lanes):
                    index = WORD(r)
                    if not whole:
                        inside = builder.icmp_signed("<", index, last)
                        index = builder.select(inside, index, last)
                    at = builder.add(source, builder.mul(index, source_step))
                    loaded.append(emit.load(at, read))
                for c, vector in enumerate(transpose(loaded)):
                    address = builder.add(target, builder.mul(WORD(c), target_step))
                    if whole:
                        emit.store(vector, address)
                        continue
                    with builder.if_then(builder.icmp_signed("<", WORD(c), columns)):
                        emit.store(vector, address, write)

            full = builder.and_(
                builder.icmp_signed(">=", rows, WORD(emit.lanes)),
                builder.icmp_signed(">=", columns, WORD(emit.lanes)),
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
