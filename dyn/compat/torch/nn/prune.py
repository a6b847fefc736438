"""`torch.nn.utils.prune`: functions that prune parameters, by the ways of `pruning.py`."""

from __future__ import annotations

from typing import Any

from dyn.compat.torch import creation
from dyn.compat.torch.nn.pruning import (
    BasePruningMethod,
    CustomFromMask,
    Identity,
    L1Unstructured,
    LnStructured,
    PruningContainer,
    RandomStructured,
    RandomUnstructured,
    hook_of,
)
from dyn.compat.torch.tensor import own
from dyn.core.modes import no_grad
from dyn.nn import utils


def identity(module: Any, name: str) -> Any:
    """Give a parameter a mask of ones; returns the module."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Any, name: str, amount: Any) -> Any:
    """Prune a number, or a share, of elements at random; returns the module."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Any, name: str, amount: Any, importance_scores: Any = None) -> Any:
    """Prune a number, or a share, of the smallest elements; returns the module."""
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Any, name: str, amount: Any, dim: int) -> Any:
    """Prune a number, or a share, of slices along an axis at random; returns the module."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Any, name: str, amount: Any, n: Any, dim: int, importance_scores: Any = None
) -> Any:
    """Prune slices along an axis of the smallest norm of order `n`; returns the module."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Any, name: str, mask: Any) -> Any:
    """Prune what is zero in a mask; returns the module."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Any, pruning_method: Any, importance_scores: Any = None, **kwargs: Any
) -> None:
    """Prune parameters of several modules as if they were one.

    Args:
        parameters: pairs of a module and a name.
        pruning_method: a class whose PRUNING_TYPE is "unstructured".
        importance_scores: what to go by instead of the values, by such pairs.
        kwargs: for the class.

    Raises:
        TypeError: the arguments are of other kinds.
    """
    if not hasattr(parameters, "__iter__"):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    given = {} if importance_scores is None else importance_scores
    if not isinstance(given, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    pairs = [tuple(pair) for pair in parameters]
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    weights = [getattr(module, name) for module, name in pairs]
    with no_grad():
        scores = [given.get(pair, w).detach() for pair, w in zip(pairs, weights, strict=True)]
        masks = [getattr(module, f"{name}_mask", None) for module, name in pairs]
        masks = [
            creation.ones_like(w) if m is None else m for w, m in zip(weights, masks, strict=True)
        ]
        container = PruningContainer(method)
        flat = own(utils.parameters_to_vector(masks)).clone()
        mask = container.compute_mask(own(utils.parameters_to_vector(scores)), flat)
        start = 0
        for (module, name), w in zip(pairs, weights, strict=True):
            custom_from_mask(module, name, mask[start : start + w.numel()].reshape(w.shape))
            start += w.numel()


def remove(module: Any, name: str) -> Any:
    """Make a pruned weight a parameter again, with its zeros; returns the module.

    Raises:
        ValueError: it is not pruned.
    """
    found = hook_of(module, name)
    if found is None:
        raise ValueError(
            f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed"
        )
    key, hook = found
    hook.remove(module)
    del module._forward_pre_hooks[key]
    return module


def is_pruned(module: Any) -> bool:
    """Whether any parameter of a module, or of one below it, is pruned."""
    return any(
        isinstance(hook, BasePruningMethod)
        for one in module.modules()
        for hook in one._forward_pre_hooks.values()
    )


__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]
