"""Convolution of images and its gradients, by whichever algorithm `choose.py` takes for the shapes.

float32 and float64; stride (h, w), padding (top, bottom, left, right), dilation (h, w). Activations
leave with channels last in memory, which is also how they are best given; weights may lie in any
order, best [kh][kw][ci][co].

Which algorithm is taken depends on shapes, memory layout and `precise` alone, so equal calls give
equal bits. Only results that Winograd's filtering makes infinite or NaN are computed again,
directly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from dyn.kernels.conv import choose
from dyn.kernels.conv.choose import Attributes, Choice, Layout, layout_of
from dyn.kernels.layout import to_channels_last
from dyn.kernels.runtime.derived import derived

Sizes = Sequence[int]
Sliding = Callable[..., np.ndarray]
"""Called with arrays, weights and a bias or None."""

MAX_LAYOUTS = 16
"""Strides that a bound convolution remembers; a program meets one or two."""

_precise = False


def set_precise(precise: bool) -> None:
    """Whether convolutions prefer the smaller error to speed, from now on and in every thread.

    The fast algorithm for 3 x 3 windows, F(4 x 4), rounds about twice as much as the plain sum, and
    near a number that is a thousand times larger than its neighbours it loses three digits. Precise
    convolutions use F(2 x 2) instead, which rounds less than the plain sum.
    """
    global _precise
    _precise = bool(precise)


def is_precise() -> bool:
    """What `set_precise` was last told; False by default."""
    return _precise


def _without(y: np.ndarray, bias: np.ndarray | None) -> None:
    """Make every number of a result the bias of its channel."""
    y[...] = 0 if bias is None else bias[:, None, None]


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
    activation: str | None = None,
    precise: bool | None = None,
    owner: np.ndarray | None = None,
) -> np.ndarray:
    """x [N, Ci, H, W] convolved with w [Co, Ci / groups, Kh, Kw], plus bias [Co].

    Args:
        activation: None or "relu".
        precise: see `set_precise`, which decides where this is None.
        owner: the array with which what is made of w alone is kept: w, unless w is a passing view.

    Returns:
        [N, Co, H', W'], channels last in memory.
    """
    key = (
        layout_of(x),
        layout_of(w),
        (stride, padding, dilation, groups),
        activation == "relu",
        _precise if precise is None else precise,
    )
    choice = choose.forward(*key, False)
    y, plan = choice.make(), choice.plan
    if plan is None:
        _without(y, bias)
        return np.maximum(y, 0) if activation else y
    source, packed = _operands(choice, x, w, owner)
    if not plan.run(source, packed, bias, y):
        choice = choose.forward(*key, True)
        choice.plan.run(*_operands(choice, x, w, owner), bias, y)
    return y


def bound(
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
    activation: str | None = None,
) -> Sliding:
    """`conv2d` with these attributes, called with x, w, bias of the same shapes and dtypes."""
    how, relu = (stride, padding, dilation, groups), activation == "relu"
    return _bound(
        lambda x, w, precise: choose.forward(x, w, how, relu, precise, False),
        partial(conv2d, **_named(how), activation=activation),
    )


def bound_grad_x(
    size: Sizes,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Sliding:
    """`conv2d_grad_x` likewise, called with g, w, bias."""
    how, sizes = (stride, padding, dilation, groups), (*size,)
    return _bound(
        lambda g, w, precise: choose.transposed(g, w, sizes, how, precise, False),
        partial(conv2d_grad_x, size=sizes, **_named(how)),
    )


def bound_grad_w(
    window: Sizes,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """`conv2d_grad_w` likewise, called with g, x."""
    how, sizes = (stride, padding, dilation, groups), (*window,)
    general = partial(conv2d_grad_w, window=sizes, **_named(how))
    known: dict[Any, Choice] = {}

    def run(g: np.ndarray, x: np.ndarray) -> np.ndarray:
        key = g.strides, x.strides, g.flags.aligned, x.flags.aligned, _precise
        choice = known.get(key)
        if choice is None:
            choice = choose.weight(layout_of(g), layout_of(x), sizes, how, _precise, False)
            if choice.plan is None or len(known) >= MAX_LAYOUTS:
                return general(g, x)
            known[key] = choice
        flat = choice.make()
        if not _correlate(choice, g, x, flat):
            return general(g, x)
        return flat.transpose(3, 2, 0, 1)

    return run


def _bound(find: Callable[[Layout, Layout, bool], Choice], general: Sliding) -> Sliding:
    """What runs a choice for arrays of the same shapes and dtypes.

    It remembers choices by strides alone: looking them up takes a third of the time.
    """
    known: dict[Any, Choice] = {}

    def run(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
        key = x.strides, w.strides, x.flags.aligned, _precise
        choice = known.get(key)
        if choice is None:
            choice = find(layout_of(x), layout_of(w), _precise)
            if choice.plan is None or not choice.covers or len(known) >= MAX_LAYOUTS:
                return general(x, w, bias)
            known[key] = choice
        y = choice.make()
        # What is rare goes the general way from the start: a result that is not finite, too.
        if not choice.plan.run(*_operands(choice, x, w, w), bias, y):
            return general(x, w, bias)
        return y

    return run


def _named(how: Attributes) -> dict[str, Any]:
    return dict(zip(("stride", "padding", "dilation", "groups"), how, strict=True))


def _operands(
    choice: Choice, x: np.ndarray, w: np.ndarray, owner: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """What the plan of a choice reads: windows of x, and w or what it packs of it."""
    plan, packed = choice.plan, w
    if plan.packing is not None:
        once = (lambda: w) if choice.as_is else None
        packed = derived(w if owner is None else owner, plan.packing, partial(plan.pack, w), once)
    return to_channels_last(x) if choice.copied[0] else x, packed


def conv2d_grad_x(
    g: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    size: Sizes,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
    precise: bool | None = None,
    owner: np.ndarray | None = None,
) -> np.ndarray:
    """The adjoint of `conv2d`: g [N, Co, H', W'] spread to [N, Ci, *size], plus bias [Ci].

    Args:
        size: height and width of the result.
        precise, owner: as in `conv2d`.
    """
    key = (
        layout_of(g),
        layout_of(w),
        (*size,),
        (stride, padding, dilation, groups),
        _precise if precise is None else precise,
    )
    choice = choose.transposed(*key, False)
    y, plan = choice.make(), choice.plan
    if not choice.covers:
        _without(y, bias)
    if plan is None:
        return y
    if not plan.run(*_operands(choice, g, w, owner), bias, y):
        choice = choose.transposed(*key, True)
        choice.plan.run(*_operands(choice, g, w, owner), bias, y)
    return y


def conv2d_grad_w(
    g: np.ndarray,
    x: np.ndarray,
    *,
    window: Sizes,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
    precise: bool | None = None,
) -> np.ndarray:
    """The gradient of `conv2d` by w [Co, Ci / groups, *window], for g [N, Co, H', W'].

    Returns:
        An array that lies in memory as [kh][kw][ci][co].
    """
    key = (
        layout_of(g),
        layout_of(x),
        (*window,),
        (stride, padding, dilation, groups),
        _precise if precise is None else precise,
    )
    choice = choose.weight(*key, False)
    flat = choice.make()
    if choice.plan is None:
        flat[...] = 0
    elif not _correlate(choice, g, x, flat):
        _correlate(choose.weight(*key, True), g, x, flat)
    return flat.transpose(3, 2, 0, 1)


def _correlate(choice: Choice, g: np.ndarray, x: np.ndarray, flat: np.ndarray) -> bool:
    """Compute the gradient of a weight; whether it is finite."""
    if choice.copied[0]:
        g = to_channels_last(g)
    if choice.copied[1]:
        x = to_channels_last(x)
    return choice.plan.run(x, g, flat.reshape(-1))
