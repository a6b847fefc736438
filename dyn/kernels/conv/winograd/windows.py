"""The weights of Winograd's filtering, transformed: all of them, or a piece when it is needed.

A panel holds the transforms for PANEL channels of the target. A piece of it, for some channels of
the source, lies as [frequency][channel][PANEL]. Where the target's channels are neighbours in the
weight they are transformed as they lie, otherwise they are turned first.
"""

from __future__ import annotations

import numpy as np

from dyn.kernels.conv.shapes import Channels, kernels_of, words_of
from dyn.kernels.conv.winograd import transform
from dyn.kernels.conv.winograd.filtering import TABLE_BYTES, spacing
from dyn.kernels.conv.winograd.product import PANEL
from dyn.kernels.copy import contiguous
from dyn.kernels.runtime.bytes import clear_bytes, prefetch, put_word
from dyn.kernels.runtime.form import Form
from dyn.kernels.runtime.jit import call_address, microkernel, task
from dyn.kernels.runtime.memory import maker
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.lanes import LANES

(
    WEIGHTS,
    FIRST_TAP,
    TAP_H,
    TAP_W,
    INNER_STEP,
    LANE_STEP,
    INNER,
    OUTER,
    PIECE,
    FREQUENCIES,
    STEP,
    TRANSFORM,
    TRANSPOSE,
    SPREAD_PIECE,
    RESULT,
    SCRATCH,
    SCRATCH_SIZE,
) = range(17)
"""Words that describe a weight and its pieces, of PIECE channels each but the last.

What meets tap (i, j), channel c of the source and channel l of the target lies at WEIGHTS +
FIRST_TAP + i * TAP_H + j * TAP_W + c * INNER_STEP + l * LANE_STEP; one of the last two steps is 4.
Transforms are STEP bytes apart per frequency. The last three are for `spread_windows`.
"""
WORDS = 17
CHUNKS = 32


@microkernel(5)
def spread_piece(plan, panel, low, table, to):
    """Transform the piece of a panel that begins with channel `low`.

    Behind the table, of TABLE_BYTES, is room for what is turned: 9 * PIECE * PANEL numbers.
    """
    lane_step, channel_step = argument(plan, LANE_STEP), argument(plan, INNER_STEP)
    tap_h, tap_w, code = argument(plan, TAP_H), argument(plan, TAP_W), argument(plan, TRANSFORM)
    lanes = min(PANEL, argument(plan, OUTER) - panel * PANEL)
    depth = min(argument(plan, PIECE), argument(plan, INNER) - low)
    step = argument(plan, STEP)
    at = argument(plan, WEIGHTS) + argument(plan, FIRST_TAP)
    at += low * channel_step + panel * PANEL * lane_step
    if lanes <= LANES:  # the second half of a panel is multiplied, too
        clear_bytes(to, argument(plan, FREQUENCIES) * step)
    if lane_step != 4:
        turned, size = table + TABLE_BYTES, depth * (4 * PANEL)
        for tap in range(9):
            source = at + tap // 3 * tap_h + tap % 3 * tap_w
            target = turned + tap * size
            call_address(
                argument(plan, TRANSPOSE), source, lane_step, target, 4 * PANEL, lanes, depth
            )
        at, tap_h, tap_w, channel_step = turned, 3 * size, size, 4 * PANEL
    for channel in range(depth):
        for i in range(3):
            for j in range(3):
                put_word(table, 3 * i + j, at + i * tap_h + j * tap_w)
        call_address(code, table, lanes, to + channel * (4 * PANEL), step)
        at += channel_step


