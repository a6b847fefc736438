"""Dropout: elements set to zero at random in training, nothing in inference."""

from __future__ import annotations

from typing import Any

from dyn.core import rng
from dyn.core.errors import AttributeValueError
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import dropout as kernels
from dyn.ops.infer import BOOL, Type, axes_of, need_float

MODES = ("upscale_in_train", "downscale_in_infer")


def _scale(p: float, mode: str) -> float:
    """What kept elements are multiplied by in training."""
    return 1.0 / (1.0 - p) if mode == "upscale_in_train" and p < 1 else 1.0


def _infer_dropout(x: Type, *, p: float, mode: str) -> list[Type]:
    need_float("x", x)
    if not 0 <= p <= 1:
        raise AttributeValueError(f"p is a probability between 0 and 1, got {p}")
    if mode not in MODES:
        raise AttributeValueError(f"mode {mode!r} is not one of {', '.join(MODES)}")
    return [x, Type(x.shape, BOOL)]


@op(infer=_infer_dropout, outputs=("out", "mask"), random=True)
def _dropout(x, *, p, mode):
    """Each element kept with probability 1 - p, else 0. ONNX: Dropout with training_mode."""
    return kernels.dropout(x, rng.generator(), p=p, scale=_scale(p, mode))


@_dropout.vjp("x")
def _(g, *, mask, p, mode):
    return _dropout_grad(g, mask, p=p, mode=mode)


@op(infer=lambda g, mask, *, p, mode: g)
def _dropout_grad(g, mask, *, p, mode):
    """g where the mask holds, scaled as the output was. ONNX: Where, Mul."""
    return kernels.apply(g, mask, scale=_scale(p, mode))


@_dropout_grad.vjp("g")
def _(gg, *, mask, p, mode):
    return _dropout_grad(gg, mask, p=p, mode=mode)


def dropout(
    x: Tensor,
    p: float = 0.5,
    axis: Any = None,
    training: bool = True,
    mode: str = "upscale_in_train",
) -> Tensor:
    """Set elements to zero with probability p.

    Args:
        x: any shape, floating point.
        p: probability of a zero.
        axis: axes along which elements are drawn; along the others one draw counts for all
            (axis=[0, 1] drops whole channels). All axes by default.
        training: False returns x itself, or x * (1 - p) in mode "downscale_in_infer".
        mode: "upscale_in_train" multiplies what is kept by 1 / (1 - p) in training;
            "downscale_in_infer" leaves it and multiplies by 1 - p in inference.

    Returns:
        The shape of x.

    Source: Srivastava et al., JMLR 2014. ONNX: Dropout with training_mode, or nothing.
    """
    if not 0 <= p <= 1:
        raise AttributeValueError(f"p is a probability between 0 and 1, got {p}", op="dropout")
    if not training:
        return x * (1.0 - p) if mode == "downscale_in_infer" else x
    if p == 0:
        return x
    if axis is None:
        return _dropout(x, p=float(p), mode=mode)
    drawn = axes_of(axis, x.ndim)
    shape = tuple(n if i in drawn else 1 for i, n in enumerate(x.shape))
    ones = OPS["full"](shape=shape, value=1.0, dtype=x.dtype.name)
    return x * _dropout(ones, p=float(p), mode=mode)


def dropout2d(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set whole channels of x [N, C, H, W] to zero with probability p."""
    return dropout(x, p, axis=[0, 1], training=training)


def dropout3d(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set whole channels of x [N, C, D, H, W] to zero with probability p."""
    return dropout(x, p, axis=[0, 1], training=training)


def alpha_dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Dropout that keeps mean and variance of SELU activations.

    Dropped elements become alpha' = -1.7581, then all is scaled and shifted back.
    Source: Klambauer et al., arXiv 1706.02515.
    """
    if not 0 <= p <= 1:
        raise AttributeValueError(f"p is a probability between 0 and 1, got {p}", op="dropout")
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0.0
    low = -1.7580993408473766
    a = ((1 - p) * (1 + p * low * low)) ** -0.5
    b = -a * p * low
    ones = OPS["full"](shape=tuple(x.shape), value=1.0, dtype=x.dtype.name)
    kept = _dropout(ones, p=float(p), mode="downscale_in_infer")
    return (x * kept + (1.0 - kept) * low) * a + b


__all__ = ["alpha_dropout", "dropout", "dropout2d", "dropout3d"]
