"""How parameters start: initializers, and the defaults that `create_parameter` falls back on.

An initializer computes an array from a shape, drawing from the one seeded random state. Applying it
to a tensor (`init(tensor)`) replaces that tensor's value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.core import dtype as dtypes
from dyn.core import rng
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.tensor import Tensor, to_array

_defaults: list[Any] = [None, None]


class Initializer:
    """Base class: a subclass writes `values(shape)`."""

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        """The starting values, in float32 or wider."""
        raise NotImplementedError

    def compute(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        """A fresh array of starting values in `dtype` (the default dtype if None)."""
        wanted = dtypes.default_float() if dtype is None else dtypes.as_numpy(dtype)
        array = self.values(tuple(shape))
        if array.shape != tuple(shape):
            raise ShapeError(
                f"{type(self).__name__} gives shape {list(array.shape)}, the parameter has "
                f"{list(shape)}"
            )
        return array if array.dtype == wanted else array.astype(wanted)

    def __call__(self, param: Tensor, block: Any = None) -> Tensor:
        """Give `param` a new starting value; returns it."""
        array = param._read()
        param.set_value(self.compute(array.shape, array.dtype))
        return param


def _normal(shape: tuple[int, ...]) -> np.ndarray:
    return rng.generator().standard_normal(shape, dtype=np.float32)


def _uniform(shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    drawn = rng.generator().random(shape, dtype=np.float32)
    return np.float32(low) + drawn * np.float32(high - low)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Inputs and outputs that one unit is connected with: [in, out], or [out, in, *window]."""
    if len(shape) < 2:
        n = shape[0] if shape else 1
        return n, n
    if len(shape) == 2:
        return shape[0], shape[1]
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance of activations through a nonlinearity.

    Source: He et al., arXiv 1502.01852, and Klambauer et al., arXiv 1706.02515 (selu: 3/4).
    """
    slope = 0.01 if param is None else float(param)
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "conv1d": 1.0,
        "conv2d": 1.0,
        "conv3d": 1.0,
        "tanh": 5.0 / 3.0,
        "relu": math.sqrt(2.0),
        "leaky_relu": math.sqrt(2.0 / (1 + slope**2)),
        "selu": 0.75,
    }
    if nonlinearity not in gains:
        raise AttributeValueError(f"no gain for {nonlinearity!r}; there is one for {sorted(gains)}")
    return gains[nonlinearity]


class Constant(Initializer):
    """The same number everywhere."""

    def __init__(self, value: float = 0.0):
        self.value = value

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.full(shape, self.value, np.float64)


class Assign(Initializer):
    """Given values: a list, an array or a tensor of the parameter's shape."""

    def __init__(self, value: Any, name: str | None = None):
        self.value = to_array(value)

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.value.copy()


class Normal(Initializer):
    """Gaussian with the given mean and standard deviation."""

    def __init__(self, mean: float = 0.0, std: float = 1.0, name: str | None = None):
        self.mean, self.std = mean, std

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.float32(self.mean) + np.float32(self.std) * _normal(shape)


class TruncatedNormal(Initializer):
    """Gaussian of which values beyond `a` and `b` standard deviations are drawn again."""

    def __init__(
        self,
        mean: float = 0.0,
        std: float = 1.0,
        a: float = -2.0,
        b: float = 2.0,
        name: str | None = None,
    ):
        if not a < b:
            raise AttributeValueError(f"the bounds must be ascending, got a={a} and b={b}")
        self.mean, self.std, self.a, self.b = mean, std, a, b

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        drawn = _normal(shape).reshape(-1)
        outside = np.flatnonzero((drawn < self.a) | (drawn > self.b))
        while outside.size:
            drawn[outside] = _normal((outside.size,))
            again = (drawn[outside] < self.a) | (drawn[outside] > self.b)
            outside = outside[again]
        return np.float32(self.mean) + np.float32(self.std) * drawn.reshape(shape)


class Uniform(Initializer):
    """Uniform between two bounds."""

    def __init__(self, low: float = -1.0, high: float = 1.0, name: str | None = None):
        self.low, self.high = low, high

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        return _uniform(shape, self.low, self.high)


