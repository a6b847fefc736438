"""Sampling of images at the places of a grid, and its gradients: the vector code.

Images that lie channels last are done a place at a time, in vectors of channels; others a plane at
a time, in vectors of places. Where they are is said by a table, see `grid_places.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from dyn.kernels.grid_places import (
    BATCH,
    BLOCK,
    CHANNELS,
    COLUMNS,
    GRADIENT,
    GROUP,
    PLACES,
    ROWS,
    SLOPE,
    SOURCE,
    SUM,
    TABLE,
    TARGET,
    VALUE,
    WEIGHT,
    Block,
    locate,
)  # fmt: skip
from dyn.kernels.runtime.jit import instance, intrinsic
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.simd import F32, F64, WORD, Emitter, Value, fma, loop, total

APART = 32
"""Distance of the places whose gradients are given back one after the other."""


# ---- reading -----------------------------------------------------------------------------------


def _weighted(values: Sequence[Value], weights: Sequence[Value]) -> Value:
    """The sum of the corners by their weights; the only corner as it is."""
    if not weights:
        return values[0]
    found = values[0] * weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=True):
        found = fma(value, weight, found)
    return found


def _sample(block: Block) -> None:
    """Read the image at the places of a block."""
    emit = block.emit
    weights = [WEIGHT + k for k in range(block.corners)] if block.corners > 1 else []

    def plane(channel: Any) -> None:
        source, target = block.image(SOURCE, channel), block.result(TARGET, channel)

        def step(offset: Any, carried: Any, mask: Any) -> list[Value]:
            found = block.gathered(source, offset)
            value = _weighted(found, [block.vector(row, offset) for row in weights])
            emit.store(value, block.sum(target, offset), mask)
            return []

        emit.row(block.count, step, unroll=1)

    def line(place: Any) -> None:
        source = block.sum(block.image(SOURCE), block.offset(place))
        target = block.sum(block.result(TARGET), block.product(place, block.pixel))
        own = [block.number(row, place) for row in weights]
        masks = [block.mask_number(k, place) for k in range(block.corners)]

        def step(offset: Any, carried: Any, mask: Any) -> list[Value]:
            found = [
                block.seen(emit.load(block.sum(source, at, offset), mask), seen)
                for at, seen in zip(block.steps(), masks, strict=True)
            ]
            emit.store(_weighted(found, own), block.sum(target, offset), mask)
            return []

        emit.row(block.word(CHANNELS), step, unroll=2)

    block.each_place(line) if block.last else block.each_channel(plane)


def _grid_grad(block: Block) -> None:
    """Gradient of the places of a block: what the four pixels make of moving right and down."""
    emit, builder = block.emit, block.builder
    first = block.sum(block.product(block.n, block.word(PLACES)), block.first)
    target = block.sum(block.start(TARGET), block.product(first, 2 * emit.size))

    def along(sums: Sequence[Value], rows: Sequence[Value], columns: Sequence[Value]) -> Any:
        """Sums over corners of what is gained by going right, and down."""
        a, b, c, d = sums
        return (b - a) * rows[0] + (d - c) * rows[1], (c - a) * columns[0] + (d - b) * columns[1]

    def plane(channel: Any) -> None:
        source, given = block.image(SOURCE, channel), block.result(GRADIENT, channel)

        def step(offset: Any, carried: Any, mask: Any) -> list[Value]:
            g = emit.load(block.sum(given, offset), mask)
            rows, columns = (
                [block.vector(row + k, offset) for k in (0, 1)] for row in (ROWS, COLUMNS)
            )
            gained = along(block.gathered(source, offset), rows, columns)
            for k, value in enumerate(gained):
                block.put(SUM + k, offset, fma(g, value, block.vector(SUM + k, offset)))
            return []

        emit.row(block.count, step, unroll=1)

    def clear(offset: Any, carried: Any, mask: Any) -> list[Value]:
        for k in (0, 1):
            block.put(SUM + k, offset, emit.numbers(0.0))
        return []

    def finish(place: Any) -> None:
        for k in (0, 1):
            one = Emitter(builder, emit.element, 1)
            at = block.product(place, emit.size)
            slope, made = (one.number_at(block.at(row + k, at)) for row in (SLOPE, SUM))
            where = block.sum(target, block.product(at, 2), k * emit.size)
            one.put_number(slope * made, where)

    def line(place: Any) -> None:
        source = block.sum(block.image(SOURCE), block.offset(place))
        given = block.sum(block.result(GRADIENT), block.product(place, block.pixel))
        masks = [block.mask_number(k, place) for k in range(4)]

        def step(offset: Any, sums: Any, mask: Any) -> list[Value]:
            g = emit.load(block.sum(given, offset), mask)
            return [
                fma(g, block.seen(emit.load(block.sum(source, at, offset), mask), seen), old)
                for at, seen, old in zip(block.steps(), masks, sums, strict=True)
            ]

        made = emit.row(block.word(CHANNELS), step, [emit.numbers(0.0)] * 4, unroll=1)
        one = Emitter(builder, emit.element, 1)
        at = block.product(place, emit.size)
        rows, columns = (
            [one.number_at(block.at(row + k, at)) for k in (0, 1)] for row in (ROWS, COLUMNS)
        )
        for k, value in enumerate(along([total(*sums) for sums in made], rows, columns)):
            one.put_number(value, block.at(SUM + k, at))

    if block.last:
        block.each_place(line)
    else:
        emit.row(block.count, clear, unroll=1)
        block.each_channel(plane)
    block.each_place(finish)


# ---- scattering --------------------------------------------------------------------------------


def _scatter(block: Block) -> None:
    """Add the gradients of a block of places to the pixels that they were read from."""
    emit = block.emit
    corners = range(block.corners)

    def share(g: Value, mask: Value, weights: Sequence[Value]) -> Value:
        return block.seen(_weighted([g], weights), mask)

    def plane(channel: Any) -> None:
        given, target = block.result(SOURCE, channel), block.image(TARGET, channel)
        one = Emitter(block.builder, emit.element, 1)

        def step(offset: Any, carried: Any, mask: Any) -> list[Value]:
            g = emit.load(block.sum(given, offset), mask)
            for k in corners:
                weights = [block.vector(WEIGHT + k, offset)] if block.corners > 1 else []
                block.put(VALUE + k, offset, share(g, block.mask(k, offset), weights))
            return []

        def add(place: Any, _: Any) -> list[Value]:
            pixel = block.sum(target, block.offset(place))
            for k, at in enumerate(block.steps()):
                value = one.number_at(block.at(VALUE + k, block.product(place, emit.size)))
                where = block.sum(pixel, at)
                one.put_number(one.number_at(where) + value, where)
            return []

        def strided(start: Any) -> list[Value]:
            return loop(block.builder, start, block.count, WORD(APART), add)

        emit.row(block.count, step, unroll=1)
        # Neighbours are given to the same pixels: a sum would wait for the one before it.
        loop(block.builder, WORD(0), WORD(APART), WORD(1), lambda start, _: strided(start))

    def line(place: Any) -> None:
        own = block.product(block.low, emit.size)
        given = block.sum(block.result(SOURCE), block.product(place, block.pixel), own)
        target = block.sum(block.image(TARGET), block.offset(place), own)
        several = block.corners > 1
        weights = [[block.number(WEIGHT + k, place)] if several else [] for k in corners]
        masks = [block.mask_number(k, place) for k in corners]

        def step(offset: Any, carried: Any, mask: Any) -> list[Value]:
            g = emit.load(block.sum(given, offset), mask)
            for k, at in enumerate(block.steps()):
                where = block.sum(target, at, offset)
                emit.store(emit.load(where, mask) + share(g, masks[k], weights[k]), where, mask)
            return []

        emit.row(block.builder.sub(block.high, block.low), step, unroll=1)

    block.each_place(line) if block.last else block.each_channel(plane)


# ---- tasks -------------------------------------------------------------------------------------


def _part(write: Callable[[Block], None], element: Any, corners: int, last: bool) -> Any:
    """An intrinsic that does a block of places."""

    @intrinsic
    def part(typing: Any, args: Any, n: Any, first: Any, count: Any, low: Any, high: Any,
             table: Any) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            write(Block(builder, element, corners, last, arguments))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), generate

    return part


@intrinsic
def _table(typing: Any) -> Any:
    """The address of a table on the stack of the calling kernel."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = ir.Constant(WORD, TABLE * BLOCK)
        return builder.ptrtoint(cgutils.alloca_once(builder, WORD, size=size), WORD)

    return types.int64(), generate


