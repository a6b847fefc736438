"""Pooling layers with sliding windows. Those with a given output size are in `adaptive.py`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from dyn.core.dispatch import apply
from dyn.core.op import OPS, freeze
from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn.functional.layout import is_last
from dyn.nn.layer import Layer
from dyn.ops.windows import follows_the_input, is_dynamic, padding_pairs, per_axis

_MAX_POOL, _AVG_POOL = OPS["max_pool"], OPS["avg_pool"]


def _windows(axes: int, kernel: Any, stride: Any, padding: Any) -> dict[str, Any] | None:
    """The attributes that all pools share; None if they depend on the input."""
    if follows_the_input(padding):
        return None
    sizes = per_axis("kernel_size", kernel, axes)
    if is_dynamic(sizes):
        raise TypeError("the sizes of one trace are not remembered")
    steps = sizes if stride is None else per_axis("stride", stride, axes)
    pads = padding_pairs(padding, (), sizes, steps, (1,) * axes)
    return {"kernel": sizes, "stride": steps, "padding": pads}


@lru_cache(maxsize=1024, typed=True)
def _of_max(axes: int, kernel: Any, stride: Any, padding: Any, ceil_mode: bool) -> Any:
    """The attributes of the op, worked out once per setting, or None."""
    found = _windows(axes, kernel, stride, padding)
    if found is None:
        return None
    return _MAX_POOL.bind({**found, "dilation": (1,) * axes, "ceil_mode": bool(ceil_mode)})


@lru_cache(maxsize=1024, typed=True)
def _of_avg(
    axes: int, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, exclusive: bool
) -> Any:
    """The attributes of the op, worked out once per setting, or None."""
    found = _windows(axes, kernel, stride, padding)
    if found is None:
        return None
    rest = {"ceil_mode": bool(ceil_mode), "exclusive": bool(exclusive), "divisor": None}
    return _AVG_POOL.bind({**found, **rest})


class _Pool(Layer):
    """Arguments that all sliding pools share."""

    _axes: int

    def __init__(
        self,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        ceil_mode: bool,
        data_format: str | None = None,
    ):
        super().__init__()
        self.data_format = data_format
        self.kernel_size, self.stride = freeze(kernel_size), freeze(stride)
        self.padding, self.ceil_mode = freeze(padding), ceil_mode

    def extra_repr(self) -> str:
        shown = (
            list(value) if isinstance(value, tuple) else value
            for value in (self.kernel_size, self.stride, self.padding)
        )
        return "kernel_size={}, stride={}, padding={}".format(*shown)


class _MaxPool(_Pool):
    _function: Any

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        return_mask: bool = False,
        ceil_mode: bool = False,
        data_format: str | None = None,
        name: str | None = None,
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode, data_format)
        self.return_mask = return_mask

    def forward(self, x: Tensor) -> Any:
        kernel, stride, padding = self.kernel_size, self.stride, self.padding
        if not self.return_mask and not is_last(self.data_format):
            try:
                attrs = _of_max(self._axes, kernel, stride, padding, self.ceil_mode)
            except TypeError:
                attrs = None  # a list put in by hand or a dynamic size, which cannot be remembered
            if attrs is not None:
                return apply(_MAX_POOL, (x,), attrs)
        rest = (self.return_mask, self.ceil_mode)
        if is_last(self.data_format):
            return self._function(x, kernel, stride, padding, *rest, data_format=self.data_format)
        return self._function(x, kernel, stride, padding, *rest)


class MaxPool1D(_MaxPool):
    """Maximum over sliding windows of [N, C, L]; arguments as in `MaxPool2D`."""

    _axes = 1
    _function = staticmethod(F.max_pool1d)


class MaxPool2D(_MaxPool):
    """Maximum over sliding windows of [N, C, H, W].

    Args:
        kernel_size: window in pixels, an int or (height, width).
        stride: step in pixels; the window by default.
        padding: rows and columns added on each side; they never win.
        return_mask: also return where each maximum stands.
        ceil_mode: keep a last window that sticks out at the far end.
        data_format: "NCHW" or "NHWC".

    ONNX: MaxPool.
    """

    _axes = 2
    _function = staticmethod(F.max_pool2d)


class MaxPool3D(_MaxPool):
    """Maximum over sliding windows of [N, C, D, H, W]; arguments as in `MaxPool2D`."""

    _axes = 3
    _function = staticmethod(F.max_pool3d)


class _AvgPool(_Pool):
    _function: Any
    exclusive: bool
    divisor_override: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride, padding = self.kernel_size, self.stride, self.padding
        rest: dict[str, Any] = {"exclusive": self.exclusive, "ceil_mode": self.ceil_mode}
        if is_last(self.data_format):
            rest["data_format"] = self.data_format
        elif self.divisor_override is None:
            try:
                attrs = _of_avg(self._axes, kernel, stride, padding, self.ceil_mode, self.exclusive)
            except TypeError:
                attrs = None  # a list put in by hand or a dynamic size, which cannot be remembered
            if attrs is not None:
                return apply(_AVG_POOL, (x,), attrs)
        if self.divisor_override is not None:
            rest["divisor_override"] = self.divisor_override
        return self._function(x, kernel, stride, padding, **rest)


class AvgPool1D(_AvgPool):
    """Mean over sliding windows of [N, C, L]; arguments as in `AvgPool2D`."""

    _axes = 1
    _function = staticmethod(F.avg_pool1d)

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


class AvgPool2D(_AvgPool):
    """Mean over sliding windows of [N, C, H, W].

    Args:
        kernel_size: window in pixels, an int or (height, width).
        stride: step in pixels; the window by default.
        padding: rows and columns added on each side.
        ceil_mode: keep a last window that sticks out at the far end.
        exclusive: divide by the number of elements that are not padding.
        divisor_override: divide by this instead.
        data_format: "NCHW" or "NHWC".

    ONNX: AveragePool.
    """

    _axes = 2
    _function = staticmethod(F.avg_pool2d)

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        exclusive: bool = True,
        divisor_override: int | None = None,
        data_format: str | None = None,
        name: str | None = None,
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode, data_format)
        self.exclusive, self.divisor_override = exclusive, divisor_override


class AvgPool3D(_AvgPool):
    """Mean over sliding windows of [N, C, D, H, W]; arguments as in `AvgPool2D`."""

    _axes = 3
    _function = staticmethod(F.avg_pool3d)

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        exclusive: bool = True,
        divisor_override: int | None = None,
        data_format: str | None = None,
        name: str | None = None,
    ):
        super().__init__(kernel_size, stride, padding, ceil_mode, data_format)
        self.exclusive, self.divisor_override = exclusive, divisor_override
