"""The gradient of a convolution by its input, scattered: every number of g adds to a window.

With its window turned around it is a convolution of stride 1, for small images with much padding.
For a row of the window the columns and channels of the result are neighbours in memory, so a tile
holds a few dozen of them for some pixels of g, and is added to what is there: no padding is ever
multiplied, few channels fill the vectors, and strides need no phases. Against the sums of `bands`
stands that every tile reads and writes the result. Rows of the result, with the padding beside
them, are gathered in a scratch buffer; rows of the window that fall outside of it are left out.
"""

from __future__ import annotations

import numpy as np

from dyn.kernels.conv import tile
from dyn.kernels.conv.bands import JOB_BYTES
from dyn.kernels.runtime.bytes import clear_bytes, copy_bytes, put_word
from dyn.kernels.runtime.jit import call_address, kernel, task
from dyn.kernels.runtime.scratch import buffer, leave, take
from dyn.kernels.runtime.threads import argument
from dyn.kernels.vector.runs import pointer
from dyn.kernels.vector.sums import ACCUMULATE

(
    GRADIENT,
    GRADIENT_N,
    GRADIENT_H,
    IN_HEIGHT,
    IN_WIDTH,
    IMAGES,
    IMAGES_PER_UNIT,
    ROWS_PER_UNIT,
    UNITS_PER_IMAGE,
    LOW,
    TARGET,
    TARGET_N,
    TARGET_H,
    HEIGHT,
    ROW_BYTES,
    STRIDE,
    PADDED,
    LINE,
    LEFT,
    IMAGE_BYTES,
    PIXEL_BYTES,
    WINDOW_ROWS,
    GAP,
    NUMBERS,
    LANES,
    ELEMENT,
    INNER,
    A_STEP,
    ROW_TABLES,
    TABLE_BYTES,
    WEIGHTS,
    STEP_TABLE,
    SCRATCH,
    SCRATCH_SIZE,
    BIAS,
    RELU,
    WIDE,
    NARROW,
    NARROW_LANES,
    ACROSS,
    LATTICE,
    WIDTH,
) = range(42)
"""Words of a plan.

A unit of work is the rows of the result from ROWS_PER_UNIT * STRIDE times its number on; or all
rows of IMAGES_PER_UNIT images. A buffer holds them, LINE bytes for each, in which the result begins
LEFT columns from the start. Rows of the window are GAP rows of the result apart, the first of them
PADDED rows before it, and NUMBERS wide, in panels of LANES. Numbers of the window that are ACROSS
columns apart are neighbours in the buffer all the same: there a line holds every ACROSS-th column
first, LATTICE bytes further those beside them, and so on, for WIDTH columns of the result. Of the
pixels of g that a row of the window is added for there is a table, the next one TABLE_BYTES behind
it; or one for all where an image has several units, from row LOW of g on, counted from
ROWS_PER_UNIT times the unit's number.
"""
WORDS = 42
PAIR = 16
"""Bytes of an entry of a table."""


