"""One driver for tasks whose parameters are plain words: addresses, `id`s of arrays, sizes.

A task that reads its arrays through `arrays.data` needs no driver compiled for their types. Where
all words but the arrays follow from shapes, they are written down once, in a `Launch`: it costs a
third of a microsecond to call, `run` a whole one. Splitting is up to the task, by `threads.bounds`
or a rule of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dyn.kernels.runtime import threads
from dyn.kernels.runtime.arrays import item, length
from dyn.kernels.runtime.bytes import put_word
from dyn.kernels.runtime.jit import kernel
from dyn.kernels.runtime.threads import argument, pack, parallel_for
from dyn.kernels.runtime.words import ROOM, room

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


STAGES, COUNT, FIRST = range(3)
"""Words of a launch: number of stages and of their words; from FIRST on code and chunks of each
stage, then the words."""
ENTRY = "(int64, int64, int64)"


@kernel(warm=[ENTRY])
def _enter(plan, pool, arrays):
    """Run a launch with the arrays of a tuple; addresses of plan and pool, `id` of the tuple."""
    words = room()
    stages = argument(plan, STAGES)
    given = FIRST + 2 * stages
    for k in range(argument(plan, COUNT)):
        put_word(words, k, argument(plan, given + k))
    for k in range(length(arrays)):
        put_word(words, k, item(arrays, k))
    for k in range(FIRST, given, 2):
        parallel_for(pool, argument(plan, k), words, argument(plan, k + 1))


class Launch:
    """Tasks to run one after the other, with all their words but those of the arrays.

    `launch(x, out)` runs them; what is called is compiled code that looks into the tuple itself.

    Args:
        stages: (task, chunks): a task reads `id`s of the arrays, then `words`, with
            `threads.argument`; 0 chunks are nothing to do.
        arrays: how many arrays the launch is called with.
        words: the other parameters.
        holds: what addresses among the words belong to, which lives as long as the launch.
    """

    __slots__ = ("_address", "_enter", "_holds", "_plan", "_shared")

    def __init__(
        self, stages: Sequence[tuple[Any, int]], arrays: int, *words: int, holds: Any = None
    ):
        given = (0,) * arrays + words
        if len(given) > ROOM:
            raise ValueError(f"{len(given)} words do not fit into {ROOM}")
        listed = [word for task, chunks in stages for word in (task.address, chunks)]
        self._plan = np.array((len(stages), len(given), *listed, *given), np.int64)
        self._address = self._plan.ctypes.data
        self._holds = holds
        self._shared = any(chunks > 1 for _, chunks in stages)
        # Called without numba's look at the types of the arguments, which are always the same.
        self._enter = _enter.compile(ENTRY)

    def __call__(self, *arrays: np.ndarray) -> None:
        """Run over arrays of the shapes and layouts that the launch was made for."""
        self._enter(self._address, threads.pool() if self._shared else 0, id(arrays))


def dense(
    launch: Callable[..., None],
    make: Callable[[], np.ndarray],
    otherwise: Callable[..., np.ndarray],
) -> Callable[..., np.ndarray]:
    """A launch over arrays in C order and what it is to fill, which is made for every call.

    Args:
        launch: called with all arrays, the result as the last.
        make: makes the result.
        otherwise: what does the same for arrays in another order.
    """

    def run(*arrays: np.ndarray) -> np.ndarray:
        for x in arrays:
            if not x.flags.c_contiguous:
                return otherwise(*arrays)
        out = make()
        launch(*arrays, out)
        return out

    return run


def chunks_of(units: int, grain: int, most: int = threads.MAX_CHUNKS) -> int:
    """`threads.chunk_count` from Python, with no more than `most`."""
    return max(1, min(most, threads.chunk_count.py_func(units, max(grain, 1))))


_FLOAT, _WORD = struct.Struct("d"), struct.Struct("q")


def float_word(number: float) -> int:
    """A float64 as a word, for `threads.argument_float`."""
    return _WORD.unpack(_FLOAT.pack(number))[0]
