"""Kernels over the rows of matrices: how one is written in vector code, how rows are shared out.

A row kernel says what to do with one row; what it reads stays in the first-level cache from pass to
pass. Rows are cut into chunks by their number and length alone. What a kernel sums over rows goes
into a partial result per chunk, which the caller adds up.

    def _double(row):
        row.scan(lambda at, carried, mask: row.store(row.load(0, at, mask) * 2, 1, at, mask) or [])

    double = row_kernel("double", F32, _double)
    double.run(rows, count, (x, step), (out, step))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import types

from dyn.kernels.runtime import drive
from dyn.kernels.runtime.arrays import DATA
from dyn.kernels.runtime.jit import instance
from dyn.kernels.vector.simd import F64, WORD, Emitter, Value, choose, fma, intrinsic, loop, total
from dyn.kernels.vector.value import branch

GRAIN = 16384
"""Elements worth a chunk."""
FAR = 8.0
"""How many variances the square of a distance from the mean is that costs too many digits."""


class Row:
    """One row, while the kernel is written: numbered arrays, of which each has a row here.

    Attributes:
        emit: writes vectors of the kernel's element type.
        count: elements of the row, an LLVM integer.
        sums: address of this chunk's partial result.
    """

    def __init__(self, emit: Emitter, count: Any, params: Any, sums: Any, at: list[Any]):
        self.emit = emit
        self.count = count
        self.params = params
        self.sums = sums
        self.at = at

    def address(self, array: int, offset: Any) -> Any:
        """Where an array's row has the byte `offset`."""
        return self.emit.builder.add(self.at[array], offset)

    def load(self, array: int, offset: Any, mask: Any = None) -> Value:
        """A vector of an array's row."""
        return self.emit.load(self.address(array, offset), mask)

    def store(self, value: Value, array: int, offset: Any, mask: Any = None) -> None:
        """Store a vector into an array's row."""
        self.emit.store(value, self.address(array, offset), mask)

    def number(self, array: int, place: int = 0) -> Value:
        """One of the numbers of an array that has but a few per row."""
        return self.emit.number_at(self.address(array, WORD(place * self.emit.size)))

    def put(self, number: Value, array: int, place: int = 0) -> None:
        """Write one of the numbers of an array that has but a few per row."""
        self.emit.put_number(number, self.address(array, WORD(place * self.emit.size)))

    def length(self) -> Value:
        """The number of elements, as a number of the element type."""
        builder = self.emit.builder
        return Value(builder, builder.sitofp(self.count, self.emit.element))

    def word(self, place: int) -> Any:
        """An integer parameter."""
        return word_at(self.emit.builder, self.params, place)

    def parameter(self, place: int) -> Value:
        """A float64 parameter, as a number of the element type."""
        builder = self.emit.builder
        return Value(builder, builder.bitcast(self.word(place), F64)).to(self.emit.element)

    def shared(self, place: int, offset: Any, mask: Any = None) -> Value:
        """A vector of the array that all rows share, whose `id` is parameter `place`."""
        start = word_at(self.emit.builder, self.word(place), DATA)
        return self.emit.load(self.emit.builder.add(start, offset), mask)

    def add(self, value: Value, offset: Any, mask: Any = None) -> None:
        """Add a vector to this chunk's partial result at the byte `offset`."""
        at = self.emit.builder.add(self.sums, offset)
        self.emit.store(self.emit.load(at, mask) + value, at, mask)

    def zero(self) -> Value:
        """A vector of zeros."""
        return self.emit.numbers(0.0)

    def moments(self, array: int) -> list[Value]:
        """Mean and variance of an array's row, which is not empty, as single numbers.

        They come from the sums around the first number. Where that is far from the mean, the
        variance is the difference of two large numbers, and the row is read again around the mean
        (Chan, Golub & LeVeque, Algorithms for Computing the Sample Variance, 1983).
        """
        n = self.length()

        def around(middle: Value) -> list[Value]:
            base = self.emit.splat(middle)

            def gather(at: Any, sums: list[Value], mask: Any) -> list[Value]:
                d = self.load(array, at, mask) - base
                return [sums[0] + d, fma(d, d, sums[1])]

            plain, squares = self.scan(gather, [self.zero(), self.zero()])
            away = total(*plain) / n
            variance = total(*squares) / n - away * away
            far = away * away > variance * FAR
            return [middle + away, choose(variance < 0, 0, variance), far]

        mean, variance, far = around(self.number(array))
        return branch(
            self.emit.builder, far.value, lambda: around(mean)[:2], lambda: [mean, variance]
        )

    def scan(
        self, step: Callable[..., Any], carried: Sequence[Value] = (), unroll: int = 4
    ) -> list[list[Value]]:
        """`Emitter.row` over this row."""
        return self.emit.row(self.count, step, carried, unroll)


