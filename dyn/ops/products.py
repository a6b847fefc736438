"""Sums of products in other shapes than a matrix product: einsum, tensordot, kron, cross.

`tensordot` is composed of other ops. Distances are in `distance.py`.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from operator import methodcaller
from typing import Any

import numpy as np

from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError, ShapeError
from dyn.core.lift import rank_of
from dyn.core.op import OPS, op
from dyn.core.tensor import Tensor
from dyn.kernels import einsum as kernels
from dyn.kernels import vectors
from dyn.kernels.elementwise import binary, kernel_size
from dyn.kernels.reduce import sum
from dyn.ops.infer import Type, axis_of, broadcast_shapes, product, same_size, show
from dyn.ops.linalg import _matmul
from dyn.ops.matrix import diagonal
from dyn.ops.shape import _reshape, _transpose

_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)

# ---- einsum ------------------------------------------------------------------------------------


def _is_one(n: Any) -> bool:
    """Whether a size is 1 and no symbol, and so broadcasts."""
    return isinstance(n, int) and n == 1


def _infer_einsum(*xs: Type, equation: str) -> Type:
    terms, out = equation.split("->")
    sizes: dict[str, Any] = {}
    for term, x in zip(terms.split(","), xs, strict=True):
        if len(term) != len(x.shape):
            raise ShapeError(f"{term!r} names {len(term)} axes, the tensor is {show(x.shape)}")
        for letter, n in zip(term, x.shape, strict=True):
            known = sizes.setdefault(letter, n)
            if _is_one(known):
                sizes[letter] = n
            elif not _is_one(n) and not same_size(known, n):
                raise ShapeError(f"axis {letter!r} of {equation!r} has sizes {known} and {n}")
    return Type(tuple(sizes[letter] for letter in out), xs[0].dtype)


@op(infer=_infer_einsum, promote=True)
def _einsum(*xs, equation):
    """Sum of products in Einstein's notation, explicit form ("ij,jk->ik"). ONNX: Einsum."""
    return kernels.einsum(equation, *xs)


@_einsum.vjp("xs")
def _(g, *, xs, xs_shape, equation):
    terms, out = equation.split("->")
    parts = terms.split(",")
    grads = []
    for i, term in enumerate(parts):
        others = [p for j, p in enumerate(parts) if j != i]
        operands = [x for j, x in enumerate(xs) if j != i]
        known = set(out).union(*map(set, others)) if others else set(out)
        seen = "".join(c for c in term if c in known)
        made = _einsum(g, *operands, equation=f"{','.join([out, *others])}->{seen}")
        # Letters of this operand alone were summed over, and those of size 1 elsewhere repeated it:
        # the gradient repeats along both. Where this operand was repeated, the walk sums.
        sizes = dict(zip(seen, made.shape, strict=True))
        shape = tuple(xs_shape[i])
        wide = tuple(
            n if _is_one(sizes.get(c, 1)) else sizes[c] for c, n in zip(term, shape, strict=True)
        )
        if seen != term:
            made = _reshape(made, shape=tuple(sizes.get(c, 1) for c in term))
        if any(
            _is_one(sizes.get(c, 1)) and not _is_one(n) for c, n in zip(term, wide, strict=True)
        ):
            made = OPS["expand"](made, shape=wide)
        grads.append(made)
    return grads


def einsum(equation: str, *operands: Any) -> Tensor:
    """Sum of products in Einstein's notation, as `numpy.einsum`; "..." stands for leading axes.

    A letter that is repeated within an operand takes its diagonal: "ii->i", "ii" for the trace.

    Raises:
        AttributeValueError: the equation is malformed.
        ShapeError: axes of one letter have different sizes.
    """
    xs = (
        list(operands[0])
        if len(operands) == 1 and not isinstance(operands[0], Tensor)
        else operands
    )
    full = _explicit(equation, tuple([rank_of(x) for x in xs]))
    if any(len(set(term)) < len(term) for term in full.partition("->")[0].split(",")):
        full, xs = _diagonals(full, xs)
    return _einsum(*xs, equation=full)


def _diagonals(equation: str, xs: Sequence[Tensor]) -> tuple[str, list[Tensor]]:
    """The equation and operands after diagonals are taken where a term repeats a letter."""
    left, _, right = equation.partition("->")
    terms, taken = [], []
    for term, x in zip(left.split(","), xs, strict=True):
        for letter in [c for i, c in enumerate(term) if c in term[:i]]:
            first, second = term.index(letter), term.rindex(letter)
            if not same_size(x.shape[first], x.shape[second]):
                raise ShapeError(
                    f"axis {letter!r} of {equation!r} has sizes {x.shape[first]} and "
                    f"{x.shape[second]} in one operand; a diagonal needs equal ones"
                )
            x = diagonal(x, 0, first, second)
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + letter
        terms.append(term)
        taken.append(x)
    return f"{','.join(terms)}->{right}", taken


