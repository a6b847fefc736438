"""Pooling layers with sliding windows. Those with a given output size are in `adaptive.py`."""

from __future__ import annotations

from typing import Any

from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn.layer import Layer


class _Pool(Layer):
    """Arguments that all sliding pools share."""

    def __init__(self, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride
        self.padding, self.ceil_mode = padding, ceil_mode

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _MaxPool(_Pool):
    _function: Any

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        return_mask: bool = False,
        ceil_mode: bool = False,
        name: str | None = None,
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.return_mask = return_mask

    def forward(self, x: Tensor) -> Any:
        return self._function(
            x, self.kernel_size, self.stride, self.padding, self.return_mask, self.ceil_mode
        )


class MaxPool1D(_MaxPool):
    """Maximum over sliding windows of [N, C, L]; arguments as in `MaxPool2D`."""

    _function = staticmethod(F.max_pool1d)


class MaxPool2D(_MaxPool):
    """Maximum over sliding windows of [N, C, H, W].

    Args:
        kernel_size: window in pixels, an int or (height, width).
        stride: step in pixels; the window by default.
        padding: rows and columns added on each side; they never win.
        return_mask: also return where each maximum stands.
        ceil_mode: keep a last window that sticks out at the far end.

    ONNX: MaxPool.
    """

    _function = staticmethod(F.max_pool2d)


class MaxPool3D(_MaxPool):
    """Maximum over sliding windows of [N, C, D, H, W]; arguments as in `MaxPool2D`."""

    _function = staticmethod(F.max_pool3d)


class AvgPool1D(_Pool):
    """Mean over sliding windows of [N, C, L]; arguments as in `AvgPool2D`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        exclusive: bool = True,
        ceil_mode: bool = False,
        name: str | None = None,
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.exclusive = exclusive

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool1d(
            x, self.kernel_size, self.stride, self.padding, self.exclusive, self.ceil_mode
        )


class AvgPool2D(_Pool):
    """Mean over sliding windows of [N, C, H, W].

    Args:
        kernel_size: window in pixels, an int or (height, width).
        stride: step in pixels; the window by default.
        padding: rows and columns added on each side.
        ceil_mode: keep a last window that sticks out at the far end.
        exclusive: divide by the number of elements that are not padding.
        divisor_override: divide by this instead.

    ONNX: AveragePool.
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        exclusive: bool = True,
        divisor_override: int | None = None,
        data_format: str = "NCHW",
        name: str | None = None,
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.exclusive, self.divisor_override = exclusive, divisor_override

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.exclusive,
            self.divisor_override,
        )


class AvgPool3D(_Pool):
    """Mean over sliding windows of [N, C, D, H, W]; arguments as in `AvgPool2D`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        exclusive: bool = True,
        divisor_override: int | None = None,
        name: str | None = None,
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode)
        self.exclusive, self.divisor_override = exclusive, divisor_override

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool3d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.exclusive,
            self.divisor_override,
        )
