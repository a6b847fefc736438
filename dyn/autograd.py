"""`dyn.autograd`: functions with a gradient of one's own, `backward` of several tensors, slopes.

What computes gradients is in `dyn.core.autograd`; here are the forms in which users ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dyn.core import autograd
from dyn.core.custom import PyLayer, PyLayerContext
from dyn.core.errors import AttributeValueError
from dyn.core.modes import enable_grad, is_grad_enabled
from dyn.core.tensor import Tensor
from dyn.ops.creation import zeros
from dyn.ops.join import stack
from dyn.ops.reduce import sum as sum_
from dyn.ops.shape import reshape


def backward(tensors: Any, grad_tensors: Any = None, retain_graph: bool = False) -> None:
    """Add the gradient of the sum of `tensors` to `.grad` of every leaf they depend on.

    Args:
        tensors: a tensor or several.
        grad_tensors: the gradient to start from of each, or None for ones.
        retain_graph: keep the graph for another pass.
    """
    several = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    starts = [grad_tensors] if isinstance(grad_tensors, Tensor) else grad_tensors
    autograd.backward(several, starts, retain_graph)


def jacobian_of(function: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """All slopes of `function` at `inputs`.

    Args:
        function: takes the inputs and returns one tensor.
        inputs: a tensor or several.
        create_graph: make the result differentiable.

    Returns:
        For each input a tensor of the shape of the output followed by that of the input; alone if
        there is one input.
    """
    alone = isinstance(inputs, Tensor)
    with enable_grad():
        leaves = [_watched(x, create_graph) for x in ([inputs] if alone else inputs)]
        out = function(*leaves)
        found = slopes_of(out, leaves, create_graph)
    return found[0] if alone else tuple(found)


def slopes_of(out: Tensor, leaves: Sequence[Tensor], create_graph: bool = False) -> list[Tensor]:
    """All slopes of a tensor by tensors that it was computed from; the tape is kept.

    Returns:
        For each of them a tensor of the shape of `out` followed by its own.
    """
    flat = reshape(out, [-1])
    rows = [_row(flat[i], leaves, create_graph) for i in range(flat.shape[0])]
    columns = zip(*rows, strict=True) if rows else [[]] * len(leaves)
    return [
        reshape(stack(list(column)), [*out.shape, *x.shape])
        if column
        else zeros([*out.shape, *x.shape], x.dtype)
        for column, x in zip(columns, leaves, strict=True)
    ]


def hessian_of(function: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """All second slopes of a `function` of one tensor whose result is one number.

    Returns:
        A tensor of twice the shape of the input.
    """

    def slope(x: Any) -> Any:
        return autograd.grad([function(x)], [x], create_graph=True)[0]

    return jacobian_of(slope, inputs, create_graph)


def jacobian(ys: Any, xs: Any, batch_axis: int | None = None) -> Any:
    """All slopes of `ys` by `xs`, which they were computed from.

    Args:
        ys: a tensor of up to one axis, [M], after that of the batch; or several.
        xs: likewise, [N]; or several.
        batch_axis: 0 if both have a first axis of samples that do not depend on each other.

    Returns:
        [M, N], or [B, M, N] with a batch; axes that `ys` and `xs` have not are left out. A tuple
        for several `ys` or `xs`, of tuples for several of both.

    Raises:
        AttributeValueError: `batch_axis` is something else, or there are more axes.
    """
    if batch_axis not in (None, 0):
        raise AttributeValueError(f"batch_axis is None or 0, got {batch_axis!r}")
    lead = 0 if batch_axis is None else 1
    several = [ys] if isinstance(ys, Tensor) else list(ys)
    inputs = [xs] if isinstance(xs, Tensor) else list(xs)
    for name, tensors in (("ys", several), ("xs", inputs)):
        for x in tensors:
            if not lead <= x.ndim <= lead + 1:
                raise AttributeValueError(
                    f"jacobian takes {name} of {lead} or {lead + 1} axes with "
                    f"batch_axis={batch_axis}, got the shape {x.shape}; reshape() them"
                )
    found = [tuple(_slopes(y, inputs, lead)) for y in several]
    rows = [row[0] if isinstance(xs, Tensor) else row for row in found]
    return rows[0] if isinstance(ys, Tensor) else tuple(rows)


def hessian(ys: Tensor, xs: Any, batch_axis: int | None = None) -> Any:
    """All second slopes of `ys`, one number (for each sample), by `xs`.

    Args:
        ys: of the shape [] or [1], or [B] or [B, 1] with a batch.
        xs, batch_axis: as in `jacobian`.

    Returns:
        [N, N], or [B, N, N]; for several `xs` a tuple of tuples.

    Raises:
        AttributeValueError: as in `jacobian`, or `ys` has several numbers.
    """
    lead = 0 if batch_axis is None else 1
    if not lead <= ys.ndim <= lead + 1 or (ys.ndim > lead and ys.shape[-1] != 1):
        raise AttributeValueError(
            f"hessian takes one number for each sample, got ys of the shape {ys.shape}; sum() it"
        )
    inputs = [xs] if isinstance(xs, Tensor) else list(xs)
    with enable_grad():
        first = _row(sum_(ys), inputs, True)
    found = tuple(tuple(jacobian(g, inputs, batch_axis)) for g in first)
    return found[0][0] if isinstance(xs, Tensor) else found


def _slopes(y: Tensor, inputs: Sequence[Tensor], lead: int) -> list[Tensor]:
    if not lead:
        return slopes_of(y, inputs, is_grad_enabled())
    # Samples do not depend on each other: the slope of their sum is that of each.
    columns = [y] if y.ndim == 1 else [y[:, i] for i in range(y.shape[1])]
    rows = [_row(sum_(column), inputs, is_grad_enabled()) for column in columns]
    if y.ndim == 1:
        return rows[0]
    if not rows:
        return [zeros([x.shape[0], 0, *x.shape[1:]], x.dtype) for x in inputs]
    return [stack(list(several), axis=1) for several in zip(*rows, strict=True)]


def _watched(x: Tensor, create_graph: bool) -> Tensor:
    """The input itself if the result shall depend on it, else a leaf of the same value."""
    if create_graph and not x.stop_gradient:
        return x
    leaf = type(x)._of(x._read())
    leaf.stop_gradient = False
    return leaf


def _row(value: Tensor, leaves: Sequence[Tensor], create_graph: bool) -> list[Tensor]:
    if value.stop_gradient:
        return [x.detach() * 0 for x in leaves]
    found = autograd.grad(
        [value], leaves, retain_graph=True, create_graph=create_graph, allow_unused=True
    )
    return [x.detach() * 0 if g is None else g for g, x in zip(found, leaves, strict=True)]


__all__ = [
    "PyLayer",
    "PyLayerContext",
    "backward",
    "hessian",
    "hessian_of",
    "jacobian",
    "jacobian_of",
    "slopes_of",
]
