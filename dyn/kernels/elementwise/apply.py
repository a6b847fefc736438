"""Arithmetic element by element, by op name: `unary`, `binary`, `where`, `cast`.

float32 goes through our own kernels, on all threads where the arrays are large, and so do large
arrays of other dtypes where that is little work (`dtypes.py`); the rest, and small arrays of what
numpy has a ufunc for, through numpy. float16 and bfloat16 are computed in
float32. Inputs broadcast as in numpy. Nothing here reduces or looks at neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import cache, partial
from operator import methodcaller
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dyn.kernels.elementwise import nest
from dyn.kernels.elementwise.dtypes import CHOICES, KERNELS, LARGE
from dyn.kernels.elementwise.formulas import FORMULAS, TESTS
from dyn.kernels.elementwise.gamma import WIDE
from dyn.kernels.elementwise.gradient_formulas import GRADIENTS
from dyn.kernels.elementwise.pointwise import FormulaKernel, formula_kernel, parameters_of
from dyn.kernels.elementwise.special import erf
from dyn.kernels.elementwise.ufuncs import UFUNCS
from dyn.kernels.vector import half, simd, vmath, vmath_division, vmath_inverse, vmath_steps
from dyn.kernels.vector.half import is_half

_F32 = np.dtype(np.float32)
_EXACT = frozenset({"abs", "neg", "isnan", "isinf", "isfinite", "logical_not", "sign"})
"""Functions that need no more digits than float16 has."""


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + erf(x * math.sqrt(0.5)))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    # e^-|x| cannot overflow, and small results keep their digits.
    e = np.exp(-np.absolute(x))
    return np.where(x >= 0, 1.0, e) / (1 + e)


ARRAYS = SimpleNamespace(
    **UFUNCS,
    where=np.where,
    rint=np.rint,
    exp2=np.exp2,
    erf=erf,
    normal_cdf=_normal_cdf,
    sigmoid=_sigmoid,
)
"""Functions of arrays for formulas."""


REGISTERS = SimpleNamespace(
    **vmath.UNARY,
    **vmath_inverse.UNARY,
    **{name: methodcaller("call", name) for name in ("floor", "ceil", "rint", "trunc")},
    abs=abs,
    atan2=vmath_inverse.atan2,
    exp2=vmath.exp2,
    floor_divide=vmath_division.floor_divide,
    fmod=vmath_division.fmod,
    remainder=vmath_division.remainder,
    maximum=simd.maximum,
    minimum=simd.minimum,
    normal_cdf=vmath.normal_cdf,
    pow=vmath.pow,
    sqrt=vmath_steps.root,
    where=simd.choose,
)
"""Functions of `Value`s for formulas."""


def _round_even(x: np.ndarray) -> np.ndarray:
    return np.rint(x) if x.dtype.kind not in "iu" else x.copy()


def _in_float64(formula: Any, x: np.ndarray, **params: float) -> np.ndarray:
    with np.errstate(all="ignore"):
        return formula(ARRAYS, x.astype(np.float64), **params).astype(x.dtype)


GENERAL = {name: partial(f, ARRAYS) for name, f in (FORMULAS | GRADIENTS).items()} | UFUNCS
GENERAL |= {"round": _round_even}
GENERAL |= {name: partial(_in_float64, f) for name, f in WIDE.items()}
"""Every function on arrays of any dtype; numbers by keyword."""


def _compiled() -> dict[str, FormulaKernel]:
    found = {}
    for name, formula in (FORMULAS | GRADIENTS).items():
        of_registers = partial(formula, REGISTERS)
        inputs = ["f4"] * len(parameters_of(of_registers)[0])
        output = "b1" if name in TESTS else "f4"
        found[name] = formula_kernel(f"{name}_f4", of_registers, inputs, output)
    return found


FAST = _compiled() | {name: kernel for (name, dtype), kernel in KERNELS.items() if dtype == _F32}
"""Every function on float32."""

_CODES = {"f4": simd.F32, "f8": simd.F64, "i4": simd.INT32, "i8": simd.WORD}
_PAIRS = (
    ("b1", "f4"), ("i4", "f4"), ("i8", "f4"), ("f8", "f4"), ("f4", "f8"), ("f4", "i4"),
    ("f4", "i8"), ("f8", "i8"), ("i4", "i8"), ("i8", "i4"), ("b1", "i8"),
)  # fmt: skip
CASTS = {
    (np.dtype(a), np.dtype(b)): formula_kernel(
        f"cast_{a}_{b}", lambda x, to=_CODES[b]: x.to(to), (a,), b
    )
    for a, b in _PAIRS
}
CASTS |= {
    (np.dtype(a), np.dtype("b1")): formula_kernel(f"cast_{a}_b1", lambda x: x != 0, (a,), "b1")
    for a in ("f4", "f8", "i4", "i8")
}
CASTS[np.dtype("f4"), np.dtype("f2")] = formula_kernel("cast_f4_f2", half.to_half, ("f4",), "f2")
CASTS[np.dtype("f2"), np.dtype("f4")] = formula_kernel("cast_f2_f4", half.from_half, ("f2",), "f4")
"""Casts by old and new dtype, those of which numpy and we give the same for every number."""

CHOICE_SIZE, NESTED_SIZE = 512, 4096
"""Elements from which on `where` is shorter compiled: of operands alike, and of others."""
UFUNC_SIZE = 32768
"""Below this numpy's vectorised ufunc is faster than launching a kernel of our own."""

