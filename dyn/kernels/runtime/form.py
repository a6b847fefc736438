"""Tasks whose parameters are more than fit into a launch: forms, of which calls fill in the rest.

What does not depend on the call is written down once. A call goes from Python into compiled code a
single time, which fills in addresses, opens scratch memory and runs task after task: behind large
kernels Python's own code and objects are in no near cache, so that every step in it costs a
microsecond.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dyn.kernels.runtime import threads
from dyn.kernels.runtime.arrays import data, item, length
from dyn.kernels.runtime.bytes import put_word
from dyn.kernels.runtime.jit import kernel
from dyn.kernels.runtime.memory import maker
from dyn.kernels.runtime.scratch import BUFFERS, open_buffers, words_for
from dyn.kernels.runtime.threads import argument, parallel_for

STAGES, SCRATCH, FIRST = range(3)
"""Words of a plan: number of stages, place of the scratch memory; from FIRST on code and chunks of
each stage, then the places of the arrays."""
ENTRY = f"({', '.join(['int64'] * 6)})"


@kernel(warm=[ENTRY])
def _enter(plan, words, arrays, memory, buffers, pool):
    """Fill in a form and run its stages.

    The plan is given by its address, words, the tuple of arrays and memory by `id`; no `buffers`
    are no memory.
    """
    form, stages = data(words), argument(plan, STAGES)
    places = FIRST + 2 * stages
    for k in range(length(arrays)):
        put_word(form, argument(plan, places + k), data(item(arrays, k)))
    if buffers:
        open_buffers(data(memory), buffers)
        put_word(form, argument(plan, SCRATCH), data(memory))
    for k in range(FIRST, places, 2):
        parallel_for(pool, argument(plan, k), form, argument(plan, k + 1))


class Form:
    """Tasks to run one after the other, and what they read: all but some addresses.

    Args:
        stages: (task, chunks), run one after the other; a later one may read what an earlier one
            wrote to the words.
        words: what the tasks read (`threads.launch`); zeros at the places.
        places: which word is the address of the first array of a call, of the second, and so on.
        scratch: place and bytes of a buffer (`scratch.py`) of each thread at work.
    """

    __slots__ = ("_address", "_buffers", "_enter", "_makers", "_plan", "_shared", "_size", "words")

    def __init__(
        self,
        stages: Sequence[tuple[Any, int]],
        words: np.ndarray,
        places: Sequence[int],
        scratch: tuple[int, int] = (0, 0),
    ):
        self.words = words
        place, self._size = scratch
        listed = [word for task, chunks in stages for word in (task.address, chunks)]
        self._plan = np.array((len(stages), place, *listed, *places), np.int64)
        self._address = self._plan.ctypes.data
        most = max([chunks for _, chunks in stages])
        self._shared = most > 1
        self._buffers = min(most, BUFFERS)
        self._makers: dict[int, Callable[[], np.ndarray]] = {}
        # Called without numba's look at the types of the arguments, which are always the same.
        self._enter = _enter.compile(ENTRY)

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        """Run over arrays; the words of the call. Places beyond those of the arrays stay zero."""
        words, address = self.words.copy(), self._address
        pool = threads.pool() if self._shared else 0
        if not self._size:
            self._enter(address, id(words), id(arrays), id(words), 0, pool)
            return words
        buffers = min(self._buffers, threads.get_num_threads())
        make = self._makers.get(buffers)
        if make is None:
            make = self._makers[buffers] = maker((words_for(self._size, buffers),), np.int64)
        memory = make()
        self._enter(address, id(words), id(arrays), id(memory), buffers, pool)
        return words
