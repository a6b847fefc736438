"""Sampling of images at the places of a grid by cubic interpolation, and its gradients: the tasks.

A place reads four rows and four columns. What lies outside is found for each of them, not for the
place: its weights are those of the place as it is, and its slope is that of the grid everywhere.
Rows and columns outside have the number -1 where zeros are read; what stands there is not
multiplied by zero, as it may hold NaN. Words of the tasks are those of `grid_places.py`.

Source: Keys, Cubic convolution interpolation for digital image processing, IEEE Transactions on
Acoustics, Speech and Signal Processing 29 (1981), with a = -3/4 as in PyTorch and ONNX.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.kernels.grid_places import (
    ALIGN,
    BATCH,
    BLOCK,
    CHANNELS,
    GRADIENT,
    GRID,
    GROUP,
    HEIGHT,
    PADDING,
    PADDINGS,
    PLACES,
    SOURCE,
    TARGET,
    WIDTH,
)
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.jit import SUM, instance, kernel
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.vector.runs import pointer

ZEROS, REFLECTION = PADDINGS.index("zeros"), PADDINGS.index("reflection")
A = -0.75
FAR = 1e9
"""Pixels from which on a place is brought nearer before its rows and columns are counted."""

ZERO, SIZE, LAST, FLOAT = np.float32(0), 4, False, np.float32
"""What instances have of their own: zero of their elements, bytes of one, whether images lie
channels last, and their dtype. Places and weights are computed in float64."""


# ---- places ------------------------------------------------------------------------------------


@kernel(forceinline=True)
def _bounded(at, size, padding, align):
    """A coordinate in pixels, brought so near that it can be counted; NaN stays NaN."""
    if padding != REFLECTION:
        # Nothing but what lies outside is read from there on.
        at = -3.0 if at < -3.0 else at
        return size + 2.0 if at > size + 2.0 else at
    if abs(at) < FAR:
        return at
    period = max(2.0 * (size - align), 1.0)
    at = at - np.floor(at / period) * period
    # What is left of a number whose neighbours are further apart than the period.
    return 0.0 if at < 0.0 or at > period else at


@kernel(forceinline=True)
def _pixel(k, size, padding, align):
    """The pixel that stands for number k of an axis, -1 for none."""
    if padding == ZEROS:
        return k if k >= 0 and k < size else -1
    if padding == REFLECTION:
        period = 2 * (size - align)
        k = k % period if period > 0 else 0
        return min(k, period - 1 + align - k) if period > 0 else 0
    return min(max(k, 0), size - 1)


@kernel(forceinline=True)
def _axis(at, size, padding, align):
    """The four pixels of an axis around a grid's number, and how far behind the second it lies.

    There are none for NaN.
    """
    at = _bounded((at + 1.0) * (0.5 * (size - align)) - 0.5 * (1 - align), size, padding, align)
    if at != at:
        return (-1, -1, -1, -1), at
    low = np.floor(at)
    k = int(low)
    pixels = (
        _pixel(k - 1, size, padding, align),
        _pixel(k, size, padding, align),
        _pixel(k + 1, size, padding, align),
        _pixel(k + 2, size, padding, align),
    )
    return pixels, at - low


@kernel(forceinline=True)
def _near(x):
    """The weight of a pixel less than one away."""
    return ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0


@kernel(forceinline=True)
def _far(x):
    """The weight of a pixel one to two away."""
    return ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A


@kernel(forceinline=True)
def _weights(t):
    """Of the four pixels."""
    return _far(t + 1.0), _near(t), _near(1.0 - t), _far(2.0 - t)


@kernel(forceinline=True)
def _slopes(t):
    """How the weights change as t grows."""
    a, b, c, d = t + 1.0, t, 1.0 - t, 2.0 - t
    return (
        (3.0 * A * a - 10.0 * A) * a + 8.0 * A,
        (3.0 * (A + 2.0) * b - 2.0 * (A + 3.0)) * b,
        -(3.0 * (A + 2.0) * c - 2.0 * (A + 3.0)) * c,
        -((3.0 * A * d - 10.0 * A) * d + 8.0 * A),
    )


@kernel(forceinline=True)
def _nothing(across, down):
    """What has been read before the first pixel: zero, but NaN for a place that is no number."""
    return (across - across) + (down - down)


@kernel(forceinline=True, fastmath=SUM)
def _across(plane, row, columns, u):
    """The sum of a row's four pixels by weights."""
    found = plane[row + columns[0]] * u[0] if columns[0] >= 0 else u[0] - u[0]
    if columns[1] >= 0:
        found += plane[row + columns[1]] * u[1]
    if columns[2] >= 0:
        found += plane[row + columns[2]] * u[2]
    if columns[3] >= 0:
        found += plane[row + columns[3]] * u[3]
    return found


