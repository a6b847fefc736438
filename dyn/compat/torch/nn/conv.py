"""Convolutions: dyn's layers under PyTorch's names, with PyTorch's starting values."""

from __future__ import annotations

import math
from typing import Any

from dyn.compat.torch.nn.linear import even, finish
from dyn.compat.torch.nn.module import Mixin, Module
from dyn.compat.torch.nn.settings import AxisSetting, Setting
from dyn.compat.torch.nn.unbatched import layer_of_single
from dyn.nn import conv


class _Torch(Mixin):
    """What all convolutions share here: what is printed, and PyTorch's names of the settings."""

    _axes: int
    _padding: Any
    _output_padding: Any

    stride, dilation = AxisSetting("_stride"), AxisSetting("_dilation")
    padding, output_padding = AxisSetting("_padding"), AxisSetting("_output_padding")
    groups, padding_mode = Setting("_groups"), Setting("_padding_mode")

    def _settings(self, name: str) -> Any:
        value = self.__dict__[name]
        return value if isinstance(value, (tuple, str)) else (value,) * self._axes

    def _finish(self, device: Any, dtype: Any) -> None:
        for name in _PUBLIC:
            own = f"_{name}"
            value = self._settings(own) if name in _TUPLES else self.__dict__[own]
            self.__dict__[name] = value
        finish(self, device, dtype)

    def _text(self) -> str:
        values = self.__dict__
        text = f"{values['_in_channels']}, {values['_out_channels']}"
        text += f", kernel_size={values['_kernel_size']}, stride={values['_stride']}"
        zeros, ones = (0,) * self._axes, (1,) * self._axes
        padding = self._settings("_padding")
        if padding != zeros:
            text += f", padding={padding.lower() if isinstance(padding, str) else padding}"
        if values["_dilation"] != ones:
            text += f", dilation={values['_dilation']}"
        if self._settings("_output_padding") != zeros:
            text += f", output_padding={self._settings('_output_padding')}"
        if values["_groups"] != 1:
            text += f", groups={values['_groups']}"
        if values["bias"] is None:
            text += ", bias=False"
        if values["_padding_mode"] != "zeros":
            text += f", padding_mode={values['_padding_mode']}"
        return text


_TUPLES = ("padding", "output_padding")
_PUBLIC = (
    "in_channels", "out_channels", "kernel_size", "stride", "dilation", "groups", "padding_mode",
    *_TUPLES,
)  # fmt: skip


class _Forward(_Torch):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        start = even(in_channels // max(groups, 1) * _volume(kernel_size, self._axes))
        # The convolution of dyn comes next among the bases.
        super().__init__(
            in_channels, out_channels, kernel_size, stride,
            padding.upper() if isinstance(padding, str) else padding, dilation, groups,
            padding_mode, start, start if bias else False,
        )  # fmt: skip
        self._finish(device, dtype)

    def extra_repr(self) -> str:
        return self._text()


class _Transposed(_Torch):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ):
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        start = even(out_channels // max(groups, 1) * _volume(kernel_size, self._axes))
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, output_padding, groups=groups,
            dilation=dilation, weight_attr=start, bias_attr=start if bias else False,
        )  # fmt: skip
        self._finish(device, dtype)

    def extra_repr(self) -> str:
        return self._text()


def _volume(kernel: Any, axes: int) -> int:
    return math.prod(kernel) if isinstance(kernel, (tuple, list)) else kernel**axes


@layer_of_single(1)
class Conv1d(_Forward, conv.Conv1D, Module):
    """Cross-correlation of [N, C, L] with learned filters: see `dyn.nn.Conv2D`."""


@layer_of_single(2)
class Conv2d(_Forward, conv.Conv2D, Module):
    """Cross-correlation of [N, C, H, W] with learned filters: see `dyn.nn.Conv2D`."""


@layer_of_single(3)
class Conv3d(_Forward, conv.Conv3D, Module):
    """Cross-correlation of [N, C, D, H, W] with learned filters: see `dyn.nn.Conv2D`."""


@layer_of_single(1)
class ConvTranspose1d(_Transposed, conv.Conv1DTranspose, Module):
    """The transpose of `Conv1d`: see `dyn.nn.Conv2DTranspose`."""


@layer_of_single(2)
class ConvTranspose2d(_Transposed, conv.Conv2DTranspose, Module):
    """The transpose of `Conv2d`: see `dyn.nn.Conv2DTranspose`."""


@layer_of_single(3)
class ConvTranspose3d(_Transposed, conv.Conv3DTranspose, Module):
    """The transpose of `Conv3d`: see `dyn.nn.Conv2DTranspose`."""
