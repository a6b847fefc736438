"""Gradients of weights that were summed in parts: the parts are added up, in one order.

Each part of a batch has sums of its own, so that threads need not wait for each other and results
do not depend on their number. Which numbers are summed is up to the plans.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.kernels.conv import copy
from dyn.kernels.runtime.drive import chunks_of
from dyn.kernels.runtime.jit import kernel, task
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer

(SUMS, STEP, PARTS, RESULT, COUNT, PLACES) = range(copy.BAND_WORDS, copy.BAND_WORDS + 6)
"""Words after those of bands: the sums of PARTS parts, STEP bytes apart, and the result of
COUNT numbers. PLACES: 32-bit places of these in a part; 0 where they are in the same order."""
WORDS = copy.BAND_WORDS + 6
CHUNK = 16384
"""Additions worth a chunk."""


@kernel
def _add(plan, start, stop, zero):
    result, places = pointer(argument(plan, RESULT), zero), argument(plan, PLACES)
    order = pointer(places, np.int32(0))
    for part in range(argument(plan, PARTS)):
        sums = pointer(argument(plan, SUMS) + part * argument(plan, STEP), zero)
        if places:
            for k in range(start, stop):
                result[k] = sums[order[k]] if part == 0 else result[k] + sums[order[k]]
        elif part == 0:
            for k in range(start, stop):
                result[k] = sums[k]
        else:
            for k in range(start, stop):
                result[k] += sums[k]


@task
def add_parts(plan, chunk, chunks):
    """Add up a share of the numbers."""
    start, stop = bounds(argument(plan, COUNT), chunk, chunks, 16)
    if argument(plan, copy.ELEMENT) == 4:
        _add(plan, start, stop, np.float32(0))
    else:
        _add(plan, start, stop, np.float64(0))


def stages(count: int, parts: int) -> list[tuple[Any, int]]:
    """What is run after the sums of `count` numbers in so many parts."""
    return [(add_parts, chunks_of(count * parts, CHUNK))] if parts > 1 else []
