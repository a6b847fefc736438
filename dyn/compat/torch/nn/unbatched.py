"""Inputs without an axis for the batch, which PyTorch's layers of images and sequences take too.

They get the axis, and the results lose it; nothing is computed here. Linear modules, padding and
activations take any number of axes by themselves; batch norm and interpolation want the batch, in
PyTorch too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from dyn.core.errors import ShapeError
from dyn.ops.infer import product
from dyn.ops.shape import reshape

_NAMES = ("input", "indices")
"""Of the arguments that may have an axis less, where they are given by name."""


def _lone(function: Callable[..., Any], axes: int, at: int, tensors: int) -> Callable[..., Any]:
    """`function`, whose `tensors` arguments from `at` on may have an axis less."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name in _NAMES[len(args) - at : tensors]:
            if name in kwargs:
                args = (*args, kwargs.pop(name))
        if len(args) <= at or getattr(args[at], "ndim", None) != axes + 1:
            return function(*args, **kwargs)
        end = at + tensors
        given = (x[None] for x in args[at:end])
        made = function(*args[:at], *given, *args[end:], **kwargs)
        return tuple(y[0] for y in made) if isinstance(made, tuple) else made[0]

    return call


def function_of_single(
    axes: int, function: Callable[..., Any], tensors: int = 1
) -> Callable[..., Any]:
    """A function of [N, C, ...] that takes [C, ...] as well.

    Args:
        axes: number of axes behind C.
        function: what is called with a batch; its result is a tensor or a tuple of tensors.
        tensors: how many of its first arguments have the axis of the batch.
    """
    return _lone(function, axes, 0, tensors)


def function_of_many(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of [N, C, H, W] that takes any number of axes, none included, for N."""

    @functools.wraps(function)
    def call(input: Any, *args: Any, **kwargs: Any) -> Any:
        if input.ndim == 4:
            return function(input, *args, **kwargs)
        if input.ndim < 3:
            raise ShapeError(
                f"{function.__name__}: {input.ndim} axes are too few for [..., C, H, W]"
            )
        lead, rest = list(input.shape[:-3]), list(input.shape[-3:])
        found = function(reshape(input, [product(lead), *rest]), *args, **kwargs)
        return reshape(found, [*lead, *found.shape[1:]])

    return call


def layer_of_single(axes: int, tensors: int = 1) -> Callable[[type], Any]:
    """Makes a module of [N, C, ...] take [C, ...] as well; see `function_of_single`."""

    def decorate(kind: Any) -> Any:
        kind.forward = _lone(kind.forward, axes, 1, tensors)
        return kind

    return decorate
