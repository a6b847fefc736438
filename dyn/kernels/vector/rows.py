"""Kernels over the rows of matrices: how one is written in vector code, how rows are shared out.

A row kernel says what to do with one row; what it reads stays in the first-level cache from pass to
pass. Rows are cut into chunks by their number and length alone. What a kernel sums over rows goes
into a partial result per chunk, which the caller adds up.

    def _double(row):
        row.scan(lambda at, carried, mask: row.store(row.load(0, at, mask) * 2, 1, at, mask) or [])

    double = RowKernel("double", F32, _double, arrays=2)
    double.plan(rows, count, (step, step))(x, out)

A plan depends on sizes alone and is worth remembering.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numba import types

from dyn.kernels.runtime import drive
from dyn.kernels.runtime.arrays import DATA
from dyn.kernels.runtime.jit import instance
from dyn.kernels.runtime.memory import FAR
from dyn.kernels.vector.simd import F64, WORD, Emitter, Value, choose, fma, intrinsic, loop, total
from dyn.kernels.vector.value import branch

GRAIN = 16384
"""Elements worth a chunk."""
AWAY = 8.0
"""How many variances the square of a distance from the mean is that costs too many digits."""


class Row:
    """One row, while the kernel is written: numbered arrays, of which each has a row here.

    Attributes:
        emit: writes vectors of the kernel's element type.
        count: elements of the row, an LLVM integer.
        sums: address of this chunk's partial result.
        far: whether whole arrays of rows are more than a cache keeps, an LLVM truth value.
    """

    def __init__(self, emit: Emitter, count: Any, params: Any, sums: Any, far: Any, at: list[Any]):
        self.emit = emit
        self.count = count
        self.params = params
        self.sums = sums
        self.far = far
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

    def finish(self, value: Value, array: int, offset: Any, mask: Any = None) -> None:
        """Store a vector of a result, which this row does not read again."""
        builder = self.emit.builder
        shift = builder.and_(self.at[array], WORD(self.emit.bytes - 1))
        aside = builder.and_(self.far, builder.icmp_signed("==", shift, WORD(0)))
        self.emit.store(value, self.address(array, offset), mask, aside)

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
            far = away * away > variance * AWAY
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


def _emitted(element: Any, write: Callable[[Row], None], arrays: int, sums: bool) -> Any:
    """An intrinsic that does the rows of a chunk.

    Words: `id`s of the arrays and of the partial results, if there are some; number and length of
    rows, bytes from row to row of each array and from one partial result to the next, parameters.
    """
    given = arrays + sums
    rows, count, steps, params = given, given + 1, given + 2, given + 2 + given

    @intrinsic
    def emitted(typing: Any, args: Any, chunk: Any, chunks: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            args, chunk, _ = arguments
            emit = Emitter(builder, element)
            start, stop = share(builder, word_at(builder, args, rows), *arguments[1:])
            firsts = [word_at(builder, word_at(builder, args, k), DATA) for k in range(given)]
            moves = [word_at(builder, args, steps + k) for k in range(given)]
            length, own = word_at(builder, args, count), builder.add(args, WORD(8 * params))
            whole = builder.mul(builder.mul(word_at(builder, args, rows), length), WORD(emit.size))
            far = builder.icmp_signed(">=", whole, WORD(FAR))
            part = None
            if sums:
                part = builder.add(firsts.pop(), builder.mul(chunk, moves.pop()))

            def turn(index: Any, carried: Any) -> Any:
                at = [
                    builder.add(first, builder.mul(index, step))
                    for first, step in zip(firsts, moves, strict=True)
                ]
                write(Row(emit, length, own, part, far, at))
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
    """A kernel over rows; compiled when it is first planned for.

    Args:
        name: unique; kernels are kept on disk under it.
        element: LLVM type of the numbers.
        write: says what to do with one row.
        arrays: how many arrays there are.
        sums: whether there are partial results; their array comes last.
    """

    def __init__(
        self,
        name: str,
        element: Any,
        write: Callable[[Row], None],
        arrays: int,
        sums: bool = False,
    ):
        self.code = emitted_task(name, _emitted(element, write, arrays, sums))
        self.arrays = arrays + sums

    def plan(
        self,
        rows: int,
        count: int,
        steps: Sequence[int],
        *words: int,
        parts: int | None = None,
        before: Sequence[Any] = (),
        after: Sequence[Any] = (),
    ) -> drive.Launch:
        """All of a call but the arrays: `kernel.plan(...)(*arrays)` does all rows.

        Args:
            rows, count: number of rows, and elements of each.
            steps: bytes from row to row of each array, 0 for what all rows share; of the partial
                results, bytes of one. They are zeros when the launch is called.
            words: what `Row.word` and `Row.parameter` read.
            parts: number of chunks, and so of partial results; by default `chunks(rows, count)`.
            before, after: tasks that prepare and finish, in one chunk, given the same words.
        """
        if len(steps) != self.arrays:
            raise ValueError(f"{len(steps)} steps are given for {self.arrays} arrays")
        pieces = (chunks(rows, count) if parts is None else parts) if rows else 0
        stages = [*((task, 1) for task in before), (self.code, pieces), *((t, 1) for t in after)]
        return drive.Launch(stages, self.arrays, rows, count, *steps, *words)


def chunks(rows: int, count: int, most: int = 64) -> int:
    """Into how many chunks rows are cut; a function of the sizes alone."""
    return drive.chunks_of(rows * count, GRAIN, max(1, min(most, rows)))
