"""Microkernels of depthwise convolution: a row of outputs, every channel with a window of its own.

Vectors run along the channels. A tile is several neighbouring pixels of one row of outputs; each
input pixel under it is loaded once per row of the window and meets all the taps that see it, so the
loads are few beside the multiplications.
"""

from __future__ import annotations

from typing import Any

from numba import types

from dyn.kernels.runtime.jit import Microkernel, instance
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.simd import F32, WORD, Emitter, Value, choose, fma, intrinsic, loop
from dyn.kernels.vector.value import branch

PIXELS = 8
"""Pixels of a tile; with windows up to 5 wide they and the taps fit 16 vector registers."""

(X, X_ROW, X_PIXEL, W, W_ROW, W_TAP, TAPS_DOWN, Y, Y_PIXEL, COUNT, CHANNELS, BIAS, RELU) = range(13)
"""Words of a job: one row of outputs.

X is what the first tap sees for the first of COUNT pixels; X_ROW bytes lie between the rows that
the TAPS_DOWN rows of the window see. W: the first tap of channel 0; channels are neighbours.
"""


def _tile(taps: int, stride: int) -> Any:
    """The generator of a tile for windows `taps` wide: PIXELS pixels of one vector of channels."""

    @intrinsic
    def tile(typing: Any, job: Any, pixel: Any, offset: Any, count: Any) -> Any:
        """From output `pixel` and channel `offset` (in bytes) on; `count` pixels are stored."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            job, pixel, offset, count = arguments
            emit = Emitter(builder, F32)

            def word(index: int) -> Any:
                at = builder.add(job, WORD(8 * index))
                return builder.load(builder.inttoptr(at, WORD.as_pointer()))

            step = word(X_PIXEL)
            first = builder.mul(builder.mul(pixel, WORD(stride)), step)
            x = builder.add(builder.add(word(X), first), offset)
            w = builder.add(word(W), offset)

            def row(index: Any, sums: list[Value]) -> list[Value]:
                at = builder.add(x, builder.mul(index, word(X_ROW)))
                tap = builder.add(w, builder.mul(index, word(W_ROW)))
                factors = []
                for _ in range(taps):
                    factors.append(emit.load(tap))
                    tap = builder.add(tap, word(W_TAP))
                found = list(sums)
                for seen in range((PIXELS - 1) * stride + taps):
                    number = emit.load(at)
                    at = builder.add(at, step)
                    for k in range(taps):
                        if seen >= k and (seen - k) % stride == 0 and (seen - k) // stride < PIXELS:
                            target = (seen - k) // stride
                            found[target] = fma(number, factors[k], found[target])
                return found

            shift = branch(
                builder,
                builder.icmp_signed("!=", word(BIAS), WORD(0)),
                lambda: [emit.load(builder.add(word(BIAS), offset))],
                lambda: [emit.numbers(0)],
            )
            sums = loop(builder, WORD(0), word(TAPS_DOWN), WORD(1), row, shift * PIXELS)
            relu = builder.icmp_signed("!=", word(RELU), WORD(0))
            floor = emit.splat(builder.select(relu, F32(0.0), F32(float("-inf"))))
            step = word(Y_PIXEL)
            y = builder.add(builder.add(word(Y), builder.mul(pixel, step)), offset)
            for r, found in enumerate(sums):
                with builder.if_then(builder.icmp_signed(">", count, WORD(r))):
                    # A comparison with NaN is false, so NaN stays.
                    clamped = choose(found < floor, floor, found)
                    emit.store(clamped, builder.add(y, builder.mul(step, WORD(r))))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    return tile


_VECTOR = 4 * LANES


def _row(job):
    count, last = argument(job, COUNT), 4 * argument(job, CHANNELS) - _VECTOR
    for pixel in range(0, count, PIXELS):
        # The last tile and the last vector reach back to what is done already.
        start = max(0, min(pixel, count - PIXELS))
        for offset in range(0, last + _VECTOR, _VECTOR):
            tile(job, start, min(offset, last), count)  # type: ignore[name-defined]  # noqa: F821


WIDTHS = (3, 5, 7, 9, 11)
"""Widths of windows that move by two pixels, too; their gradients by the input are made of windows
half as wide."""
ROWS: dict[tuple[int, int], Microkernel] = {
    (taps, stride): instance(f"row{taps}{stride}", _row, tile=_tile(taps, stride))
    for taps, stride in [(n, 1) for n in (1, 2, 3, 4, 5, 6, 7, 9, 11)] + [(n, 2) for n in WIDTHS]
}
"""A row of outputs, by width of the window and stride along the row."""
