"""Hooks on all modules, as `torch.nn.modules.module.register_module_forward_hook` makes them.

They run before the hooks of the module itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from dyn.compat.torch.nn.backward_hooks import watched
from dyn.compat.torch.tensor import own
from dyn.nn.hooks import HookRemoveHelper, Table, WithKwargs
from dyn.nn.layer import Layer

EVERYWHERE: Table = {}
"""All of them: modules look at one dictionary at each call."""


class _OfKind:
    """A hook, and when it is called."""

    def __init__(self, kind: str, hook: Callable[..., Any]):
        self.kind, self.hook = kind, hook

    def __call__(self, *given: Any) -> Any:
        return self.hook(*given)


def _of(kind: str) -> Table:
    return {k: one.hook for k, one in EVERYWHERE.items() if one.kind == kind}  # type: ignore[attr-defined]


def _register(kind: str, hook: Callable[..., Any]) -> HookRemoveHelper:
    return HookRemoveHelper(EVERYWHERE, _OfKind(kind, hook))


def called(module: Any, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a module with the hooks on all modules and its hooks on gradients around it."""
    run = partial(
        Layer._call_watched,
        module,
        {**_of("forward_pre"), **module._forward_pre_hooks},
        {**_of("forward"), **module._forward_post_hooks},
    )
    before = {**_of("backward_pre"), **module._backward_pre_hooks}
    behind = {**_of("backward"), **module._backward_hooks}
    if before or behind:
        return watched(module, before, behind, run, inputs, kwargs)
    return run(inputs, kwargs)


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> HookRemoveHelper:
    """Call `hook(module, args)` before the `forward` of every module."""
    return _register("forward_pre", hook)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> HookRemoveHelper:
    """Call `hook(module, args, output)` after the `forward` of every module.

    With `with_kwargs` it is `hook(module, args, kwargs, output)`.

    Raises:
        NotImplementedError: `always_call`; hooks are not called when `forward` raises.
    """
    if always_call:
        raise NotImplementedError(
            "always_call=True is not available: hooks are not called when forward raises; use "
            "try and finally around the call"
        )

    def asked(*given: Any) -> Any:
        return hook(*given[:-1], own(given[-1]))

    return _register("forward", WithKwargs(asked) if with_kwargs else asked)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> HookRemoveHelper:
    """Call `hook(module, grad_output)` before the gradient of every module is computed."""
    return _register("backward_pre", hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> HookRemoveHelper:
    """Call `hook(module, grad_input, grad_output)` in the backward pass of every module."""
    return _register("backward", hook)


register_module_backward_hook = register_module_full_backward_hook

__all__ = [
    "register_module_backward_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
]
