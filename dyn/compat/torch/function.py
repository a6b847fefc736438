"""`torch.autograd.Function` and `torch.autograd.functional`, over `dyn.autograd`.

Only names and the order of results differ; nothing is computed here.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from dyn import autograd
from dyn.compat.torch.tensor import Base, own
from dyn.core import autograd as graph
from dyn.core.modes import enable_grad
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


def jacobian(func: Any, inputs: Any, create_graph: bool = False, **_: Any) -> Any:
    """All slopes of `func` at `inputs`: see `dyn.autograd.jacobian_of`."""
    return own(autograd.jacobian_of(lambda *x: func(*own(x)), inputs, create_graph))


def hessian(func: Any, inputs: Any, create_graph: bool = False, **_: Any) -> Any:
    """All second slopes of a function with one number as its result."""
    return own(autograd.hessian_of(lambda x: func(own(x)), inputs, create_graph))


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
    found = graph.grad([out], leaves, None if v is None else [v], True, create_graph, True)
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
    if out._read().size != 1:
        raise RuntimeError(
            f"hvp: the function gives a tensor of shape {list(out.shape)}, a single element is "
            "wanted; reduce it, with sum() say"
        )
    with enable_grad():
        slopes = graph.grad([out], leaves, None, True, True, True)
    _need_number(v, *leaves)
    ways = [ones_like(x) for x in leaves] if v is None else [v] if isinstance(inputs, Base) else v
    pairs = [(g, w) for g, w in zip(slopes, ways, strict=True) if g is not None]
    # What is linear in the inputs has a gradient that depends on none of them.
    curved = [(g, w) for g, w in pairs if not g.stop_gradient]
    found: Any = [None] * len(leaves)
    if curved:
        several, starts = map(list, zip(*curved, strict=True))
        found = graph.grad(several, leaves, starts, create_graph, create_graph, True)
    return _shown(out, create_graph), _as(inputs, _filled("hvp", found, leaves, strict))


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


functional = SimpleNamespace(jacobian=jacobian, hessian=hessian, vjp=vjp, hvp=hvp)
"""`torch.autograd.functional`."""
