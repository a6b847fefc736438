"""Reductions of dtypes other than float32, as plain loops that LLVM vectorises: the tasks.

What is done to the elements of a dtype is a `Way`; the same two tasks, along rows and down columns,
are compiled for each. A row is reduced in blocks, and the blocks in pairs, so the error of a long
sum grows with the logarithm of its length. Down columns the results themselves are what is carried,
eight rows in pairs at a time.

Source of sums in pairs: Higham, The Accuracy of Floating Point Summation, SIAM Journal on
Scientific Computing 14, 1993.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import SUM, Microkernel, instance, intrinsic, kernel
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.runtime.words import room
from dyn.kernels.vector.runs import pointer

PAIRED, BYTES = 128, 8192
"""Elements of a block of a row, and rows of a piece of columns: as many float64 numbers as numpy
adds before it goes on in pairs. Where rounding is no matter, blocks of a row have BYTES: after each
one is seen whether the result is settled."""
SHORT = 16
"""Elements of a row that is short."""
WIDE = 512
"""Columns that are walked together: what is carried of them stays in the nearest cache."""
STEP = 16
"""Columns, of which a share is a multiple."""
AS_IS, MEAN, ROOT = range(3)
"""What becomes of a sum of float64 at last."""


# ---- ways --------------------------------------------------------------------------------------


@kernel(forceinline=True)
def _same(x):
    return x


@kernel(forceinline=True)
def _wide(x):
    return np.int64(x)


@kernel(forceinline=True)
def _square(x):
    return x * x


@kernel(forceinline=True)
def _truth(x):
    return np.uint8(1) if x != 0 else np.uint8(0)


@kernel(forceinline=True)
def _untruth(x):
    return np.uint8(1) if x == 0 else np.uint8(0)


@kernel(forceinline=True, fastmath=SUM)
def _add(a, b):
    return a + b


@kernel(forceinline=True, fastmath=SUM)
def _multiply(a, b):
    return a * b


@kernel(forceinline=True)
def _either(a, b):
    return a | b


@kernel(forceinline=True)
def larger(a, b):
    """The larger of two numbers that are no floats."""
    return a if a > b else b


@kernel(forceinline=True)
def smaller(a, b):
    """The smaller of two numbers that are no floats."""
    return a if a < b else b


def of_two(name: str) -> Any:
    """LLVM's function of this name of two floats, which gives NaN if one of them is."""

    @intrinsic
    def run(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = arguments[0].type
            of = ir.FunctionType(kind, [kind, kind])
            return builder.call(builder.module.declare_intrinsic(name, [kind], of), arguments)

        return a(a, b), generate

    return run


@kernel(forceinline=True)
def _kept(found, how, count):
    return found


@kernel(forceinline=True)
def _finished(found, how, count):
    if how == MEAN:
        return found / count
    return np.sqrt(found) if how == ROOT else found


@kernel(forceinline=True)
def _opposite(found, how, count):
    return found ^ 1


@kernel(forceinline=True)
def _never(found):
    return False


@kernel(forceinline=True)
def _is_true(found):
    return found != 0


class Way(NamedTuple):
    """How elements of a dtype are reduced.

    Attributes:
        read: dtype they are read as.
        start: what is carried at first, of the dtype that is carried.
        take: makes what is carried of an element.
        join: joins two of them.
        end: `end(carried, how, count)`, the result, as wide as what is carried.
        settled: whether no further element can change what is carried.
    """

    read: type[np.generic]
    start: Any
    take: Callable[..., Any]
    join: Callable[..., Any]
    end: Callable[..., Any] = _kept
    settled: Callable[..., Any] = _never


def _ways() -> dict[tuple[str, str], Way]:
    """The ways by their names and numpy's codes of dtypes."""
    f8, i8, u1 = np.float64, np.int64, np.uint8
    numbers = {"u1": u1, "i4": np.int32, "i8": i8}
    found = {
        ("sum", "f8"): Way(f8, f8(0), _same, _add, _finished),
        ("squares", "f8"): Way(f8, f8(0), _square, _add, _finished),
        ("prod", "f8"): Way(f8, f8(1), _same, _multiply),
        ("max", "f8"): Way(f8, f8(-np.inf), _same, of_two("llvm.maximum")),
        ("min", "f8"): Way(f8, f8(np.inf), _same, of_two("llvm.minimum")),
    }
    for code, read in numbers.items():
        limits = np.iinfo(read)
        found["sum", code] = Way(read, i8(0), _wide, _add)
        found["prod", code] = Way(read, i8(1), _wide, _multiply)
        found["max", code] = Way(read, read(limits.min), _same, larger)
        found["min", code] = Way(read, read(limits.max), _same, smaller)
    for code, read in (numbers | {"f4": np.float32, "f8": f8}).items():
        found["any", code] = Way(read, u1(0), _truth, _either, _kept, _is_true)
        found["all", code] = Way(read, u1(0), _untruth, _either, _opposite, _is_true)
    return found


WAYS = _ways()


# ---- tasks -------------------------------------------------------------------------------------

ZERO, START, BLOCK = np.float64(0), np.float64(0), 128
"""Stand, with the four functions below, for what instances have of their own."""
take, join, end, settled = _same, _add, _finished, _never


@kernel(forceinline=True)
def _level(blocks):
    """How many pairs of blocks end where this many blocks do: zeros at the end of a number."""
    level = 0
    while blocks & 1 == 0:
        blocks, level = blocks >> 1, level + 1
    return level


def _rows(args, chunk, chunks):
    """Pieces of rows. Words: (x, out, rows, length, pieces, how, count)."""
    x, out = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), START)
    length, pieces = argument(args, 3), argument(args, 4)
    how, count = argument(args, 5), argument(args, 6)
    first, last = bounds(argument(args, 2) * pieces, chunk, chunks, 1)
    if length <= SHORT:
        # Four at a time: what one row waits for, and its loop, cost as much as its few elements.
        for row in range(first, last, 4):
            p, q, r, s = row, min(row + 1, last - 1), min(row + 2, last - 1), min(row + 3, last - 1)
            a, b, c, d = START, START, START, START
            for i in range(length):
                a = join(a, take(x[p * length + i]))
                b = join(b, take(x[q * length + i]))
                c = join(c, take(x[r * length + i]))
                d = join(d, take(x[s * length + i]))
            out[p], out[q] = end(a, how, count), end(b, how, count)
            out[r], out[s] = end(c, how, count), end(d, how, count)
        return
    if length <= BLOCK:
        for row in range(first, last):
            total = START
            for i in range(row * length, (row + 1) * length):
                total = join(total, take(x[i]))
            out[row] = end(total, how, count)
        return
    waiting = pointer(room(), START)
    for unit in range(first, last):
        row = unit // pieces
        low, high = bounds(length, unit - row * pieces, pieces, BLOCK)
        at, stop, blocks = row * length + low, row * length + high, 0
        while at < stop:
            total = START
            for i in range(at, min(at + BLOCK, stop)):
                total = join(total, take(x[i]))
            at, blocks = at + BLOCK, blocks + 1
            if settled(total):
                at = stop
            # Of as many blocks as there are in a pair of pairs of pairs one sum waits.
            for k in range(_level(blocks)):
                total = join(waiting[k], total)
            waiting[_level(blocks)] = total
        total, k = START, 0
        while blocks > 0:
            if blocks & 1:
                total = join(waiting[k], total)
            blocks, k = blocks >> 1, k + 1
        out[unit] = end(total, how, count)


