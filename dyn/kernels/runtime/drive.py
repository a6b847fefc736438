"""One driver for tasks whose parameters are plain words: addresses, `id`s of arrays, sizes.

A task that reads its arrays through `arrays.data` needs no driver compiled for their types; calling
`run` costs a microsecond. Splitting is up to the task, by `threads.bounds` or a rule of its own.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

from dyn.kernels.runtime import threads
from dyn.kernels.runtime.jit import kernel
from dyn.kernels.runtime.threads import pack, parallel_for

WORDS = 18
_ZEROS = [(0,) * (WORDS - count) for count in range(WORDS + 1)]


@kernel(warm=[f"({', '.join(['int64'] * (WORDS + 3))})"])
def _drive(pool, code, chunks, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r):  # noqa: E741
    parallel_for(pool, code, pack(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r), chunks)


def run(task: Any, chunks: int, *words: int) -> None:
    """Run a task in `chunks` chunks; it reads `words` (at most WORDS) with `threads.argument`.

    Arrays are passed as `id(array)` and must be kept alive by the caller.
    """
    pool = threads.pool() if chunks > 1 else 0
    _drive(pool, task.address, chunks, *words, *_ZEROS[len(words)])


def chunks_of(units: int, grain: int, most: int = threads.MAX_CHUNKS) -> int:
    """Into how many chunks `units` of work are cut of which `grain` are worth one."""
    return max(1, min(most, units // max(grain, 1)))


@lru_cache(1024)
def float_word(number: float) -> int:
    """A float64 as a word, for `threads.argument_float`."""
    return struct.unpack("q", struct.pack("d", number))[0]
