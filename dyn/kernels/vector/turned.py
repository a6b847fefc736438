"""Kernels over short rows: as many rows at a time as a vector has lanes, turned in registers.

In a short row most lanes of a vector are idle, and what is folded across the vector takes longer
than the row. Here blocks of LANES rows are turned into buffers, in which the numbers of a row lie
below each other, and what is written for strips of neighbours (`strips`) does all rows of a block
at once. Rows are at least LANES: the last block ends with the last row, and may do some rows that
the one before has done already, with the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import types

from dyn.kernels.runtime.arrays import DATA, data
from dyn.kernels.runtime.drive import Launch
from dyn.kernels.runtime.jit import call_address, instance
from dyn.kernels.runtime.memory import maker
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.rows import Row, chunks, word_at
from dyn.kernels.vector.simd import F32, WORD, Emitter, intrinsic
from dyn.kernels.vector.strips import COUNT, Strip
from dyn.kernels.vector.transpose import transpose_f32

ARRAYS = GIVEN = ROWED = 0
"""What each instance of `_body` has of its own: how many arrays there are, how many of them are
rows that are read, and how many rows that are read or written; the others have a number a row."""
LINE = 64
"""Bytes of a cache line, at which buffers begin."""
ROWS, MOVER, PARAMETERS = range(1, 4)
"""Words behind the `id`s of the arrays, which that of the buffers follows."""


def _body(args, chunk, chunks):
    rows, mover = argument(args, ARRAYS + ROWS), argument(args, ARRAYS + MOVER)
    count = argument(args, ARRAYS + PARAMETERS + COUNT)
    line, block = 4 * count, 4 * LANES * count
    memory = (data(argument(args, ARRAYS)) + LINE - 1) // LINE * LINE
    memory += chunk * (ROWED + 1) * block
    start, stop = bounds((rows + LANES - 1) // LANES, chunk, chunks, 1)
    for number in range(start, stop):
        first = min(number * LANES, rows - LANES)
        for k in range(GIVEN):
            source = data(argument(args, k)) + first * line
            call_address(mover, source, line, memory + k * block, 4 * LANES, LANES, count)
        strip(args, first, memory, block)  # type: ignore[name-defined]  # noqa: F821
        for k in range(GIVEN, ROWED):
            target = data(argument(args, k)) + first * line
            call_address(mover, memory + k * block, 4 * LANES, target, line, count, LANES)


def _strip(write: Callable[[Strip], None], arrays: int, rowed: int) -> Any:
    """The intrinsic that does a block of rows which lie in buffers, `block` bytes for each array.

    The last buffer is the one in which a strip keeps numbers.
    """

    @intrinsic
    def strip(typing: Any, args: Any, first: Any, memory: Any, block: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            args, first, memory, block = arguments
            emit = Emitter(builder, F32)
            buffers = [builder.add(memory, builder.mul(block, WORD(k))) for k in range(rowed + 1)]
            kept, at = buffers.pop(), buffers
            for k in range(rowed, arrays):
                start = word_at(builder, word_at(builder, args, k), DATA)
                at.append(builder.add(start, builder.mul(first, WORD(emit.size))))
            own = builder.add(args, WORD(8 * (arrays + PARAMETERS)))
            write(Strip(Row(emit, WORD(LANES), own, kept, None, at), [WORD(0)], None))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    return strip


class TurnedKernel:
    """A kernel over short rows of float32; compiled when it is first planned for.

    Args:
        name: unique; kernels are kept on disk under it.
        write: says what to do with one strip.
        arrays: how many arrays there are.
        given: how many of them, the first ones, are rows that are read.
        singles: how many of them, the last ones, have one number a row.
    """

    def __init__(
        self, name: str, write: Callable[[Strip], None], arrays: int, given: int, singles: int = 0
    ) -> None:
        self.arrays, self.rowed = arrays, arrays - singles
        self.code = instance(
            name, _body, strip=_strip(write, arrays, self.rowed),
            ARRAYS=arrays, GIVEN=given, ROWED=self.rowed,
        )  # fmt: skip
        self.plan = lru_cache(1024)(self._plan)

    def _plan(self, rows: int, count: int, *words: int) -> Callable[..., None]:
        """What goes over arrays of `rows`, at least LANES, of `count` numbers in C order.

        Args:
            words: parameters, as a strip reads them behind its own.
        """
        pieces = min(chunks(rows, count), -(-rows // LANES))
        stages = [(self.code, pieces)]
        launch = Launch(
            stages, self.arrays + 1, rows, transpose_f32.address, count, 4 * LANES, *words
        )
        buffers = maker((pieces * (self.rowed + 1) * count * LANES + LINE // 4,), np.float32)

        def run(*arrays: Any) -> None:
            launch(*arrays, buffers())

        return run