DENSE_SUM_SIZE = 4096
"""The same for sums, differences and products of dense arrays of one shape, of which numpy uses
shorter vectors."""

_SUMS = frozenset({"add", "multiply", "subtract"})
_VECTORISED = frozenset({
    "abs", "add", "divide", "equal", "greater_equal", "greater_than", "less_equal", "less_than",
    "maximum", "minimum", "multiply", "neg", "not_equal", "reciprocal", "square", "subtract",
})  # fmt: skip


def kernel_size(name: str) -> int:
    """From how many elements on our own kernel of a function is faster than numpy's ufunc."""
    if name in _VECTORISED:
        return UFUNC_SIZE
    return 512 if name in UFUNCS or name == "relu" else 0


def dense_size(name: str) -> int:
    """`kernel_size` for dense arrays of one shape."""
    return DENSE_SUM_SIZE if name in _SUMS else kernel_size(name)


_KERNEL_SIZE = {name: kernel_size(name) for name in GENERAL}


def _narrow(out: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Numbers computed in float32 in half precision again; truth values as they are."""
    return cast(out, dtype) if out.dtype == _F32 else out


def _in_order(kernel: FormulaKernel, params: dict[str, float]) -> Collection[float]:
    """The numbers of a formula in its own order, in whichever they are given."""
    if len(params) < 2:
        return params.values()
    return [params[name] for name in kernel.numbers]


def unary(name: str, x: np.ndarray, **params: float) -> np.ndarray:
    """Function `name` of every element of `x`; `params` are the numbers of its formula."""
    if x.dtype is _F32 and x.size >= _KERNEL_SIZE[name]:
        fast = FAST.get(name)
        if fast is not None:
            out = nest.run_one(fast, x, *_in_order(fast, params))
            if out is not None:
                return out
    elif is_half(x.dtype) and name not in _EXACT:
        return _narrow(unary(name, cast(x, _F32), **params), x.dtype)
    elif x.size >= LARGE or name in WIDE:
        fast = KERNELS.get((name, x.dtype))
        if fast is not None:
            out = nest.run_one(fast, x, *_in_order(fast, params))
            if out is not None:
                return out
    out = GENERAL[name](x, **params)
    return out if out.__class__ is np.ndarray else np.asarray(out)


def _spread_size(x: np.ndarray, y: np.ndarray) -> int:
    """Number of elements of two arrays that broadcast, or more."""
    return x.size if x.shape == y.shape else x.size * y.size


def binary(name: str, x: np.ndarray, y: np.ndarray, **params: float) -> np.ndarray:
    """Function `name` of the elements of `x` and `y`, which broadcast; `params` as in `unary`."""
    if x.dtype is _F32:
        enough = _KERNEL_SIZE[name]
        # A column times a row is far larger than either.
        if x.size >= enough or y.size >= enough or _spread_size(x, y) >= enough:
            fast = FAST.get(name)
            if fast is not None and y.dtype is _F32:
                out = nest.run_two(fast, x, y, *_in_order(fast, params))
                if out is not None:
                    return out
    elif is_half(x.dtype):
        return _narrow(binary(name, cast(x, _F32), cast(y, _F32), **params), x.dtype)
    elif x.dtype == y.dtype and _spread_size(x, y) >= LARGE:
        fast = KERNELS.get((name, x.dtype))
        if fast is not None:
            out = nest.run_two(fast, x, y, *_in_order(fast, params))
            if out is not None:
                return out
    out = GENERAL[name](x, y, **params)
    return out if out.__class__ is np.ndarray else np.asarray(out)


_ADDED = frozenset(map(np.dtype, ("f4", "f8", "i4", "i8")))
"""Dtypes whose sums are taken as they are."""


def total(xs: Sequence[np.ndarray]) -> np.ndarray:
    """The sum of at least two arrays that broadcast, from the first to the last."""
    out = binary("add", xs[0], xs[1])
    for x in xs[2:]:
        small = out.size < UFUNC_SIZE and out.dtype in _ADDED
        if small and x.shape == out.shape:
            np.add(out, x, out)
        else:
            out = binary("add", out, x)
    return out


def ternary(name: str, x: np.ndarray, y: np.ndarray, z: np.ndarray, **params: float) -> np.ndarray:
    """Function `name` of the elements of three arrays, which broadcast; as `binary`."""
    if x.dtype is _F32 and y.dtype is _F32 and z.dtype is _F32:
        # Few numbers that repeat are less work for numpy than finding out how they do.
        if x.shape == y.shape == z.shape or max(x.size, y.size, z.size) >= nest.TINY:
            fast = FAST[name]
            out = nest.run_three(fast, x, y, z, *_in_order(fast, params))
            if out is not None:
                return out
    elif is_half(x.dtype):
        wide = (cast(a, _F32) for a in (x, y, z))
        return _narrow(ternary(name, *wide, **params), x.dtype)
    elif x.dtype == y.dtype == z.dtype and max(x.size, y.size, z.size) >= LARGE:
        other = KERNELS.get((name, x.dtype))
        if other is not None:
            out = nest.run_three(other, x, y, z, *_in_order(other, params))
            if out is not None:
                return out
    out = GENERAL[name](x, y, z, **params)
    return out if out.__class__ is np.ndarray else np.asarray(out)


_PRODUCTS = {2.0: "square", 3.0: "cube", -1.0: "reciprocal"}
"""Powers that are products or a quotient, rounded at most twice."""


def along(vector: np.ndarray, axis: int | None, ndim: int) -> np.ndarray:
    """A vector so that it lies along an axis of arrays with `ndim` axes; as it is for None."""
    if axis is None or axis == ndim - 1:
        return vector
    return vector.reshape(-1, *[1] * (ndim - 1 - axis))


def power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x to the power y; a single simple exponent, and a base of 2, cost no logarithm."""
    if not y.ndim and y.dtype == x.dtype and y.dtype.kind == "f":
        name = _PRODUCTS.get(float(y))
        if name is not None:
            return unary(name, x)
    if not x.ndim and y.ndim and y.dtype == x.dtype == _F32 and x == 2:
        return unary("exp2", y)
    return binary("pow", x, y)


def lerp(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """x + weight * (y - x)."""
    if weight.ndim or not x.ndim:
        return ternary("lerp", x, y, weight)
    return binary("lerp_by", x, y, weight=float(weight))


def clip(x: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    """`x` brought into [low, high]; None is no bound."""
    if x.dtype.kind in "iu":
        return np.clip(x, low, high)
    low, high = _bounds(low, high)
    return unary("clip", x, low=low, high=high)


def clip_between(x: np.ndarray, low: np.ndarray | None, high: np.ndarray | None) -> np.ndarray:
    """min(max(x, low), high) of arrays that broadcast; None is no bound."""
    if low is None or high is None:
        return binary("minimum", x, high) if low is None else binary("maximum", x, low)
    if x.dtype.kind == "f":
        return ternary("clip_between", x, low, high)
    return binary("minimum", binary("maximum", x, low), high)


def clip_grad(g: np.ndarray, x: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    """`g` where low <= x <= high, else 0; None is no bound."""
    low, high = _bounds(low, high)
    return binary("clip_grad", g, x, low=low, high=high)


def _bounds(low: float | None, high: float | None) -> tuple[float, float]:
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)


def where(condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x where the condition holds, else y; all three broadcast."""
    alike = condition.shape == x.shape == y.shape
    enough = max(condition.size, x.size, y.size) >= (CHOICE_SIZE if alike else NESTED_SIZE)
    if enough and x.dtype == y.dtype and x.itemsize in CHOICES:
        bits, kernel = CHOICES[x.itemsize]
        out = nest.run_three(kernel, condition, x.view(bits), y.view(bits))
        if out is not None:
            return out.view(x.dtype)
    return np.asarray(np.where(condition, x, y))


def cast(x: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """A new array with the elements of `x` as `dtype`; complex to real drops the imaginary part."""
    dtype = np.dtype(dtype)
    if x.size >= UFUNC_SIZE:
        fast = CASTS.get((x.dtype, dtype))
        if fast is not None:
            out = nest.run_one(fast, x)
            if out is not None:
                return out
    if x.dtype.kind == "c" and dtype.kind != "c":
        x = x.real
    return x.astype(dtype, order="K")


@cache
def limits(dtype: np.dtype) -> tuple[float, float, float]:
    """(lowest, highest, smallest normal) number of a floating-point dtype."""
    if dtype.name == "bfloat16":
        return -3.3895313892515355e38, 3.3895313892515355e38, 1.1754943508222875e-38
    info = np.finfo(dtype)
    return float(info.min), float(info.max), float(info.tiny)
