"""Normalisation layers: batch and layer normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn import initializer as init
from dyn.nn.functional.layout import CHANNELS_FIRST, CHANNELS_LAST
from dyn.nn.layer import Layer
from dyn.ops.shape import sizes_of


class _BatchNorm(Layer):
    """Normalises every channel: by the batch in training, by running statistics in use.

    Args:
        num_features: number of channels.
        momentum: share of the old running statistics that stays in each training step.
        epsilon: added to the variance.
        weight_attr: wishes for the scale [num_features]; ones by default, False for none.
        bias_attr: wishes for the shift [num_features]; zeros by default, False for none.
        data_format: where the channels are, such as "NCHW" or "NHWC".
        use_global_stats: use the running statistics in training, too.

    The buffers `_mean` and `_variance` hold the running statistics; the variance is the biased one,
    as in ONNX. Source: Ioffe & Szegedy, arXiv 1502.03167. ONNX: BatchNormalization.
    """

    _ranks: tuple[int, ...] = ()
    _formats: tuple[str, ...] = (*CHANNELS_FIRST, *CHANNELS_LAST)
    _statistics = ("_mean", "_variance")
    """Names of the buffers of the running mean and variance."""
    _unbiased = False
    """Whether the running variance is the unbiased one."""

    def __init__(
        self,
        num_features: int,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        weight_attr: Any = None,
        bias_attr: Any = None,
        data_format: str | None = None,
        use_global_stats: bool | None = None,
        name: str | None = None,
    ):
        super().__init__()
        data_format = data_format or ("NCHW" if "NCHW" in self._formats else self._formats[0])
        if data_format not in self._formats:
            raise AttributeValueError(
                f"{type(self).__name__} has data_format {' or '.join(self._formats)}, "
                f"got {data_format!r}"
            )
        self._num_features, self._momentum, self._epsilon = num_features, momentum, epsilon
        self._data_format, self._use_global_stats = data_format, use_global_stats
        one = init.Constant(1.0)
        self.weight = self.create_parameter([num_features], weight_attr, default_initializer=one)
        self.bias = self.create_parameter([num_features], bias_attr, is_bias=True)
        dtype = np.dtype(self._dtype)
        mean, variance = self._statistics
        self.register_buffer(mean, Tensor._of(np.zeros(num_features, dtype)))
        self.register_buffer(variance, Tensor._of(np.ones(num_features, dtype)))

    def forward(self, input: Tensor) -> Tensor:
        if self._ranks and input.ndim not in self._ranks:
            wanted = " or ".join(f"{rank}D" for rank in self._ranks)
            raise ShapeError(f"expected {wanted} input (got {input.ndim}D input)")
        values, (mean, variance) = self.__dict__, self._statistics
        return F.batch_norm(
            input,
            values[mean],
            values[variance],
            self.weight,
            self.bias,
            training=self.training,
            momentum=self._momentum,
            epsilon=self._epsilon,
            use_global_stats=self._use_global_stats,
            unbiased=self._unbiased,
            data_format=self._data_format,
        )

    def extra_repr(self) -> str:
        text = f"num_features={self._num_features}, momentum={self._momentum}"
        text += f", epsilon={self._epsilon}"
        if self._data_format != "NCHW":
            text += f", data_format={self._data_format}"
        return text


class BatchNorm(_BatchNorm):
    """Batch normalisation of any number of axes, followed by an activation if one is named.

    Args:
        num_channels: number of channels.
        act: an activation by its name in `nn.functional`, such as "relu".
        is_test, dtype, in_place, moving_mean_name, moving_variance_name,
            do_model_average_for_mean_and_var, trainable_statistics: accepted.
        momentum: share of the old running statistics that stays in each training step.
        epsilon: added to the variance.
        param_attr: wishes for the scale [num_channels]; ones by default, False for none.
        bias_attr: wishes for the shift [num_channels]; zeros by default, False for none.
        data_layout: where the channels are, such as "NCHW" or "NHWC".
        use_global_stats: use the running statistics in training, too.

    Raises:
        AttributeValueError: there is no such activation.
    """

    def __init__(
        self,
        num_channels: int,
        act: str | None = None,
        is_test: bool = False,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        param_attr: Any = None,
        bias_attr: Any = None,
        dtype: str = "float32",
        data_layout: str = "NCHW",
        in_place: bool = False,
        moving_mean_name: str | None = None,
        moving_variance_name: str | None = None,
        do_model_average_for_mean_and_var: bool = True,
        use_global_stats: bool = False,
        trainable_statistics: bool = False,
    ):
        super().__init__(
            num_channels, momentum, epsilon, param_attr, bias_attr, data_layout, use_global_stats
        )
        if act is not None and not hasattr(F, act):
            raise AttributeValueError(f"BatchNorm has act={act!r}, which is no activation")
        self._act = None if act is None else getattr(F, act)

    def forward(self, input: Tensor) -> Tensor:
        out = super().forward(input)
        return out if self._act is None else self._act(out)


class BatchNorm1D(_BatchNorm):
    """Batch normalisation of [N, C] or [N, C, L]; arguments as in `_BatchNorm`."""

    _ranks = (2, 3)
    _formats = ("NCL", "NC", "NLC")


class BatchNorm2D(_BatchNorm):
    """Batch normalisation of [N, C, H, W]; arguments as in `_BatchNorm`."""

    _ranks = (4,)
    _formats = ("NCHW", "NHWC")


class BatchNorm3D(_BatchNorm):
    """Batch normalisation of [N, C, D, H, W]; arguments as in `_BatchNorm`."""

    _ranks = (5,)
    _formats = ("NCDHW", "NDHWC")


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over the samples of all processes, of which there is one."""

    @classmethod
    def convert_sync_batchnorm(cls, layer: Layer) -> Layer:
        """The layer itself: there are no other processes whose samples would count."""
        return layer


class LayerNorm(Layer):
    """Normalises each row over its last axes.

    Args:
        normalized_shape: sizes of the axes to normalise over; an int for one axis.
        epsilon: added to the variance.
        weight_attr, bias_attr: wishes for scale and shift; False for none.

    Shapes: (..., *normalized_shape) -> the same. Source: Ba et al., arXiv 1607.06450.
    ONNX: LayerNormalization.
    """

    def __init__(
        self,
        normalized_shape: Any,
        epsilon: float = 1e-5,
        weight_attr: Any = None,
        bias_attr: Any = None,
        name: str | None = None,
    ):
        super().__init__()
        sizes = list(sizes_of(normalized_shape))
        self._normalized_shape, self._epsilon = sizes, epsilon
        one = init.Constant(1.0)
        self.weight = self.create_parameter(sizes, weight_attr, default_initializer=one)
        self.bias = self.create_parameter(sizes, bias_attr, is_bias=True)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self._normalized_shape, self.weight, self.bias, self._epsilon)

    def extra_repr(self) -> str:
        return f"normalized_shape={self._normalized_shape}, epsilon={self._epsilon}"
