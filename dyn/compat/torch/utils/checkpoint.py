"""`torch.utils.checkpoint`: parts of a model computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from dyn.compat.torch.function import Function
from dyn.compat.torch.graph import backward
from dyn.compat.torch.nn.module import Module
from dyn.compat.torch.tensor import Base, own
from dyn.core.modes import enable_grad, is_grad_enabled, no_grad
from dyn.core.observe import current as observers
from dyn.core.rng import get_rng_state, set_rng_state
from dyn.core.tree import flatten


class _Recomputed(Function):
    """A call whose inner values are dropped, and computed again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, run: Callable[..., Any], keep_random: bool, *args: Any) -> Any:
        ctx.run, ctx.args = run, args
        ctx.random = get_rng_state() if keep_random else None
        return run(*args)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        after = get_rng_state()
        if ctx.random is not None:
            set_rng_state(ctx.random)
        fresh = [_leaf(x) if isinstance(x, Base) else x for x in ctx.args]
        with enable_grad():
            made = ctx.run(*fresh)
        if ctx.random is not None:
            set_rng_state(after)
        outputs = made if isinstance(made, tuple) else (made,)
        pairs = [
            (out, g)
            for out, g in zip(outputs, gradients, strict=True)
            if isinstance(out, Base) and not out.stop_gradient
        ]
        backward([out for out, _ in pairs], [g for _, g in pairs])
        return None, None, *(x.grad if isinstance(x, Base) else None for x in fresh)


def _leaf(x: Any) -> Any:
    """The same value without history, which takes a gradient where `x` does."""
    return own(x.detach()).requires_grad_(not x.stop_gradient)


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """Call a function, and call it again in the backward pass instead of keeping what is inside.

    A call whose arguments want no gradient keeps everything: its parameters get their gradients
    with or without `use_reentrant`. So does one that is traced, where the graph is what is wanted.
    These run the function again for what else it does: statistics are the same in either case.

    Args:
        function: a function or module; it is run twice, so statistics in it are updated twice.
        args, kwargs: its arguments.
        use_reentrant: accepted; both ways of PyTorch give the same gradients here.
        preserve_rng_state: draw the same random numbers both times.
    """

    def run(*positional: Any) -> Any:
        return function(*positional, **kwargs)

    if not is_grad_enabled():
        return run(*args)
    wanted = any(isinstance(x, Base) and not x.stop_gradient for x in args)
    if wanted and not observers():
        return _Recomputed.apply(run, preserve_rng_state, *args)
    random = get_rng_state() if preserve_rng_state and not observers() else None
    made = run(*args)
    _run_again(run, args, random, made)
    return made


def _run_again(run: Callable[..., Any], args: tuple, random: Any, made: Any) -> None:
    """Run the function once more when the backward pass reaches what it made."""
    pending = [args]

    def again(gradient: Any) -> None:
        if not pending:
            return
        inputs = pending.pop()
        after = get_rng_state() if random is not None else None
        if random is not None:
            set_rng_state(random)
        with no_grad():
            run(*inputs)
        if after is not None:
            set_rng_state(after)

    for _, out in flatten(made, lambda x: isinstance(x, Base))[1]:
        if not out.stop_gradient:
            out.register_hook(again)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **settings: Any
) -> Any:
    """Run modules one after the other in `segments` parts, each as by `checkpoint` but the last.

    Args:
        functions: an `nn.Sequential` or a list of modules.
        segments: number of parts.
        input: what the first is given.
        use_reentrant: see `checkpoint`.
    """
    listed = list(functions.children()) if isinstance(functions, Module) else list(functions)
    size = max(1, len(listed) // segments)
    bounds = [i * size for i in range(segments)] + [len(listed)]

    def part(start: int, end: int) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for module in listed[start:end]:
                x = module(x)
            return x

        return run

    for start, end in pairwise(bounds[:-1]):
        input = checkpoint(part(start, end), input, **settings)
    return part(bounds[-2], bounds[-1])(input)


__all__ = ["checkpoint", "checkpoint_sequential"]
