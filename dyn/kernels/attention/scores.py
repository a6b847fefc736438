"""The vector parts of attention: what is done to a block of scores between two matrix products.

A block holds [keys][QUERIES] float32 numbers: the queries lie along the vectors, so a softmax over
keys needs no sums across lanes. It is taken online: each query's largest score and sum of
exponentials so far are rescaled as blocks of keys arrive. Vectors are taken in strips of a panel of
the product's tiles. Loops over blocks, and the products, are in `block.py`.

Source: Milakov & Gimelshein, Online Normalizer Calculation for Softmax, arXiv 1805.02867.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from dyn.kernels.gemm.tile import HEIGHTS, VECTORS
from dyn.kernels.runtime.jit import microkernel
from dyn.kernels.softmax import larger
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.simd import (
    F32,
    F64,
    INT32,
    WORD,
    Emitter,
    Value,
    choose,
    fma,
    intrinsic,
    loop,
)
from dyn.kernels.vector.simd import total as total_of
from dyn.kernels.vector.vmath import exp_down, log

QUERIES = 64
"""Queries of a block: a whole number of panels for every LANES."""
ROW_BYTES = 4 * QUERIES
PANEL = VECTORS * LANES


def _emitting(count: int, write: Callable[..., None]) -> Any:
    """The generator of a function of `count` words."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        write(Emitter(builder, F32), *arguments)
        return context.get_dummy_value()

    return types.void(*[types.int64] * count), generate


def _number(emit: Emitter, word: Any) -> Value:
    """The float64 in a word, as float32 in every lane."""
    return emit.splat(Value(emit.builder, emit.builder.bitcast(word, F64)).to(F32))


def _strips(
    emit: Emitter, queries: Any, keys: Any, shift: Any, strip: Callable[[Any, Any], None]
) -> None:
    """`strip(first, limit)` for each strip of queries; no key from `limit` on is seen.

    Some keys beyond the diagonal belong to a strip, those that a tile of a product reaches.
    """
    builder = emit.builder

    def turn(first: Any, carried: list[Value]) -> list[Value]:
        limit = builder.add(builder.add(first, shift), WORD(PANEL + HEIGHTS[0]))
        less = builder.icmp_signed("<", limit, keys)
        strip(first, builder.select(less, limit, keys))
        return carried

    loop(builder, WORD(0), queries, WORD(PANEL), turn)


def _places(emit: Emitter, block: Any, first: Any, key: Any) -> list[Any]:
    """Addresses of a strip's vectors at a key."""
    builder = emit.builder
    row = builder.add(block, builder.mul(key, WORD(ROW_BYTES)))
    row = builder.add(row, builder.mul(first, WORD(4)))
    return [builder.add(row, WORD(v * emit.bytes)) for v in range(VECTORS)]


def _mask_scores(
    emit: Emitter, s: Any, keys: Any, queries: Any, shift: Any, scale: Any, bias: Any,
    bias_key: Any, bias_wide: Any,
) -> None:  # fmt: skip
    builder, factor = emit.builder, _number(emit, scale)
    wide = builder.icmp_signed("!=", bias_wide, WORD(0))
    lanes = Value(builder, ir.Constant(ir.VectorType(INT32, LANES), list(range(LANES))))

    def strip(first: Any, limit: Any) -> None:
        starts = [builder.add(first, WORD(v * LANES)) for v in range(VECTORS)]
        masks = [emit.mask_below(builder.sub(queries, start)) for start in starts]
        last = [
            lanes + emit.splat(builder.trunc(builder.add(start, shift), INT32)) for start in starts
        ]

        def turn(key: Any, carried: list[Value]) -> list[Value]:
            row = builder.add(bias, builder.mul(key, bias_key))
            number = emit.splat(builder.trunc(key, INT32))
            places = _places(emit, s, first, key)
            with builder.if_else(wide) as (yes, no):
                with yes:
                    loaded = [
                        emit.load(builder.add(row, builder.mul(start, WORD(4))), mask)
                        for start, mask in zip(starts, masks, strict=True)
                    ]
                    after_yes = builder.block
                with no:
                    single = emit.splat_at(row)
                    after_no = builder.block
            shifts = []
            for one in loaded:
                phi = builder.phi(emit.vector)
                phi.add_incoming(one.value, after_yes)
                phi.add_incoming(single.value, after_no)
                shifts.append(Value(builder, phi))
            for at, most, add in zip(places, last, shifts, strict=True):
                found = choose(number <= most, fma(emit.load(at), factor, add), -math.inf)
                emit.store(found, at)
            return carried

        loop(builder, WORD(0), limit, WORD(1), turn)

    _strips(emit, queries, keys, shift, strip)