@microkernel(5)
def expect_piece(plan, panel, low, part, parts):
    """Ask for a part of the weights of which `spread_piece` makes a piece."""
    lane_step, channel_step = argument(plan, LANE_STEP), argument(plan, INNER_STEP)
    lanes = min(PANEL, argument(plan, OUTER) - panel * PANEL)
    depth = min(argument(plan, PIECE), argument(plan, INNER) - low)
    at = argument(plan, WEIGHTS) + argument(plan, FIRST_TAP)
    at += low * channel_step + panel * PANEL * lane_step
    rows, row_step, size = lanes, lane_step, 4 * depth
    if lane_step == 4:
        rows, row_step, size = depth, channel_step, 4 * lanes
    for number in range(9 * rows * part // parts, 9 * rows * (part + 1) // parts):
        tap = number // rows
        row = at + tap // 3 * argument(plan, TAP_H) + tap % 3 * argument(plan, TAP_W)
        row += (number - tap * rows) * row_step
        for offset in range(0, size, 64):
            prefetch(row + offset)


@task
def spread_windows(plan, chunk, chunks):
    """Transform a share of the panels to RESULT: [panel][piece]."""
    memory = argument(plan, SCRATCH)
    slot = take(memory)
    table = buffer(memory, slot, argument(plan, SCRATCH_SIZE))
    inner, piece = argument(plan, INNER), argument(plan, PIECE)
    panels = (argument(plan, OUTER) + PANEL - 1) // PANEL
    size = argument(plan, FREQUENCIES) * argument(plan, STEP)
    pieces = (inner + piece - 1) // piece
    for panel in range(panels * chunk // chunks, panels * (chunk + 1) // chunks):
        to = argument(plan, RESULT) + panel * pieces * size
        for low in range(0, inner, piece):
            call_address(argument(plan, SPREAD_PIECE), plan, panel, low, table, to)
            to += size
    leave(memory, slot)


class Windows:
    """What is transformed of a weight that meets a source as `channels` says.

    Attributes:
        copied: whether the weight is brought into another order first.
        step: bytes from frequency to frequency of a piece.
        scratch_size: bytes of a table and of a piece that is turned.
        words: what the stages read; the address of the weight is that of a call.
    """

    def __init__(self, channels: Channels, side: int, piece: int, *, reverse: bool) -> None:
        """Describe; `side` is that of the tiles, and `reverse` reads windows backwards."""
        inner, outer = channels.inner_step, channels.outer_step
        h_step, w_step = channels.window_steps
        self.copied = 4 not in (inner, outer)
        if self.copied:  # to [kh][kw][ci][co]
            w_step = 4 * channels.inner * channels.outer
            h_step = 3 * w_step
            inner, outer = (4, 4 * channels.inner) if reverse else (4 * channels.outer, 4)
        self.step = spacing(4 * PANEL * piece)
        self.scratch_size = TABLE_BYTES + 9 * piece * PANEL * 4
        frequencies = (side + 2) ** 2
        panels = -(-channels.outer // PANEL)
        size = panels * -(-channels.inner // piece) * frequencies * self.step
        self._make = maker((size // 4,), np.float32)
        self.words = words_of(
            WORDS,
            {
                FIRST_TAP: 2 * (h_step + w_step) if reverse else 0,
                TAP_H: -h_step if reverse else h_step,
                TAP_W: -w_step if reverse else w_step,
                INNER_STEP: inner,
                LANE_STEP: outer,
                INNER: channels.inner,
                OUTER: channels.outer,
                PIECE: piece,
                FREQUENCIES: frequencies,
                STEP: self.step,
                TRANSFORM: (transform.weight2 if side == 2 else transform.weight4).address,
                TRANSPOSE: kernels_of(np.dtype(np.float32)).transpose,
                SPREAD_PIECE: spread_piece.address,
                SCRATCH_SIZE: self.scratch_size,
            },
        )
        self._form = Form(
            [(spread_windows, min(CHUNKS, panels))],
            self.words,
            (WEIGHTS, RESULT),
            scratch=(SCRATCH, self.scratch_size),
        )

    def spread(self, w: np.ndarray) -> np.ndarray:
        """The transforms of a weight [Co, Ci, 3, 3], panel after panel and piece after piece."""
        if self.copied:
            w = contiguous(w.transpose(2, 3, 1, 0))
        made = self._make()
        self._form(w, made)
        return made