@kernel(fastmath=SUM)
def _product(x, y, count):
    """The sum of products of two runs."""
    found = x[0] * y[0]
    for c in range(1, count):
        found += x[c] * y[c]
    return found


@kernel
def _add(target, source, weight, count):
    """Add a run times a number to another."""
    for c in range(count):
        target[c] += source[c] * weight


# ---- tasks -------------------------------------------------------------------------------------


def _sample(args, chunk, chunks):
    """Read some blocks of places, with all channels."""
    channels, places = argument(args, CHANNELS), argument(args, PLACES)
    height, width = argument(args, HEIGHT), argument(args, WIDTH)
    padding, align = argument(args, PADDING), argument(args, ALIGN)
    grid = pointer(data(argument(args, GRID)), ZERO)
    blocks = (places + BLOCK - 1) // BLOCK
    start, stop = bounds(argument(args, BATCH) * blocks, chunk, chunks, 1)
    for unit in range(start, stop):
        n, first = unit // blocks, unit % blocks * BLOCK
        image = data(argument(args, SOURCE)) + n * channels * height * width * SIZE
        result = data(argument(args, TARGET)) + n * channels * places * SIZE
        for place in range(first, min(first + BLOCK, places)):
            own = 2 * (n * places + place)
            columns, across = _axis(grid[own], width, padding, align)
            rows, down = _axis(grid[own + 1], height, padding, align)
            a, b, c, d = _weights(across)
            u = FLOAT(a), FLOAT(b), FLOAT(c), FLOAT(d)
            a, b, c, d = _weights(down)
            v = FLOAT(a), FLOAT(b), FLOAT(c), FLOAT(d)
            if LAST:
                target = pointer(result + place * channels * SIZE, ZERO)
                for k in range(channels):
                    target[k] = FLOAT(_nothing(across, down))
                for i in range(4):
                    for j in range(4):
                        if rows[i] >= 0 and columns[j] >= 0:
                            at = (rows[i] * width + columns[j]) * channels * SIZE
                            _add(target, pointer(image + at, ZERO), v[i] * u[j], channels)
            else:
                target = pointer(result, ZERO)
                for k in range(channels):
                    plane = pointer(image + k * height * width * SIZE, ZERO)
                    found = FLOAT(_nothing(across, down))
                    if rows[0] >= 0:
                        found += v[0] * _across(plane, rows[0] * width, columns, u)
                    if rows[1] >= 0:
                        found += v[1] * _across(plane, rows[1] * width, columns, u)
                    if rows[2] >= 0:
                        found += v[2] * _across(plane, rows[2] * width, columns, u)
                    if rows[3] >= 0:
                        found += v[3] * _across(plane, rows[3] * width, columns, u)
                    target[k * places + place] = found


