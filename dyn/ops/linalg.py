"""Matrix products: `matmul`, `linear` and their thin wrappers.

Their gradients are products again, with the transposes as attributes, so that nothing is
transposed in memory. Sums of products in other shapes are in `products.py`.
"""

from __future__ import annotations

from typing import Any

from dyn.core.dispatch import apply
from dyn.core.errors import ShapeError
from dyn.core.lift import rank_of
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import gemm
from dyn.kernels.elementwise import binary
from dyn.ops.infer import (
    Type,
    broadcast_shapes,
    need_float,
    need_rank,
    need_same_dtype,
    product,
    same_size,
    show,
)
from dyn.ops.shape import _reshape, _squeeze, _transpose, _unsqueeze

# ---- matmul ------------------------------------------------------------------------------------


def _swapped(shape: tuple[Any, ...], swap: bool) -> tuple[Any, ...]:
    return (*shape[:-2], shape[-1], shape[-2]) if swap and len(shape) > 1 else shape


def _infer_matmul(x: Type, y: Type, *, transpose_x: bool, transpose_y: bool) -> Type:
    if not x.shape or not y.shape:
        raise ShapeError(
            f"operands need at least one axis, got {show(x.shape)} and {show(y.shape)}; use x * y"
        )
    a, b = _swapped(x.shape, transpose_x), _swapped(y.shape, transpose_y)
    inner = b[max(-2, -len(b))]
    if not same_size(a[-1], inner):
        raise ShapeError(
            f"shapes {show(x.shape)} and {show(y.shape)} do not fit: the last size {a[-1]} of the "
            f"first must equal {inner}, the {'second last' if len(b) > 1 else 'only'} size of the "
            "second" + (" (after transposing)" if transpose_x or transpose_y else "")
        )
    batch = broadcast_shapes(a[:-2], b[:-2])
    rows = a[-2:-1] if len(a) > 1 else ()
    columns = b[-1:] if len(b) > 1 else ()
    return Type((*batch, *rows, *columns), x.dtype)


@op(infer=_infer_matmul, promote=True)
def _matmul(x, y, *, transpose_x=False, transpose_y=False):
    """Matrix product over the last two axes, leading axes broadcast. ONNX: MatMul.

    Vectors count as a row (x) or a column (y) and lose that axis again. Source: numpy.matmul.
    """
    if transpose_x and x.ndim > 1:
        x = x.swapaxes(-1, -2)
    if transpose_y and y.ndim > 1:
        y = y.swapaxes(-1, -2)
    return gemm.matmul(x, y)


@_matmul.vjp("x")
def _(g, *, y, x_shape, transpose_x, transpose_y):
    if len(x_shape) == 1:
        # y: (..., k, n) or (k,); g has lost the row axis.
        if y.ndim == 1:
            return g * y
        g = _unsqueeze(g, axes=(g.ndim - 1,))
        return _reduce_lead(_matmul(g, y, transpose_y=not transpose_y), x_shape)
    if y.ndim == 1:
        gx = _unsqueeze(g, axes=(g.ndim,)) * y
        return _transpose(gx, perm=_swap_last(gx.ndim)) if transpose_x else gx
    if transpose_x:
        return apply(_matmul, (y, g), (transpose_y, True))
    return apply(_matmul, (g, y), (False, not transpose_y))


@_matmul.vjp("y")
def _(g, *, x, y_shape, transpose_x, transpose_y):
    if len(y_shape) == 1:
        if x.ndim == 1:
            return g * x
        g = _unsqueeze(g, axes=(g.ndim,))
        gy = _matmul(x, g, transpose_x=not transpose_x)
        return _reduce_lead(_squeeze(gy, axes=(gy.ndim - 1,)), y_shape)
    if x.ndim == 1:
        gy = _unsqueeze(x, axes=(1,)) * _unsqueeze(g, axes=(g.ndim - 1,))
        return _transpose(gy, perm=_swap_last(gy.ndim)) if transpose_y else gy
    if transpose_y:
        return apply(_matmul, (g, x), (True, transpose_x))
    return apply(_matmul, (x, g), (not transpose_x, False))