def _body(args, chunk, chunks):
    emitted(args, chunk, chunks)  # type: ignore[name-defined]  # noqa: F821


ARRAYS = 6
ROWS, COUNT, PARAMS, SUMS, SUMS_STEP, FIRST = range(6)
"""Words of a task: sizes; `id`s of the parameters and partial results, with the bytes of one; from
FIRST on `id` and step of each array."""
NOTHING = np.zeros(1, np.int64)
"""Stands for arrays that a kernel does not have."""
_MISSING = [(id(NOTHING), 0) * (ARRAYS - count) for count in range(ARRAYS + 1)]


def _emitted(element: Any, write: Callable[[Row], None]) -> Any:
    """An intrinsic that does the rows of a chunk."""

    @intrinsic
    def emitted(typing: Any, args: Any, chunk: Any, chunks: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            args, chunk, _ = arguments
            emit = Emitter(builder, element)
            start, stop = share(builder, word_at(builder, args, ROWS), *arguments[1:])
            params = word_at(builder, word_at(builder, args, PARAMS), DATA)
            sums = word_at(builder, word_at(builder, args, SUMS), DATA)
            part = builder.mul(chunk, word_at(builder, args, SUMS_STEP))
            count, sums = word_at(builder, args, COUNT), builder.add(sums, part)
            places = range(FIRST, FIRST + 2 * ARRAYS, 2)
            starts = [word_at(builder, word_at(builder, args, k), DATA) for k in places]
            steps = [word_at(builder, args, k + 1) for k in places]

            def turn(index: Any, carried: Any) -> Any:
                at = [
                    builder.add(first, builder.mul(index, step))
                    for first, step in zip(starts, steps, strict=True)
                ]
                write(Row(emit, count, params, sums, at))
                return []

            loop(builder, start, stop, WORD(1), turn)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), generate

    return emitted


def word_at(builder: Any, address: Any, place: int) -> Any:
    """The integer number `place` of those at an address."""
    at = builder.add(address, WORD(8 * place))
    return builder.load(builder.inttoptr(at, WORD.as_pointer()))


def share(builder: Any, units: Any, chunk: Any, chunks: Any) -> tuple[Any, Any]:
    """Start and stop of a chunk of `units`."""
    after = builder.add(chunk, WORD(1))
    return tuple(builder.sdiv(builder.mul(units, k), chunks) for k in (chunk, after))  # type: ignore


def emitted_task(name: str, emitted: Any) -> Any:
    """A task out of an intrinsic `(args, chunk, chunks)`, under a name of its own."""
    return instance(name, _body, emitted=emitted)


class RowKernel:
    """A kernel over rows; compiled when it is first run."""

    def __init__(self, name: str, element: Any, write: Callable[[Row], None]):
        self.code = emitted_task(name, _emitted(element, write))

    def run(
        self,
        rows: int,
        count: int,
        *arrays: tuple[np.ndarray, int],
        params: np.ndarray = NOTHING,
        sums: np.ndarray | None = None,
    ) -> None:
        """Do all rows.

        Args:
            rows, count: number of rows, and elements of each.
            arrays: the numbered arrays with the bytes from row to row.
            params: what `Row.word` and `Row.parameter` read, int64.
            sums: [chunks(rows, count), ...] zeros, one partial result per chunk.
        """
        if not rows:
            return
        words = [word for array, step in arrays for word in (id(array), step)]
        words += _MISSING[len(arrays)]
        drive.run(
            self.code,
            chunks(rows, count) if sums is None else len(sums),
            rows,
            count,
            id(params),
            id(NOTHING if sums is None else sums),
            0 if sums is None else sums.strides[0],
            *words,
        )


def chunks(rows: int, count: int, most: int = 64) -> int:
    """Into how many chunks rows are cut; a function of the sizes alone."""
    return max(1, min(most, rows, rows * count // GRAIN))
