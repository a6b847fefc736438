"""`torch.nn.utils`: clipping gradients by hand, parameters as one vector, names of state."""

from __future__ import annotations

import math
from typing import Any

from dyn.compat.torch.nn import parametrizations, parametrize, prune
from dyn.compat.torch.nn.loading import without_prefix
from dyn.compat.torch.nn.packing import rnn
from dyn.compat.torch.tensor import Base, own
from dyn.core.modes import no_grad
from dyn.nn import utils
from dyn.nn.reparametrized import SpectralNormed, WeightNormed, hook_of
from dyn.ops.join import stack
from dyn.ops.vector_norm import norm


def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Any:
    """Scale the gradients of parameters down if their common norm is above `max_norm`.

    Args:
        parameters: a tensor or several; their `.grad` is replaced.
        max_norm: the norm they may have together.
        norm_type: which norm; 2 is Euclid's.
        error_if_nonfinite: whether a norm that is NaN or infinite is an error.
        foreach: accepted; it makes no difference.

    Returns:
        The norm before clipping, 0-d.

    Raises:
        RuntimeError: the norm is not finite and `error_if_nonfinite`; nothing was clipped then.
    """
    listed = [parameters] if isinstance(parameters, Base) else list(parameters)
    if norm_type == 2.0 and not error_if_nonfinite:
        return own(utils.clip_grad_norm_(listed, max_norm))
    with no_grad():
        grads = [p.grad for p in listed if p.grad is not None]
        total = get_total_norm(grads, norm_type, error_if_nonfinite)
        factor = min(1.0, max_norm / (float(total) + 1e-6))
        for p in listed:
            if p.grad is not None:
                p.grad = p.grad * factor
    return total


def get_total_norm(
    tensors: Any,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Any:
    """The norm that several tensors have together, 0-d: see `clip_grad_norm_`."""
    listed = [tensors] if isinstance(tensors, Base) else list(tensors)
    if not listed:
        return own(Base(0.0))
    with no_grad():
        total = own(norm(stack([norm(x, norm_type) for x in listed]), norm_type))
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {float(norm_type)} for gradients from `parameters` is "
            "non-finite, so it cannot be clipped. To disable this error and scale the gradients "
            "by the non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
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


def weight_norm(module: Any, name: str = "weight", dim: int | None = 0) -> Any:
    """Split a weight into length and direction, `name`_g and `name`_v. Source: arXiv 1602.07868."""
    return WeightNormed(name, dim, keepdim=True, own=own).attach(module)


def remove_weight_norm(module: Any, name: str = "weight") -> Any:
    """Make the weight of `weight_norm` a parameter again."""
    return hook_of(module, WeightNormed, name).detach(module, ("_g", "_v"))


def spectral_norm(
    module: Any,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Any:
    """Divide a weight, kept as `name`_orig, by its spectral norm. Source: arXiv 1802.05957."""
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    return SpectralNormed(name, n_power_iterations, eps, dim, own).attach(module)


def remove_spectral_norm(module: Any, name: str = "weight") -> Any:
    """Make the weight of `spectral_norm` a parameter again."""
    return hook_of(module, SpectralNormed, name).detach(module, ("_orig", "_u", "_v"))


__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "consume_prefix_in_state_dict_if_present",
    "get_total_norm",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "prune",
    "remove_spectral_norm",
    "remove_weight_norm",
    "rnn",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]