def _grid_grad(args, chunk, chunks):
    """The gradients of some blocks of places: what moving right and down would change."""
    channels, places = argument(args, CHANNELS), argument(args, PLACES)
    height, width = argument(args, HEIGHT), argument(args, WIDTH)
    padding, align = argument(args, PADDING), argument(args, ALIGN)
    grid = pointer(data(argument(args, GRID)), ZERO)
    target = pointer(data(argument(args, TARGET)), ZERO)
    blocks = (places + BLOCK - 1) // BLOCK
    start, stop = bounds(argument(args, BATCH) * blocks, chunk, chunks, 1)
    for unit in range(start, stop):
        n, first = unit // blocks, unit % blocks * BLOCK
        image = data(argument(args, SOURCE)) + n * channels * height * width * SIZE
        given = data(argument(args, GRADIENT)) + n * channels * places * SIZE
        for place in range(first, min(first + BLOCK, places)):
            own = 2 * (n * places + place)
            columns, across = _axis(grid[own], width, padding, align)
            rows, down = _axis(grid[own + 1], height, padding, align)
            a, b, c, d = _weights(across)
            u = FLOAT(a), FLOAT(b), FLOAT(c), FLOAT(d)
            a, b, c, d = _slopes(across)
            du = FLOAT(a), FLOAT(b), FLOAT(c), FLOAT(d)
            v, dv = _weights(down), _slopes(down)
            right = below = FLOAT(_nothing(across, down))
            if LAST:
                g = pointer(given + place * channels * SIZE, ZERO)
                for i in range(4):
                    for j in range(4):
                        if rows[i] >= 0 and columns[j] >= 0:
                            at = (rows[i] * width + columns[j]) * channels * SIZE
                            seen = _product(g, pointer(image + at, ZERO), channels)
                            right += seen * FLOAT(v[i]) * du[j]
                            below += seen * FLOAT(dv[i]) * u[j]
            else:
                g = pointer(given, ZERO)
                for k in range(channels):
                    plane = pointer(image + k * height * width * SIZE, ZERO)
                    value = g[k * places + place]
                    for i in range(4):
                        if rows[i] >= 0:
                            row = rows[i] * width
                            right += value * FLOAT(v[i]) * _across(plane, row, columns, du)
                            below += value * FLOAT(dv[i]) * _across(plane, row, columns, u)
            target[own] = right * FLOAT(0.5 * (width - align))
            target[own + 1] = below * FLOAT(0.5 * (height - align))


def _scatter(args, chunk, chunks):
    """Give back all places of some images, with channels that no other chunk writes to."""
    channels, places = argument(args, CHANNELS), argument(args, PLACES)
    height, width = argument(args, HEIGHT), argument(args, WIDTH)
    padding, align = argument(args, PADDING), argument(args, ALIGN)
    grid = pointer(data(argument(args, GRID)), ZERO)
    group = argument(args, GROUP)
    groups = (channels + group - 1) // group
    start, stop = bounds(argument(args, BATCH) * groups, chunk, chunks, 1)
    for unit in range(start, stop):
        n, low = unit // groups, unit % groups * group
        high = min(low + group, channels)
        image = data(argument(args, TARGET)) + n * channels * height * width * SIZE
        given = data(argument(args, SOURCE)) + n * channels * places * SIZE
        for place in range(places):
            own = 2 * (n * places + place)
            columns, across = _axis(grid[own], width, padding, align)
            rows, down = _axis(grid[own + 1], height, padding, align)
            u, v = _weights(across), _weights(down)
            for i in range(4):
                for j in range(4):
                    if rows[i] < 0 or columns[j] < 0:
                        continue
                    weight, pixel = FLOAT(v[i] * u[j]), rows[i] * width + columns[j]
                    if LAST:
                        target = pointer(image + (pixel * channels + low) * SIZE, ZERO)
                        source = pointer(given + (place * channels + low) * SIZE, ZERO)
                        _add(target, source, weight, high - low)
                    else:
                        target, source = pointer(image, ZERO), pointer(given, ZERO)
                        for k in range(low, high):
                            at = k * height * width + pixel
                            target[at] += source[k * places + place] * weight


def _tasks(way: str, body: Any) -> dict[tuple[str, str, bool], Any]:
    """A task for each dtype, and whether images lie channels last."""
    made = {}
    for dtype in map(np.dtype, ("float32", "float64")):
        for last in (False, True):
            numbers = {"ZERO": dtype.type(0), "SIZE": dtype.itemsize, "FLOAT": dtype.type}
            name = f"grid_{way}_{dtype.name}_bicubic_{'last' if last else 'planes'}"
            made[dtype.name, "bicubic", last] = instance(name, body, LAST=last, **numbers)
    return made


TASKS = {
    way: _tasks(way, body)
    for way, body in (("sample", _sample), ("grid_grad", _grid_grad), ("scatter", _scatter))
}
"""Tasks by way, then by dtype, mode and whether images lie channels last, as in `grid_simd.py`."""
