"""Odd functions that level off, as a polynomial for each of 32 pieces of their way there.

    tanh = Pieces(math.tanh, growing(-4), degree=5)
    if by_avx512(x): return tanh(x)

AVX-512 finds each of sixteen numbers its coefficient among 32, which stand in two registers, with
one instruction: fewer than an exponential and a quotient take. Coefficients interpolate in
Chebyshev's points, in float64, and are computed with the first kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from dyn.kernels.vector.value import F32, INT32, Value, call_llvm, choose, fma
from dyn.kernels.vector.vmath_steps import WHOLE

_PIECES = 32


class Division(NamedTuple):
    """How numbers from 0 on are divided into pieces.

    Attributes:
        edges: where the pieces start and, with one more, where the last one ends.
        number: the number of the piece of each float, in the last five bits.
        first: the number of the first piece; after 31 comes 0.
    """

    edges: tuple[float, ...]
    number: Callable[[Value], Value]
    first: int


def even(step: float) -> Division:
    """Pieces that are a step long; the first one starts half a step below 0."""
    edges = ((i - 0.5) * step for i in range(_PIECES + 1))
    return Division(tuple(edges), lambda size: fma(size, 1 / step, WHOLE).bits(INT32), 0)


def growing(exponent: int) -> Division:
    """Four pieces from 2^exponent to its double, four on to the next, and so on.

    The first one starts at 0: they are short where an odd function has to be exact.
    """
    edges = [2.0 ** (exponent + i // 4) * (1 + i % 4 / 4) for i in range(_PIECES + 1)]

    def number(size: Value) -> Value:
        # The exponent and two bits of the mantissa.
        return choose(size < edges[0], edges[0], size).bits(INT32) >> 21

    return Division((-edges[1], *edges[1:]), number, (exponent + 127) * 4 % _PIECES)


class Pieces:
    """An odd function for vectors of sixteen float32 numbers on processors with AVX-512.

    Attributes:
        function: of float64 numbers; its slope at 0 is best a float32.
        division: into pieces. From the middle of the last one on the function stays the same.
        degree: of the polynomials.
    """

    def __init__(self, function: Callable[[float], float], division: Division, degree: int) -> None:
        self.function = function
        self.division = division
        self.degree = degree

    @cached_property
    def middles(self) -> list[float]:
        """About the middle of each piece: where the function is almost a float32.

        Rounding it there loses nothing.
        """
        edges = self.division.edges
        return [0.0, *(self._best((a + b) / 2, b - a) for a, b in pairwise(edges[1:]))]

    def _best(self, middle: float, length: float) -> float:
        def lost(x: float) -> float:
            exact = self.function(x)
            return abs(float(np.float32(exact)) - exact)

        return min((middle + i * 2.0**-12 * length for i in range(-64, 65)), key=lost)

    @cached_property
    def powers(self) -> list[list[float]]:
        """For each power of the way from the middle, highest first, its factors in all pieces."""
        pieces = zip(pairwise(self.division.edges), self.middles, strict=True)
        factors = [
            self._around(a, b, middle) if middle else self._odd(b) for (a, b), middle in pieces
        ]
        return [list(power) for power in zip(*factors, strict=True)][::-1]

    def _around(self, start: float, stop: float, middle: float) -> list[float]:
        """The polynomial in x - middle, the lowest power first."""
        return _interpolated(
            lambda t: self.function(middle + t), start - middle, stop - middle, self.degree
        )

    def _odd(self, stop: float) -> list[float]:
        """That around 0, with odd powers only: its relative error is small, too."""
        found = [0.0] * (self.degree + 1)
        found[1::2] = _interpolated(
            lambda t: self.function(math.sqrt(t)) / math.sqrt(t),
            0.0,
            stop**2,
            (self.degree - 1) // 2,
        )
        return found

    def __call__(self, x: Value) -> Value:
        """The function of x; NaN stays."""
        size = abs(x)
        size = choose(size > self.middles[-1], self.middles[-1], size)
        piece = self.division.number(size)
        middle, found, *rest = (
            self._picked(table, piece) for table in (self.middles, *self.powers)
        )
        away = size - middle
        for factor in rest:
            found = fma(found, away, factor)
        return found.call("copysign", x)

    def _picked(self, table: list[float], piece: Value) -> Value:
        """The number that a table of all pieces has for the piece of each lane."""
        kind, first = ir.VectorType(F32, 16), self.division.first
        numbers = np.roll(np.float32(table), first).tolist()
        low, high = (ir.Constant(kind, half) for half in (numbers[:16], numbers[16:]))
        arguments: list[Any] = [low, piece.value, high]
        name = "llvm.x86.avx512.vpermi2var.ps.512"
        return piece.made(call_llvm(piece.builder, name, kind, arguments))


def _interpolated(
    function: Callable[[float], float], low: float, high: float, degree: int
) -> list[float]:
    """The polynomial, lowest power first, that equals a function in Chebyshev's points."""
    count = np.arange(degree + 1)
    points = (low + high) / 2 + (high - low) / 2 * np.cos((count + 0.5) * np.pi / (degree + 1))
    # In units of the interval, or high powers would be tiny.
    powers = np.vander(points / high, increasing=True)
    values = [function(point) for point in points.tolist()]
    return list(np.linalg.solve(powers, values) / high**count)
