"""The transforms of Winograd's minimal filtering, emitted as LLVM vector IR over channels.

F(m x m, 3 x 3) computes m x m outputs from a tile of n x n inputs, n = m + 2, as
    Y = A' [(G w G') * (B' x B)] A            (' transposes, * multiplies number by number).
The matrices come from interpolation at n - 1 points and infinity (Toom, Cook) in exact fractions.
Points 0, +-3/4, +-3/2 give m = 4 less than half the rounding error of the usual 0, +-1, +-2.
Tiles, and the products between the transforms, are in `filtering` and `weight`.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308;
Barabasz et al., Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural
Networks, arXiv 1803.10986.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from numba import types

from dyn.kernels.runtime.jit import microkernel
from dyn.kernels.vector.simd import F32, WORD, Emitter, Value, choose, fma, intrinsic, loop
from dyn.kernels.vector.value import branch

Matrix = list[list[Fraction]]

POINTS = {
    2: [Fraction(0), Fraction(1), Fraction(-1)],
    4: [Fraction(0), Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2)],
}


def matrices(m: int) -> tuple[Matrix, Matrix, Matrix]:
    """A' (m x n), G (n x 3) and B' (n x n) of F(m, 3)."""
    points = POINTS[m]
    n = m + 2
    one, zero = Fraction(1), Fraction(0)

    def polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
        """Coefficients, lowest first, of the product of (x - root), filled up to n."""
        found = [one]
        for root in roots:
            shifted = [zero, *found]
            found = [s - root * f for s, f in zip(shifted, [*found, zero], strict=True)]
        return found + [zero] * (n - len(found))

    others = [[q for q in points if q != p] for p in points]
    b = [polynomial(rest) for rest in others] + [polynomial(points)]
    norms = [
        math.prod((p - q for q in rest), start=one) for p, rest in zip(points, others, strict=True)
    ]
    g = [[p**k / norm for k in range(3)] for p, norm in zip(points, norms, strict=True)]
    g.append([zero, zero, one])
    a = [[p**i for p in points] + [one if i == m - 1 else zero] for i in range(m)]
    return a, g, b


def transposed(matrix: Matrix) -> Matrix:
    """Rows as columns."""
    return [list(row) for row in zip(*matrix, strict=True)]


# ---- products of a constant matrix and vectors -------------------------------------------------


def _combine(row: Sequence[Fraction], vectors: Sequence[Value]) -> Value | None:
    """The sum of row[i] * vectors[i]; None if all factors are zero."""
    total = None
    for factor, vector in sorted(zip(row, vectors, strict=True), key=lambda pair: pair[0] != 1):
        if factor == 0:
            continue
        if total is None:
            total = vector if factor == 1 else vector * float(factor)
        elif abs(factor) == 1:
            total = total + vector if factor == 1 else total - vector
        else:
            total = fma(vector, float(factor), total)
    return total


def _apply(matrix: Matrix, vectors: Sequence[Value]) -> list[Any]:
    """The matrix times a column of vectors.

    Rows for the points p and -p differ in the signs of their odd powers: the even and the odd part
    are computed once for both.
    """
    results: list[Any] = [None] * len(matrix)
    for i, row in enumerate(matrix):
        if results[i] is not None:
            continue
        for j in range(i + 1, len(matrix)):
            twin = matrix[j]
            if results[j] is not None or [abs(f) for f in twin] != [abs(f) for f in row]:
                continue
            same = [f if f == t else Fraction(0) for f, t in zip(row, twin, strict=True)]
            other = [f if f != t else Fraction(0) for f, t in zip(row, twin, strict=True)]
            even, odd = _combine(same, vectors), _combine(other, vectors)
            if even is not None and odd is not None:
                results[i], results[j] = even + odd, even - odd
                break
        if results[i] is None:
            results[i] = _combine(row, vectors)
    return results


def _two_sided(matrix: Matrix, block: list[list[Value]]) -> list[list[Value]]:
    """M block M', number by number of vectors."""
    columns = [_apply(matrix, [row[j] for row in block]) for j in range(len(block))]
    return [_apply(matrix, [column[i] for column in columns]) for i in range(len(matrix))]


def _over_channels(emit: Emitter, count: Any, body: Any) -> None:
    """Call body(byte offset, mask) for whole vectors of `count` channels, then for the rest."""
    builder = emit.builder
    whole = builder.and_(count, WORD(-emit.lanes))
    end = builder.mul(whole, WORD(emit.size))

    def vector(offset: Any, _: list[Value]) -> list[Value]:
        body(offset, None)
        return []

    loop(builder, WORD(0), end, WORD(emit.bytes), vector)
    with builder.if_then(builder.icmp_signed("<", whole, count)):
        body(end, emit.mask_below(builder.sub(count, whole)))


def _table(emit: Emitter, table: Any, index: int) -> Any:
    """The address at a place in a table."""
    at = emit.builder.add(table, WORD(8 * index))
    return emit.builder.load(emit.pointer(at, WORD))


def _is_nonzero(builder: Any, word: Any) -> Any:
    """Whether an integer is not zero, as an LLVM bit."""
    return builder.icmp_signed("!=", word, WORD(0))


