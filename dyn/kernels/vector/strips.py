"""Kernels along an axis that is not the last one: neighbours are done a few vectors at a time.

An array is planes of `count` rows of neighbours; what a kernel combines are the `count` numbers
below each other. Nothing is transposed. `softmax` and `cross_entropy_planes` are written so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.runtime.drive import Launch
from dyn.kernels.runtime.memory import empty
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.rows import Row, RowKernel, chunks
from dyn.kernels.vector.simd import F32, WORD, Value, loop

STRIP = 4
"""Vectors of neighbours that are done at a time."""
COUNT, STEP, PARAMETERS = range(3)
"""Parameters of a kernel: numbers to combine, bytes from one to the next; then those of its own."""


class Strip:
    """Some vectors of neighbours, each with `count` numbers to combine, `step` bytes apart.

    The numbers are read from memory once, into a buffer where they lie close together: `step` may
    well be a power of two, at which a cache holds only a few lines.
    """

    def __init__(self, row: Row, offsets: list[Any], mask: Any):
        self.row = row
        self.offsets = offsets
        self.mask = mask
        self.builder = row.emit.builder
        self.count, self.step = row.word(COUNT), row.word(STEP)

    def each(self, turn: Callable[[Any, int, list[Value]], list[Value]], *start: Value) -> Any:
        """For each vector `carried = turn(index, vector, carried)` over its numbers."""
        width = len(start)

        def body(index: Any, carried: list[Value]) -> list[Value]:
            given: list[Value] = []
            for v in range(len(self.offsets)):
                given += turn(index, v, carried[v * width : (v + 1) * width])
            return given

        first = list(start) * len(self.offsets)
        made = loop(self.builder, WORD(0), self.count, WORD(1), body, first)
        return [made[v * width : (v + 1) * width] for v in range(len(self.offsets))]

    def _at(self, array: int, index: Any, v: int) -> Any:
        far = self.builder.mul(index, self.step)
        return self.row.address(array, self.builder.add(far, self.offsets[v]))

    def load(self, array: int, index: Any, v: int) -> Value:
        """Numbers of an array."""
        return self.row.emit.load(self._at(array, index, v), self.mask)

    def store(self, value: Value, array: int, index: Any, v: int) -> None:
        """Write numbers of an array."""
        self.row.emit.store(value, self._at(array, index, v), self.mask)

    def _near(self, index: Any, v: int) -> Any:
        bytes_ = self.row.emit.bytes
        far = self.builder.mul(index, WORD(bytes_ * len(self.offsets)))
        return self.builder.add(self.row.sums, self.builder.add(far, WORD(v * bytes_)))

    def keep(self, value: Value, index: Any, v: int) -> Value:
        """Put a vector into the buffer."""
        self.row.emit.store(value, self._near(index, v))
        return value

    def kept(self, index: Any, v: int) -> Value:
        """A vector from the buffer."""
        return self.row.emit.load(self._near(index, v))

    def single(self, array: int, v: int) -> Value:
        """Numbers of an array that has one for each neighbour."""
        return self.row.load(array, self.offsets[v], self.mask)

    def put(self, value: Value, array: int, v: int) -> None:
        """Write numbers of an array that has one for each neighbour."""
        self.row.store(value, array, self.offsets[v], self.mask)


def _rows_of(write: Callable[[Strip], None]) -> Callable[[Row], None]:
    """A row kernel whose rows are neighbours."""

    def kernel(row: Row) -> None:
        builder, emit = row.emit.builder, row.emit
        turn = WORD(STRIP * emit.bytes)
        end = builder.mul(row.count, WORD(emit.size))
        whole = builder.mul(builder.sdiv(end, turn), turn)

        def several(at, carried):
            write(Strip(row, [builder.add(at, WORD(v * emit.bytes)) for v in range(STRIP)], None))
            return []

        loop(builder, WORD(0), whole, turn, several)
        rest = builder.sdiv(builder.sub(end, whole), WORD(emit.size))

        def single(at, carried, mask):
            write(Strip(row, [builder.add(whole, at)], mask))
            return []

        emit.row(rest, single, unroll=1)

    return kernel


class Across(NamedTuple):
    """How rows of neighbours are done: all planes at once, or one after the other.

    Attributes:
        planes: (planes, count, neighbours) by which planes are told apart; None if one launch does
            all.
    """

    launch: Launch
    buffers: tuple[int, ...]
    planes: tuple[int, int, int] | None

    def run(self, *arrays: np.ndarray) -> None:
        """Go over dense arrays; those that have one number for each neighbour lack an axis."""
        buffers = empty(self.buffers)
        if self.planes is None:
            self.launch(*arrays, buffers)
            return
        outer, count, inner = self.planes
        shapes = [
            self.planes if x.size == outer * count * inner else (outer, inner) for x in arrays
        ]
        split = [x.reshape(shape) for x, shape in zip(arrays, shapes, strict=True)]
        for plane in zip(*split, strict=True):
            self.launch(*plane, buffers)


class StripKernel:
    """A kernel over strips of float32; compiled when it is first planned for.

    Args:
        name: unique; kernels are kept on disk under it.
        write: says what to do with one strip.
        arrays: how many arrays there are.
        singles: how many of them, the last ones, have one number for each neighbour.
    """

    def __init__(
        self, name: str, write: Callable[[Strip], None], arrays: int, singles: int = 0
    ) -> None:
        self.rows = RowKernel(name, F32, _rows_of(write), arrays, sums=True)
        self.singles = singles
        self.plan = lru_cache(1024)(self._plan)

    def _plan(self, shape: tuple[int, ...], axis: int, *words: int) -> Across:
        """How to go over arrays of a shape along an axis; `words` are parameters."""
        outer, count, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
        # Few large planes are cut into strips, so that there is work for all threads.
        strip = inner if outer >= 8 else math.gcd(inner, 1024)
        if strip < 64:
            strip = inner
        buffers = (chunks(outer * inner // strip, count * strip), count, STRIP * LANES)
        whole = strip == inner
        rows, step = (outer, 4 * count * inner) if whole else (inner // strip, 4 * strip)
        several = self.rows.arrays - 1 - self.singles
        steps = [step] * several + [4 * strip] * self.singles + [4 * math.prod(buffers[1:])]
        launch = self.rows.plan(rows, strip, steps, count, 4 * inner, *words, parts=buffers[0])
        return Across(launch, buffers, None if whole else (outer, count, inner))
