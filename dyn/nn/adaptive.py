"""Pooling layers whose windows follow from the output size."""

from __future__ import annotations

from typing import Any

from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn.layer import Layer


class _AdaptiveAvg(Layer):
    _function: Any

    def __init__(self, output_size: Any, data_format: str | None = None, name: str | None = None):
        super().__init__()
        self.output_size, self.data_format = output_size, data_format

    def forward(self, x: Tensor) -> Tensor:
        if self.data_format is None:
            return self._function(x, self.output_size)
        return self._function(x, self.output_size, data_format=self.data_format)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1D(_AdaptiveAvg):
    """Means of [N, C, L] over as many windows as `output_size` says."""

    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2D(_AdaptiveAvg):
    """Means of [N, C, H, W] over windows that cover it evenly.

    Args:
        output_size: (H', W') or one int; None keeps an axis.

    Window i goes from floor(i * H / H') to ceil((i + 1) * H / H'). ONNX: GlobalAveragePool or
    AveragePool.
    """

    _function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3D(_AdaptiveAvg):
    """Means of [N, C, D, H, W] over windows that cover it evenly."""

    _function = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMax(Layer):
    _function: Any

    def __init__(self, output_size: Any, return_mask: bool = False, name: str | None = None):
        super().__init__()
        self.output_size, self.return_mask = output_size, return_mask

    def forward(self, x: Tensor) -> Any:
        return self._function(x, self.output_size, self.return_mask)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, return_mask={self.return_mask}"


class AdaptiveMaxPool1D(_AdaptiveMax):
    """Maxima of [N, C, L] over windows that cover it evenly."""

    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2D(_AdaptiveMax):
    """Maxima of [N, C, H, W] over windows that cover it evenly."""

    _function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3D(_AdaptiveMax):
    """Maxima of [N, C, D, H, W] over windows that cover it evenly."""

    _function = staticmethod(F.adaptive_max_pool3d)
