"""The tensor under PyTorch's name: dyn's own, in a class that adds names and holds nothing.

A result becomes one by `own`, which changes the class of the object and nothing else; whatever
computes, records or traces sees the tensors it always sees. Methods that compute are bound by
`methods.py`, text comes from `text.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from dyn.compat.torch import absent, words
from dyn.compat.torch.graph import GradFn, backward
from dyn.compat.torch.types import INTEGERS, Size, device, dtype, need_cpu, of_name
from dyn.core import tensor as core
from dyn.core.alias import follows, layout, part
from dyn.core.lift import cast_to
from dyn.core.modes import is_grad_enabled
from dyn.core.observe import current
from dyn.core.tape import HookHandle, HookList, leaf_of
from dyn.nn import state

Base = core.Tensor
_register_hook: Any = vars(Base)["register_hook"]


class Tensor(Base):
    """A multi-dimensional array with PyTorch's methods: see `dyn.Tensor` for what it is."""

    def __init__(self, *data: Any, device: Any = None):
        """An empty tensor, one of nested lists, or an uninitialised one of the given sizes."""
        need_cpu(device)
        sizes = data and all(isinstance(n, INTEGERS) for n in data)
        value = np.zeros(data, np.float32) if sizes else (data[0] if data else [])
        super().__init__(value, None if isinstance(value, Base) else "float32")

    # -- what it is --------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        raise absent.error("torch.Tensor", name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        out: Any = super().__deepcopy__(memo)
        # As in PyTorch, a tensor's gradient is copied with it, that of a parameter is not.
        if self.grad is not None and not isinstance(self, Parameter):
            out.grad = self.grad.detach()
        return out

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are wanted: the opposite of `stop_gradient`."""
        return not self.stop_gradient

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self._want(value, "only Tensors of floating point and complex dtype")

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Want a gradient or not, in place; only leaves can stop wanting one."""
        return self._want(requires_grad, "only Tensors of floating point dtype")

    def _want(self, requires_grad: bool, kinds: str) -> Tensor:
        if requires_grad and not (self.dtype.is_floating_point or self.dtype.is_complex):
            raise RuntimeError(f"{kinds} can require gradients")
        if not requires_grad and not self.is_leaf:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a "
                "computed variable in a subgraph that doesn't require differentiation use var_no_"
                "grad = var.detach()."
            )
        self.stop_gradient = not requires_grad
        return self

    @property
    def shape(self) -> Any:
        """Sizes as a `torch.Size`; while a model is traced, dynamic sizes are symbolic."""
        if self._alias is None and self._array is not None and not current():
            return Size(self._array.shape)
        return Size(super().shape)

    def size(self, dim: int | None = None) -> Any:  # type: ignore[override]
        """All sizes, or that of one axis."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """Number of axes."""
        return self.ndim

    ndimension = dim

    def numel(self) -> Any:
        """Number of elements."""
        return self.shape.numel()

    nelement = numel

    @property
    def dtype(self) -> dtype:  # type: ignore[override]
        """Element type, such as `torch.float32`."""
        return of_name(super().dtype.name)

    @property
    def device(self) -> device:
        """Where it lives: `device(type='cpu')`."""
        return device("cpu")

    @property
    def is_cuda(self) -> bool:
        """Whether it lives on a CUDA device: never."""
        return False

    def is_floating_point(self) -> bool:
        """Whether the elements are floating point."""
        return self.dtype.is_floating_point

    def element_size(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether PyTorch would lay the elements out row by row: not so in a transposed view."""
        return self._alias is None or bool(layout(self).flags.c_contiguous)

    # -- gradients ---------------------------------------------------------------------------

    @property
    def grad(self) -> Any:
        """The gradient of the last backward passes, or None."""
        return own(super().grad)

    @grad.setter
    def grad(self, value: Any) -> None:
        Base.grad.fset(self, value)  # type: ignore[attr-defined]

    @property
    def grad_fn(self) -> Any:
        """What made the value on the tape, or None for leaves."""
        return None if self._node is None else GradFn(self._node)

    @property
    def data(self) -> Any:
        """The value without history."""
        return own(self.detach())

    @data.setter
    def data(self, value: Any) -> None:
        if follows(value, self):
            return
        history = self._node  # which `_assign` ends; here gradients go on through it
        fresh = core.Tensor._of(value._read())  # it may be a view of this one
        part(self)
        self._array = None
        self._assign(fresh)
        self._node = history

    def detach_(self) -> Tensor:
        """Forget the history, in place."""
        self._node = None
        self.stop_gradient = True
        return self

    def retain_grad(self) -> None:
        """Let `.grad` be what is left after hooks, added up over backward passes as in a leaf.

        Otherwise a result of an op shows the gradient of the last pass.

        Raises:
            RuntimeError: nothing here wants a gradient.
        """
        if self.stop_gradient:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._node is not None:
            self._node.retained |= {self._index}

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf it depends on, or of `inputs`.

        Raises:
            RuntimeError: nothing here wants a gradient, or there are several elements and
                `gradient` is None.
        """
        given = None if gradient is None else [gradient]
        backward([self], given, retain_graph, create_graph, inputs)

    def register_hook(self, hook: Callable[[Any], Any]) -> Any:
        """Call `hook(gradient)` when the gradient of this tensor is known; it may replace it."""
        if self.stop_gradient:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        return _register_hook(self, lambda g: hook(own(g)))

    def register_post_accumulate_grad_hook(self, hook: Callable[[Any], None]) -> HookHandle:
        """Call `hook(tensor)` whenever a backward pass has brought its `.grad` up to date.

        Raises:
            RuntimeError: the tensor wants no gradient, or is no leaf.
        """
        if self.stop_gradient:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self._node is not None:
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        leaf = leaf_of(self)
        leaf.after = leaf.after or HookList()
        return HookHandle(leaf.after, hook)

    # -- ways out and conversions ------------------------------------------------------------

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The value as a numpy array.

        Raises:
            RuntimeError: the tensor wants a gradient, which would be lost, and not `force`.
        """
        if not self.stop_gradient and not force and is_grad_enabled():
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                "instead."
            )
        return super().numpy()

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """The tensor in another dtype, or that of another tensor; the device must be the CPU."""
        wanted = kwargs.get("dtype")
        need_cpu(kwargs.get("device"))
        for item in args:
            if isinstance(item, Base):
                wanted = item.dtype
            elif isinstance(item, (str, device)):
                need_cpu(item)
            elif not isinstance(item, bool) and item is not None:
                wanted = item
        return self if wanted is None else own(cast_to(self, np.dtype(of_name_or(wanted))))

    def cpu(self) -> Tensor:
        """The tensor itself."""
        return self

    def cuda(self, device: Any = None) -> Tensor:
        """Always a DeviceError: there is no CUDA device."""
        need_cpu(device or "cuda")
        return self

    def contiguous(self, memory_format: Any = None) -> Tensor:
        """The tensor itself, or a copy of a view that is not contiguous."""
        return self if self.is_contiguous() else self.clone()

    def pin_memory(self, device: Any = None) -> Tensor:
        """The tensor itself."""
        return self

    def share_memory_(self) -> Tensor:
        """The tensor itself."""
        return self

    def type(self, dtype: Any = None) -> Any:
        """The legacy name of the type, such as "torch.FloatTensor"; or the tensor in a dtype."""
        return LEGACY[self.dtype.name] if dtype is None else self.to(dtype=dtype)