class _Xavier(Initializer):
    def __init__(
        self,
        fan_in: float | None = None,
        fan_out: float | None = None,
        gain: float = 1.0,
        name: str | None = None,
    ):
        self.fan_in, self.fan_out, self.gain = fan_in, fan_out, gain

    def std(self, shape: tuple[int, ...]) -> float:
        """gain * sqrt(2 / (fan_in + fan_out))."""
        found_in, found_out = _fans(shape)
        fan_in = found_in if self.fan_in is None else self.fan_in
        fan_out = found_out if self.fan_out is None else self.fan_out
        return self.gain * math.sqrt(2.0 / max(fan_in + fan_out, 1))


class XavierNormal(_Xavier):
    """Gaussian with variance 2 / (fan_in + fan_out). Source: Glorot & Bengio, AISTATS 2010."""

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.float32(self.std(shape)) * _normal(shape)


class XavierUniform(_Xavier):
    """Uniform with variance 2 / (fan_in + fan_out). Source: Glorot & Bengio, AISTATS 2010."""

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        bound = math.sqrt(3.0) * self.std(shape)
        return _uniform(shape, -bound, bound)


class _Kaiming(Initializer):
    def __init__(
        self,
        fan_in: float | None = None,
        negative_slope: float = 0.0,
        nonlinearity: str = "relu",
    ):
        self.fan_in = fan_in
        self.gain = calculate_gain(nonlinearity, negative_slope)

    def std(self, shape: tuple[int, ...]) -> float:
        """gain / sqrt(fan_in)."""
        return self.gain / math.sqrt(
            max(_fans(shape)[0] if self.fan_in is None else self.fan_in, 1)
        )


class KaimingNormal(_Kaiming):
    """Gaussian with variance gain**2 / fan_in. Source: He et al., arXiv 1502.01852."""

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.float32(self.std(shape)) * _normal(shape)


class KaimingUniform(_Kaiming):
    """Uniform with variance gain**2 / fan_in. Source: He et al., arXiv 1502.01852."""

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        bound = math.sqrt(3.0) * self.std(shape)
        return _uniform(shape, -bound, bound)


class Orthogonal(Initializer):
    """Orthonormal rows or columns of the [shape[0], rest] matrix. Source: arXiv 1312.6120."""

    def __init__(self, gain: float = 1.0, name: str | None = None):
        self.gain = gain

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) < 2:
            raise ShapeError(f"Orthogonal needs at least 2 axes, got shape {list(shape)}")
        rows, columns = shape[0], math.prod(shape[1:])
        drawn = rng.generator().standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(drawn)
        q = q * np.sign(np.diag(r))
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


class Dirac(Initializer):
    """A convolution weight [out, in, *window] that passes its input channels through."""

    def __init__(self, groups: int = 1, name: str | None = None):
        self.groups = groups

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) < 3 or shape[0] % self.groups:
            raise ShapeError(
                f"Dirac needs a shape [out, in, *window] with out divisible by {self.groups}, got "
                f"{list(shape)}"
            )
        out = np.zeros(shape, np.float32)
        per_group = shape[0] // self.groups
        middle = tuple(n // 2 for n in shape[2:])
        for group in range(self.groups):
            for i in range(min(per_group, shape[1])):
                out[(group * per_group + i, i, *middle)] = 1.0
        return out


class Bilinear(Initializer):
    """A transposed-convolution weight [c, 1, k, k] that enlarges images linearly."""

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) != 4 or shape[2] != shape[3]:
            raise ShapeError(f"Bilinear needs a shape [c, 1, k, k], got {list(shape)}")
        factor = math.ceil(shape[3] / 2)
        centre = (2 * factor - 1 - factor % 2) / (2.0 * factor)
        ramp = 1 - np.abs(np.arange(shape[3]) / factor - centre)
        return np.broadcast_to(np.outer(ramp, ramp), shape).astype(np.float32)


def set_global_initializer(weight_init: Any, bias_init: Any = None) -> None:
    """Start all later parameters that do not say otherwise from these; None restores the defaults.

    Args:
        weight_init: initializer of weights.
        bias_init: initializer of biases.
    """
    for given in (weight_init, bias_init):
        if given is not None and not isinstance(given, Initializer):
            raise AttributeValueError(f"an Initializer or None is wanted, not {given!r:.60}")
    _defaults[:] = [weight_init, bias_init]


def default(is_bias: bool) -> Any:
    """The initializer set by `set_global_initializer`, or None."""
    return _defaults[is_bias]
