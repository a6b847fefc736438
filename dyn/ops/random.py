"""Tensors of random numbers. All draw from the one state in `dyn.core.rng`.

The ops are `uniform`, `normal`, `randint`, `randperm` and the draws from given probabilities; they
are recorded as random ops, never as the numbers drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dyn.core import rng
from dyn.core.dispatch import apply, dtype_attr
from dyn.core.dtype import I64, default_float, is_float, name_of
from dyn.core.errors import AttributeValueError, DTypeError, ShapeError
from dyn.core.op import OPS, freeze, op
from dyn.core.tensor import Tensor
from dyn.kernels import random as kernels
from dyn.ops.creation import need_sizes
from dyn.ops.elementwise import add, multiply
from dyn.ops.infer import (
    Type,
    as_numpy,
    axis_of,
    broadcast_shapes,
    need_float,
    need_rank,
    show,
    whole,
)
from dyn.ops.shape import sizes_of

# ---- the ops -----------------------------------------------------------------------------------


def _infer_drawn(*, shape: tuple[Any, ...], dtype: str, **attrs: Any) -> Type:
    need_sizes(shape)
    drawn = as_numpy(dtype)
    if not is_float(drawn):
        raise DTypeError(f"random numbers are floating point, not {dtype}; use randint()")
    return Type(shape, drawn)


@op(infer=_infer_drawn, random=True, differentiable=False)
def _uniform(*, shape, low, high, dtype):
    """Numbers drawn evenly from [low, high). ONNX: RandomUniform."""
    return kernels.uniform(rng.generator(), shape, low, high, as_numpy(dtype))


@op(infer=_infer_drawn, random=True, differentiable=False)
def _normal(*, shape, mean, std, dtype):
    """Numbers drawn from the normal distribution. ONNX: RandomNormal."""
    return kernels.normal(rng.generator(), shape, mean, std, as_numpy(dtype))


def _drawing(rule: Callable[..., kernels.Draw]) -> Callable[..., Callable[[], Any]]:
    """The shortcut of an op: what draws, made ready once for its attributes."""

    def shortcut(*, dtype: str, **attrs: Any) -> Callable[[], Any]:
        draw = rule(**attrs, dtype=as_numpy(dtype))
        return lambda: draw(rng.generator())

    return shortcut


_uniform.shortcut = _drawing(kernels.uniform_of)
_normal.shortcut = _drawing(kernels.normal_of)


def _infer_randint(*, shape: tuple[Any, ...], low: Any, high: Any, dtype: str) -> Type:
    need_sizes(shape)
    if low >= high:
        raise AttributeValueError(f"low {low} must be below high {high}")
    return Type(shape, as_numpy(dtype))


@op(infer=_infer_randint, random=True, differentiable=False)
def _randint(*, shape, low, high, dtype):
    """Integers drawn evenly from low to high - 1. ONNX: RandomUniform, Floor, Cast."""
    return kernels.integers(rng.generator(), shape, low, high, as_numpy(dtype))


_randint.shortcut = _drawing(kernels.integers_of)


@op(infer=lambda *, n, dtype: Type((n,), as_numpy(dtype)), random=True, differentiable=False)
def _randperm(*, n, dtype):
    """0 to n - 1 in random order. ONNX: RandomUniform, TopK."""
    return kernels.permutation(rng.generator(), n, as_numpy(dtype))


_randperm.shortcut = _drawing(kernels.permutation_of)


def _infer_bernoulli(x: Type) -> Type:
    if not is_float(x.dtype):
        raise DTypeError(f"probabilities are floating point, not {x.dtype.name}; cast() them")
    return x


@op(infer=_infer_bernoulli, random=True, differentiable=False)
def _bernoulli(x):
    """1 with probability x, else 0. ONNX: RandomUniform, Less, Cast."""
    return kernels.bernoulli(rng.generator(), x)


def _tossing(x: Type) -> Callable[[Any], Any]:
    toss = kernels.bernoulli_of(x.shape, x.dtype)
    return lambda x: toss(rng.generator(), x)


_bernoulli.shortcut = _tossing


def _infer_multinomial(x: Type, *, num_samples: int, replacement: bool) -> Type:
    need_float("x", x)
    need_rank("x", x, 1, 2)
    classes = x.shape[-1]
    if num_samples < 1:
        raise AttributeValueError(f"num_samples must be at least 1, got {num_samples}")
    if not replacement and isinstance(classes, int) and num_samples > classes:
        raise AttributeValueError(
            f"{num_samples} samples without replacement need as many classes, there are {classes}"
        )
    return Type((*x.shape[:-1], num_samples), I64)


@op(infer=_infer_multinomial, random=True, differentiable=False)
def _multinomial(x, *, num_samples, replacement):
    """Class numbers drawn with the probabilities x. ONNX: Log, RandomUniformLike, TopK."""
    return kernels.multinomial(rng.generator(), x, num_samples, replacement)


# ---- what users call ---------------------------------------------------------------------------


def _float_attr(dtype: Any) -> str:
    return name_of(default_float()) if dtype is None else dtype_attr(dtype)


def rand(shape: Any, dtype: Any = None) -> Tensor:
    """Numbers drawn evenly from [0, 1)."""
    return apply(_uniform, (), (sizes_of(shape), 0.0, 1.0, _float_attr(dtype)))


def uniform(shape: Any, dtype: Any = None, min: float = -1.0, max: float = 1.0) -> Tensor:
    """Numbers drawn evenly from [min, max)."""
    ends = freeze(float(min)), freeze(float(max))
    return apply(_uniform, (), (sizes_of(shape), *ends, _float_attr(dtype)))


def randn(shape: Any, dtype: Any = None) -> Tensor:
    """Numbers drawn from the normal distribution with mean 0 and standard deviation 1."""
    return apply(_normal, (), (sizes_of(shape), 0.0, 1.0, _float_attr(dtype)))


standard_normal = randn


def gaussian(shape: Any, mean: float = 0.0, std: float = 1.0, dtype: Any = None) -> Tensor:
    """Numbers drawn from the normal distribution with the given mean and standard deviation."""
    numbers = freeze(float(mean)), freeze(float(std))
    return apply(_normal, (), (sizes_of(shape), *numbers, _float_attr(dtype)))


def normal(mean: Any = 0.0, std: Any = 1.0, shape: Any = None) -> Tensor:
    """Numbers drawn from the normal distribution.

    Args:
        mean, std: numbers, or tensors with one value per element (they broadcast).
        shape: sizes, when both are numbers; one number is drawn without it.
    """
    tensors = [x for x in (mean, std) if isinstance(x, Tensor)]
    if not tensors:
        return gaussian([] if shape is None else shape, mean, std)
    sizes = broadcast_shapes(*(tuple(x.shape) for x in tensors))
    drawn = randn(sizes, tensors[0].dtype)
    return add(multiply(drawn, std), mean)


def rand_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Numbers drawn evenly from [0, 1), in the shape and dtype of x."""
    return rand(x.shape, x.dtype if dtype is None else dtype)


