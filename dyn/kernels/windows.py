"""Pooling of images that lie channels last: the vector code, a row of windows at a time.

What a window covers is said by tables, one per axis: for each position its first element and how
many there are. So the same code serves sliding windows with padding and dilation, adaptive bins,
and the gradient of the mean, where a "window" is all the windows that an element lies in. The
tables are made in `pool.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils

from dyn.kernels.runtime.arrays import DATA
from dyn.kernels.vector.rows import emitted_task, share, word_at
from dyn.kernels.vector.simd import F32, F64, INT32, WORD, Emitter, Value, choose, intrinsic, loop
from dyn.kernels.vector.value import branch

# Words of a plan. Sizes are of what is read (IN_) and written (OUT_); steps are elements between
# neighbours of a window; tables hold (first, count) in int64, scales float64, both as addresses.
(
    CHANNELS, OUT_D, OUT_H, OUT_W, IN_D, IN_H, IN_W, STEP_D, STEP_H, STEP_W, TABLE_D, TABLE_H,
    TABLE_W, SCALE_D, SCALE_H, SCALE_W, SIZE, SCALED_BY_SOURCE,
) = range(18)  # fmt: skip
WORDS = 18

STRIP = 4
"""Vectors of channels that are done at a time."""


class _Window:
    """Some vectors of channels at one position, while the kernel is written.

    Attributes:
        emit: writes vectors of the element type.
        offsets: byte offsets of the vectors within a pixel.
        mask: lanes that hold channels, or None.
    """

    def __init__(self, row: _RowOfWindows, spans: list[tuple[Any, Any]], offsets: Any, mask: Any):
        self.row = row
        self.emit = row.emit
        self.spans = spans
        self.offsets = offsets
        self.mask = mask

    def each(self, turn: Callable[..., Any], carried: list[Value]) -> list[Value]:
        """`carried = turn(address, places, carried)` for every pixel of the window.

        `places` are its three coordinates; the address is that of its first channel.
        """
        builder, row = self.emit.builder, self.row

        def unrolled() -> list[Value]:
            values = carried
            d, h, w = (first for first, _ in self.spans)
            for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
                places = [d, *(self.beside(k, p, n) for k, p, n in ((1, h, i), (2, w, j)))]
                at = row.source
                for place, pixels in zip(places, row.pixels, strict=True):
                    at = builder.add(at, builder.mul(place, pixels))
                values = list(turn(at, places, values))
            return values

        def axis(number: int, base: Any, places: list[Any], values: list[Value]) -> list[Value]:
            if number == 3:
                return list(turn(base, places, values))
            first, count = self.spans[number]

            def body(index: Any, inner: list[Value]) -> list[Value]:
                place = builder.add(first, builder.mul(index, row.word(STEP_D + number)))
                at = builder.add(base, builder.mul(place, row.pixels[number]))
                return axis(number + 1, at, [*places, place], inner)

            return loop(builder, WORD(0), count, WORD(1), body, values)

        # Two by two is so common, and so little work, that loops would cost more than it.
        counts = zip(self.spans, (1, 2, 2), strict=True)
        same = [builder.icmp_signed("==", count, WORD(n)) for (_, count), n in counts]
        square = builder.and_(same[0], builder.and_(same[1], same[2]))
        return branch(builder, square, unrolled, lambda: axis(0, row.source, [], carried))

    def beside(self, axis: int, place: Any, number: int) -> Any:
        """The place of the neighbour of that number within the window."""
        step = self.emit.builder.mul(WORD(number), self.row.word(STEP_D + axis))
        return self.emit.builder.add(place, step)

    def load(self, address: Any, v: int) -> Value:
        """The vector of that number of a pixel."""
        return self.emit.load(self.emit.builder.add(address, self.offsets[v]), self.mask)


class _RowOfWindows:
    """Everything of one row of outputs: words of the plan, spans, addresses."""

    def __init__(self, builder: Any, element: Any, arguments: Any):
        self.builder = builder
        self.plan, self.source, self.target, self.index, self.d, self.h = arguments
        self.emit = Emitter(builder, element)
        pixel = builder.mul(self.word(CHANNELS), WORD(self.emit.size))
        line = builder.mul(pixel, self.word(IN_W))
        self.pixels = [builder.mul(line, self.word(IN_H)), line, pixel]
        self.pixel = pixel

    def word(self, place: int) -> Any:
        """A word of the plan."""
        return word_at(self.builder, self.plan, place)

    def span(self, axis: int, position: Any) -> tuple[Any, Any]:
        """First element and count of the window at a position of an axis."""
        builder = self.builder
        at = builder.add(self.word(TABLE_D + axis), builder.mul(position, WORD(16)))
        first = builder.load(builder.inttoptr(at, WORD.as_pointer()))
        after = builder.add(at, WORD(8))
        return first, builder.load(builder.inttoptr(after, WORD.as_pointer()))

    def scale(self, axis: int, position: Any) -> Value:
        """What the numbers of a position of an axis are multiplied by."""
        builder = self.builder
        at = builder.add(self.word(SCALE_D + axis), builder.mul(position, WORD(8)))
        wide = Value(builder, builder.load(builder.inttoptr(at, F64.as_pointer())))
        return wide.to(self.emit.element)

    def put(self, stores: list[tuple[Emitter, Value, Any]], mask: Any) -> None:
        """Store vectors, each by its emitter at its address.

        Lanes beyond the channels are the next pixel's, which is written later: only at the end of
        the row does the mask, which is slow to store with, have to be heeded.
        """
        if mask is None:
            for emit, value, at in stores:
                emit.store(value, at)
            return
        builder = self.builder
        emit, _, at = stores[0]
        end = builder.add(self.target, builder.mul(self.pixel, self.word(OUT_W)))
        fits = builder.icmp_signed("<=", builder.add(at, WORD(emit.bytes)), end)
        with builder.if_else(fits) as (yes, no):
            with yes:
                for emit, value, at in stores:
                    emit.store(value, at)
            with no:
                for emit, value, at in stores:
                    emit.store(value, at, mask)

    def run(self, write: Callable[[_Window, Any, Any], None]) -> None:
        """`write(window, position along the row, address of the output pixel)` for all windows."""
        builder, emit = self.builder, self.emit
        ends = [self.span(0, self.d), self.span(1, self.h)]

        def turn(position: Any, _: Any) -> list[Value]:
            spans = [*ends, self.span(2, position)]
            target = builder.add(self.target, builder.mul(position, self.pixel))
            several = WORD(STRIP * emit.bytes)
            whole = builder.mul(builder.sdiv(self.pixel, several), several)

            def strip(at: Any, _: Any) -> list[Value]:
                offsets = [builder.add(at, WORD(v * emit.bytes)) for v in range(STRIP)]
                write(_Window(self, spans, offsets, None), position, target)
                return []

            def single(at: Any, carried: Any, mask: Any) -> list[Value]:
                write(_Window(self, spans, [builder.add(whole, at)], mask), position, target)
                return []

            loop(builder, WORD(0), whole, several, strip)
            emit.row(builder.sdiv(builder.sub(self.pixel, whole), WORD(emit.size)), single, (), 1)
            return []

        loop(builder, WORD(0), self.word(OUT_W), WORD(1), turn)


def _max(row: _RowOfWindows) -> None:
    """The largest number of each window, and its flat position (int32) among the elements."""
    builder, emit = row.builder, row.emit
    numbers = Emitter(builder, INT32, emit.lanes)

    def write(window: _Window, position: Any, target: Any) -> None:
        count = len(window.offsets)
        flat = WORD(0)
        for axis, (first, _) in enumerate(window.spans):
            flat = builder.add(builder.mul(flat, row.word(IN_D + axis)), first)
        start = [emit.numbers(float("-inf")), numbers.splat(builder.trunc(flat, INT32))]

        def turn(address: Any, places: list[Any], carried: list[Value]) -> list[Value]:
            d, h, w = places
            at = builder.add(builder.mul(d, row.word(IN_H)), h)
            at = builder.add(builder.mul(at, row.word(IN_W)), w)
            own = numbers.splat(builder.trunc(at, INT32))
            given = []
            for v in range(count):
                best, index = carried[2 * v : 2 * v + 2]
                x = window.load(address, v)
                better = (x > best) | (x != x)
                given += [choose(better, x, best), choose(better, own, index)]
            return given

        made = window.each(turn, start * count)
        shrink = WORD(emit.size // 4)
        for v, offset in enumerate(window.offsets):
            at = builder.add(target, offset)
            place = builder.sdiv(builder.sub(at, row.target), shrink)
            place = builder.add(row.index, place)
            row.put([(emit, made[2 * v], at), (numbers, made[2 * v + 1], place)], window.mask)

    row.run(write)


def _sum(row: _RowOfWindows) -> None:
    """The sum of each window, scaled: by what is written, or each number by where it is read."""
    builder, emit = row.builder, row.emit

    def plain(window: _Window, position: Any, target: Any) -> None:
        def turn(address: Any, places: Any, carried: list[Value]) -> list[Value]:
            return [c + window.load(address, v) for v, c in enumerate(carried)]

        made = window.each(turn, [emit.numbers(0.0)] * len(window.offsets))
        scale = row.scale(0, row.d) * row.scale(1, row.h) * row.scale(2, position)
        put(window, made, emit.splat(scale), target)

    def spread(window: _Window, position: Any, target: Any) -> None:
        def turn(address: Any, places: Any, carried: list[Value]) -> list[Value]:
            d, h, w = places
            scale = emit.splat(row.scale(0, d) * row.scale(1, h) * row.scale(2, w))
            return [c + window.load(address, v) * scale for v, c in enumerate(carried)]

        made = window.each(turn, [emit.numbers(0.0)] * len(window.offsets))
        put(window, made, emit.numbers(1.0), target)

    def put(window: _Window, made: list[Value], scale: Value, target: Any) -> None:
        for value, offset in zip(made, window.offsets, strict=True):
            row.put([(emit, value * scale, builder.add(target, offset))], window.mask)

    by_source = builder.icmp_signed("!=", row.word(SCALED_BY_SOURCE), WORD(0))
    with builder.if_else(by_source) as (yes, no):
        with yes:
            row.run(spread)
        with no:
            row.run(plain)


def _made(name: str, element: Any, write: Callable[[_RowOfWindows], None]) -> Any:
    """The task that does all windows of all samples, a row of them at a time.

    Words: `id`s of source, target and index; address of the plan, number of samples.
    """

    @intrinsic
    def emitted(typing: Any, args: Any, chunk: Any, chunks: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            args, chunk, chunks = arguments
            source, target, index = (
                word_at(builder, word_at(builder, args, k), DATA) for k in range(3)
            )
            plan = word_at(builder, args, 3)
            sizes = [word_at(builder, plan, k) for k in (IN_D, IN_H, IN_W, CHANNELS, SIZE)]
            image = functools.reduce(builder.mul, sizes)
            channels, size = sizes[3:]
            depth, height, width = (word_at(builder, plan, OUT_D + k) for k in range(3))
            per_sample = builder.mul(depth, height)
            rows = builder.mul(word_at(builder, args, 4), per_sample)
            start, stop = share(builder, rows, chunk, chunks)

            def turn(row: Any, _: Any) -> list[Value]:
                sample, rest = builder.sdiv(row, per_sample), builder.srem(row, per_sample)
                done = builder.mul(builder.mul(row, width), channels)
                addresses = [
                    builder.add(source, builder.mul(sample, image)),
                    builder.add(target, builder.mul(done, size)),
                    builder.add(index, builder.mul(done, WORD(4))),
                ]
                at = builder.sdiv(rest, height), builder.srem(rest, height)
                write(_RowOfWindows(builder, element, (plan, *addresses, *at)))
                return []

            loop(builder, start, stop, WORD(1), turn)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), generate

    return emitted_task(name, emitted)


MAX = {
    np.dtype(np.float32): _made("window_max_float32", F32, _max),
    np.dtype(np.float64): _made("window_max_float64", F64, _max),
}
SUM = {
    np.dtype(np.float32): _made("window_sum_float32", F32, _sum),
    np.dtype(np.float64): _made("window_sum_float64", F64, _sum),
}

# ---- the gradient of the maximum ---------------------------------------------------------------


def _scatter(element: Any) -> Any:
    """Makes images of zeros and adds the numbers of g where the indices say.

    Words: `id`s of g, index and target; samples, windows and pixels of an image, channels.
    """

    @intrinsic
    def emitted(typing: Any, args: Any, chunk: Any, chunks: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            args, chunk, chunks = arguments
            g, index, target = (word_at(builder, word_at(builder, args, k), DATA) for k in range(3))
            samples, windows, pixels, channels = (word_at(builder, args, k) for k in range(3, 7))
            one = Emitter(builder, element, 1)
            size = WORD(one.size)
            pixel = builder.mul(channels, size)
            image = builder.mul(pixels, pixel)
            count = builder.mul(windows, channels)

            def sample(n: Any, _: Any) -> list[Value]:
                first = builder.mul(n, count)
                into = builder.add(target, builder.mul(n, image))
                cgutils.memset(builder, one.pointer(into), image, 0)

                def window(p: Any, _: Any) -> list[Value]:
                    row = builder.add(first, builder.mul(p, channels))

                    def channel(c: Any, _: Any) -> list[Value]:
                        at = builder.add(row, c)
                        where = builder.add(index, builder.mul(at, WORD(4)))
                        where = builder.load(builder.inttoptr(where, INT32.as_pointer()))
                        place = builder.mul(builder.sext(where, WORD), pixel)
                        place = builder.add(place, builder.mul(c, size))
                        place = builder.add(into, place)
                        value = one.number_at(builder.add(g, builder.mul(at, size)))
                        one.put_number(one.number_at(place) + value, place)
                        return []

                    return loop(builder, WORD(0), channels, WORD(1), channel)

                return loop(builder, WORD(0), windows, WORD(1), window)

            loop(builder, *share(builder, samples, chunk, chunks), WORD(1), sample)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), generate

    return emitted


SCATTER = {
    np.dtype(np.float32): emitted_task("scatter_maxima_float32", _scatter(F32)),
    np.dtype(np.float64): emitted_task("scatter_maxima_float64", _scatter(F64)),
}
