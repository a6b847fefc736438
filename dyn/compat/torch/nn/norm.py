"""Normalisation: dyn's layers with PyTorch's names, momentum and unbiased running variance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dyn.compat.torch.nn.linear import finish
from dyn.compat.torch.nn.module import Mixin, Module
from dyn.compat.torch.nn.settings import Setting, spacing_or
from dyn.compat.torch.nn.unbatched import layer_of_single
from dyn.compat.torch.tensor import Base
from dyn.core.lift import scalar
from dyn.nn import functional as F
from dyn.nn import group_norm, norm
from dyn.ops.unary import cast

_ONE = scalar(1, np.dtype(np.int64))


def need_several(input: Any) -> None:
    """Refuse channels of one element, which has no variance, in PyTorch's words."""
    if math.prod(input._read().shape[2:]) == 1:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {input.shape}"
        )


def _forget(module: Any) -> None:
    """Set running statistics, if there are any, to what they begin with."""
    if module.track_running_stats:
        for buffer, value in zip(module.buffers(), (0, 1, 0), strict=True):
            buffer.fill_(value)


class _BatchNorm(Mixin):
    """dyn's batch normalisation with other names of its buffers, and a count of the batches."""

    _statistics = ("running_mean", "running_var")
    _unbiased = True
    _ranks: tuple[int, ...]
    _momentum: Any

    eps = Setting("_epsilon")
    # dyn keeps a share of the old statistics; PyTorch says which share of the new ones is taken.
    momentum = Setting("_momentum", lambda share: 1.0 - (share or 0.0))

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        # The batch normalisation of dyn comes next among the bases.
        super().__init__(
            num_features,
            1.0 - (momentum or 0.0),
            eps,
            None if affine else False,
            None if affine and bias else False,
        )
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.register_buffer("num_batches_tracked", Base._of(np.zeros((), np.int64)))
        if not track_running_stats:
            self.running_mean = self.running_var = self.num_batches_tracked = None
        finish(self, device, dtype)

    def forward(self, input: Any) -> Any:
        if self._ranks and input.ndim not in self._ranks:
            wanted = " or ".join(f"{rank}D" for rank in self._ranks)
            raise ValueError(f"expected {wanted} input (got {input.ndim}D input)")
        if self.training and input._read().size == input._read().shape[1]:
            raise ValueError(
                f"Expected more than 1 value per channel when training, got input size "
                f"{input.shape}"
            )
        if self.training and self.track_running_stats:
            self._count()
        return super().forward(input)

    def _count(self) -> None:
        tracked: Any = self.num_batches_tracked
        tracked._assign(tracked + _ONE)
        if self.momentum is None:
            # The mean over all batches so far: each counts as much as any other.
            self.__dict__["_momentum"] = 1.0 - 1.0 / cast(tracked, self._dtype)

    def reset_running_stats(self) -> None:
        """Forget the batches seen: means 0, variances 1."""
        _forget(self)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm, norm.BatchNorm1D, Module):
    """Batch normalisation of [N, C] or [N, C, L]; the running variance is unbiased."""


class BatchNorm2d(_BatchNorm, norm.BatchNorm2D, Module):
    """Batch normalisation of [N, C, H, W]; the running variance is unbiased."""


class BatchNorm3d(_BatchNorm, norm.BatchNorm3D, Module):
    """Batch normalisation of [N, C, D, H, W]; the running variance is unbiased."""


class LayerNorm(norm.LayerNorm, Module):
    """Normalises each row over its last axes: see `dyn.nn.LayerNorm`."""

    eps = Setting("_epsilon")

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        scale = None if elementwise_affine else False
        super().__init__(normalized_shape, eps, scale, scale if bias else False)
        self.normalized_shape, self.eps = tuple(self._normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        finish(self, device, dtype)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class GroupNorm(group_norm.GroupNorm, Module):
    """Normalises groups of channels over each sample: see `dyn.nn.GroupNorm`."""

    eps = Setting("_epsilon")

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        if num_channels % num_groups:
            raise ValueError("num_channels must be divisible by num_groups")
        scale = None if affine else False
        super().__init__(num_groups, num_channels, eps, scale, scale if bias else False)
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps, self.affine = eps, affine
        finish(self, device, dtype)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class _InstanceNorm(Mixin):
    """Normalisation of single channels, with running statistics if they are asked for."""

    _axes: int

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ):
        scale = None if affine else False
        super().__init__(num_features, eps, 0.9, scale, scale if bias else False)
        self.weight = self.scale
        del self.scale
        if affine and bias:
            # The weight goes before the bias in state dictionaries.
            self._kinds["bias"] = self._kinds.pop("bias")
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        own = np.dtype(self._dtype)
        for name, start in (
            ("running_mean", np.zeros(num_features, own)),
            ("running_var", np.ones(num_features, own)),
            ("num_batches_tracked", np.zeros((), np.int64)),
        ):
            self.register_buffer(name, Base._of(start) if track_running_stats else None)
        finish(self, device, dtype)

    def forward(self, input: Any) -> Any:
        if input.ndim != self._axes + 2:
            wanted = f"{self._axes + 1}D or {self._axes + 2}D"
            raise ValueError(f"expected {wanted} input (got {input.ndim}D input)")
        own = self.training or not self.track_running_stats
        if own:
            need_several(input)
        return F.instance_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, own,
            1.0 - (self.momentum or 0.0), self.eps,
        )  # fmt: skip

    def reset_running_stats(self) -> None:
        """Forget what was seen: means 0, variances 1."""
        _forget(self)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


@layer_of_single(1)
class InstanceNorm1d(_InstanceNorm, group_norm.InstanceNorm1D, Module):
    """Normalises each channel of each sample of [N, C, L]."""

    _axes = 1


@layer_of_single(2)
class InstanceNorm2d(_InstanceNorm, group_norm.InstanceNorm2D, Module):
    """Normalises each channel of each sample of [N, C, H, W]."""

    _axes = 2


@layer_of_single(3)
class InstanceNorm3d(_InstanceNorm, group_norm.InstanceNorm3D, Module):
    """Normalises each channel of each sample of [N, C, D, H, W]."""

    _axes = 3


class RMSNorm(group_norm.RMSNorm, Module):
    """Divides each row by the root of its mean square: see `dyn.nn.RMSNorm`."""

    eps = Setting("_epsilon", spacing_or)

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        scale = None if elementwise_affine else False
        super().__init__(normalized_shape, spacing_or(eps), scale)
        self.normalized_shape, self.eps = tuple(self._normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        finish(self, device, dtype)

    def forward(self, input: Any) -> Any:
        epsilon = spacing_or(self.eps, input._read().dtype)
        return F.rms_norm(input, self._normalized_shape, self.weight, eps=epsilon)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class LocalResponseNorm(group_norm.LocalResponseNorm, Module):
    """Divides each element by a power of its neighbours in other channels."""

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
