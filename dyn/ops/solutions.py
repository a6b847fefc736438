"""Systems of linear equations: determinants, inverses, solutions. Factors are in `decompose.py`.

ONNX has an operator for determinants alone: in a file the others are eliminations, a step after
the other. What cannot be solved is an error here; a file gives infinities or NaN instead.

Determinants and solutions have their factors as private outputs. Rules on arrays solve with those
again; rules made of ops solve with the matrix, whose gradients they have as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.dispatch import apply
from dyn.core.errors import DynError, ShapeError
from dyn.core.op import op
from dyn.core.tensor import Tensor
from dyn.kernels import factor as kernels
from dyn.kernels.factor import gradients
from dyn.ops.elementwise import multiply
from dyn.ops.infer import Type, broadcast_shapes, need_float, same_size, show
from dyn.ops.linalg import _matmul
from dyn.ops.matrix import _tril, _triu
from dyn.ops.shape import squeeze, swapaxes, unsqueeze

_NO_INVERSE = (
    "The diagonal element {element} is zero, the inversion could not be completed because the "
    "input matrix is singular."
)


class SingularError(DynError, RuntimeError, ValueError):
    """A matrix that cannot be inverted or factored."""


def refuse(name: str, shape: tuple[int, ...], failed: tuple[int, int] | None, why: str) -> None:
    """Raise SingularError if a matrix failed.

    Args:
        name: what was to be done, as PyTorch says it.
        shape: of the matrices.
        failed: number of the matrix, and what `why` calls {element}.
        why: the message.
    """
    if failed is not None:
        place = f"(Batch element {failed[0]}): " if len(shape) > 2 else ""
        raise SingularError(f"linalg.{name}: {place}{why.format(element=failed[1])}")


def _outer(x: Tensor, y: Tensor) -> Tensor:
    """x @ y.T of the last two axes; of single columns the product of each two elements."""
    columns = x.shape[-1]
    if isinstance(columns, int) and columns == 1:
        return multiply(x, swapaxes(y, -1, -2))
    return _matmul(x, y, transpose_y=True)


def need_square(name: str, x: Type) -> None:
    """Raise ShapeError unless `x` holds square matrices, DTypeError unless of real numbers."""
    need_float(name, x)
    if len(x.shape) < 2 or not same_size(x.shape[-1], x.shape[-2]):
        raise ShapeError(f"{name} must be square matrices (..., n, n), got {show(x.shape)}")


def _kept(x: Type, lead: tuple[Any, ...]) -> list[Type]:
    """Private outputs: factors and the order of their rows, in float32 for half precision."""
    wide = x.dtype if x.dtype.itemsize >= 4 else np.dtype(np.float32)
    return [Type((*lead, *x.shape[-2:]), wide), Type((*lead, x.shape[-1]), np.dtype(np.int64))]


def _solved_again(factors: np.ndarray, order: np.ndarray, y: np.ndarray | None) -> np.ndarray:
    """Solutions of x.T @ out = y for the matrices x with these factors; inverses without y."""
    out, failed = kernels.transposed_solve(factors, order, y)
    refuse("inv", factors.shape, failed, _NO_INVERSE)
    return out


def _infer_inverse(x: Type) -> Type:
    need_square("x", x)
    return x


def _need_sides(x: Type, y: Type) -> Type:
    need_square("x", x)
    if len(y.shape) < 2 or not same_size(x.shape[-1], y.shape[-2]):
        raise ShapeError(
            f"right-hand sides of {show(x.shape)} must be (..., {x.shape[-1]}, k), got "
            f"{show(y.shape)}"
        )
    return Type((*broadcast_shapes(x.shape[:-2], y.shape[:-2]), *y.shape[-2:]), y.dtype)


def _infer_solve(x: Type, y: Type) -> list[Type]:
    out = _need_sides(x, y)
    return [out, *_kept(x, out.shape[:-2])]


# ---- determinants ------------------------------------------------------------------------------


def _infer_det(x: Type) -> list[Type]:
    need_square("x", x)
    return [Type(x.shape[:-2], x.dtype), *_kept(x, x.shape[:-2])]


@op(infer=_infer_det, outputs=("out", "factors", "order"))
def _det(x):
    """Determinants of square matrices (..., n, n). ONNX: Det."""
    return kernels.det(x)


@_det.vjp("x")
def _(g, *, x, out, factors, order):
    return unsqueeze(g * out, [-1, -1]) * swapaxes(_inverse(x), -1, -2)


@_det.fused_vjp("x")
def _(g, *, out, factors, order):
    return gradients.det_grad(g, out, _solved_again(factors, order, None))


def det(x: Tensor) -> Tensor:
    """Determinants of square matrices (..., n, n); the gradient needs their inverses."""
    return _det(x)


def _infer_slogdet(x: Type) -> list[Type]:
    need_square("x", x)
    real = x.dtype if x.dtype.kind != "c" else kernels.real_of(x.dtype)
    lead = x.shape[:-2]
    return [Type(lead, x.dtype), Type(lead, real), *_kept(x, lead)]


@op(infer=_infer_slogdet, outputs=("sign", "size", "factors", "order"), public=2)
def _slogdet(x):
    """Sign of determinants of (..., n, n) and logarithm of their size. ONNX: Scan."""
    return kernels.slogdet(x)


@_slogdet.vjp("x")
def _(g, *, x, factors, order):
    # The sign does not change.
    return None if g[1] is None else unsqueeze(g[1], [-1, -1]) * swapaxes(_inverse(x), -1, -2)


@_slogdet.fused_vjp("x")
def _(g, *, factors, order):
    if g[1] is None:
        return None
    return gradients.slogdet_grad(g[1], _solved_again(factors, order, None))


def slogdet(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sign and logarithm of the size of the determinants of (..., n, n), without overflow.

    Of a singular matrix they are 0 and minus infinity.
    """
    return _slogdet(x)


