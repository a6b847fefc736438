"""Microkernels that fold float32 numbers: along a row to one result, and down columns side by side.

What is folded (sum, sum of squares, both, largest, smallest, product) is a `Fold`. A group of
vectors is folded in registers first and then joins what is carried along. Sums are carried in
float64, so their error is that of adding GROUP numbers in float32, however long they are. A third
kind of microkernel joins the results of pieces and finishes them: a mean is divided, a norm is a
root. Cutting arrays into pieces is in `folding.py`.

Source of sums in pairs: Higham, The Accuracy of Floating Point Summation, SIAM Journal on
Scientific Computing 14, 1993.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types

from dyn.kernels.runtime.arrays import DATA
from dyn.kernels.runtime.jit import instance, intrinsic
from dyn.kernels.vector.rows import share, word_at
from dyn.kernels.vector.simd import (
    F32,
    F64,
    LANES,
    WORD,
    Emitter,
    Value,
    choose,
    fma,
    loop,
    maximum,
    minimum,
    total,
)
from dyn.kernels.vector.value import branch

GROUP = 8
"""Vectors, or rows of columns, that are folded before they join what is carried."""
FINISH_WORDS = 14
"""Parameters of a microkernel that finishes."""
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
        merge: joins a result of one piece with that of another.
    """

    width: int
    wide: bool
    start: float
    step: Callable[[list[Value], list[Value]], list[Value]]
    join: Callable[[Value], Value]
    merge: Callable[[Value, Value], Value]

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


def _added(a: Value, b: Value) -> Value:
    return a + b


def _multiplied(a: Value, b: Value) -> Value:
    return a * b


FOLDS = {
    "sum": Fold(1, True, 0.0, _sum, total, _added),
    "squares": Fold(1, True, 0.0, _squares, total, _added),
    "moments": Fold(2, True, 0.0, _moments, total, _added),
    "prod": Fold(1, True, 1.0, _product, lambda x: x.folded(_multiplied), _multiplied),
    "max": Fold(1, False, -math.inf, _extreme(_larger), _best(_larger), maximum),
    "min": Fold(1, False, math.inf, _extreme(_smaller), _best(_smaller), minimum),
}


def _spread(results: list[Value], count: Value, degrees: Value) -> Value:
    """The variance of sums of numbers and squares; less than nothing is a rounding."""
    first, second = results
    away = second - first * (first / count)
    return choose(away < 0, 0, away) / degrees


FINISHES: dict[str, tuple[str, Callable[[list[Value], Value, Value], Value]]] = {
    "sum": ("sum", lambda r, a, b: r[0] / a),
    "squares": ("squares", lambda r, a, b: r[0] / a),
    "norm": ("squares", lambda r, a, b: r[0].call("sqrt")),
    "var": ("moments", _spread),
    "std": ("moments", lambda r, a, b: _spread(r, a, b).call("sqrt")),
    "prod": ("prod", lambda r, a, b: r[0]),
    "max": ("max", lambda r, a, b: r[0]),
    "min": ("min", lambda r, a, b: r[0]),
}
"""What is made in float64, where no square vanishes, of a fold's results and two parameters."""


class Piece:
    """What both kinds of microkernel share: vectors of float32 in, vectors of results carried."""

    def __init__(self, builder: Any, fold: Fold):
        self.builder = builder
        self.fold = fold
        self.numbers = Emitter(builder, F32, LANES)
        self.results = Emitter(builder, fold.element, LANES)
        self.single = Emitter(builder, fold.element, 1)

    def parameter(self, word: Any) -> Value:
        """The float64 with the bits of a word, in every lane, as a result."""
        number = Value(self.builder, self.builder.bitcast(word, F64)).to(self.fold.element)
        return self.results.splat(number)

    def plus(self, address: Any, offset: int) -> Any:
        """An address some bytes further on."""
        return self.builder.add(address, WORD(offset))


