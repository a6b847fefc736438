"""Convolution, its transpose and the gradient of its weight, for 1 to 3 spatial axes.

Arrays are [N, C, spatial...] and weights [Co, Ci / groups, window...]; padding is (low, high) per
axis, flattened. Results have channels last in memory, gradients of weights [window...][ci][co].
Here axes and element types are brought to what `conv2d` takes; no number is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from dyn.kernels.conv import conv2d, conv3d
from dyn.kernels.conv.choose import PLANS

Sizes = Sequence[int]


def _compute_dtype(dtype: np.dtype) -> np.dtype:
    """The element type in which numbers of `dtype` are convolved."""
    return dtype if dtype in (np.float32, np.float64) else np.dtype(np.float32)


def _flat(attrs: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a convolution over one axis as those over two, the first of size 1."""
    return {
        "stride": (1, *attrs["stride"]),
        "padding": (0, 0, *attrs["padding"]),
        "dilation": (1, *attrs["dilation"]),
        "groups": attrs["groups"],
    }


def conv(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    activation: str | None = None,
    **attrs: Any,
) -> np.ndarray:
    """Cross-correlation of x [N, Ci, ...] with w [Co, Ci / groups, ...], plus bias [Co].

    Args:
        x, w, bias: of one floating-point dtype.
        activation: None or "relu", applied to the result.
        attrs: stride, padding, dilation (a tuple each, see the module) and groups.

    Returns:
        [N, Co, ...] of the same dtype.
    """
    dtype = _compute_dtype(x.dtype)
    if dtype != x.dtype:
        b = None if bias is None else bias.astype(dtype)
        y = conv(x.astype(dtype), w.astype(dtype), b, activation=activation, **attrs)
        return y.astype(x.dtype)
    if x.ndim == 3:
        attrs = _flat(attrs)
        y = conv2d.conv2d(
            x[:, :, None], w[:, :, None], bias, owner=w, activation=activation, **attrs
        )
        return y[:, :, 0]
    if x.ndim == 5:
        return conv3d.conv3d(x, w, bias, activation=activation, **attrs)
    return conv2d.conv2d(x, w, bias, owner=w, activation=activation, **attrs)


def bound(
    ndim: int, dtype: np.dtype, *, transposed: bool = False, **attrs: Any
) -> Callable[..., np.ndarray] | None:
    """What `conv` or `conv_transpose` calls for arrays of a rank and a dtype, with its attributes.

    It is called with arrays of the same shapes; None where they are changed first.
    """
    if ndim not in (3, 4) or dtype != _compute_dtype(dtype):
        return None
    if ndim == 4:
        return conv2d.bound_grad_x(**attrs) if transposed else conv2d.bound(**attrs)
    function = conv2d.conv2d_grad_x if transposed else conv2d.conv2d
    attrs |= _flat(attrs)
    if transposed:
        attrs["size"] = (1, *attrs["size"])

    def run(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
        return function(x[:, :, None], w[:, :, None], bias, owner=w, **attrs)[:, :, 0]

    return run


def bound_grad_w(ndim: int, dtype: np.dtype, **attrs: Any) -> Callable[..., np.ndarray] | None:
    """What `conv_grad_w` calls; as `bound`."""
    if ndim != 4 or dtype != _compute_dtype(dtype):
        return None
    return conv2d.bound_grad_w(**attrs)


@lru_cache(PLANS)
def bound_gradients(
    x: tuple[int, ...], w: tuple[int, ...], dtype: np.dtype, *how: Any
) -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]:
    """What gives the gradients of a convolution by an x and a w of these shapes.

    Args:
        how: stride, padding, dilation and groups.

    Returns:
        `conv_transpose` and `conv_grad_w` with their attributes: called with g and w, with g and x.
    """
    attrs = dict(zip(("stride", "padding", "dilation", "groups"), how, strict=True))
    size, window = tuple(x[2:]), tuple(w[2:])
    return (
        bound(len(x), dtype, transposed=True, size=size, **attrs)
        or partial(conv_transpose, size=size, **attrs),
        bound_grad_w(len(x), dtype, window=window, **attrs)
        or partial(conv_grad_w, window=window, **attrs),
    )


def conv_transpose(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None, *, size: Sizes, **attrs: Any
) -> np.ndarray:
    """Gradient of `conv` by its input: x [N, Co, ...] is spread to [N, Ci, *size], plus bias [Ci].

    Args:
        x, w, bias: of one floating-point dtype; w as in `conv`.
        size: spatial sizes of the result.
        attrs: stride, padding, dilation and groups, as in `conv`.
    """
    dtype = _compute_dtype(x.dtype)
    if dtype != x.dtype:
        b = None if bias is None else bias.astype(dtype)
        return conv_transpose(x.astype(dtype), w.astype(dtype), b, size=size, **attrs).astype(
            x.dtype
        )
    if x.ndim == 3:
        attrs = _flat(attrs)
        y = conv2d.conv2d_grad_x(
            x[:, :, None], w[:, :, None], bias, owner=w, size=(1, *size), **attrs
        )
        return y[:, :, 0]
    if x.ndim == 5:
        return conv3d.conv3d_grad_x(x, w, bias, size=size, **attrs)
    return conv2d.conv2d_grad_x(x, w, bias, owner=w, size=size, **attrs)


def conv_grad_w(g: np.ndarray, x: np.ndarray, *, window: Sizes, **attrs: Any) -> np.ndarray:
    """Gradient of `conv` by its weight [Co, Ci / groups, *window].

    Args:
        g: gradient of the result, [N, Co, ...].
        x: the input, [N, Ci, ...].
        window: sizes of the window.
        attrs: stride, padding, dilation and groups, as in `conv`.
    """
    dtype = _compute_dtype(x.dtype)
    if dtype != x.dtype:
        return conv_grad_w(g.astype(dtype), x.astype(dtype), window=window, **attrs).astype(x.dtype)
    if x.ndim == 3:
        attrs = _flat(attrs)
        w = conv2d.conv2d_grad_w(g[:, :, None], x[:, :, None], window=(1, *window), **attrs)
        return w[:, :, 0]
    if x.ndim == 5:
        return conv3d.conv3d_grad_w(g, x, window=window, **attrs)
    return conv2d.conv2d_grad_w(g, x, window=window, **attrs)
