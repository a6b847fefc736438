"""Weights in the order in which a plan reads them: their numbers elsewhere, and zeros between.

Which number goes where depends on the plan alone. For a weight of few numbers it is found out once,
by a plan that orders the places of the numbers instead of the numbers, and looked up from then on:
in training every step has new weights, and finding it out takes longer than moving them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch, chunks_of
from dyn.kernels.runtime.jit import task
from dyn.kernels.runtime.memory import maker
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer

MOST = 1 << 16
"""Numbers up to which their places are kept, four bytes each."""
CHUNK = 4096
"""Numbers worth a chunk."""


@task
def move(args, chunk, chunks):
    """Write a share of the numbers: (w, out, address of the places, count, bytes of a number).

    A place below 0 stands for a zero.
    """
    source, target = data(argument(args, 0)), data(argument(args, 1))
    places = pointer(argument(args, 2), np.int32(0))
    start, stop = bounds(argument(args, 3), chunk, chunks, 64)
    if argument(args, 4) == 4:
        small, four = pointer(source, np.int32(0)), pointer(target, np.int32(0))
        for k in range(start, stop):
            number = small[max(places[k], 0)]
            four[k] = number if places[k] >= 0 else np.int32(0)
    else:
        wide, eight = pointer(source, np.int64(0)), pointer(target, np.int64(0))
        for k in range(start, stop):
            number = wide[max(places[k], 0)]
            eight[k] = number if places[k] >= 0 else np.int64(0)


class Reorder:
    """Puts weights of one shape and layout in memory in order.

    Args:
        arrange: makes a dense array of the numbers of a weight and zeros.
    """

    def __init__(self, arrange: Callable[[np.ndarray], np.ndarray]):
        self._arrange = arrange
        self._run: Callable[[np.ndarray], np.ndarray] | None = None

    def __call__(self, w: np.ndarray) -> np.ndarray:
        """What `arrange` makes of a weight."""
        if self._run is None:
            self._run = self._found(w)
        return self._run(w)

    def _found(self, w: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """The way for weights that lie in memory as this one does."""
        size = w.itemsize
        reach = 1 + sum((n - 1) * step // size for n, step in zip(w.shape, w.strides, strict=True))
        forward = all(step >= 0 and step % size == 0 for step in w.strides)
        if not forward or not 0 < w.size <= reach <= MOST:
            return self._arrange
        # All numbers up to MOST are float32s; 0 is left for zeros.
        counted = np.arange(1, reach + 1, dtype=w.dtype)
        arranged = self._arrange(np.lib.stride_tricks.as_strided(counted, w.shape, w.strides))
        if arranged.size > MOST:
            return self._arrange
        places = arranged.reshape(-1).astype(np.int32) - 1
        words = places.ctypes.data, places.size, size
        launch = Launch([(move, chunks_of(places.size, CHUNK))], 2, *words, holds=places)
        make = maker(arranged.shape, w.dtype)

        def run(w: np.ndarray) -> np.ndarray:
            out = make()
            launch(w, out)
            return out

        return run