# ---- inverses and solutions --------------------------------------------------------------------


@op(infer=_infer_inverse, promote="float")
def _inverse(x):
    """Inverses of square matrices (..., n, n). ONNX: Scan.

    Raises:
        SingularError: a matrix is singular.
    """
    out, failed = kernels.inverse(x)
    refuse("inv", x.shape, failed, _NO_INVERSE)
    return out


@_inverse.vjp("x")
def _(g, *, out):
    return -_matmul(_matmul(out, g, transpose_x=True), out, transpose_y=True)


_inverse.fused_vjp("x")(gradients.inverse_grad)


def inverse(x: Tensor) -> Tensor:
    """The inverses of square matrices (..., n, n).

    Raises:
        SingularError: a matrix is singular.
    """
    return _inverse(x)


@op(infer=_infer_solve, outputs=("out", "factors", "order"), promote="float")
def _solve(x, y):
    """Solutions of x @ out = y, (..., n, n) and (..., n, k), leading axes broadcast. ONNX: Scan.

    Raises:
        SingularError: a matrix is singular.
    """
    out, failed, factors, order = kernels.solve(x, y)
    refuse(
        "solve", x.shape, failed, "The solver failed because the input matrix is singular: its "
        "diagonal element {element} is zero after elimination.",
    )  # fmt: skip
    return out, factors, order


@_solve.vjp("x", "y")
def _(g, *, x, out, factors, order, wanted):
    gy = _solve(swapaxes(x, -1, -2), g)
    return _outer(-gy, out) if "x" in wanted else None, gy


@_solve.fused_vjp("x", "y")
def _(g, *, out, factors, order, wanted):
    gy = _solved_again(factors, order, g).astype(g.dtype, copy=False)
    return gradients.solve_grad(gy, out, wanted)


def solve(x: Tensor, y: Tensor) -> Tensor:
    """Solve x @ out = y.

    Args:
        x: (..., n, n).
        y: (..., n, k), or one vector per matrix, (n,) or (..., n) with the leading sizes of x.

    Raises:
        SingularError: a matrix is singular.
    """
    vectors = y.ndim == 1 or (y.ndim == x.ndim - 1 and tuple(y.shape) == tuple(x.shape[:-1]))
    found = _solve(x, unsqueeze(y, -1) if vectors else y)
    return squeeze(found, -1) if vectors else found


# ---- triangular systems ------------------------------------------------------------------------


def _infer_triangular(
    x: Type, y: Type, *, upper: bool, transpose: bool, unitriangular: bool
) -> Type:
    return _need_sides(x, y)


@op(infer=_infer_triangular, promote="float")
def _triangular_solve(x, y, *, upper, transpose, unitriangular):
    """Solutions of x @ out = y where x is triangular, leading axes broadcast. ONNX: Scan."""
    return kernels.triangular_solve(x, y, upper=upper, transpose=transpose, unit=unitriangular)


@_triangular_solve.vjp("x", "y")
def _(g, *, x, out, upper, transpose, unitriangular, wanted):
    gy = _triangular_solve(x, g, upper=upper, transpose=not transpose, unitriangular=unitriangular)
    if "x" not in wanted:
        return None, gy
    gx = _outer(-out, gy) if transpose else _outer(-gy, out)
    # The diagonal is not read if it counts as ones.
    beyond = 1 if unitriangular else 0
    return _triu(gx, diagonal=beyond) if upper else _tril(gx, diagonal=-beyond), gy


_triangular_solve.fused_vjp("x", "y")(gradients.triangular_grad)


def triangular_solve(
    x: Tensor, y: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Tensor:
    """Solve x @ out = y where x is triangular.

    Args:
        x: (..., n, n); the other triangle is not read.
        y: (..., n, k).
        upper: which triangle x is.
        transpose: solve x.T @ out = y.
        unitriangular: the diagonal counts as ones.
    """
    how = bool(upper), bool(transpose), bool(unitriangular)
    return apply(_triangular_solve, (x, y), how)


def cholesky_solve(x: Tensor, y: Tensor, upper: bool = False) -> Tensor:
    """Solve A @ out = x where y is the Cholesky factor of A."""
    half = triangular_solve(y, x, upper, transpose=upper)
    return triangular_solve(y, half, upper, transpose=not upper)


__all__ = [
    "SingularError",
    "cholesky_solve",
    "det",
    "inverse",
    "slogdet",
    "solve",
    "triangular_solve",
]
