"""Pooling layers beside maximum and mean: p-norms of windows, and the inverse of maxima."""

from __future__ import annotations

from typing import Any

from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn.layer import Layer


class _LPPool(Layer):
    _function: Any

    def __init__(
        self,
        norm_type: float,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        name: str | None = None,
    ):
        super().__init__()
        self.norm_type, self.kernel_size, self.stride = norm_type, kernel_size, stride
        self.padding, self.ceil_mode = padding, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        return self._function(
            x, self.norm_type, self.kernel_size, self.stride, self.padding, self.ceil_mode
        )

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}"
        )


class LPPool1D(_LPPool):
    """The p-norm of sliding windows of [N, C, L]."""

    _function = staticmethod(F.lp_pool1d)


class LPPool2D(_LPPool):
    """The p-norm of sliding windows of [N, C, H, W]. ONNX: LpPool."""

    _function = staticmethod(F.lp_pool2d)


class _MaxUnPool(Layer):
    _function: Any

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        output_size: Any = None,
        name: str | None = None,
    ):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride
        self.padding, self.output_size = padding, output_size

    def forward(self, x: Tensor, indices: Tensor) -> Tensor:
        return self._function(
            x,
            indices,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            output_size=self.output_size,
        )

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class MaxUnPool1D(_MaxUnPool):
    """Puts maxima of [N, C, L] back where they were found, zeros elsewhere."""

    _function = staticmethod(F.max_unpool1d)


class MaxUnPool2D(_MaxUnPool):
    """Puts maxima of [N, C, H, W] back where they were found, zeros elsewhere. ONNX: MaxUnpool."""

    _function = staticmethod(F.max_unpool2d)


class MaxUnPool3D(_MaxUnPool):
    """Puts maxima of [N, C, D, H, W] back where they were found, zeros elsewhere."""

    _function = staticmethod(F.max_unpool3d)
