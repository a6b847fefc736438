"""Layers that move elements: padding, resizing, shuffling, patches."""

from __future__ import annotations

from typing import Any

from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn.layer import Layer


class _Pad(Layer):
    _axes: int
    _formats: tuple[str, ...]

    def __init__(
        self,
        padding: Any,
        mode: str = "constant",
        value: float = 0.0,
        data_format: str | None = None,
        name: str | None = None,
    ):
        super().__init__()
        sides = [padding] * (2 * self._axes) if isinstance(padding, int) else list(padding)
        self._pad, self._mode, self._value = sides, mode, value
        self._data_format = data_format or self._formats[0]

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self._pad, self._mode, self._value, self._data_format)

    def extra_repr(self) -> str:
        return (
            f"padding={self._pad}, mode={self._mode}, value={self._value}, "
            f"data_format={self._data_format}"
        )


class Pad1D(_Pad):
    """Adds elements around [N, C, L]: (left, right) or one number; modes as in `F.pad`."""

    _axes, _formats = 1, ("NCL", "NLC")


class Pad2D(_Pad):
    """Adds pixels around [N, C, H, W]: (left, right, top, bottom) or one number.

    Args:
        padding: how many pixels on each side; negative numbers remove some.
        mode: "constant", "reflect" (without the edge), "replicate" (the edge) or "circular".
        value: what is added in constant mode.
        data_format: "NCHW" or "NHWC".

    ONNX: Pad.
    """

    _axes, _formats = 2, ("NCHW", "NHWC")


class Pad3D(_Pad):
    """Adds elements around [N, C, D, H, W]: (left, right, top, bottom, front, back)."""

    _axes, _formats = 3, ("NCDHW", "NDHWC")


class _ZeroPad(Layer):
    """Adds zeros on both sides of the last axes."""

    _axes: int
    _format: str

    def __init__(self, padding: Any, data_format: str | None = None, name: str | None = None):
        super().__init__()
        self._pad = [padding] * (2 * self._axes) if isinstance(padding, int) else list(padding)
        self._data_format = data_format or self._format

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self._pad, "constant", 0.0, self._data_format)

    def extra_repr(self) -> str:
        return f"padding={self._pad}, mode=constant, value=0.0, data_format={self._data_format}"


class ZeroPad1D(_ZeroPad):
    """Adds zeros around [N, C, L]: (left, right) or one number."""

    _axes, _format = 1, "NCL"


class ZeroPad2D(_ZeroPad):
    """Adds zeros around [N, C, H, W]: (left, right, top, bottom) or one number."""

    _axes, _format = 2, "NCHW"


class ZeroPad3D(_ZeroPad):
    """Adds zeros around [N, C, D, H, W]: (left, right, top, bottom, front, back) or one number."""

    _axes, _format = 3, "NCDHW"


class Upsample(Layer):
    """Another size in pixels; arguments as in `F.interpolate`. ONNX: Resize."""

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool = False,
        align_mode: int = 0,
        data_format: str | None = None,
        name: str | None = None,
    ):
        super().__init__()
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners, self.align_mode = align_corners, align_mode
        self.data_format = data_format

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(
            x,
            size=self.size,
            scale_factor=self.scale_factor,
            mode=self.mode,
            align_corners=self.align_corners,
            align_mode=self.align_mode,
            data_format=self.data_format,
        )

    def extra_repr(self) -> str:
        first = f"scale_factor={self.scale_factor}" if self.size is None else f"size={self.size}"
        return (
            f"{first}, mode={self.mode}, align_corners={self.align_corners}, "
            f"align_mode={self.align_mode}, data_format={self.data_format}"
        )


class UpsamplingNearest2D(Layer):
    """Repeats the pixels of [N, C, H, W]. ONNX: Resize."""

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        data_format: str = "NCHW",
        name: str | None = None,
    ):
        super().__init__()
        self.data_format = data_format
        self.size, self.scale_factor = size, scale_factor

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(
            x,
            size=self.size,
            scale_factor=self.scale_factor,
            mode="nearest",
            data_format=self.data_format,
        )

    def extra_repr(self) -> str:
        return f"size={self.size}, scale_factor={self.scale_factor}"


class UpsamplingBilinear2D(Layer):
    """Enlarges [N, C, H, W] linearly, corners upon corners. ONNX: Resize."""

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        data_format: str = "NCHW",
        name: str | None = None,
    ):
        super().__init__()
        self.data_format = data_format
        self.size, self.scale_factor = size, scale_factor

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(
            x,
            size=self.size,
            scale_factor=self.scale_factor,
            mode="bilinear",
            align_corners=True,
            data_format=self.data_format,
        )

    def extra_repr(self) -> str:
        return f"size={self.size}, scale_factor={self.scale_factor}"


class PixelShuffle(Layer):
    """[N, C * r * r, H, W] -> [N, C, H * r, W * r]. Source: arXiv 1609.05158.

    ONNX: DepthToSpace.
    """

    def __init__(self, upscale_factor: int, data_format: str = "NCHW", name: str | None = None):
        super().__init__()
        self.data_format = data_format
        self.upscale_factor = upscale_factor

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x, self.upscale_factor, data_format=self.data_format)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Layer):
    """The inverse of `PixelShuffle`."""

    def __init__(self, downscale_factor: int, data_format: str = "NCHW", name: str | None = None):
        super().__init__()
        self.data_format = data_format
        self.downscale_factor = downscale_factor

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_unshuffle(x, self.downscale_factor, data_format=self.data_format)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Layer):
    """Deals the channels of each group out to all groups. Source: arXiv 1707.01083."""

    def __init__(self, groups: int, data_format: str = "NCHW", name: str | None = None):
        super().__init__()
        self.data_format = data_format
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return F.channel_shuffle(x, self.groups, data_format=self.data_format)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class Unfold(Layer):
    """Sliding windows as columns: [N, C, H, W] -> [N, C * kh * kw, windows].

    Its arguments stand in Paddle's order, which is not that of `functional.unfold`.
    """

    def __init__(
        self,
        kernel_sizes: Any,
        dilations: Any = 1,
        paddings: Any = 0,
        strides: Any = 1,
        name: str | None = None,
    ):
        super().__init__()
        self.kernel_sizes, self.strides = kernel_sizes, strides
        self.paddings, self.dilations = paddings, dilations

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_sizes, self.strides, self.paddings, self.dilations)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_sizes}, dilation={self.dilations}, "
            f"padding={self.paddings}, stride={self.strides}"
        )


class Fold(Layer):
    """The transpose of `Unfold`: columns added up at the places of their windows."""

    def __init__(
        self,
        output_sizes: Any,
        kernel_sizes: Any,
        dilations: Any = 1,
        paddings: Any = 0,
        strides: Any = 1,
        name: str | None = None,
    ):
        super().__init__()
        self.output_sizes, self.kernel_sizes = output_sizes, kernel_sizes
        self.dilations, self.paddings, self.strides = dilations, paddings, strides

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(
            input,
            self.output_sizes,
            self.kernel_sizes,
            strides=self.strides,
            paddings=self.paddings,
            dilations=self.dilations,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_sizes}, dilation={self.dilations}, "
            f"padding={self.paddings}, stride={self.strides}"
        )
