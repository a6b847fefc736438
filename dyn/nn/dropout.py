"""Layers that drop elements at random in training and do nothing in use."""

from __future__ import annotations

from typing import Any

from dyn.core.errors import AttributeValueError
from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn.layer import Layer


class Dropout(Layer):
    """Sets elements to zero with probability p and scales the others by 1 / (1 - p).

    Args:
        p: probability of a zero.
        axis: axes along which elements are drawn; along the others one draw counts for all.
        mode: "upscale_in_train", or "downscale_in_infer" to scale by 1 - p in use instead.

    Source: Srivastava et al., JMLR 2014.
    """

    def __init__(
        self,
        p: float = 0.5,
        axis: Any = None,
        mode: str = "upscale_in_train",
        name: str | None = None,
    ):
        super().__init__()
        _check(p)
        if mode not in ("upscale_in_train", "downscale_in_infer"):
            raise AttributeValueError(
                f"mode argument should be 'downscale_in_infer' or 'upscale_in_train', not {mode!r}"
            )
        self.p, self.axis, self.mode = p, axis, mode

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, axis=self.axis, training=self.training, mode=self.mode)

    def extra_repr(self) -> str:
        return f"p={self.p}, axis={self.axis}, mode={self.mode}, inplace=False"


class Dropout2D(Layer):
    """Sets whole channels of [N, C, H, W] to zero with probability p. Source: arXiv 1411.4280."""

    def __init__(self, p: float = 0.5, data_format: str = "NCHW", name: str | None = None):
        super().__init__()
        _check(p)
        self.p, self.data_format = p, data_format

    def forward(self, input: Tensor) -> Tensor:
        drawn = [0, 1] if self.data_format == "NCHW" else [0, 3]
        return F.dropout(input, self.p, axis=drawn, training=self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, data_format={self.data_format}"


class Dropout3D(Layer):
    """Sets whole channels of [N, C, D, H, W] to zero with probability p."""

    def __init__(self, p: float = 0.5, data_format: str = "NCDHW", name: str | None = None):
        super().__init__()
        _check(p)
        self.p, self.data_format = p, data_format

    def forward(self, input: Tensor) -> Tensor:
        drawn = [0, 1] if self.data_format == "NCDHW" else [0, 4]
        return F.dropout(input, self.p, axis=drawn, training=self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, data_format={self.data_format}"


class AlphaDropout(Layer):
    """Dropout that keeps mean and variance of SELU activations. Source: arXiv 1706.02515."""

    def __init__(self, p: float = 0.5, name: str | None = None):
        super().__init__()
        _check(p)
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, training=self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def _check(p: float) -> None:
    if not isinstance(p, (int, float)) or not 0 <= p <= 1:
        raise AttributeValueError(f"p argument should between 0 and 1, got {p!r}")
