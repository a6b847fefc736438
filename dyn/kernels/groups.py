"""Formulas and sums over groups of arrays, each in one launch.

A group is several runs of equally many arrays that lie side by side: parameters, their gradients,
their slots. A formula gives new values from the numbers at the same place of each. All elements of
a group are shared out evenly, however small its arrays are. Results are new arrays, unless the
caller knows that no tensor refers to the old ones. Formulas of optimisers are in `update.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import types

from dyn.kernels.lending import take_lent
from dyn.kernels.runtime import threads
from dyn.kernels.runtime.arrays import DATA, TYPE, axes, data, item, length, size, stride
from dyn.kernels.runtime.bytes import put_word
from dyn.kernels.runtime.drive import chunks_of, run
from dyn.kernels.runtime.jit import kernel
from dyn.kernels.runtime.memory import LARGE, empty_like, is_dense
from dyn.kernels.runtime.threads import argument, chunk_count, pack, parallel_for
from dyn.kernels.vector.rows import emitted_task, word_at
from dyn.kernels.vector.simd import (
    F32,
    F64,
    WORD,
    Emitter,
    Value,
    intrinsic,
    loop,
    maximum,
    minimum,
    total,
)

Arrays = Sequence[np.ndarray]

LINE = 64
"""Bytes of a cache line."""
GRAIN = 32768
"""Elements worth a chunk."""
BLOCK = 4096
"""Elements that are summed in their own precision."""
STREAM = 16 << 20
"""Bytes read and written of which no cache keeps the results until they are read: they are written
past it, which saves reading what they replace."""

NEVER = 1 << 62
"""Elements that no group has."""
ENTRY = f"({', '.join(['int64'] * 10)})"

_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
_SUFFIXES = {_F32: ("f4", F32), _F64: ("f8", F64)}


class GroupKernel:
    """A formula over groups of arrays; compiled when first run.

    float32 and float64 have vector code of their own, other dtypes go through float32.

    Args:
        name: unique; the machine code is kept on disk under it.
        formula: `(values, numbers, own) -> values`: from one Value of each run and the numbers, one
            Value for each result. `own()` is a number that each array of a run has of its own.
        inputs, results: runs of arrays.
        numbers: how many there are.
    """

    def __init__(
        self,
        name: str,
        formula: Callable[..., Sequence[Value]],
        inputs: int,
        results: int,
        numbers: int = 0,
    ):
        self.inputs = inputs
        self.results = results
        self._enter: Callable[..., bool] | None = None
        self.codes = {
            dtype: emitted_task(
                f"{name}_{suffix}",
                _emitted(element, inputs + results, _mapped(formula, inputs, numbers)),
            )
            for dtype, (suffix, element) in _SUFFIXES.items()
        }

    def run(
        self,
        tensors: Arrays,
        numbers: Sequence[float] = (),
        own: np.ndarray | None = None,
        over: Sequence[np.ndarray | None] | None = None,
    ) -> list[np.ndarray]:
        """The results, run after run.

        Args:
            tensors: the arrays, run after run, all of one dtype.
            numbers: what the formula gets besides.
            own: float64, a number for each array of a run.
            over: for each result the array of the same place to write it to, or None for a new one.
        """
        count = len(tensors) // self.inputs
        if not count:
            return []
        dtype = tensors[0].dtype
        code = self.codes.get(dtype)
        if code is None:
            made = self.run([x.astype(_F32) for x in tensors], numbers, own)
            return [x.astype(dtype) for x in made]
        old = [None] * (count * self.results) if over is None else over
        made = [_fresh(tensors[i % count]) if x is None else x for i, x in enumerate(old)]
        given, fresh, floats = tuple(tensors), tuple(made), np.array(numbers, np.float64)
        table = np.empty(count * (1 + self.inputs + self.results), np.int64)
        far = NEVER if over else STREAM // (dtype.itemsize * (self.inputs + self.results))
        own = floats if own is None else own
        words = id(fresh), count, self.inputs, id(table), id(floats), id(own), far, code.address
        if self._enter is None:
            self._enter = _enter.compile(ENTRY)
        while not self._enter(id(given), *words, threads.pool()):
            # What does not lie side by side is copied first.
            given = tuple([like(x, made[i % count]) for i, x in enumerate(given)])
        return made


def _fresh(x: np.ndarray) -> np.ndarray:
    """New memory for a result in the place of x."""
    # numpy is quicker where memory is small.
    return np.empty_like(x) if x.nbytes < LARGE else empty_like(x)


def square_sums(tensors: Arrays) -> np.ndarray:
    """The sum of the squares of each of the arrays, which are of one dtype: [count] float64."""
    if not tensors:
        return np.zeros(0)
    code = _SQUARES.get(tensors[0].dtype)
    if code is None:
        return square_sums([x.astype(_F32) for x in tensors])
    count = len(tensors)
    dense = tuple([x if is_dense(x) else np.ascontiguousarray(x) for x in tensors])
    table = np.empty(2 * count, np.int64)
    elements = _fill(id(()), id(dense), count, 0, id(table))
    chunks = chunks_of(elements, GRAIN)
    # A row of results for each chunk; they are added up in one order, however many threads ran.
    parts = np.zeros((chunks, count))
    run(code, chunks, id(table), count, elements, id(parts))
    return parts[0] if chunks == 1 else parts.sum(0)


def lent(old: Arrays, patterns: Arrays) -> list[np.ndarray | None] | None:
    """Those of the old arrays that were lent and lie as their patterns do; None: there are none."""
    free = take_lent(old)
    if not any(free):
        return None
    return [
        x if own and is_dense(x) and x.strides == pattern.strides else None
        for x, own, pattern in zip(old, free, patterns, strict=True)
    ]


def scale(tensors: Arrays, factors: np.ndarray) -> list[np.ndarray]:
    """Each of the arrays times its factor: factors [count], or one for all; over what was lent."""
    own = np.empty(len(tensors))
    own[:] = factors
    return _SCALE.run(tensors, (), own, lent(tensors, tensors))


def clip(tensors: Arrays, low: float, high: float) -> list[np.ndarray]:
    """The arrays with every element brought into [low, high]; over what was lent."""
    return _CLIP.run(tensors, (low, high), None, lent(tensors, tensors))


@kernel(warm=[ENTRY])
def _enter(given, fresh, count, inputs, table, numbers, own, far, code, workers):
    """Run a formula, unless arrays of a row do not lie alike in memory; whether it was run.

    Arrays, tuples of them, table and numbers are given by `id`. From `far` elements on results are
    written past the cache.
    """
    elements = _fill(given, fresh, count, inputs, table)
    if elements >= 0:
        words = pack(table, count, elements, numbers, own, types.int64(elements >= far))
        parallel_for(workers, code, words, chunk_count(elements, GRAIN))
    return elements >= 0


@kernel(warm=[f"({', '.join(['int64'] * 5)})"])
def _fill(given, fresh, count, inputs, table):
    """Write size and addresses of every array of `inputs` runs, and of the results' runs.

    Returns the number of elements; -1 if arrays of a row do not lie alike in memory.
    """
    results = length(fresh) // count
    out, elements = data(table), 0
    for i in range(count):
        pattern = item(fresh, i)
        rank, own = axes(pattern), 1
        for axis in range(rank):
            own *= size(pattern, axis)
        elements += own
        put_word(out, 0, own)
        for k in range(inputs):
            array = item(given, k * count + i)
            for axis in range(rank):
                if size(pattern, axis) > 1 and stride(array, axis) != stride(pattern, axis):
                    return -1
            put_word(out, 1 + k, argument(array, DATA))
        for k in range(results):
            put_word(out, 1 + inputs + k, argument(item(fresh, k * count + i), DATA))
        out += 8 * (1 + inputs + results)
    return elements


@kernel(warm=["(int64, int64, int64)"])
def _alike(tensors, count, runs):
    dtype = argument(item(tensors, 0), TYPE)
    for i in range(count):
        pattern = item(tensors, i)
        rank = axes(pattern)
        for k in range(runs):
            array = item(tensors, k * count + i)
            if argument(array, TYPE) != dtype or axes(array) != rank:
                return False
            for axis in range(rank):
                if size(array, axis) != size(pattern, axis):
                    return False
    return True


def alike(tensors: tuple[np.ndarray, ...], runs: int) -> bool:
    """Whether all arrays have one dtype, and those at each place of the runs one shape."""
    return _alike(id(tensors), len(tensors) // runs, runs)


def like(x: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """x itself if it lies in memory as `pattern` does, else a copy that does."""
    if x.strides == pattern.strides:
        return x
    made = empty_like(pattern)
    made[...] = x
    return made


# ---- code --------------------------------------------------------------------------------------


def _emitted(element: Any, arrays: int, stretch: Callable[..., None]) -> Any:
    """A task that does the elements of a chunk.

    Words: `id` of the table, number of rows, number of elements in all; others belong to `stretch`,
    which does part of a row: `(emit, args, addresses, count, row, chunk)`.
    """

    @intrinsic
    def emitted(typing: Any, args: Any, chunk: Any, chunks: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            args, chunk, chunks = arguments
            table = word_at(builder, word_at(builder, args, 0), DATA)
            count, elements = (word_at(builder, args, k) for k in (1, 2))
            emit = Emitter(builder, element)
            bounds = [
                builder.sdiv(builder.mul(elements, builder.add(chunk, WORD(k))), chunks)
                for k in (0, 1)
            ]
            width = WORD(8 * (1 + arrays))

            def row(index: Any, carried: list[Value]) -> list[Value]:
                at, before = builder.add(table, builder.mul(index, width)), carried[0].value
                length = word_at(builder, at, 0)
                # Chunks meet where lines of an array do.
                first, last = (_line(emit, builder.sub(k, before), length) for k in bounds)
                with builder.if_then(builder.icmp_signed("<", first, last)):
                    offset = builder.mul(first, WORD(emit.size))
                    addresses = [
                        builder.add(word_at(builder, at, 1 + k), offset) for k in range(arrays)
                    ]
                    stretch(emit, args, addresses, builder.sub(last, first), index, chunk)
                return [Value(builder, builder.add(before, length))]

            loop(builder, WORD(0), count, WORD(1), row, [Value(builder, WORD(0))])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), generate

    return emitted


def _line(emit: Emitter, place: Any, length: Any) -> Any:
    """The next place at which a line of an array begins, within the array."""
    builder, step = emit.builder, WORD(LINE // emit.size)
    place = builder.select(builder.icmp_signed("<", place, WORD(0)), WORD(0), place)
    place = builder.add(place, builder.sub(step, WORD(1)))
    place = builder.mul(builder.sdiv(place, step), step)
    return builder.select(builder.icmp_signed("<", place, length), place, length)


def _mapped(formula: Any, inputs: int, numbers: int) -> Callable[..., None]:
    """A stretch of a formula, whole cache lines of each result at a time.

    Words: `id`s of the numbers and of those that arrays have of their own; whether results are
    written past the cache.
    """

    def stretch(emit: Emitter, args: Any, addresses: Any, count: Any, row: Any, _: Any) -> None:
        builder = emit.builder
        sources, targets = addresses[:inputs], addresses[inputs:]
        wide = Emitter(builder, F64, 1)
        lists = [word_at(builder, word_at(builder, args, k), DATA) for k in (3, 4)]

        def number(which: int, place: Any) -> Value:
            at = builder.add(lists[which], builder.mul(place, WORD(8)))
            return emit.splat(wide.number_at(at).to(emit.element))

        known = [number(0, WORD(k)) for k in range(numbers)]

        def values(at: Any, mask: Any) -> Sequence[Value]:
            loaded = [emit.load(builder.add(source, at), mask) for source in sources]
            return formula(loaded, known, lambda: number(1, row))

        def line(at: Any, carried: Any) -> list[Value]:
            offsets = [builder.add(at, WORD(v * emit.bytes)) for v in range(LINE // emit.bytes)]
            made = [values(offset, None) for offset in offsets]
            for place, target in enumerate(targets):
                for offset, results in zip(offsets, made, strict=True):
                    emit.store(results[place], builder.add(target, offset), aside=past)
            return []

        def single(at: Any, carried: Any, mask: Any) -> list[Value]:
            at = builder.add(whole, at)
            for value, target in zip(values(at, mask), targets, strict=True):
                emit.store(value, builder.add(target, at), mask)
            return []

        end = builder.mul(count, WORD(emit.size))
        whole = builder.mul(builder.sdiv(end, WORD(LINE)), WORD(LINE))
        past = builder.icmp_signed("!=", word_at(builder, args, 5), WORD(0))
        for target in targets:
            # Only whole lines can be written past the cache.
            shift = builder.and_(target, WORD(LINE - 1))
            past = builder.and_(past, builder.icmp_signed("==", shift, WORD(0)))
        loop(builder, WORD(0), whole, WORD(LINE), line)
        emit.row(builder.sdiv(builder.sub(end, whole), WORD(emit.size)), single, unroll=1)

    return stretch


def _summed(emit: Emitter, args: Any, addresses: Any, count: Any, row: Any, chunk: Any) -> None:
    """A stretch of a sum of squares, block by block; word 3 is the `id` of the results."""
    builder = emit.builder

    def block(first: Any, carried: list[Value]) -> list[Value]:
        left = builder.sub(count, first)
        left = builder.select(builder.icmp_signed("<", left, WORD(BLOCK)), left, WORD(BLOCK))
        start = builder.add(addresses[0], builder.mul(first, WORD(emit.size)))

        def add(at: Any, sums: list[Value], mask: Any) -> list[Value]:
            x = emit.load(builder.add(start, at), mask)
            return [sums[0] + x * x]

        (sums,) = emit.row(left, add, [emit.numbers(0.0)])
        return [carried[0] + total(*sums).to(F64)]

    wide = Emitter(builder, F64, 1)
    (found,) = loop(builder, WORD(0), count, WORD(BLOCK), block, [wide.numbers(0.0)])
    place = builder.add(builder.mul(chunk, word_at(builder, args, 1)), row)
    target = word_at(builder, word_at(builder, args, 3), DATA)
    wide.put_number(found, builder.add(target, builder.mul(place, WORD(8))))


_SQUARES = {
    dtype: emitted_task(f"square_sums_{suffix}", _emitted(element, 1, _summed))
    for dtype, (suffix, element) in _SUFFIXES.items()
}

_SCALE = GroupKernel("scale_each", lambda x, numbers, own: [x[0] * own()], 1, 1)
_CLIP = GroupKernel(
    "clip_each", lambda x, numbers, own: [minimum(maximum(x[0], numbers[0]), numbers[1])], 1, 1, 2
)
