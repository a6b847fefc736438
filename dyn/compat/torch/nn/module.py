"""Module: dyn's Layer under PyTorch's names. Numbers are computed by layers and ops, never here.

A class of ours stands behind dyn's layer in the list of bases (`class Conv2d(nn.Conv2D, Module)`),
so that the layer's own methods go first and these replace those of `Layer`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from dyn.compat.torch.nn.everywhere import EVERYWHERE, called
from dyn.compat.torch.nn.stateful import Stateful
from dyn.compat.torch.tensor import LEGACY, Base, Buffer, Parameter, Tensor, of_name_or, own
from dyn.compat.torch.types import need_cpu
from dyn.nn.hooks import HookRemoveHelper, WithKwargs
from dyn.nn.layer import Layer
from dyn.nn.registry import Registered
from dyn.printing import layer_text

Self = TypeVar("Self", bound="Module")
Mixin: Any = Layer
"""Base of classes that stand before a layer of dyn's among the bases; what `super()` reaches from
them depends on that layer."""

KINDS = {"parameter": "parameter", "buffer": "buffer", "module": "layer"}
"""What is registered, by the word that PyTorch's messages have for it."""
_WORDS = {"parameter": "parameters", "buffer": "buffer", "layer": "module"}


class Module(Stateful):
    """Base of modules: `dyn.nn.Layer` with PyTorch's names, messages and conventions."""

    def __init_subclass__(cls, **named: Any):
        super().__init_subclass__(**named)
        if cls.__module__.startswith(f"{__package__}.") and cls.forward is not Module.forward:
            # `super().forward(x)` and `layer.forward(x)` are called by users, too.
            cls.forward = _owned(cls.forward)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, *input: Any) -> Any:
        """What the module computes; every subclass writes its own."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *inputs: Any, **kwargs: Any) -> Any:
        for x in inputs:
            # What comes from outside, such as the tracer's samples, gets PyTorch's methods.
            if x.__class__ is Base:
                x.__class__ = Tensor
        if self._backward_hooks or self._backward_pre_hooks or EVERYWHERE:
            return own(called(self, inputs, kwargs))
        out = super().__call__(*inputs, **kwargs)
        return out if out.__class__ is Tensor else own(out)

    # -- registration ------------------------------------------------------------------------

    def _register(self, name: str, value: Any, kind: str) -> None:
        if "_kinds" not in self.__dict__:
            raise AttributeError(f"cannot assign {_WORDS[kind]} before Module.__init__() call")
        super()._register(name, value, kind)
        if kind != "layer":
            own(self.__dict__[name])

    def _reassign(self, name: str, value: Any, kind: str) -> None:
        if value is None or (kind == "buffer" and isinstance(value, Base)):
            super()._reassign(name, value, kind)
            return
        given = value.type() if isinstance(value, Tensor) else type(value).__name__
        what, wanted = {
            "parameter": ("parameter", "torch.nn.Parameter"),
            "buffer": ("buffer", "torch.nn.Buffer, torch.Tensor"),
            "layer": ("child module", "torch.nn.Module"),
        }[kind]
        text = f"cannot assign '{given}' as {what} '{name}' ({wanted} or None expected)"
        raise TypeError(text.replace("Tensor or None", "Tensor, or None"))

    def create_parameter(self, *args: Any, **kwargs: Any) -> Any:
        """`Layer.create_parameter`, as a `torch.nn.Parameter`."""
        return own(super().create_parameter(*args, **kwargs))

    def register_buffer(  # type: ignore[override]
        self, name: str, tensor: Any, persistent: bool = True
    ) -> None:
        """Register a tensor as a buffer: state that is saved with the module but not trained."""
        if "_kinds" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        _need_name(self, name, "buffer")
        if tensor is not None and not isinstance(tensor, Base):
            raise TypeError(
                f"cannot assign '{_type_text(tensor)}' object to buffer '{name}' (torch Tensor or "
                "None required)"
            )
        super().register_buffer(name, tensor, persistent)
        if tensor is not None:
            self.__dict__[name].__class__ = Buffer

    def register_parameter(self, name: str, param: Any) -> None:
        """Register a parameter, or None to keep the name, as an attribute."""
        if "_kinds" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        _need_name(self, name, "parameter")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{_type_text(param)}' object to parameter '{name}' "
                "(torch.nn.Parameter or None required)"
            )
        self._register(name, param, "parameter")

    def add_module(self, name: str, module: Any) -> None:
        """Register a module, or None to keep the name, as an attribute."""
        if module is not None and not isinstance(module, Layer):
            raise TypeError(f"{_type_text(module)} is not a Module subclass")
        _need_name(self, name, "module")
        self._register(name, module, "layer")

    register_module = add_module

    @property
    def _modules(self) -> Registered:
        return Registered(self, "layer")

    @property
    def _forward_hooks(self) -> Any:
        return self._forward_post_hooks

    # -- walks -------------------------------------------------------------------------------

    def named_parameters(  # type: ignore[override]
        self,
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
        include_sublayers: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        """Dotted names and parameters; a shared one once unless `remove_duplicate` is False.

        `include_sublayers` is dyn's word for `recurse`.
        """
        deep = recurse and include_sublayers
        if remove_duplicate:
            return super().named_parameters(prefix, deep)
        return _all(self, "parameter", prefix, deep)

    def parameters(self, recurse: bool = True) -> Iterator[Any]:  # type: ignore[override]
        """All parameters, shared ones once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(  # type: ignore[override]
        self,
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
        include_sublayers: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        """Dotted names and buffers; the arguments of `named_parameters`."""
        deep = recurse and include_sublayers
        if remove_duplicate:
            return super().named_buffers(prefix, deep)
        return _all(self, "buffer", prefix, deep)

    def buffers(self, recurse: bool = True) -> Iterator[Any]:  # type: ignore[override]
        """All buffers, shared ones once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def named_modules(
        self, memo: Any = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """Dotted names and modules of all depths, this one first under the name `prefix`.

        Args:
            memo: modules that are left out, with what they hold; those that are found join it.
            prefix: put before every name.
            remove_duplicate: name a shared module once; else under each of its names.
        """
        if memo is not None and self in memo:
            return
        seen = set() if memo is None else memo
        for path, module in ((prefix, self), *self._paths(prefix)):
            if not remove_duplicate or module not in seen:
                seen.add(module)
                yield path, module

    def modules(self) -> Iterator[Any]:
        """This module and those of all depths below it."""
        return (module for _, module in self.named_modules())

    # -- hooks -------------------------------------------------------------------------------

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookRemoveHelper:
        """Call `hook(module, args)` before `forward`; it may return other arguments.

        With `with_kwargs` it is `hook(module, args, kwargs)`, which may return both.
        """
        asked = WithKwargs(hook) if with_kwargs else hook
        return super().register_forward_pre_hook(asked, prepend=prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookRemoveHelper:
        """Call `hook(module, args, output)` after `forward`; it may return another output.

        With `with_kwargs` it is `hook(module, args, kwargs, output)`.
        """

        def asked(*given: Any) -> Any:
            return hook(*given[:-1], own(given[-1]))

        return super().register_forward_post_hook(
            WithKwargs(asked) if with_kwargs else asked, prepend=prepend
        )

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> HookRemoveHelper:
        """Call `hook(module, grad_input, grad_output)` in the backward pass.

        Both gradients are tuples; the hook may return another `grad_input`.
        """
        return HookRemoveHelper(self._backward_hooks, hook, prepend)

    register_backward_hook = register_full_backward_hook

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> HookRemoveHelper:
        """Call `hook(module, grad_output)` before the gradients of the module are computed.

        The gradients are a tuple, one for each output; the hook may return others.
        """
        return HookRemoveHelper(self._backward_pre_hooks, hook, prepend)

    # -- modes, gradients, conversions -------------------------------------------------------

    def train(self: Self, mode: bool = True) -> Self:
        """Behave as in training, or in use with `mode=False`, with all modules below."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        for layer in self.sublayers(include_self=True):
            layer.training = mode
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all parameters: None, or zeros if `set_to_none` is False."""
        self.clear_gradients(set_to_zero=not set_to_none)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Want gradients of all parameters, or not."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def to(self: Self, *args: Any, **kwargs: Any) -> Self:  # type: ignore[override]
        """Convert floating-point parameters and buffers to a dtype; the device must be the CPU."""
        wanted = kwargs.get("dtype")
        need_cpu(kwargs.get("device"))
        for item in args:
            if isinstance(item, Base):
                wanted = item.dtype
            elif isinstance(item, str) or hasattr(item, "index"):
                need_cpu(item)
            elif item is not None and not isinstance(item, bool):
                wanted = item
        if wanted is not None:
            super().to(dtype=of_name_or(wanted))
        return self

    def cpu(self: Self) -> Self:
        """The module itself."""
        return self

    def cuda(self: Self, device: Any = None) -> Self:
        """Always a DeviceError: there is no CUDA device."""
        need_cpu("cuda" if device is None else device)
        return self

    def float(self: Self) -> Self:
        """Convert floating-point parameters and buffers to float32."""
        return self.to(dtype="float32")

    def double(self: Self) -> Self:
        """Convert floating-point parameters and buffers to float64."""
        return self.to(dtype="float64")

    def half(self: Self) -> Self:
        """Convert floating-point parameters and buffers to float16."""
        return self.to(dtype="float16")

    def bfloat16(self: Self) -> Self:
        """Convert floating-point parameters and buffers to bfloat16."""
        return self.to(dtype="bfloat16")

    def type(self: Self, dst_type: Any) -> Self:
        """Convert floating-point parameters and buffers to a dtype, or a legacy type name."""
        return self.to(dtype=dst_type)

    def to_empty(self: Self, *, device: Any, recurse: bool = True) -> Self:
        """The module itself, whose values stay as they are; the device must be the CPU."""
        need_cpu(device)
        return self

    def share_memory(self: Self) -> Self:
        """The module itself."""
        return self

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: kernels are compiled already; see `tracer.compile_training` for whole steps."""

    def _get_name(self) -> str:
        return self.__class__.__name__

    def __repr__(self) -> str:
        return layer_text(self._get_name(), self.extra_repr(), list(self._modules.items()), True)


def _owned(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A forward of dyn's with results of PyTorch's class."""

    @functools.wraps(forward)
    def owned(*args: Any, **kwargs: Any) -> Any:
        out = forward(*args, **kwargs)
        return out if out.__class__ is Tensor else own(out)

    return owned


def _need_name(module: Module, name: Any, what: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{what} name should be a string. Got {_type_text(name)}")
    if "." in name:
        shown = f", got: {name}" if what == "module" else ""
        raise KeyError(f'{what} name can\'t contain "."{shown}')
    if name == "":
        shown = ", got: " if what == "module" else ""
        raise KeyError(f'{what} name can\'t be empty string ""{shown}')
    if hasattr(module, name) and module._kinds.get(name) != KINDS[what]:
        raise KeyError(f"attribute '{name}' already exists")


def _type_text(value: Any) -> str:
    if isinstance(value, Base):
        return LEGACY[value.dtype.name]
    return type(value).__name__


def _all(module: Module, kind: str, prefix: str, deep: bool) -> Iterator[tuple[str, Any]]:
    """Names and tensors of one kind, shared ones under each of their names."""
    layers: list[tuple[str, Any]] = [(prefix, module)]
    if deep:
        layers.extend(module._paths(prefix))
    for path, layer in layers:
        for name, tensor in layer._own(kind):
            yield (f"{path}.{name}" if path else name), tensor
