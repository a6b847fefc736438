"""Softmax and its logarithm along one axis."""

from __future__ import annotations

from typing import Any

from dyn.core.dispatch import apply
from dyn.core.errors import ShapeError
from dyn.core.lift import rank_of
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import softmax as kernels
from dyn.ops.infer import Type, axis_of, need_float
from dyn.ops.shape import as_line


def _infer(x: Type, *, axis: int) -> Type:
    need_float("x", x)
    if not x.shape:
        raise ShapeError("a 0-d tensor has no axis to normalise over")
    return x


def _infer_grad(g: Type, out: Type, *, axis: int) -> Type:
    return out


@op(infer=_infer)
def _softmax(x, *, axis):
    """exp(x) / sum(exp(x)) along an axis. ONNX: Softmax."""
    return kernels.softmax(x, axis)


@_softmax.vjp("x")
def _(g, *, out, axis):
    return _softmax_grad(g, out, axis=axis)


@op(infer=_infer_grad)
def _softmax_grad(g, out, *, axis):
    """out * (g - sum(g * out)). ONNX: Mul, ReduceSum, Sub."""
    return kernels.softmax_grad(g, out, axis)


_softmax.fused_vjp("x")(_softmax_grad.kernel)


@_softmax_grad.vjp("g")
def _(gg, *, out, axis):
    return _softmax_grad(gg, out, axis=axis)


@_softmax_grad.vjp("out")
def _(gg, *, g, out, axis):
    inner = OPS["sum"](g * out, axes=(axis,), keepdims=True)
    outer = OPS["sum"](gg * out, axes=(axis,), keepdims=True)
    return gg * (g - inner) - g * outer


@op(infer=_infer)
def _log_softmax(x, *, axis):
    """x - log(sum(exp(x))) along an axis. ONNX: LogSoftmax."""
    return kernels.log_softmax(x, axis)


@_log_softmax.vjp("x")
def _(g, *, out, axis):
    return _log_softmax_grad(g, out, axis=axis)


@op(infer=_infer_grad)
def _log_softmax_grad(g, out, *, axis):
    """g - exp(out) * sum(g). ONNX: Exp, ReduceSum, Mul, Sub."""
    return kernels.log_softmax_grad(g, out, axis)


_log_softmax.fused_vjp("x")(_log_softmax_grad.kernel)


@_log_softmax_grad.vjp("g")
def _(gg, *, out, axis):
    return gg - OPS["sum"](gg * OPS["exp"](out), axes=(axis,), keepdims=True)


@_log_softmax_grad.vjp("out")
def _(gg, *, g, out, axis):
    return -(gg * OPS["exp"](out) * OPS["sum"](g, axes=(axis,), keepdims=True))


def softmax(x: Tensor, axis: int = -1, dtype: Any = None) -> Tensor:
    """Exponentials that add up to one along `axis`.

    Args:
        x: any shape, floating point.
        axis: the axis that adds up to one.
        dtype: what x is cast to first.

    Returns:
        The shape of x. A row with a NaN is NaN; -inf becomes 0. ONNX: Softmax.
    """
    if dtype is not None:
        x = x.astype(dtype)
    ndim = rank_of(x)
    if not ndim:
        return as_line(softmax, x, axis)
    return apply(_softmax, (x,), (axis_of(axis, ndim),))


def log_softmax(x: Tensor, axis: int = -1, dtype: Any = None) -> Tensor:
    """Logarithm of `softmax`, computed without under- or overflow. ONNX: LogSoftmax."""
    if dtype is not None:
        x = x.astype(dtype)
    ndim = rank_of(x)
    if not ndim:
        return as_line(log_softmax, x, axis)
    return apply(_log_softmax, (x,), (axis_of(axis, ndim),))


__all__ = ["log_softmax", "softmax"]