def _row(fold: Fold) -> Any:
    """The intrinsic `(x, out, count, step)`: folds `count` contiguous numbers.

    The `width` results are written `step` bytes apart.
    """

    @intrinsic
    def run(typing: Any, x: Any, out: Any, count: Any, step: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, out, count, step = arguments
            piece = Piece(builder, fold)
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
                place = builder.add(out, builder.mul(step, WORD(i)))
                piece.single.put_number(fold.join(value), place)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    return run


def _columns(fold: Fold) -> Any:
    """The intrinsic `(x, out, rows, columns, row_step, out_step, more)`.

    Folds `rows` rows, `row_step` bytes apart, of at most COLUMNS contiguous columns into `out`:
    `width` rows of results, `out_step` bytes apart. If `more` is not 0 they go on from what `out`
    holds.
    """

    @intrinsic
    def run(
        typing: Any, x: Any, out: Any, rows: Any, columns: Any, row_step: Any, out_step: Any,
        more: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, out, rows, columns, row_step, out_step, more = arguments
            piece = Piece(builder, fold)
            more = builder.icmp_signed("!=", more, WORD(0))
            whole = builder.icmp_signed("==", columns, WORD(COLUMNS))
            with builder.if_else(whole) as (then, otherwise):
                with then:
                    _down(piece, x, out, rows, row_step, out_step, more, [None] * VECTORS)
                with otherwise:
                    masks = [
                        piece.numbers.mask_below(builder.sub(columns, WORD(v * LANES)))
                        for v in range(VECTORS)
                    ]
                    one = builder.icmp_signed("<=", columns, WORD(LANES))
                    with builder.if_else(one) as (narrow, wide):
                        with narrow:
                            _down(piece, x, out, rows, row_step, out_step, more, masks[:1])
                        with wide:
                            _down(piece, x, out, rows, row_step, out_step, more, masks)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), generate

    return run


def _down(
    piece: Piece, x: Any, out: Any, rows: Any, row_step: Any, out_step: Any, more: Any,
    masks: list[Any],
) -> None:  # fmt: skip
    """Fold rows into the vectors of results in `out`, as many side by side as there are masks."""
    builder, fold, vectors = piece.builder, piece.fold, len(masks)
    places = []
    for i in range(fold.width):
        first = builder.add(out, builder.mul(out_step, WORD(i)))
        places += [piece.plus(first, v * LANES * piece.single.size) for v in range(vectors)]
    begin = piece.results.numbers(fold.start)

    def held_so_far() -> list[Value]:
        return [piece.results.load(at, masks[i % vectors]) for i, at in enumerate(places)]

    held = branch(builder, more, held_so_far, lambda: [begin] * len(places))

    def folding(count: int) -> Any:
        def body(row: Any, carried: list[Value]) -> Sequence[Value]:
            start = builder.add(x, builder.mul(row, row_step))
            starts = [start]
            for _ in range(count - 1):
                starts.append(builder.add(starts[-1], row_step))
            new: list[Any] = [None] * len(carried)
            for v in range(vectors):
                read = [
                    piece.numbers.load(piece.plus(at, v * LANES * 4), masks[v]) for at in starts
                ]
                new[v::vectors] = fold.step(read, carried[v::vectors])
            return new

        return body

    whole = builder.mul(builder.sdiv(rows, WORD(GROUP)), WORD(GROUP))
    found = loop(builder, WORD(0), whole, WORD(GROUP), folding(GROUP), held)
    found = loop(builder, whole, rows, WORD(1), folding(1), found)
    for i, (value, at) in enumerate(zip(found, places, strict=True)):
        piece.results.store(value, at, masks[i % vectors])


def _finish(fold: Fold, finish: Callable[[list[Value], Value, Value], Value]) -> Any:
    """The intrinsic `(args, chunk, chunks)` that joins results of pieces and finishes them.

    Words: `id`s of the results and of out, bytes to skip of both; count, width_step, pieces,
    piece_step, again, again_step, a, b, batch, batch_step. Each of `batch` groups has `count`
    neighbouring places; of each place `again` times `pieces` results are joined, and `finish` makes
    of them and of the float64 numbers a and b what is written. Steps are in bytes.
    """

    @intrinsic
    def run(typing: Any, args: Any, chunk: Any, chunks: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            words = [word_at(builder, arguments[0], k) for k in range(FINISH_WORDS)]
            results, out = (
                builder.add(word_at(builder, words[k], DATA), words[k + 2]) for k in (0, 1)
            )
            count, width_step, pieces, piece_step, again, again_step = words[4:10]
            batch, batch_step = words[12:]
            piece = Piece(builder, fold)
            given = [piece.parameter(word) for word in words[10:12]]
            begin = [piece.results.numbers(fold.start)] * fold.width
            first, stop = share(builder, count, *arguments[1:])
            whole = builder.sdiv(builder.sub(stop, first), WORD(LANES))
            whole = builder.add(first, builder.mul(whole, WORD(LANES)))

            def group(g: Any, _: Any) -> list[Value]:
                start = builder.add(results, builder.mul(g, batch_step))
                target = builder.add(out, builder.mul(builder.mul(g, count), WORD(4)))

                def place(index: Any, _: Any, mask: Any = None) -> list[Value]:
                    here = builder.add(start, builder.mul(index, WORD(piece.single.size)))

                    def outer(q: Any, carried: list[Value]) -> list[Value]:
                        above = builder.add(here, builder.mul(q, again_step))

                        def inner(p: Any, carried: list[Value]) -> list[Value]:
                            at = builder.add(above, builder.mul(p, piece_step))
                            made = []
                            for i, held in enumerate(carried):
                                spot = builder.add(at, builder.mul(width_step, WORD(i)))
                                made.append(fold.merge(held, piece.results.load(spot, mask)))
                            return made

                        return loop(builder, WORD(0), pieces, WORD(1), inner, carried)

                    found = finish(loop(builder, WORD(0), again, WORD(1), outer, begin), *given)
                    spot = builder.add(target, builder.mul(index, WORD(4)))
                    piece.numbers.store(found.to(F32), spot, mask)
                    return []

                loop(builder, first, whole, WORD(LANES), place)
                with builder.if_then(builder.icmp_signed("<", whole, stop)):
                    place(whole, [], piece.numbers.mask_below(builder.sub(stop, whole)))
                return []

            loop(builder, WORD(0), batch, WORD(1), group)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), generate

    return run


def _row_body(x, out, count, step):
    run(x, out, count, step)  # type: ignore[name-defined]  # noqa: F821


def _columns_body(x, out, rows, columns, row_step, out_step, more):
    run(x, out, rows, columns, row_step, out_step, more)  # type: ignore[name-defined]  # noqa: F821


def _finish_body(args, chunk, chunks):
    run(args, chunk, chunks)  # type: ignore[name-defined]  # noqa: F821


ROW = {name: instance(f"row_{name}", _row_body, run=_row(fold)) for name, fold in FOLDS.items()}
COLUMN = {
    name: instance(f"columns_{name}", _columns_body, run=_columns(fold))
    for name, fold in FOLDS.items()
}
FINISH = {
    name: instance(f"finish_{name}", _finish_body, run=_finish(FOLDS[fold], finish))
    for name, (fold, finish) in FINISHES.items()
}
