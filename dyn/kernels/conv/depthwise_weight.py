"""The gradient of a depthwise convolution's weight.

Vectors run along the channels. For one row of outputs and one row of the window the sums of all its
taps stay in registers while the pixels pass; every input pixel is loaded once for all taps. Parts
of the batch have sums of their own, added in a fixed order, so the result does not depend on the
threads. Dilated windows, float64, and channels that fill no vector are left to `weight`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from dyn.kernels.conv import copy, part_sums
from dyn.kernels.conv.bands import JOB_BYTES, Phase, gap_of
from dyn.kernels.conv.shapes import BandCut, BandLayout, Channels, View, band_words, words_of
from dyn.kernels.runtime.bytes import clear_bytes, put_word
from dyn.kernels.runtime.form import Form
from dyn.kernels.runtime.jit import Microkernel, call_address, instance, task
from dyn.kernels.runtime.memory import empty
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.simd import F32, WORD, Emitter, Value, choose, fma, intrinsic, loop

BAND_BYTES = 128 * 1024
"""Size of a band: it stays in the second-level cache while its rows are read."""
PARTS = 8
"""Most parts of a batch with sums of their own."""

(X, X_PIXEL, G, G_PIXEL, SUMS, SUMS_TAP, COUNT, CHANNELS) = range(8)
"""Words of a job: one row of outputs and one row of the window.

X is what the first tap sees for the first of COUNT pixels, G the gradient there; SUMS gets the sums
of channel 0 of the first tap added, the other taps lie SUMS_TAP bytes apart.
"""
AT_ONCE = {3: 3, 5: 2, 7: 1, 9: 1, 11: 1}
"""Pixels with sums of their own, by the width of the window: enough to keep the multipliers busy,
few enough to fit 16 vector registers."""


def _sums(taps: int, stride: int) -> Any:
    """The generator of the sums for windows `taps` wide, for one vector of channels."""
    together = AT_ONCE[taps]

    @intrinsic
    def sums(typing: Any, job: Any, offset: Any, done: Any) -> Any:
        """Of a vector of channels at `offset` bytes; the sums of the first `done` stay."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            job, offset, done = arguments
            emit = Emitter(builder, F32)

            def word(index: int) -> Any:
                at = builder.add(job, WORD(8 * index))
                return builder.load(builder.inttoptr(at, WORD.as_pointer()))

            x_step, g_step, count = word(X_PIXEL), word(G_PIXEL), word(COUNT)
            x, g = builder.add(word(X), offset), builder.add(word(G), offset)

            def several(number: int, pixel: Any, old: list[Value]) -> list[Value]:
                at = builder.add(x, builder.mul(builder.mul(pixel, WORD(stride)), x_step))
                from_g = builder.add(g, builder.mul(pixel, g_step))
                factors, found = [], list(old)
                for _ in range(number):
                    factors.append(emit.load(from_g))
                    from_g = builder.add(from_g, g_step)
                for seen in range((number - 1) * stride + taps):
                    value = emit.load(at)
                    at = builder.add(at, x_step)
                    for r in range(number):
                        k = seen - r * stride
                        if 0 <= k < taps:
                            found[r * taps + k] = fma(value, factors[r], found[r * taps + k])
                return found

            whole = builder.mul(builder.sdiv(count, WORD(together)), WORD(together))
            found = [emit.numbers(0)] * (together * taps)
            found = loop(
                builder, WORD(0), whole, WORD(together), lambda i, v: several(together, i, v), found
            )
            found = loop(builder, whole, count, WORD(1), lambda i, v: several(1, i, v), found)
            to, others = builder.add(word(SUMS), offset), emit.mask_below(done)
            for k in range(taps):
                total = before = emit.load(to)
                for r in range(together):
                    total = total + found[r * taps + k]
                emit.store(choose(others, before, total), to)
                to = builder.add(to, word(SUMS_TAP))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), generate

    return sums


_VECTOR = 4 * LANES


