"""Padding, resizing, shuffling and patches: dyn's layers under PyTorch's names."""

from __future__ import annotations

from typing import Any

from dyn.compat.torch.nn.module import Module
from dyn.nn import functional as F
from dyn.nn import rearrange

_FORMATS = {1: "NCL", 2: "NCHW", 3: "NCDHW"}


class _Pad(Module):
    """Elements added around the last axes: one number, or low and high from the last axis on."""

    _axes = 2
    _mode = "constant"

    def __init__(self, padding: Any, value: float = 0.0):
        super().__init__()
        count = 2 * self._axes
        self.padding = (padding,) * count if isinstance(padding, int) else tuple(padding)
        self.value = value

    def forward(self, input: Any) -> Any:
        return F.pad(input, list(self.padding), self._mode, self.value, _FORMATS[self._axes])

    def extra_repr(self) -> str:
        return str(self.padding)


class ZeroPad2d(_Pad):
    """Adds zeros around [N, C, H, W]: (left, right, top, bottom) or one number."""

    def __init__(self, padding: Any):
        super().__init__(padding)


class _ConstantPad(_Pad):
    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Adds one number around [N, C, L]."""

    _axes = 1


class ConstantPad2d(_ConstantPad):
    """Adds one number around [N, C, H, W]."""


class ReflectionPad1d(_Pad):
    """Adds mirrored elements around [N, C, L], without the edge."""

    _axes, _mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Adds mirrored pixels around [N, C, H, W], without the edge."""

    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """Repeats the edges of [N, C, L]."""

    _axes, _mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """Repeats the edges of [N, C, H, W]."""

    _mode = "replicate"


def _factor(value: Any) -> Any:
    """Scale factors are floats."""
    if isinstance(value, (tuple, list)):
        return tuple(float(n) for n in value)
    return value if value is None else float(value)


class Upsample(rearrange.Upsample, Module):
    """Another size in pixels: see `nn.functional.interpolate`."""

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ):
        super().__init__(size, _factor(scale_factor), mode, bool(align_corners))

    def extra_repr(self) -> str:
        first = f"scale_factor={self.scale_factor}" if self.size is None else f"size={self.size}"
        return f"{first}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Repeats the pixels of [N, C, H, W]."""

    def __init__(self, size: Any = None, scale_factor: Any = None):
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """Mixes the pixels of [N, C, H, W], corners aligned."""

    def __init__(self, size: Any = None, scale_factor: Any = None):
        super().__init__(size, scale_factor, "bilinear", True)


class PixelShuffle(rearrange.PixelShuffle, Module):
    """Channels become pixels."""

    def __init__(self, upscale_factor: int):
        super().__init__(upscale_factor)
        self.upscale_factor = upscale_factor

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(rearrange.PixelUnshuffle, Module):
    """Pixels become channels."""

    def __init__(self, downscale_factor: int):
        super().__init__(downscale_factor)
        self.downscale_factor = downscale_factor

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(rearrange.ChannelShuffle, Module):
    """The channels of several groups, one of each group in turn."""

    def __init__(self, groups: int):
        super().__init__(groups)
        self.groups = groups

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class Fold(Module):
    """Patches given as columns, added up in their places."""

    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ):
        super().__init__()
        self.output_size, self.kernel_size, self.dilation = output_size, kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Any) -> Any:
        return F.fold(
            input, self.output_size, self.kernel_size, self.stride, self.padding, self.dilation
        )

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )


class Unfold(Module):
    """Patches as columns."""

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1):
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Any) -> Any:
        return F.unfold(input, self.kernel_size, self.stride, self.padding, self.dilation)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )
