"""Pooling: dyn's layers under PyTorch's names; averages count padding unless told not to."""

from __future__ import annotations

from typing import Any

from dyn.compat.torch.nn.module import Mixin, Module
from dyn.compat.torch.nn.settings import Setting
from dyn.compat.torch.nn.unbatched import layer_of_single
from dyn.nn import adaptive, pooling
from dyn.ops.pool import max_pool_nd


class _MaxPool(Mixin):
    _axes: int

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        # The pooling of dyn comes next among the bases.
        super().__init__(
            kernel_size, kernel_size if stride is None else stride, padding, return_indices,
            ceil_mode,
        )  # fmt: skip
        self.dilation, self.return_indices = dilation, return_indices

    def forward(self, input: Any) -> Any:
        if self.dilation == 1:
            return super().forward(input)
        return max_pool_nd(
            self._axes, input, self.kernel_size, self.stride, self.padding,
            return_mask=self.return_indices, ceil_mode=self.ceil_mode, dilation=self.dilation,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


@layer_of_single(1)
class MaxPool1d(_MaxPool, pooling.MaxPool1D, Module):
    """Maximum over sliding windows of [N, C, L]."""


@layer_of_single(2)
class MaxPool2d(_MaxPool, pooling.MaxPool2D, Module):
    """Maximum over sliding windows of [N, C, H, W]."""


@layer_of_single(3)
class MaxPool3d(_MaxPool, pooling.MaxPool3D, Module):
    """Maximum over sliding windows of [N, C, D, H, W]."""


class _AvgPool(Mixin):
    _axes: int
    divisor_override: Any
    count_include_pad = Setting("exclusive", lambda counted: not counted)

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__(
            kernel_size,
            kernel_size if stride is None else stride,
            padding,
            ceil_mode=ceil_mode,
            exclusive=not count_include_pad,
        )
        self.count_include_pad = count_include_pad
        if divisor_override is not None:
            self.divisor_override = divisor_override

    def extra_repr(self) -> str:
        shown = [self.kernel_size, self.stride, self.padding]
        if self._axes == 1:
            shown = [n if isinstance(n, tuple) else (n,) for n in shown]
        return "kernel_size={}, stride={}, padding={}".format(*shown)


@layer_of_single(1)
class AvgPool1d(_AvgPool, pooling.AvgPool1D, Module):
    """Mean over sliding windows of [N, C, L]."""


@layer_of_single(2)
class AvgPool2d(_AvgPool, pooling.AvgPool2D, Module):
    """Mean over sliding windows of [N, C, H, W]."""


@layer_of_single(3)
class AvgPool3d(_AvgPool, pooling.AvgPool3D, Module):
    """Mean over sliding windows of [N, C, D, H, W]."""


@layer_of_single(1)
class AdaptiveAvgPool1d(adaptive.AdaptiveAvgPool1D, Module):
    """Means of [N, C, L] over as many windows as `output_size` says."""


@layer_of_single(2)
class AdaptiveAvgPool2d(adaptive.AdaptiveAvgPool2D, Module):
    """Means of [N, C, H, W] over windows that cover it evenly."""


@layer_of_single(3)
class AdaptiveAvgPool3d(adaptive.AdaptiveAvgPool3D, Module):
    """Means of [N, C, D, H, W] over windows that cover it evenly."""


class _AdaptiveMax(Mixin):
    output_size: Any

    def __init__(self, output_size: Any, return_indices: bool = False):
        super().__init__(output_size, return_indices)
        self.return_indices = return_indices

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


@layer_of_single(1)
class AdaptiveMaxPool1d(_AdaptiveMax, adaptive.AdaptiveMaxPool1D, Module):
    """Maxima of [N, C, L] over as many windows as `output_size` says."""


@layer_of_single(2)
class AdaptiveMaxPool2d(_AdaptiveMax, adaptive.AdaptiveMaxPool2D, Module):
    """Maxima of [N, C, H, W] over windows that cover it evenly."""


@layer_of_single(3)
class AdaptiveMaxPool3d(_AdaptiveMax, adaptive.AdaptiveMaxPool3D, Module):
    """Maxima of [N, C, D, H, W] over windows that cover it evenly."""
