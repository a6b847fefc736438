"""Resampling of the last two spatial axes of images: the vector code, a band of rows at a time.

What an output takes is said by tables, one per axis: its first input, how many there are, and their
weights. An axis is a pass of its own, because interpolation is separable: the columns of a row are
resampled number by number (or run by run, where channels lie last), rows are summed as a whole. The
pass over columns comes first where that leaves fewer rows to do. Tables are made in `resample.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.bytes import clear_bytes
from dyn.kernels.runtime.jit import call_address, instance, intrinsic, task
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.simd import F32, F64, WORD, Emitter, Value, choose, fma, loop
from dyn.kernels.vector.value import INT32

BAND = 32
"""Rows of the output that are made together."""
GATHER = 16
"""Tables for single numbers are filled up to a multiple of this many outputs."""

(
    SOURCE, TARGET, SCRATCH, SPACE, PLANES, IN_H, IN_W, OUT_H, OUT_W, INNER, SIZE, ROWS, COLUMNS,
    COMBINE, COLUMNS_OF,
) = range(15)  # fmt: skip
"""Words of the task: `id`s of the arrays; bytes of a thread's scratch; sizes, of which INNER is how
many numbers lie at every place and SIZE the bytes of one; `id`s of the tables of both axes; the
addresses of the microkernels.

Words of a table, zeros for an axis that stays as it is: number of taps at most; addresses of
[outputs, 2] first inputs and counts, of [outputs, taps] weights, and for single numbers of
[taps, padded] byte offsets, [taps, padded] weights and [padded] counts.
"""
TAPS, SPANS, WEIGHTS, OFFSETS, WIDE_WEIGHTS, COUNTS = range(6)


def _combiner(element: Any) -> Any:
    """The intrinsic that sums rows for an element type."""

    @intrinsic
    def combine(
        typing: Any, source: Any, step: Any, taps: Any, weights: Any, target: Any, count: Any
    ) -> Any:
        """target[i] = the sum over taps t of weights[t] * source[t * step + i], i below count.

        There is at least one tap.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, step, taps, weights, target, count = arguments
            emit = Emitter(builder, element)

            def several(unroll: int) -> Any:
                def write(offset: Any, carried: Any, mask: Any) -> list[Value]:
                    at = [builder.add(offset, WORD(u * emit.bytes)) for u in range(unroll)]
                    weight = emit.splat_at(weights)
                    start = [emit.load(builder.add(source, a), mask) * weight for a in at]

                    def tap(t: Any, sums: list[Value]) -> list[Value]:
                        own = builder.add(weights, builder.mul(t, WORD(emit.size)))
                        weight = emit.splat_at(own)
                        row = builder.add(source, builder.mul(t, step))
                        return [
                            fma(emit.load(builder.add(row, a), mask), weight, s)
                            for a, s in zip(at, sums, strict=True)
                        ]

                    made = loop(builder, WORD(1), taps, WORD(1), tap, start)
                    for value, a in zip(made, at, strict=True):
                        emit.store(value, builder.add(target, a), mask)
                    return []

                return write

            end = builder.mul(count, WORD(emit.size))
            turn = WORD(4 * emit.bytes)
            whole = builder.mul(builder.sdiv(end, turn), turn)
            wide = several(4)
            loop(builder, WORD(0), whole, turn, lambda at, _: wide(at, (), None))
            rest = builder.sdiv(builder.sub(end, whole), WORD(emit.size))
            single = several(1)
            emit.row(
                rest, lambda at, c, mask: single(builder.add(whole, at), c, mask), (), unroll=1
            )
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    return combine


