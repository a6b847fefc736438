"""The microkernels of direct convolution, emitted as LLVM vector IR.

A tile is a block of outputs held in registers while a reduction runs over it. Its rows are wherever
a table says they are, so padding, stride, dilation, groups and memory layout are the caller's
business, and the same microkernels serve convolution and both its gradients. One goes over many
rows, a tile at a time; loops beyond that do not belong here (`bands`, `weight`).

Method: indirect convolution (Dukhan, arXiv 1907.02129), with one table of row offsets for all taps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from dyn.kernels.runtime.bytes import put_word
from dyn.kernels.runtime.jit import Microkernel, instance, kernel
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.factors import Rows, accumulate, paired, scattered
from dyn.kernels.vector.simd import (
    BYTE,
    F32,
    F64,
    LANES,
    WORD,
    Emitter,
    Value,
    fma,
    intrinsic,
    repeat,
)
from dyn.kernels.vector.sums import store_sums

WIDE = {16: 14, 8: 6, 4: 6}[LANES]
"""Rows of a tile two vectors wide: accumulators and operands just fit the vector registers."""
NARROW = {16: 14, 8: 10, 4: 10}[LANES]
"""Rows of a tile one vector wide."""
LOW = {16: 8, 8: 4, 4: 4}[LANES]
"""Rows of a lower tile two vectors wide, for what is left of few pixels of many channels."""

(
    STEPS, STEP_TABLE, RUN, A_STEP, B_STEP, A, B, C, ROW_TABLE, COUNT, WIDTH, BIAS, FLAGS,
    AHEAD, AHEAD_STEP,
) = range(15)  # fmt: skip
"""Words of a job, at the address that the kernel gets; the last two are those of "far" kernels."""


def _tile(
    element: ir.Type, rows: int, columns: int, kind: str = "scattered", *, far: bool = False
) -> Any:
    """The generator of one tile kernel, `columns` vectors wide.

    C[r, :] = sum over t < STEPS, i < RUN of
                  A[A + row_table[r].a + step_table[t].a + i * A_STEP]
                * B[B + step_table[t].b + i * B_STEP, :]       (+ C) (+ bias) (relu)

    The tables hold pairs of byte offsets: (A, B) per step, (A, C) per row; steps are in bytes.
    `left` rows at most, and WIDTH elements of each, are stored; STEPS, RUN and `left` are at least
    1. BIAS is an address or 0; FLAGS are those of `store_sums`.

    Kinds: an element of A meets `columns` vectors of B; rows beyond `left` read what the last one
    reads. In "paired" tiles all rows are there, every second one as far from the one before it as
    the second from the first. In "lanewise" tiles A has as many vectors as B.

    A tile for weights that are `far` asks in every step for a line of those that come next, from
    AHEAD on, AHEAD_STEP bytes after the last: what a tile reads for the first time would come
    slower from beyond the cache than it is multiplied, while the tiles after it wait for nothing.
    """

    @intrinsic
    def tile(typing: Any, job: Any, row_table: Any, left: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            address, row_table, left = arguments
            words = [
                _word_at(builder, address, 8 * i) for i in range((AHEAD_STEP if far else FLAGS) + 1)
            ]
            emit = Emitter(builder, element)
            starts, ends = _rows(builder, rows, words, row_table, left)
            sums = _reduce(emit, starts, columns, kind, words)
            store_sums(emit, sums, ends.__getitem__, left, words[WIDTH], words[BIAS], words[FLAGS])
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), generate

    return tile


def _word_at(builder: Any, address: Any, offset: int = 0) -> Any:
    """The 64-bit integer at an address."""
    return builder.load(builder.inttoptr(builder.add(address, WORD(offset)), WORD.as_pointer()))


def _rows(
    builder: Any, rows: int, words: list[Any], table: Any, left: Any
) -> tuple[list[Any], list[Any]]:
    """Where each row of A and of C starts; rows beyond `left` read what the last one reads."""
    last = builder.sub(left, WORD(1))
    starts, ends = [], []
    for r in range(rows):
        index = builder.select(builder.icmp_signed("<", WORD(r), last), WORD(r), last)
        entry = builder.add(table, builder.shl(index, WORD(4)))
        starts.append(builder.add(words[A], _word_at(builder, entry)))
        ends.append(builder.add(words[C], _word_at(builder, entry, 8)))
    return starts, ends


def _rows_at(emit: Emitter, starts: list[Any], offset: Any, kind: str, step: Any) -> Rows:
    """The rows at an offset from their starts."""
    builder = emit.builder
    if kind == "paired":
        apart = builder.sub(starts[1], starts[0])
        return paired(emit, [builder.add(start, offset) for start in starts[::2]], apart, step)
    pointers = [builder.inttoptr(start, BYTE.as_pointer()) for start in starts]
    return scattered(emit, pointers, offset, step)


def _reduce(
    emit: Emitter, starts: list[Any], columns: int, kind: str, words: list[Any]
) -> list[list[Value]]:
    """The two loops of the reduction; returns the accumulators, one list per row."""
    builder, taken = emit.builder, len(starts) * columns

    lines = [Value(builder, word) for word in words[AHEAD:AHEAD_STEP]]

    def step(carried: list[Value]) -> list[Value]:
        entry, lines, sums = carried[0], carried[1:-taken], carried[-taken:]
        a = _word_at(builder, entry.value)
        b = builder.add(words[B], _word_at(builder, entry.value, 8))
        rows = _rows_at(emit, starts, a, kind, words[A_STEP])
        count = len(rows.first)

        def run(carried: list[Value]) -> list[Value]:
            places, b, lines, sums = (
                carried[:count],
                carried[count],
                carried[count + 1 : -taken],
                carried[-taken:],
            )
            for line in lines:
                emit.fetch(line.value)
            vectors = [emit.load((b + v * emit.bytes).value) for v in range(columns)]
            if kind == "lanewise":
                for place, old in enumerate(sums):
                    r, v = divmod(place, columns)
                    own = builder.add(rows.address(places, r), WORD(v * emit.bytes))
                    sums[place] = fma(emit.load(own), vectors[v], old)
            else:
                sums = accumulate(emit, rows, places, vectors, sums)
            lines = [line + line.made(words[AHEAD_STEP]) for line in lines]
            return [*rows.following(places), b + b.made(words[B_STEP]), *lines, *sums]

        first = [*rows.first, entry.made(b), *lines, *sums]
        return [entry + 16, *repeat(builder, words[RUN], run, first)[count + 1 :]]

    first = [Value(builder, words[STEP_TABLE]), *lines, *[emit.numbers(0)] * taken]
    sums = repeat(builder, words[STEPS], step, first)[-taken:]
    return [sums[r * columns : (r + 1) * columns] for r in range(len(starts))]


def _body(job):
    row, left = argument(job, ROW_TABLE), argument(job, COUNT)
    while left > 0:
        tile(job, row, left)  # type: ignore[name-defined]  # noqa: F821
        row += 16 * rows  # type: ignore[name-defined]  # noqa: F821
        left -= rows  # type: ignore[name-defined]  # noqa: F821


@kernel
def _are_pairs(table, rows):
    """Whether every second of some rows is as far from the one before as the second is."""
    apart, differ = argument(table, 2) - argument(table, 0), 0
    for r in range(2, rows, 2):
        differ |= argument(table, 2 * r + 2) - argument(table, 2 * r) - apart
    return differ == 0


def _body_of_pairs(job):
    row, left = argument(job, ROW_TABLE), argument(job, COUNT)
    while left > 0:
        if left >= rows and _are_pairs(row, rows):  # type: ignore[name-defined]  # noqa: F821
            pairs(job, row, left)  # type: ignore[name-defined]  # noqa: F821
        else:
            tile(job, row, left)  # type: ignore[name-defined]  # noqa: F821
        row += 16 * rows  # type: ignore[name-defined]  # noqa: F821
        left -= rows  # type: ignore[name-defined]  # noqa: F821


def _body_of_far(job):
    row, left = argument(job, ROW_TABLE), argument(job, COUNT)
    asked = argument(job, STEPS) * argument(job, RUN) * argument(job, AHEAD_STEP)
    while left > 0:
        if left <= LOW:
            low(job, row, left)  # type: ignore[name-defined]  # noqa: F821
        elif left >= WIDE and _are_pairs(row, WIDE):
            pairs(job, row, left)  # type: ignore[name-defined]  # noqa: F821
        else:
            tile(job, row, left)  # type: ignore[name-defined]  # noqa: F821
        put_word(job, AHEAD, argument(job, AHEAD) + asked)
        row += 16 * WIDE
        left -= WIDE


def _instances(name: str, rows: int, columns: int) -> list[Microkernel]:
    """The microkernels for float32 and float64."""
    return [
        instance(
            f"{name}_{dtype}",
            _body_of_pairs,
            rows=rows,
            tile=_tile(element, rows, columns),
            pairs=_tile(element, rows, columns, "paired"),
        )
        for dtype, element in (("f32", F32), ("f64", F64))
    ]


def _far_instance(dtype: str, element: ir.Type) -> Microkernel:
    """The microkernel of wide tiles whose weights are far."""
    return instance(
        f"far_{dtype}",
        _body_of_far,
        low=_tile(element, LOW, 2, far=True),
        tile=_tile(element, WIDE, 2, far=True),
        pairs=_tile(element, WIDE, 2, "paired", far=True),
    )


wide_f32, wide_f64 = _instances("wide", WIDE, 2)
"""Tiles of WIDE rows and two vectors."""
far_f32, far_f64 = _far_instance("f32", F32), _far_instance("f64", F64)
FAR = {np.dtype("f4"): far_f32, np.dtype("f8"): far_f64}
"""The same for weights that are far, by dtype."""
narrow_f32, narrow_f64 = _instances("narrow", NARROW, 1)
"""Tiles of NARROW rows and one vector."""
lanes_f32, lanes_f64 = (
    instance(f"lanes_{name}", _body, rows=NARROW, tile=_tile(element, NARROW, 1, "lanewise"))
    for name, element in (("f32", F32), ("f64", F64))
)
"""Tiles of NARROW rows and one vector, channel by channel (depthwise)."""
