"""Places of a grid, a block at a time: where they lie in an image, and how much each pixel counts.

`locate` makes a table of a block: the upper left of the four pixels that a place lies between,
brought into the image, with mask and weight of each. What lies outside is masked and not multiplied
by zero, as it may hold NaN. What is done with places is in `grid_simd.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from dyn.kernels.runtime.arrays import DATA
from dyn.kernels.vector.rows import word_at
from dyn.kernels.vector.simd import F32, INT32, WORD, Emitter, Value, choose, loop
from dyn.kernels.vector.value import branch

BLOCK = 128
"""Places of a table, a multiple of every vector's lanes."""

(
    SOURCE, GRID, TARGET, GRADIENT, BATCH, CHANNELS, GROUP, HEIGHT, WIDTH, PLACES, PADDING, ALIGN,
) = range(12)  # fmt: skip
"""Words of the tasks: `id`s of the image that is read (or of the gradient that is given back), of
the grid, of the result, of the gradient where an image is read beside it; sizes, of which GROUP is
how many channels are given back together; what lies outside, and whether corners are aligned."""
ARRAYS = 4
PADDINGS = ("zeros", "border", "reflection")

OFFSET, MASK, WEIGHT, ROWS, COLUMNS, SLOPE, SUM, VALUE, TABLE = 0, 1, 5, 9, 11, 13, 15, 13, 17
"""Rows of a table: the number of the upper left pixel; of the four pixels, row by row, mask and
weight; weights of both rows, weights of both columns; how weights change by the grid's x and y: the
right column's weight grows as the left one's falls, likewise rows; sums over channels. Where
gradients are given back the last four hold what each pixel gets. TABLE is the number of rows."""