class Parameter(Tensor, state.Parameter):
    """A tensor that an optimiser trains: dyn's parameter, with PyTorch's methods."""

    def __init__(self, data: Any, requires_grad: bool = True):
        state.Parameter.__init__(self, data, trainable=requires_grad)


class Buffer(Tensor, state.Buffer):
    """A tensor that a module keeps without training it: dyn's buffer, with PyTorch's methods."""

    def __init__(self, data: Any, *, persistent: bool = True):
        state.Buffer.__init__(self, data, persistable=persistent)


LEGACY = {
    "float32": "torch.FloatTensor",
    "float64": "torch.DoubleTensor",
    "float16": "torch.HalfTensor",
    "bfloat16": "torch.BFloat16Tensor",
    "int64": "torch.LongTensor",
    "int32": "torch.IntTensor",
    "int16": "torch.ShortTensor",
    "int8": "torch.CharTensor",
    "uint8": "torch.ByteTensor",
    "bool": "torch.BoolTensor",
    "complex64": "torch.ComplexFloatTensor",
    "complex128": "torch.ComplexDoubleTensor",
}

_OWN = {Base: Tensor, state.Parameter: Parameter, state.Buffer: Buffer}


def own(value: Any) -> Any:
    """The same objects in PyTorch's class: a tensor, or containers of them."""
    kind = value.__class__
    if kind is Tensor:
        return value
    if kind in _OWN:
        value.__class__ = _OWN[kind]
    elif isinstance(value, dict):
        for item in value.values():
            own(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            own(item)
    return value


def flavoured(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with results of PyTorch's class, written to `out` if one is given."""

    renamed, first = words.of_numpy(function), words.leading(function)

    @functools.wraps(function)
    def call(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if kwargs:
            args = words.in_place(args, kwargs, first)
            if renamed:
                kwargs = {renamed.get(name, name): value for name, value in kwargs.items()}
        found = function(*args, **kwargs)
        # One tensor is nearly all results: a call less.
        if found.__class__ is Base:
            found.__class__ = Tensor
        else:
            own(found)
        return found if out is None else write(out, found)

    return call


def write(target: Any, value: Any) -> Any:
    """Put a value into a tensor, which takes its shape; with several, one into each."""
    if isinstance(target, (tuple, list)):
        for one, item in zip(target, value, strict=True):
            write(one, item)
    elif tuple(value.shape) == tuple(target.shape):
        held = target._read().dtype
        core.dtypes.need_kind(held, value._read().dtype)
        target._write(cast_to(value, held))
    else:
        target._array = None
        target._bind(value)
    return target


def of_name_or(wanted: Any) -> Any:
    """The numpy dtype meant by a dtype, a name, a Python type or a legacy type name."""
    called = f"torch.{getattr(wanted, '__name__', '')}" if callable(wanted) else wanted
    if isinstance(called, str) and called in LEGACY.values():
        wanted = next(name for name, legacy in LEGACY.items() if legacy == called)
    return core.dtypes.as_numpy(wanted)
