"""`torch.autograd.gradcheck`: gradients compared with differences of values.

Nothing is differentiated here but by calling the function again beside its inputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from dyn import autograd
from dyn.compat.torch.tensor import Base, own
from dyn.core import autograd as graph
from dyn.core.tensor import Tensor
from dyn.ops.creation import ones_like, zeros_like


class GradcheckError(RuntimeError):
    """A gradient is not the slope of its function."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    **settings: Any,
) -> bool:
    """Whether the gradients of `func` are the slopes that its values have.

    Args:
        func: a function of the inputs that gives a tensor or several.
        inputs: a tensor or several; those that want a gradient are checked, in float64.
        eps: how far an element is moved to either side.
        atol, rtol: how far gradients may be from slopes, and as a share of them.
        raise_exception: raise instead of giving False.
        settings: accepted; every slope is computed.

    Raises:
        GradcheckError: a gradient is not the slope.
        ValueError: no input wants a gradient.
    """
    given = (inputs,) if isinstance(inputs, Base) else tuple(inputs)
    checked = [i for i, x in enumerate(given) if isinstance(x, Base) and not x.stop_gradient]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the "
            "them have requires_grad=True."
        )
    for i in checked:
        if given[i]._read().dtype != np.float64:
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point; the "
                "check will likely fail if all the inputs are not of double precision",
                stacklevel=2,
            )
    leaves = list(given)
    for i in checked:
        leaves[i] = _leaf(given[i]._read())
    for number, out in enumerate(_several(func(*leaves))):
        if out.stop_gradient:
            continue
        slopes = autograd.slopes_of(out, [leaves[i] for i in checked], False)
        for i, slope in zip(checked, slopes, strict=True):
            analytical = slope.numpy()
            numerical = _by_differences(func, leaves, i, number, eps)
            if not np.allclose(analytical, numerical, rtol, atol):
                if not raise_exception:
                    return False
                raise GradcheckError(
                    f"Jacobian mismatch for output {number} with respect to input {i},\n"
                    f"numerical:{numerical}\nanalytical:{analytical}"
                )
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    raise_exception: bool = True,
    **settings: Any,
) -> bool:
    """Whether the gradients of the gradients of `func` are slopes; as `gradcheck`.

    Args:
        func, inputs, raise_exception, settings: of `gradcheck`.
        grad_outputs: the gradient of each output to begin with; ones if None.
    """
    given = (inputs,) if isinstance(inputs, Base) else tuple(inputs)
    wanted = [i for i, x in enumerate(given) if isinstance(x, Base) and not x.stop_gradient]
    if grad_outputs is None:
        outputs = [out for out in _several(func(*given)) if not out.stop_gradient]
        grad_outputs = [_leaf(ones_like(out)._read()) for out in outputs]
    seeds = [grad_outputs] if isinstance(grad_outputs, Base) else list(grad_outputs)

    def gradients(*arguments: Any) -> tuple[Any, ...]:
        points, upstream = arguments[: len(given)], arguments[len(given) :]
        outputs = [out for out in _several(func(*points)) if not out.stop_gradient]
        sources = [points[i] for i in wanted]
        found = graph.grad(outputs, sources, list(upstream), create_graph=True, allow_unused=True)
        return tuple(zeros_like(x) if g is None else g for g, x in zip(found, sources, strict=True))

    return gradcheck(gradients, (*given, *seeds), raise_exception=raise_exception, **settings)


def _by_differences(
    func: Callable[..., Any], leaves: list[Any], at: int, number: int, eps: float
) -> np.ndarray:
    """The slopes of one output by each element of one input, from values to both sides of it."""
    point = leaves[at]._read()
    columns = []
    for place in np.ndindex(point.shape):
        sides = []
        for step in (eps, -eps):
            moved = point.copy()
            moved[place] += step
            arguments = [*leaves]
            arguments[at] = _leaf(moved)
            sides.append(_several(func(*arguments))[number].numpy(force=True))
        columns.append((sides[0] - sides[1]) / (2 * eps))
    shape = columns[0].shape if columns else ()
    return np.stack(columns, -1).reshape(*shape, *point.shape) if columns else point


def _leaf(array: np.ndarray) -> Any:
    return own(Tensor(array)).requires_grad_()


def _several(found: Any) -> list[Any]:
    return [own(x) for x in ([found] if isinstance(found, Base) else found)]
