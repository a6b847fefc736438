"""`torch.nn.utils`: clipping gradients by hand, parameters as one vector, names of state."""

from __future__ import annotations

from typing import Any

from dyn.compat.torch.nn.loading import without_prefix
from dyn.compat.torch.nn.packing import rnn
from dyn.compat.torch.nn.reparametrized import (
    remove_spectral_norm,
    remove_weight_norm,
    spectral_norm,
    weight_norm,
)
from dyn.compat.torch.tensor import Base, own
from dyn.core.modes import no_grad
from dyn.nn import utils
from dyn.ops.join import stack
from dyn.ops.reduce import norm


def clip_grad_norm_(parameters: Any, max_norm: float, norm_type: float = 2.0) -> Any:
    """Scale the gradients of parameters down if their common norm is above `max_norm`.

    Args:
        parameters: a tensor or several; their `.grad` is replaced.
        max_norm: the norm they may have together.
        norm_type: which norm; 2 is Euclid's.

    Returns:
        The norm before clipping, 0-d.
    """
    listed = [parameters] if isinstance(parameters, Base) else list(parameters)
    if norm_type == 2.0:
        return own(utils.clip_grad_norm_(listed, max_norm))
    grads = [p.grad for p in listed if p.grad is not None]
    if not grads:
        return own(Base(0.0))
    with no_grad():
        total = norm(stack([norm(g, norm_type) for g in grads]), norm_type)
        factor = min(1.0, max_norm / (float(total) + 1e-6))
        for p in listed:
            if p.grad is not None:
                p.grad = p.grad * factor
    return own(total)


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Bring every element of the gradients into [-clip_value, clip_value]."""
    utils.clip_grad_value_(
        [parameters] if isinstance(parameters, Base) else list(parameters), clip_value
    )


def parameters_to_vector(parameters: Any) -> Any:
    """All elements of all parameters in one vector."""
    return own(utils.parameters_to_vector(parameters))


def vector_to_parameters(vec: Any, parameters: Any) -> None:
    """Give parameters their parts of a vector."""
    utils.vector_to_parameters(vec, parameters)


def consume_prefix_in_state_dict_if_present(state_dict: Any, prefix: str) -> None:
    """Take `prefix` off the names in a state_dict, in place."""
    renamed = without_prefix(state_dict, prefix)
    state_dict.clear()
    state_dict.update(renamed)


__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "consume_prefix_in_state_dict_if_present",
    "parameters_to_vector",
    "remove_spectral_norm",
    "remove_weight_norm",
    "rnn",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]
