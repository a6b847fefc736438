"""`torch.autograd.Function` and `torch.autograd.functional`, over `dyn.autograd`.

Only names and the order of results differ; nothing is computed here.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from dyn import autograd
from dyn.compat.torch.tensor import Base, own


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


functional = SimpleNamespace(jacobian=jacobian, hessian=hessian)
"""`torch.autograd.functional`."""
