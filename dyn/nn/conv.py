"""Convolution layers over 1 to 3 spatial axes, and their transposes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError
from dyn.core.op import OPS, freeze
from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn import initializer as init
from dyn.nn.layer import Layer
from dyn.nn.state import in_order
from dyn.ops.infer import need_whole
from dyn.ops.windows import follows_the_input, padding_pairs, per_axis

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


_CONV = OPS["conv"]


@lru_cache(maxsize=1024, typed=True)
def _prepared(
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: Any,
    dilation: tuple[int, ...],
    groups: int,
) -> tuple[Any, ...] | None:
    """The attributes of the op, worked out once per setting; None if they depend on the input."""
    if follows_the_input(padding):
        return None
    pads = padding_pairs(padding, (), kernel, stride, dilation)
    return _CONV.bind({"stride": stride, "padding": pads, "dilation": dilation, "groups": groups})


class _Conv(Layer):
    """What all convolutions share: parameters, their layout, the printed form."""

    _axes: int
    _transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        padding_mode: str,
        weight_attr: Any,
        bias_attr: Any,
        data_format: str,
        output_padding: Any = 0,
    ):
        super().__init__()
        count = self._axes
        self._kernel_size = per_axis("kernel_size", kernel_size, count)
        self._in_channels, self._out_channels, self._groups = in_channels, out_channels, groups
        self._need_whole_groups()
        if padding_mode not in _PADDING_MODES:
            raise AttributeValueError(
                f"padding_mode must be one of {list(_PADDING_MODES)}, but got padding_mode="
                f"'{padding_mode}'"
            )
        self._stride = per_axis("stride", stride, count)
        self._dilation = per_axis("dilation", dilation, count)
        self._padding = freeze(padding)
        self._padding_mode = padding_mode
        self._output_padding = output_padding
        self._data_format = data_format
        self.weight = self._create_weight(weight_attr)
        self.bias = self.create_parameter([out_channels], bias_attr, is_bias=True)

    def _need_whole_groups(self) -> None:
        """Raise unless there are channels, and groups of equally many."""
        ins, outs, groups = self._in_channels, self._out_channels, self._groups
        need_whole(in_channels=ins, out_channels=outs, groups=groups)
        if min(ins, outs) < 1:
            raise AttributeValueError(f"in_channels={ins} and out_channels={outs} must be positive")
        if groups < 1 or ins % groups or outs % groups:
            raise AttributeValueError(
                f"groups={groups} must divide in_channels={ins} and out_channels={outs}"
            )

    def _create_weight(self, attr: Any) -> Any:
        """The weight [out, in / groups, window...]; transposed [in, out / groups, window...].

        By default normal with variance 2 / fan-in (He et al., arXiv 1502.01852), fan-in counted
        over all groups as in Paddle; transposed, the default of all layers.
        """
        if self._transposed:
            channels, start = (self._in_channels, self._out_channels), None
        else:
            channels = (self._out_channels, self._in_channels)
            fan_in = math.prod(self._kernel_size) * self._in_channels
            start = init.Normal(0.0, math.sqrt(2.0 / fan_in))
        shape = [channels[0], channels[1] // self._groups, *self._kernel_size]
        weight = self.create_parameter(shape, attr, default_initializer=start)
        if weight is not None:
            # Kernels read weights window by window, channels innermost.
            weight._array = in_order(weight._array, (*range(2, len(shape)), 1, 0))
        return weight

    def extra_repr(self) -> str:
        ones = (1,) * self._axes
        text = f"{self._in_channels}, {self._out_channels}"
        text += f", kernel_size={list(self._kernel_size)}"
        if self._stride != ones:
            text += f", stride={list(self._stride)}"
        if self._padding != 0:
            text += f", padding={_shown(self._padding)}"
        if self._padding_mode != "zeros":
            text += f", padding_mode={self._padding_mode}"
        if self._output_padding != 0:
            text += f", output_padding={_shown(self._output_padding)}"
        if self._dilation != ones:
            text += f", dilation={list(self._dilation)}"
        if self._groups != 1:
            text += f", groups={self._groups}"
        return f"{text}, data_format={self._data_format}"


def _shown(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


class _Forward(_Conv):
    _function: Callable[..., Tensor]

    def forward(self, x: Tensor) -> Tensor:
        if self._padding_mode == "zeros" and self._data_format[1] == "C":
            try:
                attrs = _prepared(
                    self._kernel_size, self._stride, self._padding, self._dilation, self._groups
                )
            except TypeError:
                attrs = None  # a list was put in by hand, which cannot be remembered
            if attrs is not None:
                return apply(_CONV, (x, self.weight, self.bias), attrs)
        return self._in_general(x)

    def _in_general(self, x: Tensor) -> Tensor:
        """Any padding mode, padding by name, and channels last."""
        padding: Any = self._padding
        if self._padding_mode != "zeros":
            # F.pad counts from the last axis to the first, low and high.
            sizes = x.shape[2:] if self._data_format[1] == "C" else x.shape[1:-1]
            window = self._kernel_size, self._stride, self._dilation
            sides = padding_pairs(padding, tuple(sizes), *window)
            pairs = [sides[i : i + 2] for i in range(0, len(sides), 2)]
            flat = [side for pair in reversed(pairs) for side in pair]
            x = F.pad(x, flat, mode=self._padding_mode, data_format=self._data_format)
            padding = 0
        return self._function(
            x,
            self.weight,
            self.bias,
            stride=self._stride,
            padding=padding,
            dilation=self._dilation,
            groups=self._groups,
            data_format=self._data_format,
        )


class Conv1D(_Forward):
    """Cross-correlation of [N, C, L] with learned filters; arguments as in `Conv2D`."""

    _axes = 1
    _function = staticmethod(F.conv1d)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        weight_attr: Any = None,
        bias_attr: Any = None,
        data_format: str = "NCL",
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
            padding_mode, weight_attr, bias_attr, data_format,
        )  # fmt: skip


class Conv2D(_Forward):
    """Cross-correlation of a batch of images with learned filters.

    Args:
        in_channels, out_channels: channels of the input and of the output.
        kernel_size: size of a filter, an int or (height, width).
        stride: step in pixels.
        padding: rows and columns added on each side: an int, (height, width), (top, bottom, left,
            right), "SAME" or "VALID".
        dilation: distance in pixels between the elements of a filter.
        groups: the channels are cut into as many groups that do not mix.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        weight_attr: wishes for the weight [out_channels, in_channels / groups, height, width];
            Gaussian with variance 2 / (in_channels * height * width) by default.
        bias_attr: wishes for the bias [out_channels]; zeros by default, False for none.
        data_format: "NCHW" or "NHWC".

    Shapes: [N, in_channels, H, W] -> [N, out_channels, H', W'] with
    H' = (H + top + bottom - dilation * (k - 1) - 1) // stride + 1. ONNX: Conv.
    """

    _axes = 2
    _function = staticmethod(F.conv2d)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        weight_attr: Any = None,
        bias_attr: Any = None,
        data_format: str = "NCHW",
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
            padding_mode, weight_attr, bias_attr, data_format,
        )  # fmt: skip


class Conv3D(_Forward):
    """Cross-correlation of [N, C, D, H, W] with learned filters; arguments as in `Conv2D`."""

    _axes = 3
    _function = staticmethod(F.conv3d)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        weight_attr: Any = None,
        bias_attr: Any = None,
        data_format: str = "NCDHW",
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
            padding_mode, weight_attr, bias_attr, data_format,
        )  # fmt: skip


class _Transpose(_Conv):
    _transposed = True
    _function: Callable[..., Tensor]

    def forward(self, x: Tensor, output_size: Any = None) -> Tensor:
        """The layer's output, of the spatial sizes `output_size` if they are given."""
        return self._function(
            x,
            self.weight,
            self.bias,
            stride=self._stride,
            padding=self._padding,
            output_padding=0 if output_size is not None else self._output_padding,
            groups=self._groups,
            dilation=self._dilation,
            output_size=output_size,
            data_format=self._data_format,
        )