@kernel
def _scatter_row(plan, job, down, row, own, images, result):
    """Add a row of the window times those rows of g that put it among the `own` of a unit."""
    stride, in_width = argument(plan, STRIDE), argument(plan, IN_WIDTH)
    before = argument(plan, PADDED) - down * argument(plan, GAP)
    low = max(row + (before + stride - 1) // stride, 0)
    high = min(row + (own - 1 + before) // stride, argument(plan, IN_HEIGHT) - 1)
    if high < low:
        return
    table = argument(plan, ROW_TABLES) + down * argument(plan, TABLE_BYTES)
    if argument(plan, UNITS_PER_IMAGE) > 1:
        table += PAIR * in_width * (low - row - argument(plan, LOW))
    put_word(job, tile.ROW_TABLE, table)
    put_word(job, tile.COUNT, (high - low + 1) * in_width * images)
    numbers, lanes = argument(plan, NUMBERS), argument(plan, LANES)
    element, narrow = argument(plan, ELEMENT), argument(plan, NARROW_LANES)
    panel_bytes = argument(plan, INNER) * lanes * element
    panels = (numbers + lanes - 1) // lanes
    b = argument(plan, WEIGHTS) + down * panels * panel_bytes
    at = result + down * argument(plan, GAP) * argument(plan, LINE)
    for number in range(0, numbers, lanes):
        width = min(lanes, numbers - number)
        put_word(job, tile.WIDTH, width)
        put_word(job, tile.B, b)
        put_word(job, tile.C, at + number * element)
        call_address(argument(plan, WIDE) if width > narrow else argument(plan, NARROW), job)
        b += panel_bytes


@kernel
def _clamp(at, count, element):
    """Replace negative numbers of a run by zero; NaN stays."""
    if element == 4:
        narrow = pointer(at, np.float32(0))
        for i in range(count):
            narrow[i] = np.float32(0) if narrow[i] < 0 else narrow[i]
    else:
        wide = pointer(at, np.float64(0))
        for i in range(count):
            wide[i] = np.float64(0) if wide[i] < 0 else wide[i]


@kernel
def _copy_row(plan, source, to):
    """Copy a row of the result out of a line of the buffer."""
    left, across, pixel = argument(plan, LEFT), argument(plan, ACROSS), argument(plan, PIXEL_BYTES)
    if across == 1:
        copy_bytes(to, source + left * pixel, argument(plan, ROW_BYTES))
        return
    end = left + argument(plan, WIDTH)
    for lattice in range(across):
        first = left + (lattice - left) % across
        at = source + lattice * argument(plan, LATTICE) + first // across * pixel
        for column in range(first, end, across):
            copy_bytes(to + (column - left) * pixel, at, pixel)
            at += pixel


@task
def scatter(plan, chunk, chunks):
    """Do a share of the units."""
    memory = argument(plan, SCRATCH)
    slot = take(memory)
    job = buffer(memory, slot, argument(plan, SCRATCH_SIZE))
    result = job + JOB_BYTES
    per_image, rows_per_unit = argument(plan, UNITS_PER_IMAGE), argument(plan, ROWS_PER_UNIT)
    images_per_unit, height = argument(plan, IMAGES_PER_UNIT), argument(plan, HEIGHT)
    line, stride, bias = argument(plan, LINE), argument(plan, STRIDE), argument(plan, BIAS)
    put_word(job, tile.STEPS, 1)
    put_word(job, tile.STEP_TABLE, argument(plan, STEP_TABLE))
    put_word(job, tile.RUN, argument(plan, INNER))
    put_word(job, tile.A_STEP, argument(plan, A_STEP))
    put_word(job, tile.B_STEP, argument(plan, LANES) * argument(plan, ELEMENT))
    put_word(job, tile.BIAS, 0)
    put_word(job, tile.FLAGS, ACCUMULATE)
    units = (argument(plan, IMAGES) + images_per_unit - 1) // images_per_unit * per_image
    for unit in range(units * chunk // chunks, units * (chunk + 1) // chunks):
        image, row = unit // per_image * images_per_unit, unit % per_image * rows_per_unit
        images = min(images_per_unit, argument(plan, IMAGES) - image)
        image_bytes = argument(plan, IMAGE_BYTES)
        if bias:
            pixel = argument(plan, PIXEL_BYTES)
            for at in range(result, result + line, pixel):
                copy_bytes(at, bias, pixel)
            for at in range(result + line, result + images * image_bytes, line):
                copy_bytes(at, result, line)
        else:
            clear_bytes(result, images * image_bytes)
        a = argument(plan, GRADIENT) + image * argument(plan, GRADIENT_N)
        put_word(job, tile.A, a + row * argument(plan, GRADIENT_H))
        own = min(rows_per_unit * stride, height - row * stride)
        for down in range(argument(plan, WINDOW_ROWS)):
            _scatter_row(plan, job, down, row, own, images, result)
        if argument(plan, RELU):
            element = argument(plan, ELEMENT)
            _clamp(result, images * image_bytes // element, element)
        for i in range(images):
            source = result + i * image_bytes
            to = argument(plan, TARGET) + (image + i) * argument(plan, TARGET_N)
            to += row * stride * argument(plan, TARGET_H)
            for _ in range(own):
                _copy_row(plan, source, to)
                source += line
                to += argument(plan, TARGET_H)
    leave(memory, slot)
