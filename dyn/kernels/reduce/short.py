"""Microkernels that fold short rows of float32, as many at a time as a vector has lanes.

Squares of neighbouring rows are turned in registers, so that every lane folds a row of its own:
nothing is folded across a vector, which costs more than a short row itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba import types

from dyn.kernels.reduce.fold import FOLDS, Fold, Piece
from dyn.kernels.runtime.jit import instance, intrinsic
from dyn.kernels.vector.simd import LANES, WORD, Value, loop, transpose
from dyn.kernels.vector.value import branch

SHORT = 255 if LANES == 16 else 120
"""Elements up to which rows are short; the broader a vector, the longer it takes to fold it."""


def _rows(fold: Fold) -> Any:
    """The intrinsic `(x, out, rows, count, step)`: folds rows of `count` contiguous numbers.

    `rows` is a multiple of LANES. Results of the rows lie side by side, and the `width` of them
    `step` bytes apart.
    """

    @intrinsic
    def run(typing: Any, x: Any, out: Any, rows: Any, count: Any, step: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, out, rows, count, step = arguments
            piece = Piece(builder, fold)
            below = builder.mul(count, WORD(4))
            whole = builder.mul(builder.sdiv(count, WORD(LANES)), WORD(LANES))
            left = builder.sub(count, whole)
            begin = [piece.results.numbers(fold.start)] * fold.width
            nothing = piece.numbers.numbers(fold.start)

            def some(row: Any, _: Any) -> Sequence[Value]:
                starts = [builder.add(x, builder.mul(row, below))]
                for _ in range(LANES - 1):
                    starts.append(builder.add(starts[-1], below))

                def columns(index: Any, mask: Any) -> list[Value]:
                    """Vectors of one number of each row, from `index` on."""
                    at = builder.mul(index, WORD(4))
                    lines = [piece.numbers.load(builder.add(s, at), mask) for s in starts]
                    return transpose(lines)

                def square(index: Any, carried: list[Value]) -> Sequence[Value]:
                    return fold.step(columns(index, None), carried)

                def rest() -> list[Value]:
                    found = columns(whole, piece.numbers.mask_below(left))
                    given = []
                    for k, column in enumerate(found):
                        inside = builder.icmp_signed("<", WORD(k), left)
                        given.append(
                            column.made(builder.select(inside, column.value, nothing.value))
                        )
                    return fold.step(given, made)

                made = loop(builder, WORD(0), whole, WORD(LANES), square, begin)
                more = builder.icmp_signed(">", left, WORD(0))
                made = branch(builder, more, rest, lambda: made)
                place = builder.add(out, builder.mul(row, WORD(piece.single.size)))
                for value in made:
                    piece.results.store(value, place)
                    place = builder.add(place, step)
                return []

            loop(builder, WORD(0), rows, WORD(LANES), some)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), generate

    return run


def _body(x, out, rows, count, step):
    run(x, out, rows, count, step)  # type: ignore[name-defined]  # noqa: F821


SHORT_ROWS = {
    name: instance(f"short_rows_{name}", _body, run=_rows(fold)) for name, fold in FOLDS.items()
}