def _columns(args, chunk, chunks):
    """Pieces of columns. Words: (x, out, batch, rows, columns, pieces, slices, how, count)."""
    x, out = pointer(data(argument(args, 0)), ZERO), pointer(data(argument(args, 1)), START)
    rows, n = argument(args, 3), argument(args, 4)
    pieces, slices = argument(args, 5), argument(args, 6)
    how, count = argument(args, 7), argument(args, 8)
    start, stop = bounds(argument(args, 2) * pieces * slices, chunk, chunks, 1)
    for unit in range(start, stop):
        above = unit // slices
        batch = above // pieces
        first, last = bounds(n, unit - above * slices, slices, STEP)
        low, high = bounds(rows, above - batch * pieces, pieces, 8)
        for begin in range(first, last, WIDE):
            width = min(WIDE, last - begin)
            to, at = above * n + begin, (batch * rows + low) * n + begin
            for j in range(to, to + width):
                out[j] = START
            row = low
            while row + 7 < high:
                for j in range(width):
                    i = at + j
                    a = join(take(x[i]), take(x[i + n]))
                    b = join(take(x[i + 2 * n]), take(x[i + 3 * n]))
                    c = join(take(x[i + 4 * n]), take(x[i + 5 * n]))
                    d = join(take(x[i + 6 * n]), take(x[i + 7 * n]))
                    out[to + j] = join(out[to + j], join(join(a, b), join(c, d)))
                row, at = row + 8, at + 8 * n
            while row < high:
                for j in range(width):
                    out[to + j] = join(out[to + j], take(x[at + j]))
                row, at = row + 1, at + n
            for j in range(to, to + width):
                out[j] = end(out[j], how, count)


def _made(name: str, body: Any) -> dict[tuple[str, str], Microkernel]:
    """An instance of a task for every way."""
    return {
        (fold, code): instance(
            f"{name}_{fold}_{code}", body, ZERO=way.read(0), START=way.start, take=way.take,
            join=way.join, end=way.end, settled=way.settled,
            BLOCK=PAIRED if way.end is _finished else BYTES // int(code[1]),
        )
        for (fold, code), way in WAYS.items()
    }  # fmt: skip


ROWS, COLUMNS = _made("plain_rows", _rows), _made("plain_columns", _columns)