@lru_cache(1024)
def _explicit(equation: str, ranks: tuple[int, ...]) -> str:
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if not set(text) <= {*string.ascii_letters, *",.->"} or text.count("->") > 1:
        raise AttributeValueError(
            f"{equation!r} is no equation of letters, commas, '...' and one '->', as 'ij,jk->ik'"
        )
    if len(terms) != len(ranks):
        raise AttributeValueError(
            f"{equation!r} has {len(terms)} operands, {len(ranks)} were given"
        )
    free = [c for c in string.ascii_letters if c not in text]
    widest = max(
        (n - len(t.replace("...", "")) for t, n in zip(terms, ranks, strict=True) if "..." in t),
        default=0,
    )
    dots = "".join(free[:widest])
    full = []
    for term, ndim in zip(terms, ranks, strict=True):
        named = term.replace("...", "")
        full.append(term.replace("...", dots[widest - (ndim - len(named)) :] if widest else ""))
    if not arrow:
        joined = "".join(full)
        right = "..." if "..." in text else ""
        right += "".join(sorted(c for c in set(joined) if joined.count(c) == 1 and c not in dots))
    right = right.replace("...", dots)
    for letter in right:
        if right.count(letter) > 1 or not any(letter in term for term in full):
            raise AttributeValueError(
                f"{equation!r} has {letter!r} in its output, where every letter of an operand may "
                "stand once and no other letter can"
            )
    return f"{','.join(full)}->{right}"


# ---- made of products --------------------------------------------------------------------------


def tensordot(x: Tensor, y: Tensor, axes: Any = 2) -> Tensor:
    """Sum of products over pairs of axes; an int means the last of x with the first of y."""
    if isinstance(axes, int):
        ax, ay = list(range(x.ndim - axes, x.ndim)), list(range(axes))
    else:
        ax, ay = ([a] if isinstance(a, int) else list(a) for a in axes)
        ax, ay = [axis_of(a, x.ndim) for a in ax], [axis_of(a, y.ndim) for a in ay]
    if len(ax) != len(ay):
        raise AttributeValueError(f"axes {axes} pair {len(ax)} axes with {len(ay)}")
    free_x = [a for a in range(x.ndim) if a not in ax]
    free_y = [a for a in range(y.ndim) if a not in ay]
    k = product([x.shape[a] for a in ax])
    left = _reshape(
        _transpose(x, perm=(*free_x, *ax)), shape=(product([x.shape[a] for a in free_x]), k)
    )
    right = _reshape(
        _transpose(y, perm=(*ay, *free_y)),
        shape=(product([y.shape[a] for a in ay]), product([y.shape[a] for a in free_y])),
    )
    shape = (*(x.shape[a] for a in free_x), *(y.shape[a] for a in free_y))
    return _reshape(_matmul(left, right), shape=shape)


def _infer_kron(x: Type, y: Type) -> Type:
    return Type(tuple(a * b for a, b in zip(x.shape, y.shape, strict=True)), x.dtype)


def _interleaved(shape: tuple[Any, ...], *, first: bool) -> tuple[Any, ...]:
    """A shape with an axis of size 1 behind every axis, or before it."""
    return tuple(n for size in shape for n in ((size, 1) if first else (1, size)))


@op(infer=_infer_kron, promote=True)
def _kron(x, y):
    """Every element of x times the whole of y, of as many axes. ONNX: Unsqueeze, Mul, Reshape."""
    return _crossing(Type(x.shape, x.dtype), Type(y.shape, y.dtype))(x, y)


def _crossing(x: Type, y: Type) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    left = methodcaller("reshape", _interleaved(x.shape, first=True))
    right = methodcaller("reshape", _interleaved(y.shape, first=False))
    shape = _infer_kron(x, y).shape
    small = product(shape) < kernel_size("multiply") and x.dtype in (_F32, _F64)
    multiply = np.multiply if small and shape else partial(binary, "multiply")
    return lambda x, y: multiply(left(x), right(y)).reshape(shape)


_kron.shortcut = _crossing


def _kron_grad(g: Tensor, other: Tensor, xs: Any, ys: Any, *, first: bool) -> Tensor:
    """The gradient of one factor, of those of shapes xs and ys; `other` is the other factor."""
    wide = _reshape(g, shape=tuple(n for pair in zip(xs, ys, strict=True) for n in pair))
    parts = wide * _reshape(other, shape=_interleaved(tuple(other.shape), first=not first))
    axes = tuple(range(1 if first else 0, 2 * len(xs), 2))
    return OPS["sum"](parts, axes=axes, keepdims=False)


@lru_cache(1024)
def _crossed(xs: Any, ys: Any, *, first: bool) -> tuple[Any, Any, tuple[int, ...]]:
    """Shapes of g and of the other factor, and the axes of a sum, in the gradient of one factor."""
    pairs = tuple(n for pair in zip(xs, ys, strict=True) for n in pair)
    other = _interleaved(ys if first else xs, first=not first)
    return pairs, other, tuple(range(1 if first else 0, 2 * len(xs), 2))


def _kron_grad_of(g: np.ndarray, other: np.ndarray, xs: Any, ys: Any, *, first: bool) -> np.ndarray:
    """`_kron_grad` on arrays."""
    pairs, wide, axes = _crossed(xs, ys, first=first)
    return sum(binary("multiply", g.reshape(pairs), other.reshape(wide)), axes, keepdims=False)


