"""Gradients of fused ops by way of the same computation made of smaller ops.

A fused kernel computes a whole formula; its own derivative (mostly the second one of a layer) is
seldom wanted. `differentiate_as` takes it from the formula written in ops, by the tape itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dyn.core.autograd import grad
from dyn.core.dtype import is_inexact
from dyn.core.modes import enable_grad, is_grad_enabled
from dyn.core.op import OPS, Op, Rule
from dyn.core.tensor import Tensor


def differentiate_as(op: Op, formula: Callable[..., Any], *names: str) -> None:
    """Give `op` the gradient of `formula` with respect to the inputs `names` (default: all).

    Args:
        formula: called with the op's inputs (Tensors, None where absent) and attributes, by name;
            returns Tensors equal to the op's public outputs, made of differentiable ops. An input
            that it does not use (a statistic it computes anew) gets no gradient.
    """
    chosen = names or op.inputs

    def rule(seeds: Any, /, *, wanted: frozenset[str], **needs: Any) -> Any:
        again = is_grad_enabled()
        with enable_grad():
            inputs = {name: _branch(needs[name]) for name in op.inputs}
            made = formula(**inputs, **{name: needs[name] for name in op.attrs})
            pairs = zip(
                made if isinstance(made, tuple) else (made,),
                seeds if isinstance(seeds, list) else (seeds,),
                strict=True,
            )
            reached = [
                (out, seed)
                for out, seed in pairs
                if not (out is None or out.stop_gradient or seed is None)
            ]
            given = {n: x for n in chosen if (x := inputs[n]) is not None and n in wanted}
            found = grad(
                [out for out, _ in reached],
                list(given.values()),
                [seed for _, seed in reached],
                create_graph=again,
                allow_unused=True,
            )
        by_name = dict(zip(given, found, strict=True))
        answer = tuple(by_name.get(name) for name in chosen)
        return answer if len(chosen) > 1 else answer[0]

    rule.__name__ = rule.__qualname__ = f"{op.name}.vjp[{', '.join(chosen)}]"
    # One rule for all of them, which is called once.
    shared = Rule(rule, tuple(chosen), (*op.inputs, *op.attrs, "wanted"), sparse=True)
    for name in chosen:
        if name in op.rules:
            raise TypeError(f"op {op.name} has two gradient rules for {name!r}")
        op.rules[name] = shared


def _branch(x: Tensor | None) -> Tensor | None:
    """The same value as an input of its own, so that other inputs' dependence on it is left out."""
    if x is None:
        return None
    if not x.stop_gradient:
        return OPS["reshape"](x, shape=tuple(x.shape))
    leaf = Tensor._of(x._array)
    leaf.stop_gradient = not is_inexact(x._array.dtype)
    return leaf
