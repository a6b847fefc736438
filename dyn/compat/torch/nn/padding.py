"""Padding of all kinds and axes: one layer with a mode and a count of axes.

Elements are added by `nn.functional.pad`; nothing is computed here.
"""

from __future__ import annotations

from typing import Any

from dyn.compat.torch.nn.module import Module
from dyn.nn import functional as F

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
        if input.ndim != self._axes + 1:
            return F.pad(input, list(self.padding), self._mode, self.value, _FORMATS[self._axes])
        # One sample without its batch.
        padded = F.pad(
            input.unsqueeze(0), list(self.padding), self._mode, self.value, _FORMATS[self._axes]
        )
        return padded.squeeze(0)

    def extra_repr(self) -> str:
        return str(self.padding)


class _ZeroPad(_Pad):
    def __init__(self, padding: Any):
        super().__init__(padding)


class ZeroPad1d(_ZeroPad):
    """Adds zeros around [N, C, L]: (left, right) or one number."""

    _axes = 1


class ZeroPad2d(_ZeroPad):
    """Adds zeros around [N, C, H, W]: (left, right, top, bottom) or one number."""


class ZeroPad3d(_ZeroPad):
    """Adds zeros around [N, C, D, H, W]: (left, right, top, bottom, front, back) or one number."""

    _axes = 3


class _ConstantPad(_Pad):
    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Adds one number around [N, C, L]."""

    _axes = 1


class ConstantPad2d(_ConstantPad):
    """Adds one number around [N, C, H, W]."""


class ConstantPad3d(_ConstantPad):
    """Adds one number around [N, C, D, H, W]."""

    _axes = 3


class ReflectionPad1d(_ZeroPad):
    """Adds mirrored elements around [N, C, L], without the edge."""

    _axes, _mode = 1, "reflect"


class ReflectionPad2d(_ZeroPad):
    """Adds mirrored pixels around [N, C, H, W], without the edge."""

    _mode = "reflect"


class ReflectionPad3d(_ZeroPad):
    """Adds mirrored voxels around [N, C, D, H, W], without the edge."""

    _axes, _mode = 3, "reflect"


class ReplicationPad1d(_ZeroPad):
    """Repeats the edges of [N, C, L]."""

    _axes, _mode = 1, "replicate"


class ReplicationPad2d(_ZeroPad):
    """Repeats the edges of [N, C, H, W]."""

    _mode = "replicate"


class ReplicationPad3d(_ZeroPad):
    """Repeats the edges of [N, C, D, H, W]."""

    _axes, _mode = 3, "replicate"


class CircularPad1d(_ZeroPad):
    """Continues [N, C, L] at each end with its other end."""

    _axes, _mode = 1, "circular"


class CircularPad2d(_ZeroPad):
    """Continues [N, C, H, W] on each side with its other side."""

    _mode = "circular"


class CircularPad3d(_ZeroPad):
    """Continues [N, C, D, H, W] on each side with its other side."""

    _axes, _mode = 3, "circular"
