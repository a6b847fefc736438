"""The inner step of LU factorisation, as vector IR: one column of a panel is eliminated.

A panel is PANEL columns wide. Of each row below the pivot a multiple of the pivot's row is
subtracted, the multiple is kept where the column was, and the largest element of the next column,
which is the next pivot, is noted on the way.
"""

from __future__ import annotations

from typing import Any

from numba import types

from dyn.kernels.runtime.jit import instance
from dyn.kernels.vector.simd import F32, F64, WORD, Emitter, Value, choose, fma, intrinsic, loop

PANEL = 16
"""Columns of a panel."""


def _eliminator(element: Any) -> Any:
    """The generator of a step for numbers of a type."""

    @intrinsic
    def eliminate(typing: Any, top: Any, pitch: Any, rows: Any, column: Any, found: Any) -> Any:
        """Eliminate a column of the panel whose first row, the pivot's, is at `top`.

        Args:
            top: address of the pivot's row of the panel.
            pitch: bytes from a row to the next.
            rows: how many there are below the pivot's.
            column: which column of the panel.
            found: where to write how many rows below `top` the largest element of the next column
                is; one that is NaN counts as larger than all. If there are no rows it is kept.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            top, pitch, rows, column, found = arguments
            emit = Emitter(builder, element)
            places = [WORD(v * emit.bytes) for v in range(max(PANEL // emit.lanes, 1))]
            following = builder.add(column, WORD(1))
            behind, here = [], []
            for v in range(len(places)):
                before, upto = (
                    emit.mask_below(builder.sub(count, WORD(v * emit.lanes)))
                    for count in (column, following)
                )
                behind.append(~upto)
                here.append(upto & ~before)
            # Zeros where nothing is to be subtracted: a choice between old and new numbers would be
            # made a masked store, which takes some processors long.
            pivots = [
                choose(mask, emit.load(builder.add(top, place)), 0.0)
                for mask, place in zip(behind, places, strict=True)
            ]
            at = builder.mul(column, WORD(emit.size))
            pivot = emit.number_at(builder.add(top, at))

            def body(index: Any, carried: list[Value]) -> list[Value]:
                best, best_at = carried
                row = builder.add(top, builder.mul(index, pitch))
                factor = -(emit.number_at(builder.add(row, at)) / pivot)
                wide = emit.splat(factor)
                for v, place in enumerate(places):
                    old = emit.load(builder.add(row, place))
                    # Not even an infinite factor changes what is before the column.
                    new = fma(choose(behind[v], wide, 0.0), pivots[v], old)
                    emit.store(choose(here[v], wide, new), builder.add(row, place))
                next_at = builder.add(builder.add(row, at), WORD(emit.size))
                size = abs(emit.number_at(next_at))
                more = Value(builder, builder.fcmp_unordered(">", size.value, best.value))
                return [choose(more, size, best), choose(more, best.made(index), best_at)]

            none = Value(builder, element(-1.0)), Value(builder, WORD(0))
            _, best_at = loop(builder, WORD(1), builder.add(rows, WORD(1)), WORD(1), body, none)
            with builder.if_then(builder.icmp_signed(">", rows, WORD(0))):
                builder.store(best_at.value, emit.pointer(found, WORD))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), generate

    return eliminate


def _body(top, pitch, rows, column, found):
    eliminate(top, pitch, rows, column, found)  # type: ignore[name-defined]  # noqa: F821


eliminate_f32, eliminate_f64 = (
    instance(f"eliminate_{name}", _body, eliminate=_eliminator(element))
    for name, element in (("f32", F32), ("f64", F64))
)
