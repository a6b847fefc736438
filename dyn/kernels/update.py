"""Optimiser steps over a whole parameter group in one launch, from the rules of `update_rules`.

Every element is read and written once, in place where the arrays were lent. Only steps whose length
is measured take several launches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.groups import Arrays, GroupKernel, lent, square_sums
from dyn.kernels.update_rules import RULES, Numbers, trust_ratio
from dyn.kernels.vector.simd import Value, choose, maximum, minimum

REGISTERS = SimpleNamespace(
    abs=abs, maximum=maximum, minimum=minimum, sqrt=lambda x: x.call("sqrt"), where=choose
)
"""Functions of formulas, on Values."""
SCALARS = SimpleNamespace(
    power=math.pow, sqrt=math.sqrt, where=lambda condition, a, b: a if condition else b
)
"""Functions of what is computed once a step, on Python's numbers."""
ARRAYS = SimpleNamespace(where=np.where)
"""Functions of the ratio of lengths, on arrays."""


def update(
    name: str,
    scalars: Sequence[np.ndarray],
    tensors: Arrays,
    *,
    weight_decay: float = 0.0,
    **settings: Any,
) -> tuple[np.ndarray, ...]:
    """A step of a group.

    Args:
        name: of the rule.
        scalars: learning rate and counters, 0-d, as far as the rule has them.
        tensors: n parameters, n gradients, n of each slot, all of one dtype.
        weight_decay: its coefficient.
        settings: the numbers that the rule is set by, and flags that say which variant it is;
            `maximize` goes up the gradient.

    Returns:
        n new parameters, n of each new slot, and the counters of the next step.
    """
    bound = _bound(name, weight_decay, (*settings,), *settings.values())
    numbers, after = bound.settled([float(x) for x in scalars])
    named = (*numbers,)
    moves = bound.moves.get(named)
    if moves is None:
        moves = bound.moves[named] = _kernel(name, named, bound.flags)
    count, dtype = len(tensors) // moves.inputs, tensors[0].dtype
    if all([p.dtype == dtype for p in tensors[:count]]):
        made = _moved(moves, numbers, tensors)
    else:
        made = _moved_by_dtype(moves, numbers, tensors, count)
    counters = zip(scalars[1:], after, strict=True) if after else ()
    return (*made, *[np.array(value, old.dtype) for old, value in counters])


class _Moves(NamedTuple):
    """A rule with its kernel."""

    kernel: GroupKernel
    inputs: int
    measured: bool


class _Bound(NamedTuple):
    """A rule with its settings.

    Attributes:
        settled: gives the numbers of a step, and the counters of the next one, for scalars.
        flags: which variant of the rule it is.
        moves: by names of the numbers.
    """

    settled: Callable[[Sequence[float]], Numbers]
    flags: tuple[tuple[str, bool], ...]
    moves: dict[tuple[str, ...], _Moves]


@lru_cache(256, typed=True)  # 1 is no flag, True is
def _bound(name: str, weight_decay: float, named: tuple[str, ...], *settings: Any) -> _Bound:
    rule, flags, others = RULES[name], [], {}
    for key, value in zip(named, settings, strict=True):
        if value is True or value is False:
            flags.append((key, value))
        else:
            others[key] = value
    return _Bound(lambda given: rule.settled(SCALARS, given, weight_decay, others), (*flags,), {})


def _moved(moves: _Moves, numbers: dict[str, float], tensors: Arrays) -> list[np.ndarray]:
    """New parameters and slots."""
    if not moves.measured:
        count = len(tensors) // moves.inputs
        old = [*tensors[:count], *tensors[2 * count :]]
        over = lent(old, [tensors[i % count] for i in range(len(old))])
        return moves.kernel.run(tensors, (*numbers.values(),), None, over)
    rate, *others = numbers.values()
    made, count = moves.kernel.run(tensors, others), len(tensors) // moves.inputs
    params, steps = tensors[:count], made[:count]
    ratio = trust_ratio(ARRAYS, np.sqrt(square_sums(params)), np.sqrt(square_sums(steps)))
    return [*_MOVED.run((*params, *steps), (), rate * ratio), *made[count:]]


def _moved_by_dtype(
    moves: _Moves, numbers: dict[str, float], tensors: Arrays, count: int
) -> list[np.ndarray]:
    """The same for parameters of several dtypes, one after the other."""
    made: list[Any] = [None] * (len(tensors) - count)
    for i in range(count):
        made[i::count] = _moved(moves, numbers, tensors[i::count])
    return made


@lru_cache(256)
def _kernel(name: str, named: tuple[str, ...], flagged: tuple[tuple[str, bool], ...]) -> _Moves:
    """The formula of a rule, with the numbers that it is given and one of its variants."""
    rule, flags = RULES[name], dict(flagged)
    if rule.measured:
        named = named[1:]  # the learning rate is used afterwards

    def formula(values: Sequence[Value], numbers: Sequence[Value], own: Any) -> Sequence[Value]:
        by_name = dict(zip(named, numbers, strict=True))
        return rule.new_values(REGISTERS, values, by_name, flags)

    slots = rule.slots(**flags)
    variant = "_".join([name, *(key for key in flags if flags[key]), *named])
    kernel = GroupKernel(variant, formula, 2 + slots, 1 + slots, len(named))
    return _Moves(kernel, 2 + slots, rule.measured)


_MOVED = GroupKernel("moved", lambda values, _, own: [values[0] - own() * values[1]], 2, 1)
"""A parameter less its step times a factor."""