def _row_of_taps(job):
    last = 4 * argument(job, CHANNELS) - _VECTOR
    for offset in range(0, last + _VECTOR, _VECTOR):
        # The last vector reaches back to channels that are done.
        start = min(offset, last)
        sums(job, start, (offset - start) // 4)  # type: ignore[name-defined]  # noqa: F821


SUMS_OF: dict[tuple[int, int], Microkernel] = {
    (taps, stride): instance(f"sums{taps}{stride}", _row_of_taps, sums=_sums(taps, stride))
    for taps in AT_ONCE
    for stride in (1, 2)
}
"""The taps of a row of the window, by width of the window and stride along the row."""

# ---- the task ----------------------------------------------------------------------------------

(
    GRADIENT,
    GRADIENT_N,
    GRADIENT_H,
    GRADIENT_W,
    IMAGES,
    ROWS_PER_BAND,
    BANDS_PER_IMAGE,
    OUT_HEIGHT,
    OUT_WIDTH,
    SOURCE_STEP,
    TOP,
    BAND_ROWS,
    COPIED,
    SCRATCH,
    SCRATCH_SIZE,
    TAPS_DOWN,
    TAPS_GAP,
    ROW_BYTES,
    TAP_BYTES,
    CODE,
) = range(part_sums.WORDS, part_sums.WORDS + 20)
"""Words of a plan after those of its bands and parts. TAPS_GAP: bytes between the rows that two
rows of the window see. ROW_BYTES, TAP_BYTES: of a row of the window, of a tap."""
WORDS = part_sums.WORDS + 20


@task
def depthwise_sums(plan, chunk, chunks):
    """Do one part (chunk) of the bands."""
    memory = argument(plan, SCRATCH)
    slot = take(memory)
    job = buffer(memory, slot, argument(plan, SCRATCH_SIZE))
    per_image, rows = argument(plan, BANDS_PER_IMAGE), argument(plan, ROWS_PER_BAND)
    bands, step = argument(plan, IMAGES) * per_image, argument(plan, SOURCE_STEP)
    height, row_bytes = argument(plan, OUT_HEIGHT), argument(plan, ROW_BYTES)
    sums = argument(plan, part_sums.SUMS) + chunk * argument(plan, part_sums.STEP)
    clear_bytes(sums, argument(plan, part_sums.STEP))
    put_word(job, X_PIXEL, argument(plan, copy.BAND_W))
    put_word(job, G_PIXEL, argument(plan, GRADIENT_W))
    put_word(job, SUMS_TAP, argument(plan, TAP_BYTES))
    put_word(job, COUNT, argument(plan, OUT_WIDTH))
    put_word(job, CHANNELS, argument(plan, TAP_BYTES) // 4)
    for band in range(bands * chunk // chunks, bands * (chunk + 1) // chunks):
        image, first = band // per_image, band % per_image * rows
        top = first * step + argument(plan, TOP)
        if argument(plan, COPIED):
            x = job + JOB_BYTES
            fill, deep = argument(plan, copy.FILL_BAND), argument(plan, BAND_ROWS)
            call_address(fill, plan, x, image, 1, top, deep)
        else:
            x = argument(plan, copy.SOURCE) + image * argument(plan, copy.SOURCE_N)
            x += top * argument(plan, copy.SOURCE_H)
            x += argument(plan, copy.FIRST) * argument(plan, copy.SOURCE_W)
        g = argument(plan, GRADIENT) + image * argument(plan, GRADIENT_N)
        for row in range(first, min(first + rows, height)):
            put_word(job, G, g + row * argument(plan, GRADIENT_H))
            at = x + (row - first) * step * argument(plan, copy.BAND_H)
            for tap in range(argument(plan, TAPS_DOWN)):
                put_word(job, X, at + tap * argument(plan, TAPS_GAP))
                put_word(job, SUMS, sums + tap * row_bytes)
                call_address(argument(plan, CODE), job)
    leave(memory, slot)


def fits(source: View, gradient: View, phase: Phase, stride: int) -> bool:
    """Whether there is a kernel for this window and these arrays."""
    across = phase.taps[1]
    beside = set(np.diff(across.offsets).tolist()) == {1}
    dense = source.has_channels_last and gradient.has_channels_last
    filled = source.dtype == np.float32 and source.shape[1] >= LANES
    return beside and dense and filled and (len(across.offsets), stride) in SUMS_OF


class DepthwiseWeightPlan:
    """A plan for given shapes, if it `fits`; the result is [kh][kw][channels]."""

    def __init__(
        self, source: View, gradient: View, phase: Phase, step: tuple[int, int], channels: Channels
    ) -> None:
        layout = BandLayout(source, [phase], step, channels._replace(lanewise=False))
        cut = BandCut.of(layout, 1, layout.rows_shared(BAND_BYTES, PARTS))
        self.parts = min(PARTS, cut.count)
        down, across = phase.taps
        tap = 4 * channels.outer
        self.count = len(down.offsets) * len(across.offsets) * channels.outer
        self.scratch_size = JOB_BYTES + (cut.steps[0] if layout.copied else 0)
        g_n, _, g_h, g_w = gradient.strides
        words = words_of(
            WORDS,
            {
                **band_words(source, layout, cut.steps),
                GRADIENT_N: g_n,
                GRADIENT_H: g_h,
                GRADIENT_W: g_w,
                part_sums.STEP: 4 * self.count,
                part_sums.PARTS: self.parts,
                part_sums.COUNT: self.count,
                IMAGES: source.shape[0],
                ROWS_PER_BAND: cut.rows,
                BANDS_PER_IMAGE: cut.per_image,
                OUT_HEIGHT: layout.out[0],
                OUT_WIDTH: layout.out[1],
                SOURCE_STEP: step[0],
                TOP: layout.low[0],
                BAND_ROWS: cut.deep,
                COPIED: layout.copied,
                SCRATCH_SIZE: self.scratch_size,
                TAPS_DOWN: len(down.offsets),
                TAPS_GAP: (gap_of(down.offsets) or 1) * cut.steps[1],
                ROW_BYTES: len(across.offsets) * tap,
                TAP_BYTES: tap,
                CODE: SUMS_OF[len(across.offsets), step[1]].address,
            },
        )
        self.form = Form(
            [(depthwise_sums, self.parts), *part_sums.stages(self.count, self.parts)],
            words,
            (copy.SOURCE, GRADIENT, part_sums.SUMS, part_sums.RESULT),
            scratch=(SCRATCH, self.scratch_size),
        )

    def run(self, source: np.ndarray, gradient: np.ndarray, target: np.ndarray) -> bool:
        """Compute the target, a dense array of `count` numbers. Returns True."""
        sums = empty((self.parts, self.count), np.float32) if self.parts > 1 else target
        self.form(source, gradient, sums, target)
        return True