def _swap_last(ndim: int) -> tuple[int, ...]:
    return (*range(ndim - 2), ndim - 1, ndim - 2)


def _reduce_lead(g: Tensor, shape: tuple[Any, ...]) -> Tensor:
    """Sum over the axes that the vector operand was broadcast along, row axis included."""
    return OPS["sum"](g, axes=tuple(range(g.ndim - len(shape))), keepdims=False)


def matmul(x: Any, y: Any, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """Matrix product over the last two axes; leading axes broadcast.

    Args:
        x: (..., m, k), or (k,).
        y: (..., k, n), or (k,).
        transpose_x, transpose_y: exchange the last two axes of that operand first.

    Returns:
        (..., m, n), without the axis of an operand that was a vector.

    Raises:
        ShapeError: the two sizes k differ, or leading sizes do not broadcast.
    """
    return apply(_matmul, (x, y), (bool(transpose_x), bool(transpose_y)))


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Matrix product; the same as `matmul`, as in Paddle."""
    return _matmul(input, mat2)


def bmm(x: Tensor, y: Tensor) -> Tensor:
    """Products of a batch of matrices: (b, m, k) and (b, k, n) give (b, m, n)."""
    if rank_of(x) != 3 or rank_of(y) != 3:
        raise ShapeError(f"bmm needs 3 axes each, got {show(x.shape)} and {show(y.shape)}")
    return _matmul(x, y)


def mv(x: Tensor, vec: Tensor) -> Tensor:
    """Matrix times vector: (m, k) and (k,) give (m,)."""
    if x.ndim != 2 or vec.ndim != 1:
        raise ShapeError(f"mv needs (m, k) and (k,), got {show(x.shape)} and {show(vec.shape)}")
    return _matmul(x, vec)


def dot(x: Tensor, y: Tensor) -> Tensor:
    """Inner product over the last axis of vectors (n,) or batches of them (b, n)."""
    if x.ndim == 1 == y.ndim:
        return _matmul(x, y)
    return OPS["sum"](x * y, axes=(x.ndim - 1,), keepdims=False)


def inner(x: Tensor, y: Tensor) -> Tensor:
    """Sums of products over the last axes of both: (..., k) and (..., k)."""
    if x.ndim == 0 or y.ndim == 0:
        return x * y
    k = x.shape[-1]
    flat = _matmul(
        _reshape(x, shape=(product(x.shape[:-1]), k)),
        _reshape(y, shape=(product(y.shape[:-1]), y.shape[-1])),
        transpose_y=True,
    )
    return _reshape(flat, shape=(*x.shape[:-1], *y.shape[:-1]))


def _infer_outer(x: Type, y: Type) -> Type:
    need_rank("x", x, 1)
    need_rank("y", y, 1)
    return Type((*x.shape, *y.shape), x.dtype)


@op(infer=_infer_outer, promote=True)
def _outer(x, y):
    """All products of the elements of two vectors. ONNX: Unsqueeze, Mul (And)."""
    return binary("multiply", x.reshape(-1, 1), y)


@_outer.vjp("x")
def _(g, *, y):
    return apply(_matmul, (g, y), (False, False))


@_outer.vjp("y")
def _(g, *, x):
    return apply(_matmul, (x, g), (False, False))


def outer(x: Tensor, y: Tensor) -> Tensor:
    """All products of the elements of two flattened tensors: (m,) and (n,) give (m, n)."""
    x = x if x.ndim == 1 else _reshape(x, shape=(product(x.shape),))
    return apply(_outer, (x, y if y.ndim == 1 else _reshape(y, shape=(product(y.shape),))))


def addmm(input: Tensor, x: Tensor, y: Tensor, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """beta * input + alpha * (x @ y) for matrices."""
    made = _matmul(x, y)
    made = made if alpha == 1 else made * alpha
    return (input if beta == 1 else input * beta) + made


# ---- linear ------------------------------------------------------------------------------------


def _infer_linear(x: Type, w: Type, b: Type | None, *, transpose_w: bool) -> Type:
    need_float("x", x)
    need_same_dtype(x=x, weight=w, bias=b)
    need_rank("weight", w, 2)
    rows, columns = (w.shape[1], w.shape[0]) if transpose_w else w.shape
    if not x.shape or not same_size(x.shape[-1], rows):
        raise ShapeError(
            f"x has shape {show(x.shape)}; its last size must be {rows}, the number of input "
            f"features of the weight {show(w.shape)}"
        )
    if b is not None and (len(b.shape) != 1 or not same_size(b.shape[0], columns)):
        raise ShapeError(f"bias has shape {show(b.shape)}, wanted [{columns}]")
    return Type((*x.shape[:-1], columns), x.dtype)


@op(infer=_infer_linear)
def _linear(x, w, b=None, *, transpose_w=False):
    """x @ w + b over the last axis: x (..., in), w (in, out), b (out,). ONNX: Gemm, or MatMul, Add.

    With `transpose_w` the weight is (out, in), as PyTorch keeps it.
    """
    return gemm.linear(x, w.T if transpose_w else w, b)


@_linear.vjp("x", "w", "b", only={"x": "w"})
def _(g, *, x, w, transpose_w, wanted):
    names = tuple([name for name in "xwb" if name in wanted])
    made = apply(_linear_grad, (g, w, x), (transpose_w, names))
    by_name = dict(zip(names, made, strict=True))
    return by_name.get("x"), by_name.get("w"), by_name.get("b")


@_linear.fused_vjp("x", "w", "b")
def _(g, *, x, w, transpose_w, wanted):
    return gemm.linear_vjp(g, w, x, transposed=transpose_w, wanted=wanted)


def _infer_linear_grad(
    g: Type, w: Type, x: Type | None, *, transpose_w: bool, of: tuple[str, ...]
) -> list[Type]:
    inner = w.shape[1] if transpose_w else w.shape[0]
    types = {
        "x": Type((*g.shape[:-1], inner), g.dtype),
        "w": w,
        "b": Type((g.shape[-1],), g.dtype),
    }
    return [types[name] for name in of]


@op(infer=_infer_linear_grad, outputs=("grads",), public=None)
def _linear_grad(g, w, x=None, *, transpose_w, of):
    """Gradients of `linear`: those `of` its inputs "x", "w", "b". ONNX: Gemm, ReduceSum.

    x is None if the gradient of w is not among them.
    """
    return gemm.linear_grad(g, w, x, transposed=transpose_w, wanted=of)


@_linear_grad.vjp("g", "w", "x", sparse=True)
def _(seeds, *, g, w, x, transpose_w, of, wanted):
    # Each gradient is linear in both of its factors: its own gradients are those of a linear layer
    # again, with what reached it in the place of x or w.
    of_x, of_w, of_b = map(dict(zip(of, seeds, strict=True)).get, "xwb")
    made: dict[str, Tensor] = {}
    if "g" in wanted:
        pairs = [(a, b) for a, b in ((of_x, w), (x, of_w)) if a is not None and b is not None]
        for a, b in pairs:
            more = apply(_linear, (a, b, None if made else of_b), (transpose_w,))
            made["g"] = made["g"] + more if made else more
        if not pairs:
            made["g"] = OPS["expand"](of_b, shape=tuple(g.shape))
    if "w" in wanted and of_x is not None:
        (made["w"],) = apply(_linear_grad, (g, w, of_x), (transpose_w, ("w",)))
    if "x" in wanted and of_w is not None:
        (made["x"],) = apply(_linear_grad, (g, of_w, None), (transpose_w, ("x",)))
    return made.get("g"), made.get("w"), made.get("x")


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, transpose_weight: bool = False
) -> Tensor:
    """Apply weight and bias over the last axis: `x @ weight + bias`.

    Args:
        x: (..., in_features), floating point.
        weight: (in_features, out_features), dtype of x.
        bias: (out_features,) or None.
        transpose_weight: the weight is (out_features, in_features), as PyTorch keeps it.

    Returns:
        (..., out_features).
    """
    return apply(_linear, (x, weight, bias), (transpose_weight,))


__all__ = [
    "addmm",
    "bmm",
    "dot",
    "inner",
    "linear",
    "matmul",
    "mm",
    "mv",
    "outer",
]