class Conv1DTranspose(_Transpose):
    """The transpose of `Conv1D`; arguments as in `Conv2DTranspose`."""

    _axes = 1
    _function = staticmethod(F.conv1d_transpose)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
        weight_attr: Any = None,
        bias_attr: Any = None,
        data_format: str = "NCL",
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
            "zeros", weight_attr, bias_attr, data_format, output_padding,
        )  # fmt: skip


class Conv2DTranspose(_Transpose):
    """The transpose of `Conv2D`: what its gradient does to images.

    Args:
        in_channels, out_channels: channels of the input and of the output.
        kernel_size: size of a filter.
        stride: distance in pixels between the places of neighbouring inputs.
        padding: rows and columns taken away from each side.
        output_padding: rows and columns added at the far sides.
        groups: the channels are cut into as many groups that do not mix.
        dilation: distance in pixels between the elements of a filter.
        weight_attr: wishes for the weight [in_channels, out_channels / groups, height, width];
            Xavier-uniform by default.
        bias_attr: wishes for the bias [out_channels]; False for none.
        data_format: "NCHW" or "NHWC".

    Shapes: [N, in_channels, H, W] -> [N, out_channels, H', W'] with
    H' = (H - 1) * stride - 2 * padding + dilation * (k - 1) + output_padding + 1.
    ONNX: ConvTranspose.
    """

    _axes = 2
    _function = staticmethod(F.conv2d_transpose)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        weight_attr: Any = None,
        bias_attr: Any = None,
        data_format: str = "NCHW",
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
            "zeros", weight_attr, bias_attr, data_format, output_padding,
        )  # fmt: skip


class Conv3DTranspose(_Transpose):
    """The transpose of `Conv3D`; arguments as in `Conv2DTranspose`."""

    _axes = 3
    _function = staticmethod(F.conv3d_transpose)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        weight_attr: Any = None,
        bias_attr: Any = None,
        data_format: str = "NCDHW",
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
            "zeros", weight_attr, bias_attr, data_format, output_padding,
        )  # fmt: skip
