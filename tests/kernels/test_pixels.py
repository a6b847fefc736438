"""Rows of an image of few channels turned to pixels and back, against numpy."""

import numpy as np
import pytest

from dyn.kernels.conv.pixels import MOST, join_of, part_of, turn_of
from dyn.kernels.runtime.jit import call_address, kernel
from dyn.kernels.vector.lanes import LANES
from tests.kernels.guard import AVAILABLE, guarded

WIDTHS = [1, LANES - 1, LANES, LANES + 1, 2 * LANES, 3 * LANES - 1, 100]
fenced = guarded if AVAILABLE else np.ascontiguousarray


@kernel
def call(code, a, b, c, d, e, f):
    call_address(code, a, b, c, d, e, f)


@pytest.mark.parametrize("relu", [0, 1])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("channels", [*range(1, MOST + 3), 17])
def test_planes_become_pixels(channels, width, biased, relu):
    rng = np.random.default_rng(channels * width)
    line = -(-width // LANES) * LANES
    rows = rng.standard_normal((channels, line)).astype(np.float32)
    rows[0, 0], rows[-1, width - 1] = np.nan, -np.inf
    bias = fenced(rng.standard_normal(channels).astype(np.float32))
    made = fenced(np.empty((width, channels), np.float32))
    job = np.zeros(4, np.int64)
    job[:2] = bias.ctypes.data if biased else 0, relu
    source = fenced(rows)
    code = turn_of(channels, width).address
    call(code, source.ctypes.data, 4 * line, made.ctypes.data, channels, width, job.ctypes.data)
    wanted = rows[:, :width].T + (bias if biased else np.float32(0))
    np.testing.assert_array_equal(made, np.maximum(wanted, 0) if relu else wanted)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("channels", [*range(1, MOST + 3), 17])
def test_pixels_become_planes(channels, width, gap):
    rng = np.random.default_rng(channels * width)
    pixels = rng.standard_normal((width, channels + gap)).astype(np.float32)
    step = 4 * (channels + gap)
    source, made = fenced(pixels), fenced(np.empty((channels, width), np.float32))
    code = part_of(channels, width, step).address
    call(code, source.ctypes.data, step, made.ctypes.data, 4 * width, width, channels)
    np.testing.assert_array_equal(made, pixels[:, :channels].T)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("gap", [0, 3])
@pytest.mark.parametrize("channels", [*range(1, MOST + 3), 17])
def test_planes_become_pixels_as_they_are(channels, width, gap):
    rng = np.random.default_rng(channels * width)
    planes = rng.standard_normal((channels, width)).astype(np.float32)
    planes[0, 0] = -0.0
    made = np.full((width, channels + gap), 7, np.float32)
    source, step = fenced(planes), 4 * (channels + gap)
    code = join_of(channels, width, step).address
    call(code, source.ctypes.data, 4 * width, made.ctypes.data, step, channels, width)
    assert made[:, :channels].tobytes() == np.ascontiguousarray(planes.T).tobytes()
    assert (made[:, channels:] == 7).all()
