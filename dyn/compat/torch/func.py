"""`torch.func`: modules as functions of their parameters, as inner loops call them.

The transforms of functions are `transforms.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from dyn.compat.torch.nn.module import Module
from dyn.compat.torch.tensor import own
from dyn.compat.torch.transforms import grad, grad_and_value, hessian, jacrev, vjp, vmap
from dyn.ops.join import stack

jacfwd = jacrev
"""The same slopes; here they are always computed backwards."""


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """What a module gives with other tensors in the place of its parameters and buffers.

    Args:
        module: called with its own tensors where no others are given.
        parameter_and_buffer_dicts: tensors by dotted name, or several such dictionaries.
        args: the argument, or a tuple of arguments.
        kwargs: arguments by name.
        tie_weights: whether a tensor under several names is replaced under all of them.
        strict: whether every parameter and buffer must be given.

    Returns:
        What the module returns. Gradients reach the tensors that were given.

    Raises:
        RuntimeError: the module has no such name, or lacks one and `strict`.
    """
    given: dict[str, Any] = {}
    several = isinstance(parameter_and_buffer_dicts, Sequence)
    for one in parameter_and_buffer_dicts if several else [parameter_and_buffer_dicts]:
        given.update(one)
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with _replaced(module, given, tie_weights, strict):
        return module(*arguments, **(kwargs or {}))


def stack_module_state(models: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and buffers of modules of one kind, each stacked along a new first axis.

    Args:
        models: modules, for `functional_call` under `vmap`.

    Returns:
        Parameters, which want gradients, and buffers, by dotted name.

    Raises:
        RuntimeError: there are none, or they differ in class or mode.
    """
    listed = list(models)
    if not listed:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({(type(m), m.training) for m in listed}) > 1:
        raise RuntimeError(
            "stack_module_state: Expected all models to be of the same class and in one mode."
        )

    def stacked(states: Any) -> dict[str, Any]:
        rows = [dict(state) for state in states]
        return {n: own(stack([row[n].detach() for row in rows])) for n in rows[0]}

    params = stacked(m.named_parameters() for m in listed)
    for x in params.values():
        x.requires_grad_()
    return params, stacked(m.named_buffers() for m in listed)


@contextmanager
def _replaced(module: Module, given: Mapping[str, Any], tie: bool, strict: bool) -> Iterator[None]:
    """A block in which a module has other tensors."""
    own = dict(module.named_parameters(remove_duplicate=False))
    own.update(module.named_buffers(remove_duplicate=False))
    unknown = [name for name in given if name not in own]
    missing = [name for name in own if name not in given] if strict else []
    if unknown or missing:
        raise RuntimeError(
            f"functional_call: {type(module).__name__} has no tensors called {unknown}"
            if unknown
            else f"functional_call: no tensors are given for {missing}"
        )
    placed = dict(given)
    if tie:
        by_tensor = {id(own[name]): value for name, value in given.items()}
        placed = {name: by_tensor[id(t)] for name, t in own.items() if id(t) in by_tensor} | placed
    owners = {name: module.get_submodule(name.rpartition(".")[0]) for name in placed}
    try:
        for name, value in placed.items():
            owners[name].__dict__[name.rpartition(".")[2]] = value
        yield
    finally:
        for name, owner in owners.items():
            owner.__dict__[name.rpartition(".")[2]] = own[name]


__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "stack_module_state",
    "vjp",
    "vmap",
]