@_kron.vjp("x")
def _(g, *, x_shape, y):
    return _kron_grad(g, y, x_shape, y.shape, first=True)


@_kron.fused_vjp("x")
def _(g, *, x_shape, y):
    return _kron_grad_of(g, y, x_shape, y.shape, first=True)


@_kron.vjp("y")
def _(g, *, x, y_shape):
    return _kron_grad(g, x, x.shape, y_shape, first=False)


@_kron.fused_vjp("y")
def _(g, *, x, y_shape):
    return _kron_grad_of(g, x, x.shape, y_shape, first=False)


def kron(x: Tensor, y: Tensor) -> Tensor:
    """Kronecker product: every element of x times the whole of y, as blocks."""
    lacking = x.ndim - y.ndim
    if lacking < 0:
        x = _reshape(x, shape=(1,) * -lacking + tuple(x.shape))
    elif lacking:
        y = _reshape(y, shape=(1,) * lacking + tuple(y.shape))
    return apply(_kron, (x, y))


def _infer_cross(x: Type, y: Type, *, axis: int) -> Type:
    shape = broadcast_shapes(x.shape, y.shape)
    for name, t in (("x", x), ("y", y)):
        place = axis - len(shape) + len(t.shape)
        if place < 0 or not same_size(t.shape[place], 3):
            raise ShapeError(f"cross needs size 3 at axis {axis} of {name}, got {show(t.shape)}")
    return Type(shape, x.dtype)


@op(infer=_infer_cross, promote=True)
def _cross(x, y, *, axis):
    """Vector products along an axis of size 3, others broadcast. ONNX: Gather, Mul, Sub."""
    return vectors.cross(x, y, axis)


@_cross.vjp("x")
def _(g, *, y, axis):
    return _cross(y, g, axis=axis)


@_cross.vjp("y")
def _(g, *, x, axis):
    return _cross(g, x, axis=axis)


def cross(x: Tensor, y: Tensor, axis: int | None = None) -> Tensor:
    """Vector product along an axis of size 3 (the first such axis by default)."""
    if axis is None:
        axis = next((i for i, n in enumerate(x.shape) if isinstance(n, int) and n == 3), -1)
    # Counted from the front of the result, which may have more axes than x.
    return _cross(x, y, axis=axis_of(axis, x.ndim) + max(y.ndim - x.ndim, 0))


def matrix_power(x: Tensor, n: int) -> Tensor:
    """The product of n copies of a square matrix (n >= 0)."""
    if n < 0:
        raise AttributeValueError(
            f"matrix_power needs n >= 0, got {n}; dyn.linalg.matrix_power takes powers of inverses"
        )
    if n == 0:
        eye = Tensor(np.eye(x._read().shape[-1], dtype=x._read().dtype))
        return OPS["expand"](eye, shape=tuple(x.shape))
    result: Tensor | None = None
    square, as_they_are = x, (False, False)
    while n:
        if n & 1:
            result = square if result is None else apply(_matmul, (result, square), as_they_are)
        n >>= 1
        if n:
            square = apply(_matmul, (square, square), as_they_are)
    assert result is not None
    return result


def multi_dot(x: Sequence[Tensor]) -> Tensor:
    """The product of matrices, in the order that takes the fewest multiplications.

    Where a size is known only when a file runs, it is from left to right.

    Args:
        x: matrices; the first may be a row and the last a column, as vectors.
    """
    sizes = [*x[0].shape[:1], *(t.shape[-1] for t in x)] if x[0].ndim > 1 else [1]
    if x[0].ndim == 1:
        sizes += [t.shape[0] for t in x]
        sizes.append(1 if x[-1].ndim == 1 else x[-1].shape[-1])
    elif x[-1].ndim == 1:
        sizes[-2:] = [x[-1].shape[0], 1]
    splits = _splits(tuple(sizes)) if all(type(n) is int for n in sizes) else {}

    def made(first: int, last: int) -> Tensor:
        if first == last:
            return x[first]
        at = splits.get((first, last), last - 1)
        return _matmul(made(first, at), made(at + 1, last))

    return made(0, len(x) - 1)


@lru_cache(1024)
def _splits(sizes: tuple[int, ...]) -> dict[tuple[int, int], int]:
    """For each run of matrices after which of them it is best cut; matrix i is [i, i + 1] wide.

    Source: Cormen et al., Introduction to Algorithms, matrix-chain multiplication.
    """
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    best: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            tried = [
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            ]
            cost[i, j], best[i, j] = min(tried)
    return best


def bilinear(x1: Tensor, x2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """out[..., o] = sum of x1[..., i] * weight[o, i, j] * x2[..., j], plus bias."""
    out = einsum("...i,oij,...j->...o", x1, weight, x2)
    return out if bias is None else out + bias


__all__ = [
    "bilinear",
    "cross",
    "einsum",
    "kron",
    "matrix_power",
    "multi_dot",
    "tensordot",
]
