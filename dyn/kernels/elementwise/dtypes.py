"""Functions of float64, integers and truth values that are as fast as the memory: own kernels.

What only adds, multiplies, compares or chooses is compiled for these dtypes, too, and runs on all
threads; what takes polynomials, powers or quotients of integers is numpy's (`ufuncs.py`), but for
those of `gamma.py`, which numpy lacks. The formulas are those of float32, except for what only
looks at truth values.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import methodcaller
from types import SimpleNamespace
from typing import Any

import numpy as np

from dyn.kernels.elementwise.formulas import FORMULAS, TESTS
from dyn.kernels.elementwise.gamma import WIDE
from dyn.kernels.elementwise.pointwise import FormulaKernel, formula_kernel, parameters_of
from dyn.kernels.vector import simd
from dyn.kernels.vector.value import BIT, F32, F64, Value
from dyn.kernels.vector.vmath_wide import NEAR

LARGE = 16384
"""Elements from which on a kernel is faster than numpy's ufunc on one thread."""

_COMPARED = ("equal", "greater_equal", "greater_than", "less_equal", "less_than", "not_equal")
_COUNTED = ("add", "maximum", "minimum", "multiply", "relu", "square", "subtract", *_COMPARED)
"""What wraps around, or compares, alike in numpy and here for integers."""
_MEASURED = (
    *_COUNTED, "abs", "addcdiv", "addcmul", "ceil", "clip", "clip_between", "cube", "divide",
    "floor", "isfinite", "isinf", "isnan", "leaky_relu", "lerp", "lerp_by", "neg", "reciprocal",
    "round", "rsqrt", "scaled_difference", "sign", "sqrt", "trunc",
)  # fmt: skip
"""What needs no polynomials."""


def _true(x: Value) -> Value:
    return x if x.element is BIT else x != 0


_LOGIC: dict[str, Callable[..., Value]] = {
    "logical_and": lambda x, y: _true(x) & _true(y),
    "logical_not": lambda x: ~_true(x),
    "logical_or": lambda x, y: _true(x) | _true(y),
    "logical_xor": lambda x, y: _true(x) ^ _true(y),
}


_REGISTERS = SimpleNamespace(
    **{name: methodcaller("call", name) for name in ("ceil", "floor", "rint", "sqrt", "trunc")},
    abs=abs,
    maximum=simd.maximum,
    minimum=simd.minimum,
    where=simd.choose,
)


def _kernels() -> dict[tuple[str, np.dtype[Any]], FormulaKernel]:
    found = {}
    for code, names in (("f8", _MEASURED), ("i8", _COUNTED), ("i4", _COUNTED),
                        ("b1", ("equal", "not_equal"))):  # fmt: skip
        for name in names:
            formula = partial(FORMULAS[name], _REGISTERS)
            inputs = [code] * len(parameters_of(formula)[0])
            output = "b1" if name in TESTS else code
            made = formula_kernel(f"{name}_{code}", formula, inputs, output)
            found[name, np.dtype(code)] = made
    for code in ("b1", "f4", "f8", "i4", "i8"):
        for name, logic in _LOGIC.items():
            inputs = [code] * len(parameters_of(logic)[0])
            found[name, np.dtype(code)] = formula_kernel(f"{name}_{code}", logic, inputs, "b1")
    return found


def _in_float64(formula: Callable[..., Value]) -> Callable[[Value], Value]:
    return lambda x: formula(NEAR, x.to(F64)).to(F32)


def _wide_kernels() -> dict[tuple[str, np.dtype[Any]], FormulaKernel]:
    found = {}
    for name in ("digamma", "erfc", "erfinv", "lgamma"):
        wide = partial(WIDE[name], NEAR)
        found[name, np.dtype("f8")] = formula_kernel(f"{name}_f8", wide, ("f8",), "f8")
        narrow = _in_float64(WIDE[name])
        found[name, np.dtype("f4")] = formula_kernel(f"{name}_f4", narrow, ("f4",), "f4")
    return found


KERNELS = _kernels() | _wide_kernels()
"""By name and dtype of all operands."""

_BITS = {1: "i1", 2: "f2", 4: "i4", 8: "i8"}
CHOICES = {
    size: (np.dtype(f"i{size}"),
           formula_kernel(f"where_{size}", simd.choose, ("b1", code, code), code))
    for size, code in _BITS.items()
}  # fmt: skip
"""`where` by bytes of an element: a dtype that holds the bits, and the kernel."""
