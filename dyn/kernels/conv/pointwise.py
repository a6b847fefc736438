"""Convolutions with a window of one pixel, and their gradients: products of matrices.

Every pixel is a row: y = x w', the gradient by the input is g w, that by the weight x' g. Arrays
with channels last are read where they lie, and so is a weight in training. In inference, where it
is asked for again, its panels are kept if packing them is a share of the product that counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.kernels.conv.shapes import View
from dyn.kernels.gemm.product import NONE, Layout, product
from dyn.kernels.gemm.weights import packed, ready_kept
from dyn.kernels.runtime import memory
from dyn.kernels.vector.sums import RELU

MANY_PIXELS, NARROWER = 8192, 4
"""Pixels beyond which sums over all of them are shared out among the threads, if they are for so
many times fewer output channels than input channels (`weight`)."""
FEWEST = 3
"""Output channels for which a product has columns enough to sum over pixels."""


def fits(x: View, window: Sequence[int], attrs: tuple[Any, ...]) -> bool:
    """Whether every pixel of x, which has more than one channel, is a row of a matrix."""
    stride, padding, _, groups = attrs
    plain = (*window,) == (1, 1) and stride == (1, 1) and not any(padding) and groups == 1
    return plain and x.shape[1] > 1 and _row_step(x) is not None


def fits_weight(x: View, g: View, window: Sequence[int], attrs: tuple[Any, ...]) -> bool:
    """Whether the gradient by the weight is best summed as a product of matrices."""
    inner, outer = x.shape[1], g.shape[1]
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    if outer < FEWEST or (pixels > MANY_PIXELS and inner >= NARROWER * outer):
        return False
    return fits(x, window, attrs) and _row_step(g) is not None


def _row_step(x: View) -> int | None:
    """Bytes from each pixel to the next, if all are equally far apart and channels are last."""
    if not x.has_channels_last:
        return None
    step, count = 0, 1
    for axis in (3, 2, 0):
        if x.shape[axis] > 1:
            if step and x.strides[axis] != step * count:
                return None
            step = step or x.strides[axis]
            count *= x.shape[axis]
    return step or x.shape[1] * x.dtype.itemsize


def _rows(x: np.ndarray) -> np.ndarray:
    """[N, C, H, W] as [N * H * W, C]."""
    return x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1])


class PointwisePlan:
    """A plan of `conv2d`, or of its gradient by the input, which has no activation.

    Attributes:
        packing: what `pack` makes of a weight depends on besides the weight.
        as_is: a weight that is asked for only once is best read as it is.
    """

    as_is = True

    def __init__(self, x: View, w: View, *, transposed: bool = False, relu: bool = False) -> None:
        """Plan; `transposed` for the gradient by the input."""
        self.transposed = transposed
        self.flags = RELU if relu else 0
        n, k, height, width = x.shape
        self.columns = w.shape[1] if transposed else w.shape[0]
        rows = (n * height * width, k), (_row_step(x), x.dtype.itemsize)
        steps = w.strides[:2] if transposed else w.strides[1::-1]
        weight: Layout = (k, self.columns), steps
        self.kept = [
            ready_kept(rows, weight, biased, x.dtype, self.flags) for biased in (False, True)
        ]
        # Whether panels are worth it depends on the number of pixels, too.
        self.packing = ("pointwise", transposed, self.kept[0] is not None)
        # Of a weight whose panels are given only the sizes are read.
        self.sizes = np.broadcast_to(np.zeros(1, x.dtype), weight[0])

    def covers(self, size: Sequence[int]) -> bool:
        """Whether every number of the target is computed: True."""
        return True

    def pack(self, w: np.ndarray) -> np.ndarray:
        """The panels of a weight, or a copy of it where they are not worth to be kept."""
        if self.kept[0] is None:
            return w.copy("K")
        return packed(w[:, :, 0, 0], not self.transposed)

    def run(
        self, source: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, target: np.ndarray
    ) -> bool:
        """Compute the target; `weight` is what `pack` returned, or the weight. Returns True."""
        shift = None if bias is None else np.ascontiguousarray(bias)
        rows, made = _rows(source), _rows(target)
        if weight.ndim == 4:
            matrix = weight[:, :, 0, 0]
            product(rows, matrix if self.transposed else matrix.T, made, shift, self.flags)
            return True
        launch, size, _ = self.kept[bias is not None]
        scratch = memory.empty((size,), np.uint8) if size else NONE
        launch(rows, self.sizes, made, NONE if shift is None else shift, scratch, weight)
        return True


class PointwiseWeightPlan:
    """A plan of the gradient by the weight."""

    def run(self, source: np.ndarray, gradient: np.ndarray, target: np.ndarray) -> bool:
        """Compute the target, a dense array [1][1][inner][outer]. Returns True."""
        made = target.reshape(source.shape[1], gradient.shape[1])
        product(_rows(source).T, _rows(gradient), made, None, 0)
        return True