def _spread(matrix: Matrix) -> Any:
    """The generator of a transform from pixels to frequencies.

    target[f] = (M x M')[f] for the len(M)^2 frequencies f, `step` bytes apart; x[i][j] is read at
    table[i * width + j]. `count` channels; the target is filled up to whole vectors with zeros.
    """
    width = len(matrix[0])

    @intrinsic
    def spread(typing: Any, table: Any, count: Any, target: Any, step: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            table, count, target, step = arguments
            emit = Emitter(builder, F32)

            def body(offset: Any, mask: Any) -> None:
                block = [
                    [
                        emit.load(builder.add(_table(emit, table, i * width + j), offset), mask)
                        for j in range(width)
                    ]
                    for i in range(width)
                ]
                at = builder.add(target, offset)
                for row in _two_sided(matrix, block):
                    for vector in row:
                        emit.store(vector, at)
                        at = builder.add(at, step)

            _over_channels(emit, count, body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    return spread


def _gather(matrix: Matrix) -> Any:
    """The generator of a transform from frequencies to pixels.

    table[i * len(M) + j] gets (M s M')[i][j] (+ bias) (relu), where s[f] is at source + f * step.
    `count` channels; `bias` is an address or 0. The word at `alarm` is set to 1 if a result before
    the clamp is not finite: an infinity or NaN has then spread over its tile.
    """
    width = len(matrix[0])

    @intrinsic
    def gather(
        typing: Any,
        table: Any,
        count: Any,
        source: Any,
        step: Any,
        bias: Any,
        relu: Any,
        alarm: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            table, count, source, step, bias, relu, alarm = arguments
            emit = Emitter(builder, F32)
            low = builder.select(_is_nonzero(builder, relu), F32(0.0), F32(-math.inf))
            floor = emit.splat(low)

            def body(offset: Any, mask: Any) -> None:
                at = builder.add(source, offset)
                block: list[list[Value]] = []
                for _ in range(width):
                    row = []
                    for _ in range(width):
                        row.append(emit.load(at))
                        at = builder.add(at, step)
                    block.append(row)
                (shift,) = branch(
                    builder,
                    _is_nonzero(builder, bias),
                    lambda: [emit.load(builder.add(bias, offset), mask)],
                    lambda: [emit.numbers(0)],
                )
                test = emit.numbers(0)
                for i, row in enumerate(_two_sided(matrix, block)):
                    for j, vector in enumerate(row):
                        total = vector + shift
                        test = fma(total, 0.0, test)
                        # A comparison with NaN is false, so NaN stays.
                        total = choose(total < floor, floor, total)
                        place = _table(emit, table, i * len(matrix) + j)
                        emit.store(total, builder.add(place, offset), mask)
                if mask is not None:
                    test = choose(mask, test, 0.0)
                with builder.if_then((test != test).any(), likely=False):
                    builder.store(WORD(1), emit.pointer(alarm, WORD))

            _over_channels(emit, count, body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), generate

    return gather


_A4, _G4, _B4 = matrices(4)
_A2, _G2, _B2 = matrices(2)
_input4, _input2 = _spread(_B4), _spread(_B2)
_weight4, _weight2 = _spread(_G4), _spread(_G2)
_gradient4, _gradient2 = _spread(transposed(_A4)), _spread(transposed(_A2))
_output4, _output2 = _gather(_A4), _gather(_A2)
_back4, _back2 = _gather(transposed(_G4)), _gather(transposed(_G2))


@microkernel(4)
def input4(table, count, target, step):
    """B' x B of a tile of 6 x 6 pixels."""
    _input4(table, count, target, step)


@microkernel(4)
def input2(table, count, target, step):
    """B' x B of a tile of 4 x 4 pixels."""
    _input2(table, count, target, step)


@microkernel(4)
def weight4(table, count, target, step):
    """G w G' of a window, for m = 4."""
    _weight4(table, count, target, step)


@microkernel(4)
def weight2(table, count, target, step):
    """G w G' of a window, for m = 2."""
    _weight2(table, count, target, step)


@microkernel(7)
def output4(table, count, source, step, bias, relu, alarm):
    """A' s A: 4 x 4 outputs, plus bias, clamped."""
    _output4(table, count, source, step, bias, relu, alarm)


@microkernel(7)
def output2(table, count, source, step, bias, relu, alarm):
    """A' s A: 2 x 2 outputs, plus bias, clamped."""
    _output2(table, count, source, step, bias, relu, alarm)


@microkernel(4)
def gradient4(table, count, target, step):
    """A g A' of a tile of 4 x 4 gradients."""
    _gradient4(table, count, target, step)


@microkernel(4)
def gradient2(table, count, target, step):
    """A g A' of a tile of 2 x 2 gradients."""
    _gradient2(table, count, target, step)


@microkernel(7)
def back4(table, count, source, step, bias, relu, alarm):
    """G' s G: the gradient of a window, for m = 4."""
    _back4(table, count, source, step, bias, relu, alarm)


@microkernel(7)
def back2(table, count, source, step, bias, relu, alarm):
    """G' s G: the gradient of a window, for m = 2."""
    _back2(table, count, source, step, bias, relu, alarm)
