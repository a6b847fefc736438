"""Microkernels that fold float32 numbers: along a row to one result, and down columns side by side.

What is folded (sum, sum of squares, both, largest, smallest, product) is a `Fold`. A group of
vectors is folded in registers first and then joins what is carried along. Sums are carried in
float64, so their error is that of adding GROUP numbers in float32, however long they are. The
microkernels work on one piece; cutting arrays into pieces and putting results together is in
`folding.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types

from dyn.kernels.jit import instance, intrinsic
from dyn.kernels.simd import F32, F64, LANES, WORD, Emitter, Value, choose, fma, loop, total

GROUP = 8
"""Vectors, or rows of columns, that are folded before they join what is carried."""
VECTORS = 4
COLUMNS = VECTORS * LANES
"""Columns that are folded side by side in registers."""


class Fold(NamedTuple):
    """A way to fold numbers.

    Attributes:
        width: how many results there are (a sum and a sum of squares are two).
        wide: whether they are carried in float64.
        start: what every result starts with.
        step: `step(vectors, results) -> results` for a group of vectors of float32.
        join: brings a vector of one result to a number.
    """

    width: int
    wide: bool
    start: float
    step: Callable[[list[Value], list[Value]], list[Value]]
    join: Callable[[Value], Value]

    @property
    def element(self) -> Any:
        """LLVM's type of a result."""
        return F64 if self.wide else F32

    @property
    def dtype(self) -> np.dtype:
        """numpy's dtype of a result."""
        return np.dtype(np.float64 if self.wide else np.float32)


