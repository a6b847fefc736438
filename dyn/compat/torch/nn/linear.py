"""Linear, Bilinear, Embedding, Flatten and their like: dyn's layers under PyTorch's names."""

from __future__ import annotations

import math
from typing import Any

from dyn.compat.torch.nn.module import Module
from dyn.compat.torch.types import need_cpu
from dyn.nn import common
from dyn.nn import initializer as init
from dyn.nn.functional.table import rows_of


def even(fan_in: int) -> init.Uniform:
    """Where PyTorch's products start: evenly within 1 / sqrt(fan_in)."""
    bound = 1.0 / math.sqrt(fan_in) if fan_in > 0 else 0.0
    return init.Uniform(-bound, bound)


def finish(module: Any, device: Any, dtype: Any) -> None:
    """What every constructor ends with: the device must be the CPU, parameters get the dtype."""
    need_cpu(device)
    if dtype is not None:
        module.to(dtype=dtype)


class Identity(common.Identity, Module):
    """Returns its input; takes any arguments, so that it can stand for any module."""


class Linear(common.Linear, Module):
    """x @ weight.T + bias, with the weight as [out_features, in_features].

    It lies in memory as dyn's own layer has it, so the product is the same.
    """

    _transposed = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        start = even(in_features)
        super().__init__(in_features, out_features, start, start if bias else False)
        finish(self, device, dtype)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Bilinear(common.Bilinear, Module):
    """out[:, k] = x1 @ weight[k] @ x2 + bias[k]."""

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        start = even(in1_features)
        super().__init__(in1_features, in2_features, out_features, start, start if bias else False)
        if self.bias is not None:
            self.bias._array = self.bias._array.reshape(-1)
        finish(self, device, dtype)

    def extra_repr(self) -> str:
        first, second, out = self._sizes
        return (
            f"in1_features={first}, in2_features={second}, out_features={out}, "
            f"bias={self.bias is not None}"
        )


def limits_of(table: Any) -> str:
    """How an embedding prints what bounds its rows and scales their gradients."""
    most = "" if table.max_norm is None else f", max_norm={table.max_norm}"
    kind = "" if table.norm_type == 2 else f", norm_type={table.norm_type}"
    scaled = ", scale_grad_by_freq=True" if table.scale_grad_by_freq else ""
    return most + kind + scaled


class Embedding(common.Embedding, Module):
    """A row of the weight for every index; rows start Gaussian, that of `padding_idx` at zero.

    With `max_norm` the rows that are looked up are shortened in the weight, in training and in use.
    Gradients are dense, with `sparse` too.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Any = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(num_embeddings, embedding_dim, padding_idx, sparse, init.Normal(0.0, 1.0))
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx, self.max_norm, self.norm_type = self._padding_idx, max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        if _weight is not None:
            self.weight.set_value(_weight)
        self.weight.requires_grad_(not _freeze)
        finish(self, device, dtype)

    def forward(self, input: Any) -> Any:
        return rows_of(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type,
            self.scale_grad_by_freq,
        )  # fmt: skip

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None, **settings: Any
    ) -> Embedding:
        """An embedding of given rows, which are not trained unless `freeze` is False."""
        rows, width = embeddings.shape
        return cls(
            int(rows), int(width), padding_idx, _weight=embeddings, _freeze=freeze, **settings
        )

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        sparse = ", sparse=True" if self.sparse else ""
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}{limits_of(self)}{sparse}"


class Flatten(common.Flatten, Module):
    """Joins the axes from `start_dim` to `end_dim`: all but the batch by default."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__(start_dim, end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_axis}, end_dim={self.stop_axis}"


class Unflatten(common.Unflatten, Module):
    """Splits one axis into several sizes, one of which may be -1."""

    def __init__(self, dim: int, unflattened_size: Any):
        super().__init__(dim, tuple(unflattened_size))

    def extra_repr(self) -> str:
        return f"dim={self.axis}, unflattened_size={tuple(self.shape)}"
