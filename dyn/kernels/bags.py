"""Sums of the rows of a table that bags of indices name, and their gradient.

The rows of a bag are added up in registers, a strip of columns at a time: they are read once, and
written nowhere; threads take bags. In the gradient threads take blocks of columns, and go through
the indices in order: sums do not depend on their number.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from dyn.kernels.copy import contiguous, filled
from dyn.kernels.embedding import embedding
from dyn.kernels.index import GRAIN, parted, unfailed, words_of
from dyn.kernels.index_tasks import valid
from dyn.kernels.runtime import drive
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch
from dyn.kernels.runtime.jit import instance, instances, kernel
from dyn.kernels.runtime.memory import maker
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer
from dyn.kernels.vector.simd import F32, F64, WORD, Emitter, Value, fma, intrinsic, loop

_I64 = np.int64(0)
ZERO, SIZE = np.float32(0), 4
"""What instances of a task have of their own: a zero of the elements, its bytes."""
STRIP = 4
"""Vectors of the sum that are held in registers."""
AHEAD = 8
"""Rows that are asked for ahead of their turn: they lie anywhere in the table."""
ARRAYS = 6
"""Words that name arrays: (table, index, offsets, shares, rows of bags, failed); then come the rows
of the table, the indices, the bags, the columns, the indices of each bag or -1 where the offsets
say, whether means are taken, whether rows have shares."""


@kernel
def _bag(args, b):
    """The indices of a bag, from the first to before the last; none where offsets do not fit.

    The first bag begins with the first index: those before it would belong to no bag.
    """
    count, each = argument(args, ARRAYS + 1), argument(args, ARRAYS + 4)
    first, last = b * each, b * each + each
    if each < 0:
        offsets = pointer(data(argument(args, 2)), _I64)
        first, last = offsets[b], count
        if b + 1 < argument(args, ARRAYS + 2):
            last = offsets[b + 1]
    if first < 0 or first > last or last > count or (b == 0 and first != 0):
        failed = pointer(data(argument(args, 5)), _I64)
        failed[0] = 1
        last = first
    return first, last


def _adding(element: ir.Type, *, shared: bool) -> Any:
    """The generator of out[:] = sum of table[index[i]] / number over first <= i < last.

    A strip of vectors stays in registers while the rows are added; with `shared`, each is
    multiplied by shares[i]. `end` is the number of indices: the row of one that comes AHEAD is
    asked for, in this bag or in one of the next.
    """

    @intrinsic
    def add_bag(
        typing: Any, table: Any, index: Any, shares: Any, out: Any, first: Any, last: Any,
        end: Any, width: Any, number: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            table, index, shares, out, first, last, end, width, number = arguments
            emit = Emitter(builder, element)
            step, number = builder.mul(width, WORD(emit.size)), emit.splat(number)
            latest = builder.sub(end, WORD(1))

            def row(i: Any) -> Any:
                """The address of the row that index i names."""
                at = builder.add(index, builder.mul(i, WORD(8)))
                place = builder.load(builder.inttoptr(at, WORD.as_pointer()))
                return builder.add(table, builder.mul(place, step))

            def strip(offset: Any, vectors: int, mask: Any = None) -> None:
                offsets = [builder.add(offset, WORD(v * emit.bytes)) for v in range(vectors)]

                def add(i: Any, sums: list[Value]) -> list[Value]:
                    ahead = builder.add(i, WORD(AHEAD))
                    inside = builder.icmp_signed("<", ahead, latest)
                    near, far = row(i), row(builder.select(inside, ahead, latest))
                    for at in offsets:
                        emit.fetch(builder.add(far, at))
                    found = [emit.load(builder.add(near, at), mask) for at in offsets]
                    if shared:
                        share = emit.splat_at(builder.add(shares, builder.mul(i, WORD(emit.size))))
                        return [fma(x, share, y) for x, y in zip(found, sums, strict=True)]
                    return [x + y for x, y in zip(found, sums, strict=True)]

                sums = loop(builder, first, last, WORD(1), add, [emit.numbers(0.0)] * vectors)
                for at, value in zip(offsets, sums, strict=True):
                    emit.store(value / number, builder.add(out, at), mask)

            def strips(vectors: int) -> Any:
                def body(offset: Any, _: Any) -> list[Value]:
                    strip(offset, vectors)
                    return []

                return body

            wide, single = WORD(STRIP * emit.bytes), WORD(emit.bytes)
            broad = builder.mul(builder.sdiv(step, wide), wide)
            whole = builder.mul(builder.sdiv(step, single), single)
            loop(builder, WORD(0), broad, wide, strips(STRIP))
            loop(builder, broad, whole, single, strips(1))
            with builder.if_then(builder.icmp_signed("<", whole, step)):
                rest = builder.sdiv(builder.sub(step, whole), WORD(emit.size))
                strip(whole, 1, emit.mask_below(rest))
            return context.get_dummy_value()

        kind = types.float32 if element is F32 else types.float64
        return types.void(*[types.int64] * 8, kind), generate

    return add_bag


add_rows, add_shares = _adding(F32, shared=False), _adding(F32, shared=True)
"""Stand for those of each dtype in its instance of a task; these are of float32."""


def _sum(args, chunk, chunks):
    table, places, shares = (
        data(argument(args, 0)),
        data(argument(args, 1)),
        data(argument(args, 3)),
    )
    out, failed = data(argument(args, 4)), pointer(data(argument(args, 5)), _I64)
    n, end, width = argument(args, 6), argument(args, 7), argument(args, 9)
    index = pointer(places, _I64)
    start, stop = bounds(argument(args, 8), chunk, chunks, 1)
    for b in range(start, stop):
        first, last = _bag(args, b)
        if not valid(index, first, last - first, n, 0):
            failed[0] = 1
            last = first
        number = ZERO + 1
        if argument(args, 11):
            number = ZERO + max(1, last - first)
        to = out + b * width * SIZE
        if argument(args, 12):
            add_shares(table, places, shares, to, first, last, end, width, number)
        else:
            add_rows(table, places, shares, to, first, last, end, width, number)


def _spread(args, chunk, chunks):
    """The last word is the columns of a block."""
    index, failed = pointer(data(argument(args, 1)), _I64), pointer(data(argument(args, 5)), _I64)
    table, g = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 4)), ZERO)
    shares, width = pointer(data(argument(args, 3)), ZERO), argument(args, 9)
    means, shared, block = argument(args, 11), argument(args, 12), argument(args, 13)
    bags = argument(args, 8)
    start, stop = bounds((width + block - 1) // block, chunk, chunks, 1)
    if not valid(index, 0, argument(args, 7), argument(args, 6), 0):
        failed[0] = 1
        bags = 0
    low, high = start * block, min(stop * block, width)
    for b in range(bags):
        source = b * width
        first, last = _bag(args, b)
        for i in range(first, last):
            row = index[i] * width
            share = ZERO + 1
            if shared:
                share = shares[i]
            elif means:
                share /= ZERO + (last - first)
            for c in range(low, high):
                table[row + c] += share * g[source + c]


_SUM = {
    np.dtype(code): instance(
        f"sum_bags_{code}",
        _sum,
        ZERO=np.dtype(code).type(0),
        SIZE=np.dtype(code).itemsize,
        add_rows=_adding(element, shared=False),
        add_shares=_adding(element, shared=True),
    )
    for code, element in (("f4", F32), ("f8", F64))
}
_SPREAD = instances("spread_bags", _spread, "f4 f8")


@lru_cache(1024)
def _plan(
    dtype: np.dtype, n: int, count: int, bags: int, width: int, settings: tuple[int, bool, bool]
) -> tuple[Callable[[], np.ndarray], Launch, Launch]:
    """What makes room for the sums, and the launches of sums and gradients over the six arrays."""
    words = (n, count, bags, width, *map(int, settings))
    size = (count + bags) * width * dtype.itemsize
    chunks, block = drive.chunks_of(size, GRAIN), parted(width, dtype.itemsize, 1)
    summed = Launch([(_SUM[dtype], min(bags, chunks))], ARRAYS, *words)
    spread = Launch([(_SPREAD[dtype], min(-(-width // block), chunks))], ARRAYS, *words, block)
    return maker((bags, width), dtype), summed, spread


def _over(
    table: np.ndarray, index: np.ndarray, offsets: np.ndarray | None, mean: bool, shared: bool
) -> Any:
    """`_plan` for these arrays."""
    each = -1 if offsets is not None else index.shape[1]
    bags = index.shape[0] if offsets is None else offsets.shape[0]
    n, width = table.shape
    return _plan(table.dtype, n, index.size, bags, width, (each, mean, shared))


def _complain(index: np.ndarray, offsets: np.ndarray | None, n: int) -> None:
    outside = index[(index < 0) | (index >= n)]
    if outside.size:
        raise IndexError(f"index {outside[0]} is not a row of a table of {n} rows")
    raise IndexError(
        f"offsets {offsets} must begin with 0, not decrease, nor leave the {index.size} indices "
        "that they cut"
    )


def sum_bags(
    index: np.ndarray,
    weight: np.ndarray,
    offsets: np.ndarray | None,
    shares: np.ndarray | None,
    mean: bool,
) -> np.ndarray:
    """The sum or mean of the rows of each bag, [bags, width]; zeros for bags of none.

    Args:
        index: [bags, n], or [count] with offsets.
        weight: [rows, width].
        offsets: [bags], the place in `index` where each bag begins, the first of them at 0; the
            last ends with it.
        shares: what each row counts, the shape of `index`; not with `mean`.
        mean: divide by the number of rows.

    Raises:
        IndexError: an index is not a row of `weight`, or offsets do not cut the indices into bags.
    """
    if weight.dtype not in _SUM:
        rows = embedding(index.reshape(-1), weight).astype(np.float32)
        places = np.arange(index.size).reshape(index.shape)
        shares = None if shares is None else shares.astype(np.float32)
        return sum_bags(places, rows, offsets, shares, mean).astype(weight.dtype)
    make, launch, _ = _over(weight, index, offsets, mean, shares is not None)
    out, failed = make(), unfailed()
    if out.size:
        _run(launch, weight, index, offsets, shares, out, failed)
        if failed[0]:
            _complain(index, offsets, len(weight))
    return out


def sum_bags_grad(
    g: np.ndarray,
    index: np.ndarray,
    offsets: np.ndarray | None,
    shares: np.ndarray | None,
    rows: int,
    mean: bool,
    into: np.ndarray | None = None,
) -> np.ndarray:
    """`into`, or zeros [rows, width], with the rows of g added to those that their bags name."""
    if g.dtype not in _SPREAD:
        shares = None if shares is None else shares.astype(np.float32)
        made = sum_bags_grad(g.astype(np.float32), index, offsets, shares, rows, mean)
        return made.astype(g.dtype)
    out = filled((rows, g.shape[1]), 0, g.dtype) if into is None else into
    _, _, launch = _over(out, index, offsets, mean, shares is not None)
    if out.size and index.size and g.size:
        _run(launch, out, index, offsets, shares, contiguous(g), unfailed())
    return out


def _run(launch: Launch, table: Any, index: Any, offsets: Any, shares: Any, rows: Any, f: Any):
    words = words_of(index.dtype)(index)
    starts = words if offsets is None else words_of(offsets.dtype)(offsets)
    by = rows if shares is None else contiguous(shares)
    launch(contiguous(table), words, starts, by, rows, f)