class Block:
    """A block of places, while its code is written.

    Attributes:
        emit: writes vectors of the element type.
        corners: pixels that a place reads: 4, or 1 for the nearest.
        last: whether images lie channels last.
    """

    def __init__(self, builder: Any, element: Any, corners: int, last: bool, arguments: Any):
        self.args, self.n, self.first, self.count, self.low, self.high, self.table = arguments
        self.builder, self.corners, self.last = builder, corners, last
        self.emit = Emitter(builder, element)
        self.integer = INT32 if element is F32 else WORD
        size = self.emit.size
        self.pixel = self.product(self.word(CHANNELS), size) if last else WORD(size)
        self.right = self.step_if(WIDTH, self.pixel)
        self.down = self.step_if(HEIGHT, self.product(self.word(WIDTH), self.pixel))

    def word(self, place: int) -> Any:
        """A parameter of the task."""
        return word_at(self.builder, self.args, place)

    def start(self, array: int) -> Any:
        """Address of the first element of an array."""
        return word_at(self.builder, self.word(array), DATA)

    def sum(self, *words: Any) -> Any:
        """The sum of integers."""
        found, *rest = (WORD(w) if isinstance(w, int) else w for w in words)
        for word in rest:
            found = self.builder.add(found, word)
        return found

    def product(self, *words: Any) -> Any:
        """The product of integers."""
        found, *rest = (WORD(w) if isinstance(w, int) else w for w in words)
        for word in rest:
            found = self.builder.mul(found, word)
        return found

    def step_if(self, size: int, step: Any) -> Any:
        """Bytes to the next pixel along an axis, none where there is only one."""
        several = self.builder.icmp_signed(">", self.word(size), WORD(1))
        return self.builder.select(several, step, WORD(0))

    def steps(self) -> list[Any]:
        """Bytes from the upper left pixel to each that is read."""
        found = [WORD(0), self.right, self.down, self.sum(self.down, self.right)]
        return found[: self.corners]

    # ---- the table -----------------------------------------------------------------------------

    def at(self, row: int, offset: Any) -> Any:
        """Address in a row of the table, at a byte offset of the element type."""
        return self.sum(self.table, row * BLOCK * self.emit.size, offset)

    def put(self, row: int, offset: Any, value: Value) -> None:
        """Write a vector of the table."""
        Emitter(self.builder, value.element, self.emit.lanes).store(value, self.at(row, offset))

    def vector(self, row: int, offset: Any) -> Value:
        """A vector of the table."""
        return self.emit.load(self.at(row, offset))

    def mask(self, corner: int, offset: Any) -> Value:
        """Ones in the lanes whose pixel is inside, else zeros."""
        bits = Emitter(self.builder, self.integer, self.emit.lanes)
        return bits.load(self.at(MASK + corner, offset))

    def seen(self, value: Value, mask: Value) -> Value:
        """The numbers that are inside, else zeros."""
        return (value.bits(self.integer) & mask).bits(self.emit.element)

    def number(self, row: int, place: Any) -> Value:
        """The number of a place in every lane."""
        return self.emit.splat_at(self.at(row, self.product(place, self.emit.size)))

    def mask_number(self, corner: int, place: Any) -> Value:
        """The mask of a place in every lane."""
        at = self.at(MASK + corner, self.product(place, self.emit.size))
        return self.emit.splat(Emitter(self.builder, self.integer, 1).number_at(at))

    def offset(self, place: Any) -> Any:
        """Bytes from the start of an image to the upper left pixel of a place."""
        at = self.sum(self.table, OFFSET * BLOCK * self.emit.size, self.product(place, 4))
        number = Emitter(self.builder, INT32, 1).number_at(at).to(WORD).value
        return self.product(number, self.pixel)

    # ---- images --------------------------------------------------------------------------------

    def image(self, array: int, channel: Any = None) -> Any:
        """Address of the image of this block: of a channel's plane, or where it begins."""
        pixels = self.product(self.word(HEIGHT), self.word(WIDTH))
        return self.sum(self.start(array), self.plane(pixels, channel))

    def result(self, array: int, channel: Any = None) -> Any:
        """Address of the first place of this block: in a channel's plane, or of all channels."""
        own = self.product(self.first, self.pixel)
        return self.sum(self.start(array), self.plane(self.word(PLACES), channel), own)

    def plane(self, pixels: Any, channel: Any) -> Any:
        """Bytes before this image, or before a plane of it, where planes have so many pixels."""
        number = self.product(self.n, self.word(CHANNELS))
        number = number if channel is None else self.sum(number, channel)
        return self.product(number, pixels, self.emit.size)

    def each_channel(self, body: Callable[[Any], Any]) -> None:
        """Emit a loop over the channels of this block."""
        loop(self.builder, self.low, self.high, WORD(1), lambda c, _: body(c) or [])

    def each_place(self, body: Callable[[Any], Any]) -> None:
        """Emit a loop over the places of this block."""
        loop(self.builder, WORD(0), self.count, WORD(1), lambda i, _: body(i) or [])

    def gathered(self, plane: Any, offset: Any) -> list[Value]:
        """The pixels of a vector of places, for each corner; zeros outside."""
        emit = self.emit
        first = self.builder.lshr(offset, WORD(emit.size.bit_length() - 1))
        places = [self.sum(first, lane) for lane in range(emit.lanes)]
        pixels = [self.sum(plane, self.offset(place)) for place in places]
        if self.corners == 1:
            found = ir.Constant(emit.vector, ir.Undefined)
            for lane, pixel in enumerate(pixels):
                number = emit.number_at(pixel).value
                found = self.builder.insert_element(found, number, INT32(lane))
            return [self.seen(Value(self.builder, found), self.mask(0, offset))]
        # Neighbours of a row are read at once: such images are more than one pixel wide.
        pair, found = Emitter(self.builder, emit.element, 2), []
        for step in (WORD(0), self.down):
            parts = [pair.load(self.sum(pixel, step)) for pixel in pixels]
            while len(parts) > 2:
                parts = [
                    a.shuffled(range(2 * a.lanes), b)
                    for a, b in zip(parts[::2], parts[1::2], strict=True)
                ]
            found += [parts[0].shuffled(range(k, 2 * emit.lanes, 2), parts[1]) for k in (0, 1)]
        return [self.seen(value, self.mask(k, offset)) for k, value in enumerate(found)]


# ---- places ------------------------------------------------------------------------------------


def _pixels(block: Block, at: Value, size: Value) -> tuple[Value, list[Value], list[Value], Value]:
    """First pixel of an axis that a coordinate reads, brought inside; masks, weights and own.

    Where the first of two pixels is outside the second is read as the first, and the other way
    round: `own` is whether it is not so.
    """
    if block.corners == 1:
        near = at.call("rint")
        inside = (near >= 0) & (near < size)
        return choose(inside, near, 0), [inside], [], inside
    low = at.call("floor")
    part = at - low
    last = choose(size > 2, size - 2, 0)
    first = choose(low > 0, low, 0)
    first = choose(first < last, first, last)
    own = low == first
    masks = [own | (low + 1 == first), (own | (low - 1 == first)) & (size > 1)]
    return first, masks, [choose(own, 1 - part, part), choose(own, part, 1 - part)], own


