"""Activations and dropout: dyn's layers under PyTorch's names.

`inplace` is accepted and printed: a value is never changed in place, so it has no effect.
"""

from __future__ import annotations

from typing import Any

from dyn.compat.torch.nn.module import Mixin, Module
from dyn.compat.torch.nn.settings import Setting
from dyn.nn import activation, dropout
from dyn.nn import functional as F
from dyn.nn import initializer as init


def _quiet(flag: bool, text: str = "") -> str:
    """What is printed of a setting and of `inplace`, which is mentioned only when it is set."""
    return ", ".join(part for part in (text, "inplace=True" if flag else "") if part)


class _Inplace(Mixin):
    """A function without settings but `inplace`."""

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return _quiet(self.inplace)


class ReLU(_Inplace, activation.ReLU, Module):
    """max(x, 0)."""


class ReLU6(_Inplace, activation.ReLU6, Module):
    """min(max(x, 0), 6)."""


class SELU(_Inplace, activation.SELU, Module):
    """The self-normalising function of arXiv 1706.02515."""


class SiLU(_Inplace, activation.Silu, Module):
    """x * sigmoid(x)."""


class Mish(_Inplace, activation.Mish, Module):
    """x * tanh(softplus(x))."""


class Hardsigmoid(_Inplace, activation.Hardsigmoid, Module):
    """Sigmoid in three straight pieces."""

    def extra_repr(self) -> str:
        return ""


class Hardswish(_Inplace, activation.Hardswish, Module):
    """x * hardsigmoid(x)."""

    def extra_repr(self) -> str:
        return ""


class Sigmoid(activation.Sigmoid, Module):
    """1 / (1 + exp(-x))."""


class Tanh(activation.Tanh, Module):
    """Hyperbolic tangent."""


class Tanhshrink(activation.Tanhshrink, Module):
    """x - tanh(x)."""


class Softsign(activation.Softsign, Module):
    """x / (1 + |x|)."""


class LogSigmoid(activation.LogSigmoid, Module):
    """log(sigmoid(x))."""


class LeakyReLU(activation.LeakyReLU, Module):
    """x where positive, negative_slope * x elsewhere."""

    negative_slope = Setting("_negative_slope")

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__(negative_slope)
        self.negative_slope, self.inplace = negative_slope, inplace

    def extra_repr(self) -> str:
        return _quiet(self.inplace, f"negative_slope={self.negative_slope}")


class PReLU(Module):
    """LeakyReLU whose slope is learned: one, or one per channel."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, **_: Any):
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = self.create_parameter([num_parameters], _constant(init))

    def forward(self, input: Any) -> Any:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


def _constant(value: float) -> init.Constant:
    return init.Constant(value)


class RReLU(activation.RReLU, Module):
    """LeakyReLU whose slope is drawn per element in training, and their mean in use."""

    lower, upper = Setting("_lower"), Setting("_upper")

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False):
        super().__init__(lower, upper)
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def extra_repr(self) -> str:
        return _quiet(self.inplace, f"lower={self.lower}, upper={self.upper}")


class _Alpha(Mixin):
    alpha = Setting("_alpha")

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__(alpha)
        self.alpha, self.inplace = alpha, inplace

    def extra_repr(self) -> str:
        return _quiet(self.inplace, f"alpha={self.alpha}")


class ELU(_Alpha, activation.ELU, Module):
    """x where positive, alpha * (exp(x) - 1) elsewhere."""


class CELU(_Alpha, activation.CELU, Module):
    """ELU that is smooth for every alpha."""


class GELU(activation.GELU, Module):
    """x * Phi(x); `approximate="tanh"` for the formula with tanh."""

    approximate = Setting("_approximate", lambda word: word == "tanh")

    def __init__(self, approximate: str = "none"):
        super().__init__(approximate == "tanh")
        self.approximate = approximate

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Hardtanh(activation.Hardtanh, Module):
    """x, but no less than min_val and no more than max_val."""

    min_val, max_val = Setting("_min"), Setting("_max")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False):
        super().__init__(min_val, max_val)
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace

    def extra_repr(self) -> str:
        return _quiet(self.inplace, f"min_val={self.min_val}, max_val={self.max_val}")


class _Lambda(Mixin):
    lambd = Setting("_threshold")

    def __init__(self, lambd: float = 0.5):
        super().__init__(lambd)
        self.lambd = lambd

    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(_Lambda, activation.Hardshrink, Module):
    """x, but 0 within lambd of 0."""


class Softshrink(_Lambda, activation.Softshrink, Module):
    """x moved towards 0 by lambd, 0 if it is nearer."""


class Softplus(activation.Softplus, Module):
    """log(1 + exp(beta * x)) / beta, and x itself above `threshold`."""

    beta, threshold = Setting("_beta"), Setting("_threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__(beta, threshold)
        self.beta, self.threshold = beta, threshold


class Threshold(activation.ThresholdedReLU, Module):
    """x where x > threshold, `value` elsewhere."""

    threshold, value = Setting("_threshold"), Setting("_value")

    def __init__(self, threshold: float, value: float, inplace: bool = False):
        super().__init__(threshold, value)
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def extra_repr(self) -> str:
        return _quiet(self.inplace, f"threshold={self.threshold}, value={self.value}")


class _Along(Mixin):
    _axis: Any
    dim = Setting("_axis", lambda dim: 1 if dim is None else dim)

    def __init__(self, dim: int | None = None):
        super().__init__(1 if dim is None else dim)
        self.dim = dim

    def forward(self, input: Any) -> Any:
        if self.dim is None:
            # The rule of old: the last axis of vectors and of tensors with three axes is 0.
            self._axis = 0 if input.ndim in (0, 1, 3) else 1
        return super().forward(input)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_Along, activation.Softmax, Module):
    """Exponentials that add up to one along `dim`."""


class LogSoftmax(_Along, activation.LogSoftmax, Module):
    """Logarithm of `Softmax`."""


class Softmin(_Along, activation.Softmax, Module):
    """Exponentials of -x that add up to one along `dim`."""

    def forward(self, input: Any) -> Any:
        return super().forward(-input)


class Softmax2d(activation.Softmax, Module):
    """Softmax over the channels of every pixel of [N, C, H, W] or [C, H, W]."""

    def __init__(self) -> None:
        super().__init__(-3)

    def extra_repr(self) -> str:
        return ""


class GLU(activation.GLU, Module):
    """a * sigmoid(b), with a and b the halves of x along `dim`."""

    dim = Setting("_axis")

    def __init__(self, dim: int = -1):
        super().__init__(dim)
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class _Dropout(Mixin):
    p: float

    def __init__(self, p: float = 0.5, inplace: bool = False):
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        super().__init__(p)
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout, dropout.Dropout, Module):
    """Sets elements to zero with probability p and scales the others by 1 / (1 - p)."""


class Dropout1d(_Dropout, dropout.Dropout, Module):
    """Sets whole channels of [N, C, L] or [C, L] to zero with probability p."""

    def forward(self, input: Any) -> Any:
        return F.dropout(input, self.p, [0, 1][: input.ndim - 1], training=self.training)


class Dropout2d(_Dropout, dropout.Dropout2D, Module):
    """Sets whole channels of [N, C, H, W] to zero with probability p."""


class Dropout3d(_Dropout, dropout.Dropout3D, Module):
    """Sets whole channels of [N, C, D, H, W] to zero with probability p."""


class AlphaDropout(_Dropout, dropout.AlphaDropout, Module):
    """Dropout that keeps mean and variance of SELU activations."""
