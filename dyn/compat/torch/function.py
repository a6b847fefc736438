"""`torch.autograd.Function` and `torch.autograd.functional`, over `dyn.autograd`.

Only names and the order of results differ; nothing is computed here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from dyn import autograd
from dyn.compat.torch.tensor import Base, own
from dyn.core import autograd as graph
from dyn.core.modes import enable_grad, is_grad_enabled, no_grad
from dyn.ops.creation import ones_like, zeros_like


class FunctionCtx(autograd.PyLayerContext):
    """What a forward leaves for its backward."""

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` was given."""
        return own(self.saved_tensor())


class Function(autograd.PyLayer):
    """A function with a gradient of its own: subclass it and call `apply`.

    Either `forward(ctx, *args)`, or `forward(*args)` and `setup_context(ctx, inputs, output)`.
    `backward(ctx, *g)` returns a gradient, or None, for every argument of `forward`.
    """

    _context = FunctionCtx
    _every_argument = True

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`, and `backward` when gradients are wanted."""
        for x in args:
            if isinstance(x, Base):
                own(x)
        return own(super().apply(*args, **kwargs))

    @classmethod
    def _run(cls, context: Any, args: Any, kwargs: Any) -> Any:
        setup = getattr(cls, "setup_context", None)
        if setup is None:
            return cls.forward(context, *args, **kwargs)
        made = cls.forward(*args, **kwargs)
        setup(context, args, made)
        return made

    @classmethod
    def _slopes(cls, context: Any, gradients: Any) -> Any:
        return cls.backward(context, *own(gradients))


class _Constant(Function):
    """Its first argument, which the others count as the source of and have no slopes to."""

    @staticmethod
    def forward(ctx: Any, out: Any, *sources: Any) -> Any:
        return out.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Let a `backward` compute values alone: to differentiate them is an error, and not 0."""

    @functools.wraps(backward)
    def call(ctx: Any, *gradients: Any) -> Any:
        with no_grad():
            found = backward(ctx, *gradients)
        sources = [g for g in gradients if isinstance(g, Base) and not g.stop_gradient]
        if not is_grad_enabled() or not sources:
            return found
        several = found if isinstance(found, tuple) else (found,)
        tied = tuple(_Constant.apply(x, *sources) if isinstance(x, Base) else x for x in several)
        return tied if isinstance(found, tuple) else tied[0]

    return call


def jacobian(
    func: Any,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """All slopes of `func` at `inputs`.

    Args:
        func: a function of the inputs that gives one tensor or several.
        inputs: a tensor, or a tuple of tensors.
        create_graph: whether the result can be differentiated.
        strict: whether an input that an output does not depend on is refused; else it gets zeros.
        vectorize: accepted; one row after the other is computed.
        strategy: accepted with `vectorize`: the slopes are the same.

    Returns:
        A tensor of the shape of the output followed by that of the input; a tuple for several
        outputs, and for several inputs in each.

    Raises:
        RuntimeError: `strict` refuses an input.
        TypeError: `func` gives something else than tensors.
        ValueError: there is no such strategy.
        NotImplementedError: forward mode is asked for without `vectorize`.
    """
    _need_strategy("jacobian", strategy, vectorize)
    leaves = _leaves(inputs, create_graph)
    with enable_grad():
        given = func(*leaves)
    outs = [given] if isinstance(given, Base) else given
    if not isinstance(outs, (tuple, list)) or not all(isinstance(x, Base) for x in outs):
        raise TypeError(
            f"jacobian: the function gives a {type(given).__name__}, tensors are wanted"
        )
    rows = []
    for out in outs:
        if strict:
            _need_part("jacobian", out, leaves)
        rows.append(_as(inputs, autograd.slopes_of(out, leaves, create_graph)))
    return rows[0] if isinstance(given, Base) else tuple(rows)


def hessian(
    func: Any,
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """All second slopes of `func`, a single element, at `inputs`.

    Args:
        func: a function of the inputs that gives one tensor of a single element.
        inputs, create_graph, strict, vectorize: as in `jacobian`.
        outer_jacobian_strategy: the `strategy` of it.

    Returns:
        A tensor of twice the shape of the input; for several inputs a tuple of tuples.

    Raises:
        RuntimeError: `func` gives several elements, or `strict` refuses an input.
        TypeError, ValueError: as in `jacobian`.
    """
    _need_strategy("hessian", outer_jacobian_strategy, vectorize)

    def slopes(*leaves: Any) -> Any:
        out = func(*leaves)
        _need_single("hessian", out)
        if strict:
            _need_part("hessian", out, list(leaves))
        found = graph.grad([out], list(leaves), None, True, True, allow_unused=True)
        return _as(inputs, _filled("hessian", found, list(leaves), False))

    return jacobian(slopes, inputs, create_graph, strict)


def vjp(
    func: Any, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """What `func` gives at `inputs`, and the product of `v` with its Jacobian.

    Args:
        func: a function of the inputs that gives one tensor.
        inputs: a tensor, or a tuple of tensors.
        v: of the shape of what `func` gives; by default 1, if that is a single element.
        create_graph: whether both results can be differentiated.
        strict: whether an input that `func` does not depend on is refused; else it gets zeros.

    Raises:
        RuntimeError: there is no `v` beside several elements, or `strict` refuses an input.
        TypeError: `func` gives something else than one tensor.
    """
    leaves, out = _called("vjp", func, inputs, create_graph)
    _need_number(v, out)
    found = graph.grad(
        [out], leaves, None if v is None else [v], True, create_graph, allow_unused=True
    )
    return _shown(out, create_graph), _as(inputs, _filled("vjp", found, leaves, strict))


def hvp(
    func: Any, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """What `func`, a single element, gives at `inputs`, and the product of its Hessian with `v`.

    Args:
        func: a function of the inputs that gives one tensor of a single element.
        inputs: a tensor, or a tuple of tensors.
        v: of the shapes of the inputs; by default 1, if each of them is a single element.
        create_graph: whether both results can be differentiated.
        strict: whether an input is refused that the gradient does not depend on; else it gets
            zeros.

    Raises:
        RuntimeError: `func` gives several elements, there is no `v` beside inputs of several, or
            `strict` refuses an input.
        TypeError: `func` gives something else than one tensor.
    """
    leaves, out = _called("hvp", func, inputs, create_graph)
    _need_single("hvp", out)
    with enable_grad():
        slopes = graph.grad([out], leaves, None, True, True, allow_unused=True)
    _need_number(v, *leaves)
    ways = [ones_like(x) for x in leaves] if v is None else [v] if isinstance(inputs, Base) else v
    pairs = [(g, w) for g, w in zip(slopes, ways, strict=True) if g is not None]
    # What is linear in the inputs has a gradient that depends on none of them.
    curved = [(g, w) for g, w in pairs if not g.stop_gradient]
    found: Any = [None] * len(leaves)
    if curved:
        several, starts = map(list, zip(*curved, strict=True))
        found = graph.grad(several, leaves, starts, create_graph, create_graph, allow_unused=True)
    return _shown(out, create_graph), _as(inputs, _filled("hvp", found, leaves, strict))


def jvp(
    func: Any, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """What `func` gives at `inputs`, and the product of its Jacobian with `v`.

    Two passes backwards make it: the second one through the first.

    Args:
        func: a function of the inputs that gives one tensor.
        inputs: a tensor, or a tuple of tensors.
        v: of the shapes of the inputs; by default 1, if each of them is a single element.
        create_graph: whether both results can be differentiated.
        strict: whether an input that `func` does not depend on is refused.

    Raises:
        RuntimeError: there is no `v` beside several elements, or `strict` refuses an input.
        TypeError: `func` gives something else than one tensor.
    """
    leaves, out = _called("jvp", func, inputs, create_graph)
    _need_number(v, *leaves)
    if strict:
        _need_part("jvp", out, leaves)
    ways = [ones_like(x) for x in leaves] if v is None else [v] if isinstance(inputs, Base) else v
    if out.stop_gradient:
        return _shown(out, create_graph), own(zeros_like(out))
    with enable_grad():
        # The product of a row with the Jacobian is linear in the row: its slope is the other one.
        row = zeros_like(out)
        row.stop_gradient = False
        slopes = graph.grad([out], leaves, [row], True, True, allow_unused=True)
    pairs = [(g, w) for g, w in zip(slopes, ways, strict=True) if g is not None]
    if not pairs:
        # Only tensors that are no inputs, such as parameters, have a part in it.
        return _shown(out, create_graph), own(zeros_like(out))
    several, starts = map(list, zip(*pairs, strict=True))
    (found,) = graph.grad(several, [row], starts, create_graph, create_graph, allow_unused=True)
    return _shown(out, create_graph), own(zeros_like(out) if found is None else found)


def vhp(
    func: Any, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """What `func` gives, and the product of `v` with its Hessian: that of `hvp`, by symmetry."""
    return hvp(func, inputs, v, create_graph, strict)


def _need_strategy(name: str, strategy: str, vectorize: bool) -> None:
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(
            f"{name}: the strategy is 'reverse-mode' or 'forward-mode', got {strategy!r}"
        )
    if strategy == "forward-mode" and not vectorize:
        raise NotImplementedError(
            f"{name}: strategy='forward-mode' comes with vectorize=True, as in PyTorch"
        )


def _need_single(name: str, out: Any) -> None:
    if not isinstance(out, Base):
        raise TypeError(f"{name}: the function gives a {type(out).__name__}, a tensor is wanted")
    if out._read().size != 1:
        raise RuntimeError(
            f"{name}: the function gives a tensor of shape {list(out.shape)}, a single element is "
            "wanted; reduce it, with sum() say"
        )


def _need_part(name: str, out: Any, leaves: list[Any]) -> None:
    """Refuse inputs that have no part in a result."""
    none: list[Any] = [None] * len(leaves)
    found = (
        none
        if out.stop_gradient
        else graph.grad([out], leaves, None, True, False, allow_unused=True)
    )
    _filled(name, found, leaves, True)


def _called(name: str, func: Any, inputs: Any, create_graph: bool) -> tuple[list[Any], Any]:
    """The inputs as leaves, and the tensor that the function gives for them."""
    leaves = _leaves(inputs, create_graph)
    with enable_grad():
        out = func(*leaves)
    if not isinstance(out, Base):
        raise TypeError(
            f"{name}: the function gives a {type(out).__name__}, one tensor is wanted; join "
            "several with cat, or call it for each"
        )
    return leaves, out


def _filled(name: str, found: Any, leaves: list[Any], strict: bool) -> list[Any]:
    """Gradients, with zeros in the place of those that there are not."""
    missing = [i for i, g in enumerate(found) if g is None]
    if strict and missing:
        raise RuntimeError(
            f"{name}: the inputs {missing} have no part in the result; leave them out, or pass "
            "strict=False for zeros"
        )
    return [zeros_like(x) if g is None else g for g, x in zip(found, leaves, strict=True)]


def _shown(out: Any, create_graph: bool) -> Any:
    """What a function gave, with its history only where that is asked for."""
    return out if create_graph else own(out.detach())


def _need_number(v: Any, *beside: Any) -> None:
    """Refuse to guess the vector beside tensors of several elements."""
    if v is None and any(x._read().size > 1 for x in beside):
        raise RuntimeError(
            "The vector v can only be None beside a single element; pass one of the shapes "
            f"{[list(x.shape) for x in beside]}"
        )


def _leaves(inputs: Any, create_graph: bool) -> list[Any]:
    """The inputs, as themselves if the result shall depend on them and they want gradients."""
    several = [inputs] if isinstance(inputs, Base) else list(inputs)
    return [
        own(x) if create_graph and not x.stop_gradient else own(x.detach()).requires_grad_()
        for x in several
    ]


def _as(inputs: Any, found: list[Any]) -> Any:
    """One tensor for one, a tuple for several."""
    return own(found[0]) if isinstance(inputs, Base) else own(tuple(found))


functional = SimpleNamespace(jacobian=jacobian, hessian=hessian, vjp=vjp, jvp=jvp, hvp=hvp, vhp=vhp)
"""`torch.autograd.functional`."""
