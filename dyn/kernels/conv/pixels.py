"""From planes to pixels, and back: rows of an image of few channels.

Few channels are brought together in whole vectors. Of more, four at a time and LANES pixels: two
rounds of shuffles bring the numbers of a pixel together, each pixel's are stored on their own. What
is computed stands in `planes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numba import types

from dyn.kernels.runtime.bytes import put_word
from dyn.kernels.runtime.jit import Microkernel, instance, microkernel
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.simd import F32, LANES, WORD, Emitter, Value, choose, intrinsic, loop
from dyn.kernels.vector.transpose import transpose_f32
from dyn.kernels.vector.value import apart, branch, interleaved

MOST = 8
"""Channels that are put together, or taken apart, in whole vectors with few shuffles."""


@intrinsic
def _turn(
    typing: Any, source: Any, step: Any, target: Any, pixel: Any, room: Any, count: Any, job: Any
) -> Any:
    """Turn four channels of LANES pixels from planes to pixels, `pixel` bytes apart; add a bias.

    `room` bytes are left in the row, for `count` (at most 4) numbers of each pixel. Four are stored
    wherever there is room: those beyond a pixel's own belong to pixels that are written later.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, step, target, pixel, room, count, job = arguments
        emit, four = Emitter(builder, F32), Emitter(builder, F32, 4)
        last = builder.sub(count, WORD(1))
        rows = []
        for c in range(4):
            inside = builder.icmp_signed("<", WORD(c), last)
            index = builder.select(inside, WORD(c), last)
            rows.append(emit.load(builder.add(source, builder.mul(index, step))))
        bias = builder.load(builder.inttoptr(job, WORD.as_pointer()))
        relu = builder.load(builder.inttoptr(builder.add(job, WORD(8)), WORD.as_pointer()))
        (shift,) = branch(
            builder,
            builder.icmp_signed("!=", bias, WORD(0)),
            lambda: [four.load(bias, four.mask_below(count))],
            lambda: [four.numbers(0)],
        )
        shift = shift.shuffled([0, 1, 2, 3] * (LANES // 4))
        relu = builder.icmp_signed("!=", relu, WORD(0))
        floor = emit.splat(builder.select(relu, F32(0.0), F32(float("-inf"))))
        turned = []
        for found in _quads(rows):
            found = found + shift
            # A comparison with NaN is false, so NaN stays.
            turned.append(choose(found < floor, floor, found))
        mask, size = four.mask_below(count), builder.mul(count, WORD(4))
        for i in range(LANES):
            first = i // 4 * 4
            numbers = turned[i % 4].shuffled([first, first + 1, first + 2, first + 3])
            offset = builder.mul(pixel, WORD(i))
            at, left = builder.add(target, offset), builder.sub(room, offset)
            with builder.if_else(builder.icmp_signed(">=", left, WORD(16))) as (inner, end):
                with inner:
                    four.store(numbers, at)
                with end, builder.if_then(builder.icmp_signed(">=", left, size)):
                    four.store(numbers, at, mask)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), generate


def _quads(rows: Sequence[Value]) -> list[Value]:
    """The columns of four rows, in vectors: number k holds columns k, 4 + k, 8 + k and so on."""
    lanes, width = rows[0].lanes, 4

    def joined(order: Sequence[int], a: Value, b: Value) -> Value:
        """The same four numbers of every four of a (0 to 3) and b (4 to 7)."""
        starts = range(0, lanes, width)
        return a.shuffled([s + i if i < 4 else lanes + s + i - 4 for s in starts for i in order], b)

    low, high = (0, 4, 1, 5), (2, 6, 3, 7)
    ends, pairs = ((0, 1, 4, 5), (2, 3, 6, 7)), (low, high)
    upper = [joined(order, rows[0], rows[1]) for order in pairs]
    lower = [joined(order, rows[2], rows[3]) for order in pairs]
    return [joined(end, a, b) for a, b in zip(upper, lower, strict=True) for end in ends]


@microkernel(6)
def turn_row(source, step, target, channels, count, job):
    """Turn a row of `count` pixels, planes `step` bytes apart, to pixels of `channels` numbers.

    `job` holds a bias (address or 0) and whether to clamp; the words behind are overwritten.
    """
    bias = argument(job, 0)
    quad = job + 16
    put_word(quad, 1, argument(job, 1))
    # The last channels first: what they write beyond a pixel is then written over.
    for channel in range((channels - 1) // 4 * 4, -1, -4):
        put_word(quad, 0, bias + 4 * channel if bias else 0)
        for first in range(0, count, LANES):
            before = 4 * (channels * first + channel)
            _turn(
                source + channel * step + 4 * first, step, target + before, 4 * channels,
                4 * channels * count - before, min(4, channels - channel), quad,
            )  # fmt: skip


def _turn_few(channels: int) -> Any:
    """The generator of `_planes` for so many channels."""

    @intrinsic
    def turn(typing: Any, source: Any, step: Any, target: Any, count: Any, job: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, step, target, count, job = arguments
            emit = Emitter(builder, F32)
            bias = builder.load(builder.inttoptr(job, WORD.as_pointer()))
            relu = builder.load(builder.inttoptr(builder.add(job, WORD(8)), WORD.as_pointer()))
            places = [builder.add(bias, WORD(4 * c)) for c in range(channels)]
            shifts = branch(
                builder,
                builder.icmp_signed("!=", bias, WORD(0)),
                lambda: [emit.splat_at(place) for place in places],
                lambda: [emit.numbers(0)] * channels,
            )
            relu = builder.icmp_signed("!=", relu, WORD(0))
            floor = emit.splat(builder.select(relu, F32(0.0), F32(float("-inf"))))

            def finished(found: Value, channel: int) -> Value:
                found = found + shifts[channel]
                # A comparison with NaN is false, so NaN stays.
                return choose(found < floor, floor, found)

            _join(emit, channels, source, step, target, count, finished)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), generate

    return turn


def _join_few(channels: int) -> Any:
    """The generator of `_joined` for so many channels."""

    @intrinsic
    def join(typing: Any, source: Any, step: Any, target: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, step, target, count = arguments
            emit = Emitter(builder, F32)
            _join(emit, channels, source, step, target, count, lambda found, _: found)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    return join


def _join(
    emit: Emitter,
    channels: int,
    source: Any,
    step: Any,
    target: Any,
    count: Any,
    finished: Callable[[Value, int], Value],
) -> None:
    """Put `count` pixels together, of what is made of the vectors of each channel."""
    builder = emit.builder

    def block(first: Any, carried: list[Value]) -> list[Value]:
        offset = _whole_block(builder, first, count)
        at, rows = builder.add(source, offset), []
        for channel in range(channels):
            rows.append(finished(emit.load(at), channel))
            at = builder.add(at, step)
        to = builder.add(target, builder.mul(offset, WORD(channels)))
        for vector in interleaved(rows):
            emit.store(vector, to)
            to = builder.add(to, WORD(emit.bytes))
        return []

    loop(builder, WORD(0), count, WORD(LANES), block)


def _planes(source, step, target, channels, count, job):
    """`turn_row` for rows of LANES pixels or more."""
    turn(source, step, target, count, job)  # type: ignore[name-defined]  # noqa: F821


def _part_few(channels: int) -> Any:
    """The generator of `_pixels` for so many channels."""

    @intrinsic
    def part(typing: Any, source: Any, target: Any, step: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, target, step, count = arguments
            emit = Emitter(builder, F32)

            def block(first: Any, carried: list[Value]) -> list[Value]:
                offset = _whole_block(builder, first, count)
                at = builder.add(source, builder.mul(offset, WORD(channels)))
                starts = [builder.add(at, WORD(i * emit.bytes)) for i in range(channels)]
                to = builder.add(target, offset)
                for plane in apart([emit.load(start) for start in starts]):
                    emit.store(plane, to)
                    to = builder.add(to, step)
                return []

            loop(builder, WORD(0), count, WORD(LANES), block)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    return part


def _whole_block(builder: Any, first: Any, count: Any) -> Any:
    """Offset in a plane of LANES pixels from `first` on; the last ones end with the row."""
    last = builder.sub(count, WORD(LANES))
    inside = builder.icmp_signed("<", first, last)
    return builder.mul(builder.select(inside, first, last), WORD(4))


def _pixels(source, pixel, target, step, count, channels):
    """`transpose_f32` for a row of LANES pixels or more that lie together."""
    part(source, target, step, count)  # type: ignore[name-defined]  # noqa: F821


def _joined(source, step, target, pixel, channels, count):
    """`transpose_f32` for LANES pixels or more that are to lie together."""
    join(source, step, target, count)  # type: ignore[name-defined]  # noqa: F821


JOINED: dict[int, Microkernel] = {
    channels: instance(f"join_{channels}", _joined, join=_join_few(channels))
    for channels in range(1, MOST + 1)
}
PARTED: dict[int, Microkernel] = {
    channels: instance(f"part_{channels}", _pixels, part=_part_few(channels))
    for channels in range(1, MOST + 1)
}
TURNED: dict[int, Microkernel] = {
    channels: instance(f"turn_{channels}", _planes, turn=_turn_few(channels))
    for channels in range(1, MOST + 1)
}
"""By number of channels."""


def turn_of(channels: int, count: int) -> Microkernel:
    """What turns planes of `count` pixels, as `turn_row`."""
    return TURNED[channels] if channels <= MOST and count >= LANES else turn_row


def join_of(channels: int, count: int, pixel: int) -> Microkernel:
    """What turns planes of `count` pixels to pixels `pixel` bytes apart, as `transpose_f32`."""
    return JOINED[channels] if _are_few(channels, count, pixel) else transpose_f32


def part_of(channels: int, count: int, pixel: int) -> Microkernel:
    """What turns `count` pixels, `pixel` bytes apart, to planes, as `transpose_f32`."""
    return PARTED[channels] if _are_few(channels, count, pixel) else transpose_f32


def _are_few(channels: int, count: int, pixel: int) -> bool:
    return channels <= MOST and pixel == 4 * channels and count >= LANES
