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
from types import FunctionType
from typing import Any

import numpy as np
from numba import types

from dyn.kernels import drive
from dyn.kernels.arrays import DATA, data
from dyn.kernels.jit import call_address, kernel, microkernel, task
from dyn.kernels.simd import F64, WORD, Emitter, Value, intrinsic, loop
from dyn.kernels.threads import argument, bounds

GRAIN = 16384
"""Elements worth a chunk."""


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

    def _word_at(self, address: Any, place: int) -> Any:
        builder = self.emit.builder
        at = builder.add(address, WORD(8 * place))
        return builder.load(builder.inttoptr(at, WORD.as_pointer()))

    def word(self, place: int) -> Any:
        """An integer parameter."""
        return self._word_at(self.params, place)

    def parameter(self, place: int) -> Value:
        """A float64 parameter, as a number of the element type."""
        builder = self.emit.builder
        return Value(builder, builder.bitcast(self.word(place), F64)).to(self.emit.element)

    def shared(self, place: int, offset: Any, mask: Any = None) -> Value:
        """A vector of the array that all rows share, whose `id` is parameter `place`."""
        start = self._word_at(self.word(place), DATA)
        return self.emit.load(self.emit.builder.add(start, offset), mask)

    def add(self, value: Value, offset: Any, mask: Any = None) -> None:
        """Add a vector to this chunk's partial result at the byte `offset`."""
        at = self.emit.builder.add(self.sums, offset)
        self.emit.store(self.emit.load(at, mask) + value, at, mask)

    def zero(self) -> Value:
        """A vector of zeros."""
        return self.emit.numbers(0.0)

    def scan(
        self, step: Callable[..., Any], carried: Sequence[Value] = (), unroll: int = 4
    ) -> list[list[Value]]:
        """`Emitter.row` over this row."""
        return self.emit.row(self.count, step, carried, unroll)


def _body(rows, count, params, sums, a, sa, b, sb, c, sc, d, sd, e, se, f, sf):
    emitted(rows, count, params, sums, a, sa, b, sb, c, sc, d, sd, e, se, f, sf)  # type: ignore[name-defined]  # noqa: F821


def _emitted(element: Any, write: Callable[[Row], None]) -> Any:
    """An intrinsic that writes the loop over rows around `write`."""

    @intrinsic
    def emitted(
        typing: Any, rows: Any, count: Any, params: Any, sums: Any, a: Any, sa: Any, b: Any,
        sb: Any, c: Any, sc: Any, d: Any, sd: Any, e: Any, se: Any, f: Any, sf: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            rows, count, params, sums, *arrays = arguments
            emit = Emitter(builder, element)

            def turn(index: Any, carried: Any) -> Any:
                at = [
                    builder.add(start, builder.mul(index, step))
                    for start, step in zip(arrays[::2], arrays[1::2], strict=True)
                ]
                write(Row(emit, count, params, sums, at))
                return []

            loop(builder, WORD(0), rows, WORD(1), turn)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 16), generate

    return emitted


class RowKernel:
    """A kernel over rows; compiled when it is first run."""

    def __init__(self, name: str, element: Any, write: Callable[[Row], None]):
        scope = {"__name__": write.__module__, "emitted": _emitted(element, write)}
        # Kept on disk under this name and the hash of the file that says what the kernel does.
        code = _body.__code__.replace(co_filename=write.__code__.co_filename)
        function = FunctionType(code, scope, name)
        function.__qualname__ = name
        function.__module__ = write.__module__
        self.code = microkernel(16)(function)

    def run(
        self,
        rows: int,
        count: int,
        *arrays: tuple[np.ndarray, int],
        params: np.ndarray | None = None,
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
        words: list[int] = []
        for array, step in arrays:
            words += (id(array), step)
        drive.run(
            _rows,
            chunks(rows, count) if sums is None else len(sums),
            self.code.address,
            rows,
            count,
            0 if params is None else id(params),
            0 if sums is None else id(sums),
            0 if sums is None else sums.strides[0],
            *words,
        )


FIRST = 6
"""Where the words of the arrays begin."""


@kernel(forceinline=True)
def _row_of(args, array, start):
    """Address of row `start` of an array; 0 if there is no such array."""
    found = argument(args, FIRST + 2 * array)
    return data(found) + start * argument(args, FIRST + 2 * array + 1) if found else 0


@task
def _rows(args, chunk, chunks):
    """Code, rows, count, params, sums, bytes of a part of them, then id and step of each array."""
    start, stop = bounds(argument(args, 1), chunk, chunks, 1)
    params, sums = argument(args, 3), argument(args, 4)
    call_address(
        argument(args, 0), stop - start, argument(args, 2),
        data(params) if params else 0,
        data(sums) + chunk * argument(args, 5) if sums else 0,
        _row_of(args, 0, start), argument(args, FIRST + 1),
        _row_of(args, 1, start), argument(args, FIRST + 3),
        _row_of(args, 2, start), argument(args, FIRST + 5),
        _row_of(args, 3, start), argument(args, FIRST + 7),
        _row_of(args, 4, start), argument(args, FIRST + 9),
        _row_of(args, 5, start), argument(args, FIRST + 11),
    )  # fmt: skip


def chunks(rows: int, count: int, most: int = 64) -> int:
    """Into how many chunks rows are cut; a function of the sizes alone."""
    return max(1, min(most, rows, rows * count // GRAIN))
