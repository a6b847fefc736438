"""Power pooling and the way back from maximum pooling: dyn's functions under PyTorch's names.

Common pooling is in `pooling.py`; functions with PyTorch's arguments stand beside the layers.
"""

from __future__ import annotations

from typing import Any

from dyn.compat.torch.nn.module import Module
from dyn.compat.torch.nn.unbatched import layer_of_single
from dyn.ops import unpool
from dyn.ops.windows import per_axis

_BACK = {1: unpool.max_unpool1d, 2: unpool.max_unpool2d, 3: unpool.max_unpool3d}


def lp_pool(
    axes: int, input: Any, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool
) -> Any:
    """(sum |x| ** p) ** (1 / p) over windows of the last `axes` axes of [N, C, ...]."""
    return unpool.lp_pool_nd(axes, input, norm_type, kernel_size, stride, 0, ceil_mode)


def max_unpool(
    axes: int,
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
) -> Any:
    """The maxima [N, C, ...] at their places, zeros elsewhere."""
    sides = padding if isinstance(padding, int) else list(padding)
    return _BACK[axes](input, indices, kernel_size, stride, sides, output_size)


class _LPPool(Module):
    _axes: int

    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ):
        super().__init__()
        self.norm_type, self.kernel_size = norm_type, kernel_size
        self.stride, self.ceil_mode = stride, ceil_mode

    def forward(self, input: Any) -> Any:
        return lp_pool(
            self._axes, input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


@layer_of_single(1)
class LPPool1d(_LPPool):
    """(sum |x| ** p) ** (1 / p) over sliding windows of [N, C, L]."""

    _axes = 1


@layer_of_single(2)
class LPPool2d(_LPPool):
    """(sum |x| ** p) ** (1 / p) over sliding windows of [N, C, H, W]."""

    _axes = 2


@layer_of_single(3)
class LPPool3d(_LPPool):
    """(sum |x| ** p) ** (1 / p) over sliding windows of [N, C, D, H, W]."""

    _axes = 3


class _MaxUnpool(Module):
    _axes: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0):
        super().__init__()
        self.kernel_size = per_axis("kernel_size", kernel_size, self._axes)
        self.stride = self.kernel_size if stride is None else per_axis("stride", stride, self._axes)
        self.padding = (padding,) * self._axes if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Any:
        """The maxima at the places that `MaxPool(return_indices=True)` gave with them."""
        return max_unpool(
            self._axes, input, indices, self.kernel_size, self.stride, self.padding, output_size
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


@layer_of_single(1, 2)
class MaxUnpool1d(_MaxUnpool):
    """Undoes maximum pooling of [N, C, L]: zeros where no maximum was."""

    _axes = 1


@layer_of_single(2, 2)
class MaxUnpool2d(_MaxUnpool):
    """Undoes maximum pooling of [N, C, H, W]: zeros where no maximum was."""

    _axes = 2


@layer_of_single(3, 2)
class MaxUnpool3d(_MaxUnpool):
    """Undoes maximum pooling of [N, C, D, H, W]: zeros where no maximum was."""

    _axes = 3