def _read(args, chunk, chunks):
    """Some blocks of places, with all channels."""
    table = _table()
    places, channels = argument(args, PLACES), argument(args, CHANNELS)
    blocks = (places + BLOCK - 1) // BLOCK
    start, stop = bounds(argument(args, BATCH) * blocks, chunk, chunks, 1)
    for unit in range(start, stop):
        n, first = unit // blocks, unit % blocks * BLOCK
        count = min(BLOCK, places - first)
        tabulate(args, n, first, count, 0, channels, table)  # type: ignore  # noqa: F821
        work(args, n, first, count, 0, channels, table)  # type: ignore  # noqa: F821


def _write(args, chunk, chunks):
    """All places of some images, with some of their channels: no other chunk writes to those."""
    table = _table()
    places, channels = argument(args, PLACES), argument(args, CHANNELS)
    group = argument(args, GROUP)
    groups = (channels + group - 1) // group
    start, stop = bounds(argument(args, BATCH) * groups, chunk, chunks, 1)
    for unit in range(start, stop):
        n, low = unit // groups, unit % groups * group
        high = min(low + group, channels)
        for first in range(0, places, BLOCK):
            count = min(BLOCK, places - first)
            tabulate(args, n, first, count, low, high, table)  # type: ignore  # noqa: F821
            work(args, n, first, count, low, high, table)  # type: ignore  # noqa: F821


_ELEMENTS = {"float32": F32, "float64": F64}
_MODES = {"bilinear": 4, "nearest": 1}
_WAYS = {
    "sample": (_read, _sample, _MODES),
    # The nearest pixel stays the same as a place moves a little: it has no slope.
    "grid_grad": (_read, _grid_grad, ("bilinear",)),
    "scatter": (_write, _scatter, _MODES),
}


def _tasks(way: str) -> dict[tuple[str, str, bool], Any]:
    """A task for each dtype, mode, and whether images lie channels last."""
    body, write, modes = _WAYS[way]
    made = {}
    for dtype, element in _ELEMENTS.items():
        for mode in modes:
            for last in (False, True):
                made[dtype, mode, last] = instance(
                    f"grid_{way}_{dtype}_{mode}_{'last' if last else 'planes'}",
                    body,
                    tabulate=_part(locate, element, _MODES[mode], last),
                    work=_part(write, element, _MODES[mode], last),
                )
    return made


TASKS = {way: _tasks(way) for way in _WAYS}
"""Tasks by way, then by dtype, mode and whether images lie channels last: "sample" reads the image
at the places, "grid_grad" is the gradient of the grid, "scatter" that of the image."""