def _paired(values: list[Value], combine: Callable[[Value, Value], Value]) -> Value:
    """Vectors combined two by two, so that rounding errors do not pile up."""
    while len(values) > 1:
        pairs = [combine(a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[2 * len(pairs) :]
    return values[0]


def _sum(vectors: list[Value], carried: list[Value]) -> list[Value]:
    return [carried[0] + _paired(vectors, lambda a, b: a + b).to(F64)]


def _squares(vectors: list[Value], carried: list[Value]) -> list[Value]:
    pairs = list(zip(vectors[::2], vectors[1::2], strict=False))
    squares = [fma(a, a, b * b) for a, b in pairs] or [vectors[0] * vectors[0]]
    return [carried[0] + _paired(squares, lambda a, b: a + b).to(F64)]


def _moments(vectors: list[Value], carried: list[Value]) -> list[Value]:
    # A variance is a small difference of these two: nothing may be lost in float32.
    wide = [x.to(F64) for x in vectors]
    squares = [x * x for x in wide]
    return [
        total + _paired(values, lambda a, b: a + b)
        for total, values in zip(carried, (wide, squares), strict=True)
    ]


def _product(vectors: list[Value], carried: list[Value]) -> list[Value]:
    return [carried[0] * _paired([x.to(F64) for x in vectors], lambda a, b: a * b)]


def _extreme(better: Callable[[Value, Value], Value]) -> Any:
    """The step of a largest or smallest number."""

    def step(vectors: list[Value], carried: list[Value]) -> list[Value]:
        values = [*vectors, carried[0]]
        best = _paired(values, lambda a, b: choose(better(a, b), a, b))
        # NaN compares false and would get lost: the result is NaN wherever one occurs.
        nan = _paired([x != x for x in values], lambda a, b: a | b)
        return [choose(nan, math.nan, best)]

    return step


def _best(better: Callable[[Value, Value], Value]) -> Any:
    """The join of a largest or smallest number."""
    return lambda x: x.folded(lambda a, b: choose(better(a, b) | (a != a), a, b))


def _larger(a: Value, b: Value) -> Value:
    return a > b


def _smaller(a: Value, b: Value) -> Value:
    return a < b


FOLDS = {
    "sum": Fold(1, True, 0.0, _sum, total),
    "squares": Fold(1, True, 0.0, _squares, total),
    "moments": Fold(2, True, 0.0, _moments, total),
    "prod": Fold(1, True, 1.0, _product, lambda x: x.folded(lambda a, b: a * b)),
    "max": Fold(1, False, -math.inf, _extreme(_larger), _best(_larger)),
    "min": Fold(1, False, math.inf, _extreme(_smaller), _best(_smaller)),
}


class _Piece:
    """What both kinds of microkernel share: vectors of float32 in, vectors of results carried."""

    def __init__(self, builder: Any, fold: Fold):
        self.builder = builder
        self.fold = fold
        self.numbers = Emitter(builder, F32, LANES)
        self.results = Emitter(builder, fold.element, LANES)
        self.single = Emitter(builder, fold.element, 1)

    def plus(self, address: Any, offset: int) -> Any:
        """An address some bytes further on."""
        return self.builder.add(address, WORD(offset))


def _row(fold: Fold) -> Any:
    """The intrinsic `(x, out, count)`: folds `count` contiguous numbers and writes the results."""

    @intrinsic
    def run(typing: Any, x: Any, out: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, out, count = arguments
            piece = _Piece(builder, fold)
            turn = GROUP * LANES
            whole = builder.mul(builder.sdiv(count, WORD(turn)), WORD(turn))

            def at(index: Any) -> Any:
                return builder.add(x, builder.mul(index, WORD(4)))

            def several(index: Any, carried: list[Value]) -> Sequence[Value]:
                start = at(index)
                vectors = [
                    piece.numbers.load(piece.plus(start, 4 * LANES * v)) for v in range(GROUP)
                ]
                return fold.step(vectors, carried)

            def rest(index: Any, carried: list[Value]) -> Sequence[Value]:
                mask = piece.numbers.mask_below(builder.sub(count, index))
                new = fold.step([piece.numbers.load(at(index), mask)], carried)
                return [choose(mask, a, b) for a, b in zip(new, carried, strict=True)]

            start = [piece.results.numbers(fold.start)] * fold.width
            found = loop(builder, WORD(0), whole, WORD(turn), several, start)
            found = loop(builder, whole, count, WORD(LANES), rest, found)
            for i, value in enumerate(found):
                piece.single.put_number(fold.join(value), piece.plus(out, i * piece.single.size))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), generate

    return run


def _columns(fold: Fold) -> Any:
    """The intrinsic `(x, out, rows, columns, row_step, out_step)`.

    Folds `rows` rows, `row_step` bytes apart, of at most COLUMNS contiguous columns into `out`,
    which holds the results so far: `width` rows of them, `out_step` bytes apart.
    """

    @intrinsic
    def run(
        typing: Any, x: Any, out: Any, rows: Any, columns: Any, row_step: Any, out_step: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, out, rows, columns, row_step, out_step = arguments
            piece = _Piece(builder, fold)
            whole = builder.icmp_signed("==", columns, WORD(COLUMNS))
            with builder.if_else(whole) as (then, otherwise):
                with then:
                    _down(piece, x, out, rows, row_step, out_step, [None] * VECTORS)
                with otherwise:
                    masks = [
                        piece.numbers.mask_below(builder.sub(columns, WORD(v * LANES)))
                        for v in range(VECTORS)
                    ]
                    _down(piece, x, out, rows, row_step, out_step, masks)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    return run


def _down(
    piece: _Piece, x: Any, out: Any, rows: Any, row_step: Any, out_step: Any, masks: list[Any]
) -> None:
    """Fold rows into the vectors of results that `out` holds."""
    builder, fold = piece.builder, piece.fold
    places = []
    for i in range(fold.width):
        first = builder.add(out, builder.mul(out_step, WORD(i)))
        places += [piece.plus(first, v * LANES * piece.single.size) for v in range(VECTORS)]
    held = [piece.results.load(at, masks[i % VECTORS]) for i, at in enumerate(places)]

    def folding(count: int) -> Any:
        def body(row: Any, carried: list[Value]) -> Sequence[Value]:
            start = builder.add(x, builder.mul(row, row_step))
            starts = [start]
            for _ in range(count - 1):
                starts.append(builder.add(starts[-1], row_step))
            new: list[Any] = [None] * len(carried)
            for v in range(VECTORS):
                vectors = [
                    piece.numbers.load(piece.plus(at, v * LANES * 4), masks[v]) for at in starts
                ]
                new[v::VECTORS] = fold.step(vectors, carried[v::VECTORS])
            return new

        return body

    whole = builder.mul(builder.sdiv(rows, WORD(GROUP)), WORD(GROUP))
    found = loop(builder, WORD(0), whole, WORD(GROUP), folding(GROUP), held)
    found = loop(builder, whole, rows, WORD(1), folding(1), found)
    for i, (value, at) in enumerate(zip(found, places, strict=True)):
        piece.results.store(value, at, masks[i % VECTORS])


def _row_body(x, out, count):
    run(x, out, count)  # type: ignore[name-defined]  # noqa: F821


def _columns_body(x, out, rows, columns, row_step, out_step):
    run(x, out, rows, columns, row_step, out_step)  # type: ignore[name-defined]  # noqa: F821


ROW = {name: instance(f"row_{name}", _row_body, run=_row(fold)) for name, fold in FOLDS.items()}
COLUMN = {
    name: instance(f"columns_{name}", _columns_body, run=_columns(fold))
    for name, fold in FOLDS.items()
}
