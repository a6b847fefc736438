"""A step along a direction that satisfies the strong Wolfe conditions.

f(t) <= f(0) + C1 * t * f'(0) and |f'(t)| <= C2 * |f'(0)|: lower by a share of what the first slope
promised, and flatter than before. First steps get longer until such a point lies between two of
them, then the interval gets shorter. Where there is a choice it is PyTorch's.

Source: Nocedal & Wright, Numerical Optimization, 2nd edition, algorithms 3.5 and 3.6, formula 3.59.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

C1, C2 = 1e-4, 0.9
CLOSE = 0.1
"""Share of the interval that a trial should keep away from both ends."""


class Point(NamedTuple):
    """A place on the line: how far, the value, its slope along the line, the whole gradient."""

    t: float
    value: float
    slope: float
    gradient: np.ndarray


def strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    t: float,
    reach: float,
    tolerance: float,
    most: int,
) -> tuple[Point, int]:
    """Look for a step.

    Args:
        evaluate: the point at a distance.
        start: the point at 0; its slope is negative.
        t: the first distance to try.
        reach: the largest element of the direction, as a size.
        tolerance: length of an interval, times `reach`, at which to stop.
        most: how often distances may be tried after the first.

    Returns:
        The best point, which satisfies the conditions unless the search was cut short, and how many
        were evaluated.
    """

    def too_high(point: Point) -> bool:
        return point.value > start.value + C1 * point.t * start.slope

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -C2 * start.slope

    before, new = start, evaluate(t)
    tried = 0
    while tried < most:
        if too_high(new) or (tried > 1 and new.value >= before.value):
            break
        if flat(new):
            return new, tried + 1
        if new.slope >= 0:
            break
        further = new.t + 0.01 * (new.t - before.t), 10 * new.t
        before, new = new, evaluate(_minimum(before, new, *further))
        tried += 1
    else:
        before = start
    ends = [before, new]
    low = _lower(ends)
    hesitated = False
    while tried < most:
        first, last = sorted(point.t for point in ends)
        if (last - first) * reach < tolerance:
            break
        t = _minimum(ends[0], ends[1], first, last)
        t, hesitated = _kept_apart(t, first, last, hesitated)
        new = evaluate(t)
        tried += 1
        if too_high(new) or new.value >= ends[low].value:
            ends[1 - low] = new
            low = _lower(ends)
            continue
        satisfied = flat(new)
        if not satisfied and new.slope * (ends[1 - low].t - ends[low].t) >= 0:
            ends[1 - low] = ends[low]
        ends[low] = new
        if satisfied:
            break
    return ends[low], tried + 1


def _lower(ends: list[Point]) -> int:
    """The number of the lower end."""
    return 0 if ends[0].value <= ends[1].value else 1


def _kept_apart(t: float, first: float, last: float, hesitated: bool) -> tuple[float, bool]:
    """A trial that is moved away from an end of the interval, if the one before was as close."""
    room = CLOSE * (last - first)
    if min(last - t, t - first) >= room:
        return t, False
    if not hesitated and first < t < last:
        return t, True
    return (last - room if last - t < t - first else first + room), False


def _minimum(a: Point, b: Point, low: float, high: float) -> float:
    """Where the cubic with the values and slopes of two points is lowest, within bounds."""
    if a.t > b.t:
        a, b = b, a
    width = b.t - a.t
    bend = a.slope + b.slope + 3 * (a.value - b.value) / width if width else math.nan
    square = bend * bend - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    root = math.sqrt(square)
    bottom = b.slope - a.slope + 2 * root
    if not bottom:
        return (low + high) / 2
    return min(max(b.t - width * ((b.slope + root - bend) / bottom), low), high)
