"""Activation layers: functions of `nn.functional` with their settings kept."""

from __future__ import annotations

from typing import Any

from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn import initializer as init
from dyn.nn.layer import Layer


class ReLU(Layer):
    """max(x, 0). ONNX: Relu."""

    def __init__(self, name: str | None = None):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x)


class ReLU6(Layer):
    """min(max(x, 0), 6). ONNX: Clip."""

    def __init__(self, name: str | None = None):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x)


class LeakyReLU(Layer):
    """x where positive, negative_slope * x elsewhere. ONNX: LeakyRelu."""

    def __init__(self, negative_slope: float = 0.01, name: str | None = None):
        super().__init__()
        self._negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self._negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self._negative_slope}"


class PReLU(Layer):
    """LeakyReLU whose slope is learned: one, or one per channel. Source: arXiv 1502.01852."""

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        weight_attr: Any = None,
        data_format: str = "NCHW",
        name: str | None = None,
    ):
        super().__init__()
        self._num_parameters, self._init, self._data_format = num_parameters, init, data_format
        self._weight = self.create_parameter(
            [num_parameters], weight_attr, default_initializer=_constant(init)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self._weight, data_format=self._data_format)

    def extra_repr(self) -> str:
        return (
            f"num_parameters={self._num_parameters}, data_format={self._data_format}, "
            f"init={self._init}, dtype={self._dtype}"
        )


def _constant(value: float) -> Any:
    return init.Constant(value)


class RReLU(Layer):
    """LeakyReLU whose slope is drawn per element in training, and their mean in use."""

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, name: str | None = None):
        super().__init__()
        self._lower, self._upper = lower, upper

    def forward(self, x: Tensor) -> Tensor:
        return F.rrelu(x, self._lower, self._upper, training=self.training)

    def extra_repr(self) -> str:
        return (
            f"lower={self._lower}, upper={self._upper}, training={self.training}, "
            f"dtype={self._dtype}"
        )


class ELU(Layer):
    """x where positive, alpha * (exp(x) - 1) elsewhere. ONNX: Elu."""

    def __init__(self, alpha: float = 1.0, name: str | None = None):
        super().__init__()
        self._alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x, self._alpha)

    def extra_repr(self) -> str:
        return f"alpha={self._alpha}"


class CELU(Layer):
    """x where positive, alpha * (exp(x / alpha) - 1) elsewhere. ONNX: Celu."""

    def __init__(self, alpha: float = 1.0, name: str | None = None):
        super().__init__()
        self._alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return F.celu(x, self._alpha)

    def extra_repr(self) -> str:
        return f"alpha={self._alpha}"


class SELU(Layer):
    """scale * ELU(alpha), with constants that keep mean and variance. Source: arXiv 1706.02515."""

    def __init__(
        self,
        scale: float = 1.0507009873554804934193349852946,
        alpha: float = 1.6732632423543772848170429916717,
        name: str | None = None,
    ):
        super().__init__()
        self._scale, self._alpha = scale, alpha

    def forward(self, x: Tensor) -> Tensor:
        return F.selu(x, self._scale, self._alpha)

    def extra_repr(self) -> str:
        return f"scale={self._scale:.16f}, alpha={self._alpha:.16f}"


class GELU(Layer):
    """x times the standard normal distribution function of x. ONNX: Gelu.

    Args:
        approximate: use the tanh form.

    Source: Hendrycks & Gimpel, arXiv 1606.08415.
    """

    def __init__(self, approximate: bool = False, name: str | None = None):
        super().__init__()
        self._approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x, self._approximate)

    def extra_repr(self) -> str:
        return f"approximate={self._approximate}"


class Silu(Layer):
    """x * sigmoid(x). Source: arXiv 1702.03118. ONNX: Swish, or Sigmoid and Mul."""

    def __init__(self, name: str | None = None):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x)


class Swish(Silu):
    """Another name of `Silu`, as in Paddle."""


class Mish(Layer):
    """x * tanh(softplus(x)). Source: arXiv 1908.08681. ONNX: Mish."""

    def __init__(self, name: str | None = None):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return F.mish(x)


class Sigmoid(Layer):
    """1 / (1 + exp(-x)). ONNX: Sigmoid."""

    def __init__(self, name: str | None = None):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return F.sigmoid(x)


class LogSigmoid(Layer):
    """log(sigmoid(x)), without under- or overflow."""

    def __init__(self, name: str | None = None):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return F.log_sigmoid(x)