def _bounded(block: Block, axes: list[tuple[Value, Value, Value]], shift: Value) -> list[Value]:
    """Coordinates and slopes brought into the image, as the padding wants it; NaN stays NaN.

    `axes`: (coordinate, size, pixels per unit of the grid), of x and of y.
    """
    padding = block.word(PADDING)
    builder = block.builder

    def border() -> list[Value]:
        return clipped([at for at, _, _ in axes], [unit for _, _, unit in axes])

    def clipped(places: list[Value], slopes: list[Value]) -> list[Value]:
        found = []
        for at, slope, (_, size, _) in zip(places, slopes, axes, strict=True):
            last = size - 1
            inside = (at > 0) & (at < last)
            found += [choose(at < 0, 0, choose(at > last, last, at)), choose(inside, slope, 0)]
        return found

    def reflected() -> list[Value]:
        places, slopes = [], []
        for at, _, unit in axes:
            span = unit * 2
            shifted = at + shift
            far = abs(shifted)
            turns = (far / span).call("floor")
            rest = far - turns * span
            even = turns == (turns * 0.5).call("floor") * 2
            turned = choose(even, rest, span - rest) - shift
            places.append(choose(span > 0, turned, 0))
            slope = choose(shifted < 0, -unit, unit)
            slopes.append(choose(even, slope, -slope))
        return clipped(places, slopes)

    def outer() -> list[Value]:
        border_wanted = builder.icmp_signed("==", padding, WORD(PADDINGS.index("border")))
        return branch(builder, border_wanted, border, reflected)

    def plain() -> list[Value]:
        return [value for at, _, unit in axes for value in (at, unit)]

    zeros = builder.icmp_signed("==", padding, WORD(PADDINGS.index("zeros")))
    return branch(builder, zeros, plain, outer)


def locate(block: Block) -> None:
    """Write the table of a block of places."""
    emit, builder = block.emit, block.builder
    first = block.sum(block.product(block.n, block.word(PLACES)), block.first)
    grid = block.sum(block.start(GRID), block.product(first, 2 * emit.size))

    def number(word: Any) -> Value:
        return emit.splat(builder.sitofp(word, emit.element))

    align = number(block.word(ALIGN))
    shift = (1 - align) * 0.5
    sizes = [number(block.word(k)) for k in (WIDTH, HEIGHT)]
    units = [(size - align) * 0.5 for size in sizes]
    width = Emitter(builder, INT32, emit.lanes).splat(builder.trunc(block.word(WIDTH), INT32))
    ones = Emitter(builder, block.integer, emit.lanes).numbers(-1)
    even, odd = (range(k, 2 * emit.lanes, 2) for k in (0, 1))

    def step(offset: Any, carried: Any, mask: Any) -> list[Value]:
        at = block.sum(grid, block.product(offset, 2))
        masks = [None, None]
        if mask is not None:
            done = block.product(builder.lshr(offset, WORD(emit.size.bit_length() - 1)), 2)
            left = builder.sub(block.product(block.count, 2), done)
            masks = [emit.mask_below(builder.sub(left, WORD(k * emit.lanes))) for k in (0, 1)]
        pair = [emit.load(block.sum(at, k * emit.bytes), masks[k]) for k in (0, 1)]
        axes = []
        for lanes, size, unit in zip((even, odd), sizes, units, strict=True):
            scaled = (pair[0].shuffled(lanes, pair[1]) + 1) * unit
            # Not in one rounding: a place between two pixels must stay there.
            axes.append((scaled.made(builder.fsub(scaled.value, shift.value)), size, unit))
        x, x_slope, y, y_slope = _bounded(block, axes, shift)
        column, column_masks, columns, own_x = _pixels(block, x, sizes[0])
        row, row_masks, rows, own_y = _pixels(block, y, sizes[1])
        pixel = row.to(INT32) * width + column.to(INT32)
        Emitter(builder, INT32, emit.lanes).store(
            pixel, block.sum(block.table, builder.udiv(offset, WORD(emit.size // 4)))
        )
        for k, (i, j) in enumerate((i, j) for i in row_masks for j in column_masks):
            block.put(MASK + k, offset, choose(i & j, ones, 0))
        for k, (i, j) in enumerate((i, j) for i in rows for j in columns):
            block.put(WEIGHT + k, offset, i * j)
        for k, (i, j) in enumerate(zip(rows, columns, strict=True)):
            block.put(ROWS + k, offset, i)
            block.put(COLUMNS + k, offset, j)
        block.put(SLOPE, offset, choose(own_x, x_slope, -x_slope))
        block.put(SLOPE + 1, offset, choose(own_y, y_slope, -y_slope))
        return []

    emit.row(block.count, step, unroll=1)
