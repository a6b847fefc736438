"""Bringing activations to the memory layout of the convolutions: channels last.

Plain copies, on all threads. Results of kernels have that layout already; images that a user made
usually have not.
"""

from __future__ import annotations

import numpy as np

from dyn.kernels.conv_copy import transpose_f32, transpose_f64
from dyn.kernels.conv_shapes import words_of
from dyn.kernels.jit import call_address, task
from dyn.kernels.memory import empty
from dyn.kernels.threads import argument, launch

BLOCK = 256
"""Pixels that are copied together."""
CHUNKS = 16

(SOURCE, SOURCE_N, SOURCE_C, TARGET, IMAGES, CHANNELS, PIXELS, ELEMENT, TRANSPOSE) = range(9)


@task
def transpose_images(plan, chunk, chunks):
    """Write a share of [C][pixels] images as [pixels][C]."""
    pixels, element = argument(plan, PIXELS), argument(plan, ELEMENT)
    blocks = (pixels + BLOCK - 1) // BLOCK
    units = argument(plan, IMAGES) * blocks
    channels = argument(plan, CHANNELS)
    for unit in range(units * chunk // chunks, units * (chunk + 1) // chunks):
        image, first = unit // blocks, unit % blocks * BLOCK
        source = argument(plan, SOURCE) + image * argument(plan, SOURCE_N) + first * element
        target = argument(plan, TARGET) + (image * pixels + first) * channels * element
        count = min(BLOCK, pixels - first)
        step = argument(plan, SOURCE_C)
        code = argument(plan, TRANSPOSE)
        call_address(code, source, step, target, channels * element, channels, count)


def to_channels_last(x: np.ndarray) -> np.ndarray:
    """x [N, C, H, W], float32 or float64, copied so that the channels of a pixel are neighbours."""
    made = empty(x.shape, x.dtype, order="channels_last")
    n, c, h, w = x.shape
    size = x.itemsize
    dense = x.flags.aligned and x.strides[3] == size and (h == 1 or x.strides[2] == w * size)
    if not dense or not x.size:
        made[...] = x
        return made
    transpose = transpose_f32 if size == 4 else transpose_f64
    words = words_of(
        TRANSPOSE + 1,
        {
            SOURCE: x.ctypes.data,
            SOURCE_N: x.strides[0],
            SOURCE_C: x.strides[1],
            TARGET: made.ctypes.data,
            IMAGES: n,
            CHANNELS: c,
            PIXELS: h * w,
            ELEMENT: size,
            TRANSPOSE: transpose.address,
        },
    )
    launch(transpose_images, words, min(CHUNKS, n * -(-h * w // BLOCK)))
    return made
