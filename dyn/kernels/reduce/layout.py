"""Dense arrays as groups of axes that are reduced and kept in turn, in the order of memory."""

from __future__ import annotations

import math
from typing import NamedTuple


class Layout(NamedTuple):
    """A dense array as groups of neighbouring axes, reduced and kept ones in turn.

    Attributes:
        sizes: of the groups, from slowest to fastest in memory.
        reduced: whether each group is reduced.
        kept: sizes of the kept axes in the order of memory.
        count: how many results there are.
        back: where each kept axis stands in that order; None if it is row-major already.
    """

    sizes: tuple[int, ...]
    reduced: tuple[bool, ...]
    kept: tuple[int, ...]
    count: int
    back: tuple[int, ...] | None


def layout(
    shape: tuple[int, ...], strides: tuple[int, ...], axes: tuple[int, ...], size: int
) -> Layout | None:
    """The layout of an array of elements of `size` bytes; None if it is not dense."""
    order = sorted((a for a, n in enumerate(shape) if n != 1), key=lambda a: -strides[a])
    step = size
    for a in reversed(order):
        if strides[a] != step:
            return None
        step *= shape[a]
    sizes: list[int] = []
    reduced: list[bool] = []
    for a in order:
        if reduced and reduced[-1] == (a in axes):
            sizes[-1] *= shape[a]
        else:
            sizes.append(shape[a])
            reduced.append(a in axes)
    if not any(reduced):  # axes of size 1, as rows of a single one
        sizes.insert(0, 1)
        reduced.insert(0, True)
    places = [a for a in order if a not in axes]
    back = tuple(sorted(range(len(places)), key=places.__getitem__))
    natural = back == tuple(range(len(places)))
    kept = tuple(shape[a] for a in places)
    return Layout(tuple(sizes), tuple(reduced), kept, math.prod(kept), None if natural else back)


def reduced_shape(
    shape: tuple[int, ...], axes: tuple[int, ...], *, keepdims: bool
) -> tuple[int, ...]:
    """The shape of a result: without `axes`, or with size 1 there."""
    return tuple([1 if a in axes else n for a, n in enumerate(shape) if keepdims or a not in axes])
