"""Normalisation within a sample: groups of channels, single channels, rows, neighbours."""

from __future__ import annotations

from typing import Any

from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn import initializer as init
from dyn.nn.layer import Layer
from dyn.ops.infer import need_whole


class GroupNorm(Layer):
    """Normalises groups of channels of [N, C, ...] over each sample.

    Args:
        num_groups: into how many groups the channels are cut.
        num_channels: number of channels, divisible by `num_groups`.
        epsilon: added to the variance.
        weight_attr, bias_attr: wishes for scale and shift [num_channels]; False for none.
        data_format: where the channels are, such as "NCHW" or "NHWC".

    Source: Wu & He, arXiv 1803.08494. ONNX: GroupNormalization.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        epsilon: float = 1e-5,
        weight_attr: Any = None,
        bias_attr: Any = None,
        data_format: str = "NCHW",
        name: str | None = None,
    ):
        super().__init__()
        need_whole(num_groups=num_groups, num_channels=num_channels)
        if num_groups < 1 or num_channels % num_groups:
            raise AttributeValueError(
                f"num_groups={num_groups} must divide num_channels={num_channels}"
            )
        self._num_groups, self._num_channels, self._epsilon = num_groups, num_channels, epsilon
        self._data_format = data_format
        one = init.Constant(1.0)
        self.weight = self.create_parameter([num_channels], weight_attr, default_initializer=one)
        self.bias = self.create_parameter([num_channels], bias_attr, is_bias=True)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(
            input,
            self._num_groups,
            self._epsilon,
            self.weight,
            self.bias,
            data_format=self._data_format,
        )

    def extra_repr(self) -> str:
        return (
            f"num_groups={self._num_groups}, num_channels={self._num_channels}, "
            f"epsilon={self._epsilon}"
        )


class _InstanceNorm(Layer):
    _ranks: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        epsilon: float = 1e-5,
        momentum: float = 0.9,
        weight_attr: Any = None,
        bias_attr: Any = None,
        data_format: str | None = None,
        name: str | None = None,
    ):
        super().__init__()
        self._num_features, self._epsilon = num_features, epsilon
        self._data_format = data_format
        one = init.Constant(1.0)
        self.scale = self.create_parameter([num_features], weight_attr, default_initializer=one)
        self.bias = self.create_parameter([num_features], bias_attr, is_bias=True)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in self._ranks:
            wanted = " or ".join(f"{rank}D" for rank in self._ranks)
            raise ShapeError(f"expected {wanted} input (got {input.ndim}D input)")
        return F.instance_norm(
            input,
            weight=self.scale,
            bias=self.bias,
            eps=self._epsilon,
            data_format=self._data_format,
        )

    def extra_repr(self) -> str:
        return f"num_features={self._num_features}, epsilon={self._epsilon}"


class InstanceNorm1D(_InstanceNorm):
    """Normalises each channel of each sample of [N, C, L]. Source: arXiv 1607.08022."""

    _ranks = (2, 3)


class InstanceNorm2D(_InstanceNorm):
    """Normalises each channel of each sample of [N, C, H, W]. Source: arXiv 1607.08022.

    ONNX: InstanceNormalization.
    """

    _ranks = (4,)


class InstanceNorm3D(_InstanceNorm):
    """Normalises each channel of each sample of [N, C, D, H, W]. Source: arXiv 1607.08022."""

    _ranks = (5,)


class RMSNorm(Layer):
    """Divides each row by the root of its mean square over the last axes.

    Args:
        normalized_shape: sizes of the axes to normalise over; an int for one axis.
        epsilon: added to the mean square.
        weight_attr: wishes for the scale; False for none.

    Source: Zhang & Sennrich, arXiv 1910.07467. ONNX: RMSNormalization, or composed.
    """

    def __init__(
        self,
        normalized_shape: Any,
        epsilon: float = 1e-6,
        weight_attr: Any = None,
        name: str | None = None,
    ):
        super().__init__()
        sizes = [normalized_shape] if isinstance(normalized_shape, int) else list(normalized_shape)
        self._normalized_shape, self._epsilon = sizes, epsilon
        one = init.Constant(1.0)
        self.weight = self.create_parameter(sizes, weight_attr, default_initializer=one)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self._normalized_shape, self.weight, eps=self._epsilon)

    def extra_repr(self) -> str:
        return f"normalized_shape={self._normalized_shape}, epsilon={self._epsilon}"


class LocalResponseNorm(Layer):
    """Divides each element by a power of the mean square of its neighbours in other channels.

    Args:
        size: number of channels in the neighbourhood.
        alpha, beta, k: out = x / (k + alpha * mean square) ** beta.

    Source: Krizhevsky et al., NIPS 2012. ONNX: LRN.
    """

    def __init__(
        self,
        size: int,
        alpha: float = 0.0001,
        beta: float = 0.75,
        k: float = 1.0,
        data_format: str = "NCHW",
        name: str | None = None,
    ):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k
        self.data_format = data_format

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(
            input, self.size, self.alpha, self.beta, self.k, data_format=self.data_format
        )

    def extra_repr(self) -> str:
        return f"size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
