"""`dyn.autograd`: functions with a gradient of one's own, `backward` of several tensors, slopes.

What computes gradients is in `dyn.core.autograd`; here are the forms in which users ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dyn.core import autograd
from dyn.core.custom import PyLayer, PyLayerContext
from dyn.core.modes import enable_grad
from dyn.core.tensor import Tensor
from dyn.ops.join import stack
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
        flat = reshape(out, [-1])
        rows = [_row(flat[i], leaves, create_graph) for i in range(flat.shape[0])]
    found = [
        reshape(stack(list(column)), [*out.shape, *x.shape])
        for column, x in zip(zip(*rows, strict=True), leaves, strict=True)
    ]
    return found[0] if alone else tuple(found)


def hessian_of(function: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """All second slopes of a `function` of one tensor whose result is one number.

    Returns:
        A tensor of twice the shape of the input.
    """

    def slope(x: Any) -> Any:
        return autograd.grad([function(x)], [x], create_graph=True)[0]

    return jacobian_of(slope, inputs, create_graph)


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


__all__ = ["PyLayer", "PyLayerContext", "backward", "hessian_of", "jacobian_of"]
