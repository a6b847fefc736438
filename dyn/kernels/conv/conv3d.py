"""Convolution of volumes, as one of images: the taps along the depth become further channels.

Every output plane sees KD input planes; they are laid side by side as channels, once, and the rest
is `conv2d` on a batch of planes. It costs a copy KD times as large as the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.kernels.conv.conv2d import conv2d, conv2d_grad_w, conv2d_grad_x
from dyn.kernels.runtime.memory import empty

Sizes = Sequence[int]


class _Depth:
    """The first axis of a convolution over three, and how its taps become channels."""

    def __init__(self, depth: int, taps: int, attrs: dict[str, Any]) -> None:
        self.depth, self.taps, self.groups = depth, taps, attrs["groups"]
        self.stride, self.dilation = attrs["stride"][0], attrs["dilation"][0]
        self.low, high = attrs["padding"][:2]
        self.planes = (depth + self.low + high - self.dilation * (taps - 1) - 1) // self.stride + 1
        self.flat = {
            "stride": attrs["stride"][1:],
            "padding": attrs["padding"][2:],
            "dilation": attrs["dilation"][1:],
            "groups": attrs["groups"],
        }

    def meeting(self, tap: int) -> tuple[slice, slice]:
        """The output planes that see input through a tap, and the input planes they see."""
        offset = tap * self.dilation - self.low
        first = max(0, -(offset // self.stride))
        stop = min(self.planes, (self.depth - 1 - offset) // self.stride + 1)
        if stop <= first:
            return slice(0), slice(0)
        start = first * self.stride + offset
        return slice(first, stop), slice(
            start, start + (stop - first - 1) * self.stride + 1, self.stride
        )

    def spread(self, x: np.ndarray) -> np.ndarray:
        """x [N, C, D, H, W] as [N * planes, groups * taps * inner, H, W].

        Channels stay where they are, first or last: whole planes, or whole pixels, are copied.
        """
        n, c, _, h, w = x.shape
        inner = c // self.groups
        if x.flags.c_contiguous:
            sizes = (n, self.planes, self.groups, self.taps, inner, h, w)
            made = empty(sizes, x.dtype)
            last = x.reshape(n, self.groups, inner, self.depth, h, w).transpose(0, 3, 1, 2, 4, 5)
            by_tap = made.transpose(3, 0, 1, 2, 4, 5, 6)
        else:
            sizes = (n, self.planes, h, w, self.groups, self.taps, inner)
            made = empty(sizes, x.dtype)
            last = x.transpose(0, 2, 3, 4, 1).reshape(n, self.depth, h, w, self.groups, inner)
            by_tap = made.transpose(5, 0, 1, 2, 3, 4, 6)
        for tap in range(self.taps):
            out, seen = self.meeting(tap)
            by_tap[tap, :, : out.start or 0] = 0
            by_tap[tap, :, out.stop :] = 0
            by_tap[tap, :, out] = last[:, seen]
        if x.flags.c_contiguous:
            return made.reshape(n * self.planes, c * self.taps, h, w)
        return made.reshape(n * self.planes, h, w, c * self.taps).transpose(0, 3, 1, 2)

    def gather(self, columns: np.ndarray, n: int) -> np.ndarray:
        """The adjoint of `spread`."""
        _, c, h, w = columns.shape
        inner = c // self.groups // self.taps
        parts = columns.transpose(0, 2, 3, 1)
        parts = parts.reshape(n, self.planes, h, w, self.groups, self.taps, inner)
        made = np.zeros((n, self.depth, h, w, self.groups, inner), columns.dtype)
        for tap in range(self.taps):
            out, seen = self.meeting(tap)
            made[:, seen] += parts[:, out, ..., tap, :]
        return made.reshape(n, self.depth, h, w, c // self.taps).transpose(0, 4, 1, 2, 3)

    def weights(self, w: np.ndarray) -> np.ndarray:
        """w [Co, Ci / groups, taps, Kh, Kw] as [Co, taps * Ci / groups, Kh, Kw]."""
        co, ci, taps, kh, kw = w.shape
        made = empty((kh, kw, taps, ci, co), w.dtype)
        made[...] = w.transpose(3, 4, 2, 1, 0)
        return made.reshape(kh, kw, taps * ci, co).transpose(3, 2, 0, 1)


def _planes(x: np.ndarray) -> np.ndarray:
    """x [N, C, D, H, W] as [N * D, C, H, W]."""
    n, c, d, h, w = x.shape
    return x.transpose(0, 2, 3, 4, 1).reshape(n * d, h, w, c).transpose(0, 3, 1, 2)


def conv3d(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    *,
    activation: str | None = None,
    **attrs: Any,
) -> np.ndarray:
    """x [N, Ci, D, H, W] convolved with w [Co, Ci / groups, Kd, Kh, Kw], plus bias [Co]."""
    depth = _Depth(x.shape[2], w.shape[2], attrs)
    flat = depth.weights(w)
    y = conv2d(depth.spread(x), flat, bias, owner=flat, activation=activation, **depth.flat)
    y = y.transpose(0, 2, 3, 1).reshape(x.shape[0], depth.planes, *y.shape[2:], w.shape[0])
    return y.transpose(0, 4, 1, 2, 3)


def conv3d_grad_x(
    g: np.ndarray, w: np.ndarray, bias: np.ndarray | None, *, size: Sizes, **attrs: Any
) -> np.ndarray:
    """The adjoint of `conv3d`: g [N, Co, ...] spread to [N, Ci, *size], plus bias [Ci]."""
    depth = _Depth(size[0], w.shape[2], attrs)
    flat = depth.weights(w)
    columns = conv2d_grad_x(_planes(g), flat, owner=flat, size=size[1:], **depth.flat)
    y = depth.gather(columns, g.shape[0])
    return y if bias is None else y + bias[:, None, None, None]


def conv3d_grad_w(g: np.ndarray, x: np.ndarray, *, window: Sizes, **attrs: Any) -> np.ndarray:
    """The gradient of `conv3d` by w [Co, Ci / groups, *window]."""
    depth = _Depth(x.shape[2], window[0], attrs)
    w = conv2d_grad_w(_planes(g), depth.spread(x), window=window[1:], **depth.flat)
    (co, c), (kh, kw) = w.shape[:2], window[1:]
    made = w.transpose(2, 3, 1, 0).reshape(kh, kw, window[0], c // window[0], co)
    return made.transpose(4, 3, 2, 0, 1)