def _update_softmax(
    emit: Emitter, s: Any, keys: Any, queries: Any, shift: Any, scale: Any, tops: Any, sums: Any,
    factors: Any,
) -> None:  # fmt: skip
    builder, factor = emit.builder, _number(emit, scale)

    def strip(first: Any, limit: Any) -> None:
        at_tops, at_sums, at_factors = (
            _places(emit, start, first, WORD(0)) for start in (tops, sums, factors)
        )

        def look(key: Any, carried: list[Value]) -> list[Value]:
            places = _places(emit, s, first, key)
            return [larger(emit.load(p) * factor, c) for p, c in zip(places, carried, strict=True)]

        old = [emit.load(at) for at in at_tops]
        new = loop(builder, WORD(0), limit, WORD(1), look, old)
        base = [choose(top == -math.inf, 0.0, top) for top in new]

        def turn(key: Any, carried: list[Value]) -> list[Value]:
            given = []
            for at, low, weight in zip(_places(emit, s, first, key), base, carried, strict=True):
                e = exp_down(fma(emit.load(at), factor, -low))
                emit.store(e, at)
                given.append(weight + e)
            return given

        weights = loop(builder, WORD(0), limit, WORD(1), turn, [emit.numbers(0.0)] * VECTORS)
        for v in range(VECTORS):
            shrink = exp_down(old[v] - base[v])
            emit.store(shrink, at_factors[v])
            emit.store(new[v], at_tops[v])
            emit.store(fma(emit.load(at_sums[v]), shrink, weights[v]), at_sums[v])

    _strips(emit, queries, keys, shift, strip)


def _begin_softmax(emit: Emitter, tops: Any, sums: Any) -> None:
    for at in range(0, ROW_BYTES, emit.bytes):
        emit.store(emit.numbers(-math.inf), emit.builder.add(tops, WORD(at)))
        emit.store(emit.numbers(0.0), emit.builder.add(sums, WORD(at)))


def _finish_softmax(
    emit: Emitter, queries: Any, tops: Any, sums: Any, factors: Any, lse: Any
) -> None:
    builder = emit.builder

    def write(at: Any, carried: list[Value], mask: Any) -> list[Value]:
        weight = emit.load(builder.add(sums, at), mask)
        top = emit.load(builder.add(tops, at), mask)
        emit.store(log(weight) + top, builder.add(lse, at), mask)
        emit.store(choose(weight == 0.0, 1.0, 1.0 / weight), builder.add(factors, at), mask)
        return []

    emit.row(queries, write, unroll=1)


def _scale_rows(emit: Emitter, c: Any, step: Any, rows: Any, width: Any, factors: Any) -> None:
    builder = emit.builder

    def turn(row: Any, carried: list[Value]) -> list[Value]:
        start = builder.add(c, builder.mul(row, step))
        factor = emit.splat_at(builder.add(factors, builder.mul(row, WORD(4))))

        def scale(at: Any, c: list[Value], mask: Any) -> list[Value]:
            place = builder.add(start, at)
            emit.store(emit.load(place, mask) * factor, place, mask)
            return []

        emit.row(width, scale, unroll=2)
        return carried

    loop(builder, WORD(0), rows, WORD(1), turn)


def _zero_rows(emit: Emitter, c: Any, step: Any, rows: Any, width: Any) -> None:
    builder = emit.builder

    def turn(row: Any, carried: list[Value]) -> list[Value]:
        start = builder.add(c, builder.mul(row, step))

        def clear(at: Any, c: list[Value], mask: Any) -> list[Value]:
            emit.store(emit.numbers(0.0), builder.add(start, at), mask)
            return []

        emit.row(width, clear, unroll=2)
        return carried

    loop(builder, WORD(0), rows, WORD(1), turn)


def _row_dots(
    emit: Emitter, g: Any, g_step: Any, out: Any, out_step: Any, rows: Any, width: Any, lse: Any,
    bases: Any, inner: Any,
) -> None:  # fmt: skip
    builder = emit.builder

    def turn(row: Any, carried: list[Value]) -> list[Value]:
        at_g = builder.add(g, builder.mul(row, g_step))
        at_out = builder.add(out, builder.mul(row, out_step))
        place = builder.mul(row, WORD(4))

        def multiply(at: Any, c: list[Value], mask: Any) -> list[Value]:
            a = emit.load(builder.add(at_g, at), mask)
            return [fma(a, emit.load(builder.add(at_out, at), mask), c[0])]

        (sums,) = emit.row(width, multiply, [emit.numbers(0.0)], unroll=2)
        emit.put_number(total_of(*sums), builder.add(inner, place))
        weight = emit.number_at(builder.add(lse, place))
        low = choose(weight == -math.inf, 0.0, weight)
        emit.put_number(low, builder.add(bases, place))
        return carried

    loop(builder, WORD(0), rows, WORD(1), turn)


