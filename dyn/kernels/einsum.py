"""Einstein sums as matrix products: letters of both operands and the result are a batch, letters of
both alone are summed, the others are rows and columns.

More than two operands are multiplied pair by pair, in the order that numpy finds cheapest. What is
no product of two float matrices (integers, an operand alone, axes of one element that repeat) is
numpy's.

Source: Smith & Gray, opt_einsum, Journal of Open Source Software 3(26), 2018.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.copy import contiguous
from dyn.kernels.gemm import matmul
from dyn.kernels.reduce import reductions

Shapes = tuple[tuple[int, ...], ...]
ANY_SIZE = 2**60
"""Elements that numpy may plan between two steps. Left to itself it admits no more than the largest
operand has, and would rather multiply three at once, element by element."""


class _Step(NamedTuple):
    """One contraction: which operands are taken, and what is done; what comes of it goes last."""

    places: tuple[int, ...]
    equation: str


class _Pair(NamedTuple):
    """A contraction of two operands as a product of matrices.

    Attributes:
        summed: for each operand the axes that are summed beforehand, as only it has them.
        orders: how the axes that are left are brought to (batch, rows, inner) and (batch, inner,
            columns).
        shapes: those of the two operands as [batch..., matrix].
        made: the shape of the product with its axes apart.
        back: its axes in the order that is asked for.
    """

    summed: tuple[tuple[int, ...], tuple[int, ...]]
    orders: tuple[tuple[int, ...], tuple[int, ...]]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    made: tuple[int, ...]
    back: tuple[int, ...]


@lru_cache(1024)
def _steps(equation: str, shapes: Shapes) -> tuple[_Step, ...]:
    """The contractions, one after the other."""
    terms, out = equation.split("->")
    parts = terms.split(",")
    if len(parts) <= 2:
        return (_Step(tuple(range(len(parts))), equation),)
    stand_ins: list[Any] = [np.broadcast_to(np.float32(0), shape) for shape in shapes]
    path, _ = np.einsum_path(equation, *stand_ins, optimize=("greedy", ANY_SIZE))
    steps = []
    for places in path[1:]:
        taken = [parts[i] for i in places]
        parts = [p for i, p in enumerate(parts) if i not in places]
        # What later steps need stays.
        kept = {*out, *"".join(parts)}
        made = "".join(c for c in dict.fromkeys("".join(taken)) if c in kept) if parts else out
        steps.append(_Step(tuple(places), f"{','.join(taken)}->{made}"))
        parts.append(made)
    return tuple(steps)


@lru_cache(1024)
def _pair(equation: str, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> _Pair | None:
    """How two operands are multiplied; None if an axis of one element repeats."""
    terms, out = equation.split("->")
    x, y = terms.split(",")
    sizes = dict(zip(x, x_shape, strict=True))
    for letter, n in zip(y, y_shape, strict=True):
        if sizes.setdefault(letter, n) != n:
            return None
    batch = [c for c in x if c in y and c in out]
    inner = [c for c in x if c in y and c not in out]
    rows = [c for c in x if c not in y and c in out]
    columns = [c for c in y if c not in x and c in out]

    def alone(own: str, other: str) -> tuple[int, ...]:
        return tuple(i for i, c in enumerate(own) if c not in other and c not in out)

    def order(own: str, other: str, *groups: list[str]) -> tuple[int, ...]:
        left = [c for c in own if c in other or c in out]
        return tuple(left.index(c) for group in groups for c in group)

    def size(letters: list[str]) -> int:
        return math.prod(sizes[c] for c in letters)

    made = [*batch, *rows, *columns]
    lead = tuple(sizes[c] for c in batch)
    return _Pair(
        (alone(x, y), alone(y, x)),
        (order(x, y, batch, rows, inner), order(y, x, batch, inner, columns)),
        ((*lead, size(rows), size(inner)), (*lead, size(inner), size(columns))),
        tuple(sizes[c] for c in made),
        tuple(made.index(c) for c in out),
    )


def _matrices(
    x: np.ndarray, summed: tuple[int, ...], order: tuple[int, ...], shape: tuple[int, ...]
) -> np.ndarray:
    """An operand as matrices, where it lies if two axes are all they have."""
    if summed:
        x = reductions.sum(x, summed, keepdims=False)
    x = x.transpose(order)
    return x if x.shape == shape else contiguous(x).reshape(shape)


def _product(equation: str, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """Two operands contracted; None where that is no product of matrices."""
    if x.dtype != y.dtype or x.dtype.char not in "fd":
        return None
    pair = _pair(equation, x.shape, y.shape)
    if pair is None:
        return None
    operands = zip((x, y), pair.summed, pair.orders, pair.shapes, strict=True)
    found = matmul(*(_matrices(*given) for given in operands))
    return found.reshape(pair.made).transpose(pair.back)


def einsum(equation: str, *xs: np.ndarray) -> np.ndarray:
    """The sum of products that an explicit equation ("ij,jk->ik") names, in row-major order.

    Args:
        equation: no letter twice in one operand, no "...".
        xs: arrays of one dtype.
    """
    left = list(xs)
    for places, step in _steps(equation, tuple([x.shape for x in xs])):
        taken = [left[i] for i in places]
        left = [x for i, x in enumerate(left) if i not in places]
        found = _product(step, *taken) if len(taken) == 2 else None
        left.append(np.einsum(step, *taken) if found is None else found)
    return contiguous(left[0]) if left[0].ndim and len(xs) > 1 else np.array(left[0], order="C")
