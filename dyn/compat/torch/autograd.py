"""Gradients under PyTorch's names: `grad`, `backward`, `Variable`, and the grad modes."""

from __future__ import annotations

from typing import Any

from dyn.compat.torch.anomaly import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from dyn.compat.torch.checking import gradcheck, gradgradcheck
from dyn.compat.torch.function import Function, functional
from dyn.compat.torch.graph import backward, seeds
from dyn.compat.torch.tensor import Base, own
from dyn.core import autograd
from dyn.core.modes import enable_grad, no_grad, set_grad_enabled


def Variable(data: Any, requires_grad: bool | None = None, volatile: bool = False) -> Any:
    """The tensor itself: variables and tensors have been one since PyTorch 0.4.

    Args:
        data: a tensor.
        requires_grad: whether gradients are wanted; None leaves it as it is.
        volatile: accepted for old code; use `no_grad`.
    """
    if not isinstance(data, Base):
        raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
    out = own(data)
    if requires_grad is not None:
        out.requires_grad_(requires_grad)
    return out


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """Gradients of the sum of `outputs` with respect to `inputs`, without touching any `.grad`.

    Args:
        outputs, inputs: a tensor or several.
        grad_outputs: the gradient of each output; may be left out for tensors of one element.
        retain_graph: keep the graph; by default as `create_graph`.
        create_graph: make the result differentiable.
        only_inputs: accepted; no `.grad` is ever touched.
        allow_unused: None instead of an error for an input that the outputs do not depend on.
        materialize_grads: zeros instead of None.

    Raises:
        RuntimeError: an input wants no gradient or is not used, or a gradient is missing.
    """
    outs = [outputs] if isinstance(outputs, Base) else list(outputs)
    given = [grad_outputs] if isinstance(grad_outputs, Base) else grad_outputs
    wanted = [inputs] if isinstance(inputs, Base) else list(inputs)
    if any(x.stop_gradient for x in wanted):
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    unused = materialize_grads if allow_unused is None else allow_unused
    found = autograd.grad(
        outs, wanted, seeds(outs, given), retain_graph, create_graph, allow_unused=unused
    )
    if materialize_grads:
        found = [x * 0 if g is None else g for g, x in zip(found, wanted, strict=True)]
    return tuple(own(g) for g in found)


__all__ = [
    "Function",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "is_anomaly_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]
