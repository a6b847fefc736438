"""Kernels over the columns of matrices: one channel per column, as images lie channels last.

A column kernel says what to do with one number of each array; numbers that belong to the column
(means, factors) stay in registers while the rows run by, and so do sums over the rows. Rows are cut
into chunks by sizes alone; sums are gathered in float64, one partial result per chunk.

    def _shift(column):
        column.store(column.load(0) + column.constant(0), 1)

    shift = ColumnKernel("shift", F32, _shift, arrays=2, constants=1)
    shift.plan(rows, columns).run(x, out, constants=offsets)

A plan depends on sizes alone and is worth remembering.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types

from dyn.kernels.runtime import drive
from dyn.kernels.runtime.arrays import DATA
from dyn.kernels.runtime.jit import kernel
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.rows import emitted_task, share, word_at
from dyn.kernels.vector.simd import F64, WORD, Emitter, Value, intrinsic, loop

VECTORS = {16: 4, 8: 8, 4: 8}[LANES]
"""Vectors of a block of columns: wide enough that rows are read a few cache lines at a time."""
WIDE = VECTORS * LANES
"""Columns of a block of float32."""
GRAIN = 16384
"""Elements worth a chunk."""
BLOCK = 32768
"""Bytes of an array that a block of rows spans: all its columns come from the cache."""
NOTHING = np.zeros(0)
"""Stands for constants or sums that a kernel does not have."""


class Column:
    """One vector of columns at one row, while the kernel is written.

    Attributes:
        emit: writes vectors of the kernel's element type.
        added: what the kernel adds to the sums, by number.
    """

    def __init__(self, emit: Emitter, at: list[Any], constants: list[Value], mask: Any):
        self.emit = emit
        self.at = at
        self.constants = constants
        self.mask = mask
        self.added: dict[int, Value] = {}

    def load(self, array: int) -> Value:
        """The numbers of an array."""
        return self.emit.load(self.at[array], self.mask)

    def store(self, value: Value, array: int) -> None:
        """Write the numbers of an array."""
        self.emit.store(value, self.at[array], self.mask)

    def constant(self, number: int) -> Value:
        """Numbers that belong to the columns."""
        return self.constants[number]

    def add(self, number: int, value: Value) -> None:
        """Add to the sum of that number."""
        self.added[number] = value


class _Block:
    """The code of one kernel on a block of rows and columns.

    Words of the task: `id`s of the arrays, of the constants and of the sums; rows and columns.
    """

    def __init__(
        self, element: Any, write: Callable[[Column], None], arrays: int, constants: int, sums: int
    ):
        self.element = element
        self.write = write
        self.count = arrays
        self.constants = constants
        self.sums = sums

    def emit(self, builder: Any, args: Any, chunk: Any, chunks: Any) -> None:
        """The rows of a chunk, a block of them at a time."""
        self.builder = builder
        self.one = Emitter(builder, self.element)
        *firsts, constants, sums = (
            word_at(builder, word_at(builder, args, k), DATA) for k in range(self.count + 2)
        )
        rows, columns = (word_at(builder, args, self.count + 2 + k) for k in range(2))
        start, stop = share(builder, rows, chunk, chunks)
        self.step = builder.mul(columns, WORD(self.one.size))
        wide = builder.mul(columns, WORD(8))
        sums = builder.add(sums, builder.mul(chunk, builder.mul(wide, WORD(self.sums))))
        self.tables = (constants, self.step, sums, wide)
        one = WORD(1)
        fitting = builder.sdiv(WORD(BLOCK), builder.select(
            builder.icmp_signed("<", self.step, one), one, self.step
        ))  # fmt: skip
        few = builder.icmp_signed("<", fitting, WORD(8))
        turn = builder.select(few, WORD(8), fitting)

        def block(first: Any, _: Any) -> list[Value]:
            left = builder.sub(stop, first)
            self.rows = builder.select(builder.icmp_signed("<", turn, left), turn, left)
            offset = builder.mul(first, self.step)
            self.arrays = [builder.add(array, offset) for array in firsts]
            self.block(columns)
            return []

        loop(builder, start, stop, turn, block)

    def block(self, columns: Any) -> None:
        """All columns: whole vectors, VECTORS at a time, then one by one, the last one masked."""
        builder = self.builder
        width = WORD(self.one.lanes)
        several = WORD(VECTORS * self.one.lanes)
        whole = builder.mul(builder.sdiv(columns, several), several)
        single = builder.mul(builder.sdiv(columns, width), width)
        loop(builder, WORD(0), whole, several, lambda first, _: self.strip(first, VECTORS, None))
        loop(builder, whole, single, width, lambda first, _: self.strip(first, 1, None))
        with builder.if_then(builder.icmp_signed("<", single, columns)):
            self.strip(single, 1, self.one.mask_below(builder.sub(columns, single)))

    def strip(self, first: Any, vectors: int, mask: Any) -> list[Value]:
        """`vectors` vectors of columns from column `first` on, over all rows."""
        builder, one = self.builder, self.one
        constants, constants_step, sums, sums_step = self.tables
        offset = builder.mul(first, WORD(one.size))
        offsets = [builder.add(offset, WORD(v * one.bytes)) for v in range(vectors)]
        own = [
            [
                one.load(
                    builder.add(builder.add(constants, at), builder.mul(constants_step, WORD(k))),
                    mask,
                )
                for k in range(self.constants)
            ]
            for at in offsets
        ]

        def turn(index: Any, carried: list[Value]) -> list[Value]:
            row = builder.mul(index, self.step)
            given = []
            for v, at in enumerate(offsets):
                place = builder.add(row, at)
                spots = [builder.add(array, place) for array in self.arrays]
                column = Column(one, spots, own[v], mask)
                self.write(column)
                for k in range(self.sums):
                    given.append(carried[v * self.sums + k] + column.added[k])
            return given

        zeros = [one.numbers(0.0)] * (vectors * self.sums)
        made = loop(builder, WORD(0), self.rows, WORD(1), turn, zeros)
        wide = Emitter(builder, F64, one.lanes)
        for v, at in enumerate(offsets):
            for k in range(self.sums):
                place = builder.mul(at, WORD(8 // one.size))
                place = builder.add(place, builder.mul(sums_step, WORD(k)))
                place = builder.add(sums, place)
                total = wide.load(place, mask) + made[v * self.sums + k].to(F64)
                wide.store(total, place, mask)
        return []


def _emitted(block: _Block) -> Any:
    @intrinsic
    def emitted(typing: Any, args: Any, chunk: Any, chunks: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            block.emit(builder, *arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), generate

    return emitted


@kernel(warm=["(float64[:, :, ::1], float64[:, ::1])"])
def _add(sums, added):
    """Partial results [chunks, sums, wide columns] to [sums, columns]."""
    parts, count, wide = sums.shape
    columns = added.shape[1]
    added[:] = 0
    for part in range(parts):
        for k in range(count):
            for first in range(0, wide, columns):
                for c in range(columns):
                    added[k, c] += sums[part, k, first + c]


class ColumnPlan(NamedTuple):
    """How a kernel goes over a matrix of one size."""

    launch: drive.Launch
    times: int
    """Rows that are done as one wide row."""
    sums: tuple[int, ...]
    """Shape of the partial results: chunks, sums, wide columns."""

    def run(self, *arrays: np.ndarray, constants: np.ndarray = NOTHING) -> np.ndarray:
        """Do all rows.

        Args:
            arrays: the numbered arrays.
            constants: [constants, columns] in the element type.

        Returns:
            [sums, columns] float64.
        """
        times, (parts, count, wide) = self.times, self.sums
        if times > 1 and constants is not NOTHING:
            constants = np.concatenate([constants] * times, axis=1)
        sums = np.zeros(self.sums) if count else NOTHING
        self.launch(*arrays, constants, sums)
        if not count:
            return sums
        if parts == times == 1:
            return sums[0]
        added = np.empty((count, wide // times))
        _add(sums, added)
        return added


class ColumnKernel:
    """A kernel over columns; compiled when it is first planned for.

    Args:
        name: unique; kernels are kept on disk under it.
        element: LLVM type of the numbers.
        write: says what to do with one number of each array.
        arrays: how many arrays there are.
        constants, sums: how many numbers belong to each column, and how many sums are made.
    """

    def __init__(
        self,
        name: str,
        element: Any,
        write: Callable[[Column], None],
        arrays: int,
        constants: int = 0,
        sums: int = 0,
    ):
        emitted = _emitted(_Block(element, write, arrays, constants, sums))
        self.code = emitted_task(name, emitted)
        self.arrays = arrays
        self.sums = sums

    def plan(self, rows: int, columns: int) -> ColumnPlan:
        """What follows from the sizes; columns lie next to each other, rows behind each other."""
        # Few columns would leave most of a vector empty: several rows become one wide row.
        times = 1
        while columns * times < WIDE and rows % (2 * times) == 0:
            times *= 2
        rows //= times
        columns *= times
        parts = max(1, min(64, rows, rows * columns // GRAIN))
        launch = drive.Launch([(self.code, parts)], self.arrays + 2, rows, columns)
        return ColumnPlan(launch, times, (parts, self.sums, columns))
