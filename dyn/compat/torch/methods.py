"""Gives the tensor class PyTorch's methods, from the tables of functions.

Every function of the modules beside this one is a method and a function of the package; the
functions here have no counterpart in the package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dyn.compat.torch import creation, linalg, pointwise, reduction, shape
from dyn.compat.torch.tensor import Base, Tensor, flavoured, own, write
from dyn.compat.torch.types import of_name
from dyn.core.dtype import as_numpy
from dyn.core.lift import cast_to
from dyn.ops import compare
from dyn.ops import creation as creation_ops
from dyn.ops import index as indices
from dyn.ops import random as draws

_OPERATORS = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift"
_PLAIN = "neg abs invert eq ne gt ge lt le"
_INHERITED = "detach clone"

_MODULES: dict[Any, str] = {
    shape: """chunk cumprod cumsum diag expand expand_as flatten flip gather index_add index_select
        masked_fill masked_select movedim narrow nonzero permute repeat repeat_interleave reshape
        roll scatter scatter_add select split squeeze t take transpose tril triu unbind unflatten
        unsqueeze view view_as broadcast_to""",
    reduction: """all allclose amax amin any argmax argmin argsort bincount count_nonzero cummax
        cummin equal kthvalue logsumexp max mean median min mode nanmean nansum norm prod sort std
        sum topk unique var""",
    pointwise: """add addcdiv addcmul addmm clamp clip cross diagonal div divide eq ge gt le lt
        matmul mm mul multiply ne round sub subtract tensordot true_divide""",
}
_INPLACE = """abs add addcdiv addcmul ceil clamp clip cos div divide exp floor index_add log
    masked_fill mul multiply neg pow reciprocal relu round rsqrt scatter scatter_add sigmoid sign
    sin sqrt squeeze sub subtract t tanh transpose tril triu trunc unsqueeze"""


def functions() -> dict[str, Callable[..., Any]]:
    """All functions that the package and the tensors share, by name, with results of our class."""
    found: dict[str, Callable[..., Any]] = {}
    for module, names in pointwise.SAME.items():
        found.update({name: flavoured(getattr(module, name)) for name in names.split()})
    for module, names in _MODULES.items():
        found.update({name: flavoured(getattr(module, name)) for name in names.split()})
    found["softmax"] = flavoured(reduction.softmax_along)
    found["log_softmax"] = flavoured(reduction.log_softmax_along)
    found.update(linalg.FUNCTIONS)
    return found


def _bound(name: str) -> Callable[..., Any]:
    """A method of dyn's tensor whose result is one of ours; spelled out, as operators are many."""
    method = getattr(Base, name)

    def of_one(self: Tensor) -> Any:
        found = method(self)
        if found.__class__ is Base:
            found.__class__ = Tensor
        return found

    def of_two(self: Tensor, other: Any) -> Any:
        found = method(self, other)
        if found.__class__ is Base:
            found.__class__ = Tensor
        return found

    alone = name in ("__neg__", "__abs__", "__invert__", *_INHERITED.split())
    call = of_one if alone else of_two
    call.__name__, call.__qualname__, call.__doc__ = name, f"Tensor.{name}", method.__doc__
    return call


