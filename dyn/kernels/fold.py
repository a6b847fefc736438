"""Microkernels that fold float32 numbers: along a row to one result, and down columns side by side.

What is folded (sum, sum of squares, both, largest, smallest, product) is a `Fold`; sums are carried
in float64, so they are right to the last digit of a float32 however long they are. The microkernels
work on one piece; cutting arrays into pieces and putting results together is in `reduce.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
from numba import types

from dyn.kernels.jit import Microkernel, intrinsic, microkernel
from dyn.kernels.simd import (
    F32,
    F64,
    LANES,
    WORD,
    Emitter,
    Value,
    largest,
    loop,
    maximum,
    minimum,
    smallest,
    total,
)

COLUMNS = 4 * LANES
"""Columns that are folded side by side in registers."""


class Fold(NamedTuple):
    """A way to fold numbers.

    Attributes:
        width: how many results there are (a sum and a sum of squares are two).
        wide: whether they are carried in float64.
        start: what every result starts with.
        step: `step(x, results) -> results` for a vector of float32.
        join: brings vectors of one result to a number.
    """

    width: int
    wide: bool
    start: float
    step: Callable[[Value, list[Value]], list[Value]]
    join: Callable[..., Value]

    @property
    def element(self) -> Any:
        """LLVM's type of a result."""
        return F64 if self.wide else F32

    @property
    def dtype(self) -> np.dtype:
        """numpy's dtype of a result."""
        return np.dtype(np.float64 if self.wide else np.float32)


def _product(*vectors: Value) -> Value:
    found = vectors[0]
    for vector in vectors[1:]:
        found = found * vector
    return found.folded(lambda a, b: a * b)


def _moments(x: Value, sums: list[Value]) -> list[Value]:
    wide = x.to(F64)
    return [sums[0] + wide, sums[1] + wide * wide]


def _squares(x: Value, sums: list[Value]) -> list[Value]:
    wide = x.to(F64)
    return [sums[0] + wide * wide]


FOLDS = {
    "sum": Fold(1, True, 0.0, lambda x, r: [r[0] + x.to(F64)], total),
    "squares": Fold(1, True, 0.0, _squares, total),
    "moments": Fold(2, True, 0.0, _moments, total),
    "prod": Fold(1, True, 1.0, lambda x, r: [r[0] * x.to(F64)], _product),
    "max": Fold(1, False, -math.inf, lambda x, r: [maximum(x, r[0])], largest),
    "min": Fold(1, False, math.inf, lambda x, r: [minimum(x, r[0])], smallest),
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
        return self.builder.add(address, WORD(offset))


def _row(fold: Fold) -> Any:
    """The intrinsic `(x, out, count)`: folds `count` contiguous numbers and writes the results."""

    @intrinsic
    def run(typing: Any, x: Any, out: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, out, count = arguments
            piece = _Piece(builder, fold)

            def step(offset: Any, carried: list[Value], mask: Any) -> Sequence[Value]:
                return fold.step(piece.numbers.load(builder.add(x, offset), mask), carried)

            start = [piece.results.numbers(fold.start)] * fold.width
            for i, chains in enumerate(piece.numbers.row(count, step, start)):
                piece.single.put_number(fold.join(*chains), piece.plus(out, i * piece.single.size))
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
                    _down(piece, x, out, rows, row_step, out_step, [None] * 4)
                with otherwise:
                    masks = [
                        piece.numbers.mask_below(builder.sub(columns, WORD(i * LANES)))
                        for i in range(4)
                    ]
                    _down(piece, x, out, rows, row_step, out_step, masks)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    return run


def _down(
    piece: _Piece, x: Any, out: Any, rows: Any, row_step: Any, out_step: Any, masks: list[Any]
) -> None:
    """Fold rows into the four vectors of results that `out` holds, for each result."""
    builder, fold = piece.builder, piece.fold
    places = [
        builder.add(
            builder.add(out, builder.mul(out_step, WORD(i))), WORD(v * LANES * piece.single.size)
        )
        for i in range(fold.width)
        for v in range(4)
    ]
    held = [piece.results.load(at, masks[i % 4]) for i, at in enumerate(places)]

    def body(row: Any, carried: list[Value]) -> Sequence[Value]:
        start = builder.add(x, builder.mul(row, row_step))
        new: list[Any] = [None] * len(carried)
        for v in range(4):
            numbers = piece.numbers.load(piece.plus(start, v * LANES * 4), masks[v])
            new[v::4] = fold.step(numbers, carried[v::4])
        return new

    found = loop(builder, WORD(0), rows, WORD(1), body, held)
    for i, (value, at) in enumerate(zip(found, places, strict=True)):
        piece.results.store(value, at, masks[i % 4])


def _row_body(x, out, count):
    run(x, out, count)  # type: ignore[name-defined]  # noqa: F821


def _columns_body(x, out, rows, columns, row_step, out_step):
    run(x, out, rows, columns, row_step, out_step)  # type: ignore[name-defined]  # noqa: F821


def _made(name: str, body: Any, emitted: Any) -> Microkernel:
    """A microkernel whose code is kept on disk under `name`; see `pointwise.formula_kernel`."""
    function = FunctionType(body.__code__, {"__name__": __name__, "run": emitted}, name)
    function.__module__, function.__qualname__ = __name__, name
    return microkernel(body.__code__.co_argcount)(function)


ROW = {name: _made(f"row_{name}", _row_body, _row(fold)) for name, fold in FOLDS.items()}
COLUMN = {
    name: _made(f"columns_{name}", _columns_body, _columns(fold)) for name, fold in FOLDS.items()
}
