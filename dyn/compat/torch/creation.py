"""Functions that make tensors, under PyTorch's names: sizes may be given one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.compat.torch.generator import drawing
from dyn.compat.torch.tensor import LEGACY, Base, Tensor, of_name_or, own
from dyn.compat.torch.types import INTEGERS, need_cpu
from dyn.core.dtype import as_numpy
from dyn.core.lift import cast_to
from dyn.core.op import OPS
from dyn.ops import creation as ops
from dyn.ops import matrix
from dyn.ops import random as draws


def sizes_of(sizes: tuple[Any, ...]) -> list[Any]:
    """Sizes given one by one or as one sequence."""
    if len(sizes) == 1 and not isinstance(sizes[0], (*INTEGERS, Base)):
        return list(sizes[0])
    return list(sizes)


def _finished(
    made: Any, requires_grad: bool = False, device: Any = None, dtype: Any = None
) -> Tensor:
    need_cpu(device)
    out = own(made)
    kinds = "Only Tensors of floating point and complex dtype"
    return out._want(True, kinds) if requires_grad else out


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    """A tensor of numbers, nested lists or an array, copied; floats become the default dtype."""
    value = OPS["clone"](data.detach()) if isinstance(data, Base) else data
    wanted = None if dtype is None else of_name_or(dtype)
    if wanted is not None and not isinstance(value, np.ndarray):
        _need_to_fit(value, as_numpy(wanted))
    # What is too large for a float is infinity, as in PyTorch.
    with np.errstate(over="ignore"):
        return _finished(Base(value, wanted), requires_grad, device)


def _need_to_fit(data: Any, dtype: np.dtype) -> None:
    """Complain of numbers that an integer dtype does not have; arrays wrap around, as in numpy."""
    if dtype.kind not in "iu":
        return
    found = Base(data, None)._array
    if found.dtype.kind == "f":
        found = Base(data, "float64")._array
    limits = np.iinfo(dtype)
    # As in PyTorch, negative numbers have a place among unsigned ones.
    least = limits.min or -limits.max
    if found.size and not (found.min() >= least and found.max() <= limits.max):
        raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """The tensor itself where `data` is one of the dtype already, else a new one."""
    if isinstance(data, Base):
        return own(data).to(device, dtype)
    return tensor(data, dtype=dtype, device=device)


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor of an array's values. They are copied: the array may be written to afterwards."""
    return tensor(np.asarray(array))


def _filled(function: Any) -> Any:
    def make(
        *size: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        generator: Any = None,
        **layout: Any,
    ) -> Tensor:
        with drawing(generator):
            made = function(sizes_of((layout.get("size") and (layout["size"],)) or size), dtype)
        return _finished(made, requires_grad, device)

    make.__name__ = function.__name__
    make.__doc__ = f"`dyn.{function.__name__}` of sizes given one by one or as one sequence."
    return make


zeros, ones, empty = (_filled(f) for f in (ops.zeros, ops.ones, ops.empty))
rand, randn = (_filled(f) for f in (draws.rand, draws.randn))


def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """One number everywhere, in its own dtype unless `dtype` says another."""
    if dtype is None and not isinstance(fill_value, Base):
        integer = isinstance(fill_value, INTEGERS) and not isinstance(fill_value, bool)
        dtype = "bool" if isinstance(fill_value, bool) else "int64" if integer else None
    return _finished(ops.full(list(size), fill_value, dtype), requires_grad, device)


def _like(function: Any) -> Any:
    def make(
        input: Any,
        *args: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        **layout: Any,
    ) -> Tensor:
        return _finished(function(input, *args, dtype=dtype), requires_grad, device)

    make.__name__ = function.__name__
    make.__doc__ = f"`dyn.{function.__name__}`: the shape, and unless told the dtype, of `input`."
    return make


zeros_like, ones_like, empty_like = map(_like, (ops.zeros_like, ops.ones_like, ops.empty_like))
full_like = _like(ops.full_like)
rand_like, randn_like = map(_like, (draws.rand_like, draws.randn_like))


def arange(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The numbers from `start` (0 if it is the only one given) up to, without, `end`."""
    start, end = (0, start) if end is None else (start, end)
    if all(isinstance(n, (int, float)) for n in (start, end, step)) and (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    return _finished(ops.arange(start, end, step, dtype), requires_grad, device)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` numbers evenly from `start` to `end`, both included; none if `steps` is 0."""
    if isinstance(steps, int) and steps == 0:
        return _finished(ops.zeros([0], dtype), requires_grad, device)
    return _finished(ops.linspace(start, end, steps, dtype), requires_grad, device)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones on the diagonal of an n x m matrix of zeros."""
    return _finished(matrix.eye(n, m, dtype), requires_grad, device)


def randint(
    *args: Any, dtype: Any = None, device: Any = None, generator: Any = None, **named: Any
) -> Tensor:
    """Integers from `low` (0 if only `high` and sizes are given) up to, without, `high`."""
    given = [*args, *(named[key] for key in ("low", "high", "size") if key in named)]
    bounds, size = given[:-1], given[-1]
    first, last = (0, bounds[0]) if len(bounds) == 1 else bounds
    with drawing(generator):
        return _finished(draws.randint(first, last, list(size), dtype), device=device)


def randperm(n: int, *, dtype: Any = None, device: Any = None, generator: Any = None) -> Tensor:
    """The integers from 0 to n - 1 in random order."""
    with drawing(generator):
        return _finished(draws.randperm(n, dtype), device=device)


def normal(mean: Any = 0.0, std: Any = 1.0, size: Any = None, **named: Any) -> Tensor:
    """Normal numbers of the given means and deviations."""
    need_cpu(named.get("device"))
    with drawing(named.get("generator")):
        return own(draws.normal(mean, std, None if size is None else list(size)))


def get_default_dtype() -> Any:
    """The dtype that Python floats become."""
    return own(Base(0.0)).dtype


def is_tensor(obj: Any) -> bool:
    """Whether `obj` is a tensor."""
    return isinstance(obj, Base)


def is_floating_point(input: Any) -> bool:
    """Whether the elements are floating point."""
    return bool(input.dtype.is_floating_point)


def numel(input: Any) -> Any:
    """Number of elements."""
    return own(input).numel()


def _legacy(name: str) -> Any:
    def make(*data: Any) -> Tensor:
        if data and all(isinstance(n, INTEGERS) for n in data):
            return own(ops.zeros(list(data), name))
        return tensor(data[0] if data else [], dtype=name)

    make.__doc__ = f"A {name} tensor of nested lists, or zeros of the given sizes."
    make.__name__ = LEGACY[name].rsplit(".", 1)[-1]
    return make


FloatTensor, DoubleTensor = _legacy("float32"), _legacy("float64")
LongTensor, IntTensor, BoolTensor = _legacy("int64"), _legacy("int32"), _legacy("bool")


def bernoulli(input: Any, p: Any = None, *, generator: Any = None) -> Tensor:
    """1 with the probability that each element says, or with probability `p`, else 0."""
    with drawing(generator):
        if p is not None:
            return own(cast_to(draws.rand(list(input.shape)) < p, input._array.dtype))
        return own(draws.bernoulli(input))


def multinomial(
    input: Any, num_samples: int, replacement: bool = False, *, generator: Any = None
) -> Tensor:
    """Indices drawn with the weights that each row says."""
    with drawing(generator):
        return own(draws.multinomial(input, num_samples, replacement))
