"""Resizing, shuffling and patches: dyn's layers under PyTorch's names."""

from __future__ import annotations

from typing import Any

from dyn.compat.torch.nn.module import Module
from dyn.compat.torch.nn.unbatched import function_of_many, layer_of_single
from dyn.compat.torch.tensor import flavoured
from dyn.nn import functional as F
from dyn.nn import rearrange
from dyn.ops import rearrange as pixels


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
        super().__init__(size, _factor(scale_factor), mode, align_corners=bool(align_corners))

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
        super().__init__(size, scale_factor, "bilinear", align_corners=True)


_shuffled = flavoured(function_of_many(pixels.pixel_shuffle))
_unshuffled = flavoured(function_of_many(pixels.pixel_unshuffle))


class PixelShuffle(rearrange.PixelShuffle, Module):
    """Channels become pixels."""

    def __init__(self, upscale_factor: int):
        super().__init__(upscale_factor)
        self.upscale_factor = upscale_factor

    def forward(self, input: Any) -> Any:
        """Channels of [..., C, H, W] as pixels."""
        return _shuffled(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(rearrange.PixelUnshuffle, Module):
    """Pixels become channels."""

    def __init__(self, downscale_factor: int):
        super().__init__(downscale_factor)
        self.downscale_factor = downscale_factor

    def forward(self, input: Any) -> Any:
        """Pixels of [..., C, H, W] as channels."""
        return _unshuffled(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(rearrange.ChannelShuffle, Module):
    """The channels of several groups, one of each group in turn."""

    def __init__(self, groups: int):
        super().__init__(groups)
        self.groups = groups

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


@layer_of_single(1)
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


@layer_of_single(2)
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
