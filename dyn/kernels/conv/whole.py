"""Convolutions whose window is the whole image, and their gradients: products of matrices.

There is one output pixel, so nothing slides: with [kh][kw][ci] as one axis, y = x w, the gradient
by the input is g w', that by the weight x' g. Weights that lie as [kh][kw][ci][co] are read where
they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.kernels.conv.shapes import WEIGHT_ORDER, View
from dyn.kernels.copy import contiguous
from dyn.kernels.gemm.product import product
from dyn.kernels.vector.sums import RELU


def fits(sizes: Sequence[int], window: Sequence[int], attrs: tuple[Any, ...]) -> bool:
    """Whether a convolution of images of `sizes` has this window as its only one."""
    _, padding, dilation, groups = attrs
    return (*sizes,) == (*window,) and not any(padding) and dilation == (1, 1) and groups == 1


def _rows(x: np.ndarray) -> np.ndarray:
    """[N, C, H, W] as [N, H * W * C], copied unless channels are last in memory."""
    return contiguous(x.transpose(0, 2, 3, 1)).reshape(len(x), -1)


class WholePlan:
    """A plan of `conv2d`, or of its gradient by the input, which has no activation.

    Attributes:
        packing: what `pack` makes of a weight depends on nothing else; None if it lies so.
    """

    def __init__(self, w: View, *, transposed: bool = False, relu: bool = False) -> None:
        self.packing = None if w.lies_in(WEIGHT_ORDER) else ("whole",)
        outer, inner, height, width = w.shape
        self.matrix = height * width * inner, outer
        self.transposed = transposed
        self.flags = RELU if relu else 0

    def covers(self, size: Sequence[int]) -> bool:
        """Whether every number of the target is computed: True."""
        return True

    def pack(self, w: np.ndarray) -> np.ndarray:
        """The weights as they are best: [kh][kw][ci][co] in memory."""
        return contiguous(w.transpose(WEIGHT_ORDER)).transpose(3, 2, 0, 1)

    def run(
        self, source: np.ndarray, packed: np.ndarray, bias: np.ndarray | None, target: np.ndarray
    ) -> bool:
        """Compute the target, which has channels last. Returns True."""
        made = target.transpose(0, 2, 3, 1).reshape(len(target), -1)
        matrix = packed.transpose(WEIGHT_ORDER).reshape(self.matrix)
        if self.transposed:
            product(_rows(source), matrix.T, made, None, 0)
            if bias is not None:
                target += bias[:, None, None]
        else:
            shift = None if bias is None else np.ascontiguousarray(bias)
            product(_rows(source), matrix, made, shift, self.flags)
        return True


class WholeWeightPlan:
    """A plan of the gradient by the weight."""

    def run(self, source: np.ndarray, gradient: np.ndarray, target: np.ndarray) -> bool:
        """Compute the target, a dense array [kh][kw][ci][co]. Returns True."""
        made = target.reshape(-1, gradient.shape[1])
        product(_rows(source).T, _rows(gradient), made, None, 0)
        return True