def randn_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Numbers drawn from the standard normal distribution, in the shape and dtype of x."""
    return randn(x.shape, x.dtype if dtype is None else dtype)


def randint(low: int = 0, high: int | None = None, shape: Any = (1,), dtype: Any = None) -> Tensor:
    """Integers drawn evenly from low to high - 1; from 0 to low - 1 if high is None.

    Raises:
        AttributeValueError: the range is empty.
    """
    if high is None:
        low, high = 0, low
    name = dtype_attr(I64 if dtype is None else dtype)
    low, high = whole("low", low), whole("high", high)
    return apply(_randint, (), (sizes_of(shape), low, high, name))


def randint_like(x: Tensor, low: int = 0, high: int | None = None, dtype: Any = None) -> Tensor:
    """Integers drawn as in `randint`, in the shape and dtype of x."""
    return randint(low, high, x.shape, x.dtype if dtype is None else dtype)


def randperm(n: Any, dtype: Any = None) -> Tensor:
    """0 to n - 1 in random order."""
    (count,) = sizes_of(n)
    return apply(_randperm, (), (count, dtype_attr(I64 if dtype is None else dtype)))


def bernoulli(x: Tensor) -> Tensor:
    """1 with probability x, else 0, element by element."""
    return _bernoulli(x)


def multinomial(x: Tensor, num_samples: int = 1, replacement: bool = False) -> Tensor:
    """Class numbers drawn with given probabilities.

    Args:
        x: (classes,) or (rows, classes): non-negative, not all zero; they need not sum to 1.
        num_samples: how many to draw per row.
        replacement: whether a class may be drawn again.

    Returns:
        int64, (num_samples,) or (rows, num_samples).
    """
    return _multinomial(x, num_samples=int(num_samples), replacement=bool(replacement))


def shuffle(x: Tensor, axis: int = 0) -> Tensor:
    """The slices along an axis in random order."""
    if x.ndim == 0:
        raise ShapeError(f"shuffle() needs an axis, got shape {show(x.shape)}")
    return OPS["gather"](x, randperm(x.shape[axis]), axis=axis_of(axis, x.ndim))


__all__ = [
    "bernoulli",
    "gaussian",
    "multinomial",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "shuffle",
    "standard_normal",
    "uniform",
]