def _inplace(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return write(self, function(self, *args, **kwargs))

    call.__doc__ = f"`{function.__name__}`, written to the tensor itself."
    return call


def _index_of(item: Any) -> Any:
    """An index by PyTorch's rules: bytes are masks, and a list that holds more than numbers is a
    tuple.
    """
    if item.__class__ is list and len(item) < _LONG and any(isinstance(i, _PARTS) for i in item):
        item = tuple(item)
    if item.__class__ is tuple:
        for part in item:
            if isinstance(part, Base) and part._read().dtype.char == "B":
                return tuple([_mask_of(part) for part in item])
        return item
    return _mask_of(item)


_LONG = 32
"""From so many entries on PyTorch takes any list for a tensor."""
_PARTS = (Base, list, tuple, range, np.ndarray, slice, type(None), type(Ellipsis))


def _mask_of(part: Any) -> Any:
    if isinstance(part, Base) and part._read().dtype.char == "B":
        return compare.not_equal(part, 0)
    return part


def getitem(self: Tensor, item: Any) -> Any:
    """`x[item]`: `dyn.Tensor`'s, by PyTorch's rules for lists and bytes."""
    kind = item.__class__
    found = indices.getitem(self, item if kind is int or kind is slice else _index_of(item))
    if found.__class__ is Base:
        found.__class__ = Tensor
    return found


def setitem(self: Tensor, item: Any, value: Any) -> None:
    """`x[item] = value`: as `getitem`."""
    kind = item.__class__
    indices.setitem(self, item if kind is int or kind is slice else _index_of(item), value)


# ---- methods that are no function of the package -----------------------------------------------


def type_as(self: Tensor, other: Any) -> Any:
    """The tensor in the dtype of another."""
    return self.to(other.dtype)


def where(self: Tensor, condition: Any, other: Any) -> Any:
    """This tensor where the condition is true, `other` elsewhere."""
    return own(shape.where(condition, self, other))


def uniform_(self: Tensor, a: float = 0.0, b: float = 1.0) -> Any:
    """Set every element to a number drawn evenly from [a, b)."""
    return self._write(draws.uniform(list(self.shape), self._array.dtype.name, a, b))


def random_(self: Tensor, low: int = 0, high: int = 2**24) -> Any:
    """Set every element to an integer drawn from [low, high)."""
    drawn = draws.randint(low, high, list(self.shape))
    return self._write(cast_to(drawn, self._array.dtype))


_copy: Any = vars(Base)["copy_"]


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Any:
    """Take over the elements of a tensor that broadcasts to this shape."""
    return _copy(self, src)


def new_full(self: Tensor, size: Any, fill_value: Any, *, dtype: Any = None) -> Any:
    """A tensor of one number, in this one's dtype."""
    return own(creation_ops.full(list(size), fill_value, dtype or self._array.dtype.name))


def new_zeros(self: Tensor, *sizes: Any, size: Any = None, dtype: Any = None) -> Any:
    """Zeros in this tensor's dtype."""
    return new_full(self, creation.sizes_of(sizes) if size is None else size, 0, dtype=dtype)


def new_ones(self: Tensor, *sizes: Any, size: Any = None, dtype: Any = None) -> Any:
    """Ones in this tensor's dtype."""
    return new_full(self, creation.sizes_of(sizes) if size is None else size, 1, dtype=dtype)


def new_tensor(self: Tensor, data: Any, *, dtype: Any = None) -> Any:
    """A tensor of numbers in this one's dtype."""
    return creation.tensor(data, dtype=dtype or self._array.dtype.name)


def reshape_as(self: Tensor, other: Any) -> Any:
    """The same values in the shape of `other`."""
    return own(shape.view_as(self, other))


def zero_(self: Tensor) -> Any:
    """Set every element to zero."""
    return self._write(creation_ops.zeros_like(self))


def _in_dtype(name: str) -> Callable[..., Any]:
    wanted = as_numpy(name)

    def call(self: Tensor) -> Any:
        return own(cast_to(self, wanted))

    call.__doc__ = f"The tensor as {of_name(name)}."
    return call


def _bind_all() -> None:
    shared = functions()
    for name, function in shared.items():
        setattr(Tensor, name, function)
    for name in _INPLACE.split():
        setattr(Tensor, f"{name}_", _inplace(shared[name]))
    for name in _OPERATORS.split():
        for prefix in ("", "r"):
            setattr(Tensor, f"__{prefix}{name}__", _bound(f"__{prefix}{name}__"))
    for name in (*(f"__{n}__" for n in _PLAIN.split()), *_INHERITED.split()):
        setattr(Tensor, name, _bound(name))
    for function in (
        type_as, where, uniform_, random_, copy_, new_full, new_zeros, new_ones, new_tensor,
        reshape_as, zero_,
    ):  # fmt: skip
        setattr(Tensor, function.__name__, function)
    named = {
        "float": "float32", "double": "float64", "half": "float16", "bfloat16": "bfloat16",
        "int": "int32", "long": "int64", "short": "int16", "char": "int8", "byte": "uint8",
        "bool": "bool",
    }  # fmt: skip
    for name, dtype in named.items():
        setattr(Tensor, name, _in_dtype(dtype))
    Tensor.__getitem__, Tensor.__setitem__ = getitem, setitem  # type: ignore[method-assign]
    for name in ("T", "mT"):
        setattr(Tensor, name, property(flavoured(getattr(Base, name).fget)))


_bind_all()