class Hardsigmoid(Layer):
    """min(max(x / 6 + 1 / 2, 0), 1). ONNX: HardSigmoid."""

    def __init__(self, name: str | None = None):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return F.hardsigmoid(x)


class Hardswish(Layer):
    """x * hardsigmoid(x). Source: arXiv 1905.02244. ONNX: HardSwish."""

    def __init__(self, name: str | None = None):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return F.hardswish(x)


class Hardtanh(Layer):
    """min(max(x, min), max). ONNX: Clip."""

    def __init__(self, min: float = -1.0, max: float = 1.0, name: str | None = None):
        super().__init__()
        self._min, self._max = min, max

    def forward(self, x: Tensor) -> Tensor:
        return F.hardtanh(x, self._min, self._max)

    def extra_repr(self) -> str:
        return f"min={self._min}, max={self._max}"


class Hardshrink(Layer):
    """x where |x| > threshold, 0 elsewhere. ONNX: Shrink."""

    def __init__(self, threshold: float = 0.5, name: str | None = None):
        super().__init__()
        self._threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        return F.hardshrink(x, self._threshold)

    def extra_repr(self) -> str:
        return f"threshold={self._threshold}"


class Softshrink(Layer):
    """x moved towards 0 by threshold, 0 if it is nearer. ONNX: Shrink."""

    def __init__(self, threshold: float = 0.5, name: str | None = None):
        super().__init__()
        self._threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        return F.softshrink(x, self._threshold)

    def extra_repr(self) -> str:
        return f"threshold={self._threshold}"


class Tanh(Layer):
    """Hyperbolic tangent. ONNX: Tanh."""

    def __init__(self, name: str | None = None):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return F.tanh(x)


class Tanhshrink(Layer):
    """x - tanh(x)."""

    def __init__(self, name: str | None = None):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return F.tanhshrink(x)


class Softplus(Layer):
    """log(1 + exp(beta * x)) / beta, and x itself above `threshold`. ONNX: Softplus."""

    def __init__(self, beta: float = 1, threshold: float = 20, name: str | None = None):
        super().__init__()
        self._beta, self._threshold = beta, threshold

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(x, self._beta, self._threshold)

    def extra_repr(self) -> str:
        return f"beta={self._beta}, threshold={self._threshold}"


class Softsign(Layer):
    """x / (1 + |x|). ONNX: Softsign."""

    def __init__(self, name: str | None = None):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return F.softsign(x)


class ThresholdedReLU(Layer):
    """x where x > threshold, `value` elsewhere. ONNX: ThresholdedRelu."""

    def __init__(self, threshold: float = 1.0, value: float = 0.0, name: str | None = None):
        super().__init__()
        self._threshold, self._value = threshold, value

    def forward(self, x: Tensor) -> Tensor:
        return F.thresholded_relu(x, self._threshold, self._value)

    def extra_repr(self) -> str:
        return f"threshold={self._threshold}, value={self._value}"


class Softmax(Layer):
    """Exponentials that add up to one along `axis`. ONNX: Softmax."""

    def __init__(self, axis: int = -1, name: str | None = None):
        super().__init__()
        self._axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self._axis)

    def extra_repr(self) -> str:
        return f"axis={self._axis}"


class LogSoftmax(Layer):
    """Logarithm of `Softmax`. ONNX: LogSoftmax."""

    def __init__(self, axis: int = -1, name: str | None = None):
        super().__init__()
        self._axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(x, self._axis)

    def extra_repr(self) -> str:
        return f"axis={self._axis}"


class GLU(Layer):
    """a * sigmoid(b), with a and b the halves of x along `axis`. Source: arXiv 1612.08083."""

    def __init__(self, axis: int = -1, name: str | None = None):
        super().__init__()
        self._axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(x, self._axis)

    def extra_repr(self) -> str:
        return f"axis={self._axis}"


class Maxout(Layer):
    """The largest of each `groups` neighbouring channels. Source: arXiv 1302.4389."""

    def __init__(self, groups: int, axis: int = 1, name: str | None = None):
        super().__init__()
        self._groups, self._axis = groups, axis

    def forward(self, x: Tensor) -> Tensor:
        return F.maxout(x, self._groups, self._axis)

    def extra_repr(self) -> str:
        return f"groups={self._groups}, axis={self._axis}"