def _gatherer(element: Any) -> Any:
    """The intrinsic that sums single numbers of a row for an element type."""

    @intrinsic
    def gather(typing: Any, source: Any, table: Any, padded: Any, target: Any, count: Any) -> Any:
        """target[j] = the sum over taps of single numbers of a row, by a table, j below count."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, table, padded, target, count = arguments
            emit = Emitter(builder, element)
            words = Emitter(builder, WORD, 1)

            def word(place: int) -> Any:
                return words.number_at(builder.add(table, WORD(8 * place))).value

            taps, offsets, weights, counts = map(word, (TAPS, OFFSETS, WIDE_WEIGHTS, COUNTS))

            def read(at: Any) -> Value:
                """The numbers whose byte offsets stand at an address."""
                found = ir.Constant(emit.vector, ir.Undefined)
                for lane in range(emit.lanes):
                    place = words.number_at(builder.add(at, WORD(8 * lane))).value
                    number = emit.number_at(builder.add(source, place)).value
                    found = builder.insert_element(found, number, INT32(lane))
                return Value(builder, found)

            def step(offset: Any, carried: Any, mask: Any) -> list[Value]:
                limit = emit.load(builder.add(counts, offset))
                places = builder.mul(offset, WORD(8 // emit.size))

                def tap(t: Any, sums: list[Value]) -> list[Value]:
                    row = builder.mul(t, padded)
                    own = builder.add(builder.add(offsets, builder.mul(row, WORD(8))), places)
                    at = builder.add(weights, builder.mul(row, WORD(emit.size)))
                    weight = emit.load(builder.add(at, offset))
                    number = emit.splat(builder.sitofp(t, element))
                    total = fma(read(own), weight, sums[0])
                    return [choose(number < limit, total, sums[0])]

                first = read(builder.add(offsets, places))
                first = first * emit.load(builder.add(weights, offset))
                first = choose(limit > 0, first, 0)
                made = loop(builder, WORD(1), taps, WORD(1), tap, [first])
                emit.store(made[0], builder.add(target, offset), mask)
                return []

            emit.row(count, step, (), unroll=1)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), generate

    return gather


def _combine(source, step, taps, weights, target, count):
    if taps > 0:
        combine(source, step, taps, weights, target, count)  # type: ignore[name-defined]  # noqa: F821
    else:  # nor is there a source
        clear_bytes(target, count * ELEMENT)  # type: ignore[name-defined]  # noqa: F821


def _columns(source, table, target, count, inner):
    """One row of outputs, [count, inner], from one of inputs."""
    if inner == 1:
        padded = (count + GATHER - 1) // GATHER * GATHER
        gather(source, table, padded, target, count)  # type: ignore[name-defined]  # noqa: F821
        return
    run = inner * ELEMENT  # type: ignore[name-defined]  # noqa: F821
    taps, spans = argument(table, TAPS), argument(table, SPANS)
    weights = argument(table, WEIGHTS)
    for j in range(count):
        number = argument(spans, 2 * j + 1)
        if number == 0:
            clear_bytes(target + j * run, run)
            continue
        combine(  # type: ignore[name-defined]  # noqa: F821
            source + argument(spans, 2 * j) * run,
            run,
            number,
            weights + j * taps * ELEMENT,  # type: ignore[name-defined]  # noqa: F821
            target + j * run,
            inner,
        )


def _made(name: str, element: Any, size: int) -> tuple[Any, Any]:
    """The microkernels that sum rows and that resample the columns of a row."""
    combine, gather = _combiner(element), _gatherer(element)
    return (
        instance(f"resample_rows_{name}", _combine, combine=combine, ELEMENT=size),
        instance(
            f"resample_columns_{name}", _columns, combine=combine, gather=gather, ELEMENT=size
        ),
    )


CODES = {
    np.dtype(np.float32): _made("float32", F32, 4),
    np.dtype(np.float64): _made("float64", F64, 8),
}


@task
def bands(args, chunk, chunks):
    """Some bands of some planes [height, width, inner]; a band has BAND rows of the output."""
    size = argument(args, SIZE)
    inner, out_w = argument(args, INNER), argument(args, OUT_W)
    in_h, out_h = argument(args, IN_H), argument(args, OUT_H)
    combine, columns_of = argument(args, COMBINE), argument(args, COLUMNS_OF)
    rows, columns = data(argument(args, ROWS)), data(argument(args, COLUMNS))
    keep_h, keep_w = argument(rows, SPANS) == 0, argument(columns, SPANS) == 0
    in_line, out_line = argument(args, IN_W) * inner * size, out_w * inner * size
    spans, weights = argument(rows, SPANS), argument(rows, WEIGHTS)
    taps = argument(rows, TAPS)
    count = (out_h + BAND - 1) // BAND
    units = argument(args, PLANES) * count
    pool = data(argument(args, SCRATCH))
    slot = take(pool)
    space = buffer(pool, slot, argument(args, SPACE))
    columns_first = not keep_h and not keep_w and out_h >= in_h
    for unit in range(units * chunk // chunks, units * (chunk + 1) // chunks):
        source = data(argument(args, SOURCE)) + unit // count * in_h * in_line
        target = data(argument(args, TARGET)) + unit // count * out_h * out_line
        start = unit % count * BAND
        stop = min(out_h, start + BAND)
        low, high, into = start, stop, target
        line = in_line
        if columns_first:
            low, high = in_h, 0
            for h in range(start, stop):
                if argument(spans, 2 * h + 1) > 0:
                    low = min(low, argument(spans, 2 * h))
                    high = max(high, argument(spans, 2 * h) + argument(spans, 2 * h + 1))
            into = space - low * out_line
            line = out_line
        if columns_first or keep_h:
            for h in range(low, high):
                at = source + h * in_line
                call_address(columns_of, at, columns, into + h * out_line, out_w, inner)
        if not keep_h:
            source = into if columns_first else source
            for h in range(start, stop):
                to = target + h * out_line
                call_address(
                    combine,
                    source + argument(spans, 2 * h) * line,
                    line,
                    argument(spans, 2 * h + 1),
                    weights + h * taps * size,
                    to if columns_first or keep_w else space,
                    line // size,
                )
                if not columns_first and not keep_w:
                    call_address(columns_of, space, columns, to, out_w, inner)
    leave(pool, slot)
