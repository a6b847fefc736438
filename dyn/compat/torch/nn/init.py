"""`torch.nn.init`: sets tensors in place by dyn's initializers."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any

import numpy as np

from dyn.core.rng import generator
from dyn.core.tensor import Tensor
from dyn.nn import initializer as init


def _set(tensor: Any, start: init.Initializer) -> Any:
    array = tensor._read()
    tensor.set_value(Tensor._of(start.compute(array.shape, array.dtype)))
    return tensor


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much a function shrinks the deviation of its input."""
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    gains = {"tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}
    linear = ("linear", "sigmoid", *(f"conv{n}d" for n in (1, 2, 3)))
    linear += tuple(f"conv_transpose{n}d" for n in (1, 2, 3))
    if nonlinearity not in gains and nonlinearity not in linear:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return gains.get(nonlinearity, 1.0)


def _fans(tensor: Any) -> tuple[int, int]:
    """Fan in and fan out of a weight [out, in, ...]."""
    sizes = tensor._read().shape
    if len(sizes) < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        )
    field = math.prod(sizes[2:])
    return sizes[1] * field, sizes[0] * field


def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0) -> Any:
    """Numbers drawn evenly from [a, b)."""
    return _set(tensor, init.Uniform(a, b))


def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0) -> Any:
    """Normal numbers."""
    return _set(tensor, init.Normal(mean, std))


def trunc_normal_(
    tensor: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Any:
    """Normal numbers within [a, b]."""
    low, high = (a - mean) / std, (b - mean) / std
    array = tensor._read()
    drawn = generator().standard_normal(array.shape)
    while ((drawn < low) | (drawn > high)).any():
        again = (drawn < low) | (drawn > high)
        drawn[again] = generator().standard_normal(int(again.sum()))
    tensor.set_value((drawn * std + mean).astype(array.dtype))
    return tensor


def constant_(tensor: Any, val: float) -> Any:
    """One number."""
    return _set(tensor, init.Constant(val))


def ones_(tensor: Any) -> Any:
    """Ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Any) -> Any:
    """Zeros."""
    return constant_(tensor, 0.0)


def eye_(tensor: Any) -> Any:
    """The identity matrix."""
    rows, columns = tensor._read().shape
    tensor.set_value([[float(i == j) for j in range(columns)] for i in range(rows)])
    return tensor


def xavier_uniform_(tensor: Any, gain: float = 1.0) -> Any:
    """Uniform with variance 2 gain**2 / (fan_in + fan_out)."""
    bound = gain * math.sqrt(6.0 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Any, gain: float = 1.0) -> Any:
    """Gaussian with variance 2 gain**2 / (fan_in + fan_out)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_fans(tensor))))


def _deviation(tensor: Any, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan = _fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Any:
    """Uniform with variance gain**2 / fan."""
    bound = math.sqrt(3.0) * _deviation(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Any:
    """Gaussian with variance gain**2 / fan."""
    return normal_(tensor, 0.0, _deviation(tensor, a, mode, nonlinearity))


def orthogonal_(tensor: Any, gain: float = 1) -> Any:
    """Orthonormal rows or columns."""
    return _set(tensor, init.Orthogonal(gain))


def dirac_(tensor: Any, groups: int = 1) -> Any:
    """Convolution weights that keep the channels as they are."""
    return _set(tensor, init.Dirac(groups))


def sparse_(tensor: Any, sparsity: float, std: float = 0.01) -> Any:
    """Normal numbers in a matrix, and in each column that share of zeros, rounded up."""
    rows, columns = tensor._read().shape
    drawn = generator().normal(0.0, std, (rows, columns))
    for column in range(columns):
        drawn[generator().permutation(rows)[: math.ceil(sparsity * rows)], column] = 0.0
    tensor.set_value(drawn.astype(np.dtype(tensor._read().dtype)))
    return tensor


def _deprecated(function: Any, name: str) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        text = f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`."
        warnings.warn(text, FutureWarning, stacklevel=2)
        return function(*args, **kwargs)

    return call


_OLD = """uniform normal constant eye dirac xavier_uniform xavier_normal kaiming_uniform
    kaiming_normal orthogonal sparse"""

for _name in _OLD.split():
    globals()[_name] = _deprecated(globals()[f"{_name}_"], _name)