def _scores_grad(
    emit: Emitter, s: Any, ds: Any, keys: Any, queries: Any, shift: Any, factor: Any, scale: Any,
    bases: Any, inner: Any,
) -> None:  # fmt: skip
    builder = emit.builder
    factor, scale = _number(emit, factor), _number(emit, scale)

    def strip(first: Any, limit: Any) -> None:
        base, mean = (
            [emit.load(at) for at in _places(emit, start, first, WORD(0))]
            for start in (bases, inner)
        )

        def turn(key: Any, carried: list[Value]) -> list[Value]:
            at_s, at_ds = (_places(emit, block, first, key) for block in (s, ds))
            for v in range(VECTORS):
                p = exp_down(fma(emit.load(at_s[v]), factor, -base[v]))
                emit.store(p, at_s[v])
                # The products leave out tiles beyond the diagonal: there `ds` holds anything.
                slope = p * (emit.load(at_ds[v]) - mean[v]) * scale
                emit.store(choose(p == 0.0, 0.0, slope), at_ds[v])
            return carried

        loop(builder, WORD(0), limit, WORD(1), turn)

    _strips(emit, queries, keys, shift, strip)


@intrinsic
def _mask_scores_f32(typing, s, keys, queries, shift, scale, bias, bias_key, bias_wide):
    return _emitting(8, _mask_scores)


@intrinsic
def _update_softmax_f32(typing, s, keys, queries, shift, scale, tops, sums, factors):
    return _emitting(8, _update_softmax)


@intrinsic
def _begin_softmax_f32(typing, tops, sums):
    return _emitting(2, _begin_softmax)


@intrinsic
def _finish_softmax_f32(typing, queries, tops, sums, factors, lse):
    return _emitting(5, _finish_softmax)


@intrinsic
def _scale_rows_f32(typing, c, step, rows, width, factors):
    return _emitting(5, _scale_rows)


@intrinsic
def _zero_rows_f32(typing, c, step, rows, width):
    return _emitting(4, _zero_rows)


@intrinsic
def _row_dots_f32(typing, g, g_step, out, out_step, rows, width, lse, bases, inner):
    return _emitting(9, _row_dots)


@intrinsic
def _scores_grad_f32(typing, s, ds, keys, queries, shift, factor, scale, bases, inner):
    return _emitting(9, _scores_grad)


@microkernel(8)
def mask_scores(s, keys, queries, shift, scale, bias, bias_key, bias_wide):
    """s = s * scale + bias; -inf where key > query + shift.

    `bias_key` is in bytes from key to key; `bias_wide` whether it differs from query to query,
    which are then neighbours. `scale` is a float64 in a word.
    """
    _mask_scores_f32(s, keys, queries, shift, scale, bias, bias_key, bias_wide)


@microkernel(8)
def update_softmax(s, keys, queries, shift, scale, tops, sums, factors):
    """s = exp(s * scale - top); updates each query's top and sum of exponentials.

    `factors` become what earlier exponentials are to be multiplied with.
    """
    _update_softmax_f32(s, keys, queries, shift, scale, tops, sums, factors)


@microkernel(2)
def begin_softmax(tops, sums):
    """Top and sum of queries that have seen nothing yet."""
    _begin_softmax_f32(tops, sums)


@microkernel(5)
def finish_softmax(queries, tops, sums, factors, lse):
    """Logarithms of the sums of exponentials; `factors` become 1 / sum, 1 where that is 0."""
    _finish_softmax_f32(queries, tops, sums, factors, lse)


@microkernel(5)
def scale_rows(c, step, rows, width, factors):
    """Multiply each row of a matrix by a number of its own."""
    _scale_rows_f32(c, step, rows, width, factors)


@microkernel(4)
def zero_rows(c, step, rows, width):
    """Set the rows of a matrix to zero."""
    _zero_rows_f32(c, step, rows, width)


@microkernel(9)
def row_dots(g, g_step, out, out_step, rows, width, lse, bases, inner):
    """inner = sum of g * out of each query; bases = lse, 0 where a query sees nothing."""
    _row_dots_f32(g, g_step, out, out_step, rows, width, lse, bases, inner)


@microkernel(9)
def scores_grad(s, ds, keys, queries, shift, factor, scale, bases, inner):
    """s = exp(s * factor - base); ds = s * (ds - inner) * scale."""
    _scores_grad_f32(s, ds, keys, queries, shift, factor, scale, bases, inner)
