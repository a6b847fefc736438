"""The functions of `vmath.py` for single float32 numbers, to be called inside numba kernels.

    for i in range(x.size):
        out[i] = vmath_numba.exp(x[i])

LLVM vectorises such loops, as no function calls a library, but not those with `sin`, `cos` and
`tan`, which branch. Other types than float32 are refused when the kernel is compiled. No formula
belongs here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types

from dyn.kernels.vector import vmath
from dyn.kernels.vector.simd import Value, intrinsic

__all__ = ["cos", "erf", "exp", "expm1", "log", "log1p", "pow", "sigmoid", "sin", "tan",
           "tanh"]  # fmt: skip


def _of_one(formula: Callable[[Value], Value]) -> Any:
    """The numba function of a formula of one argument."""

    @intrinsic
    def single(typing: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return formula(Value(builder, arguments[0])).value

        return (types.float32(types.float32), generate) if x == types.float32 else None

    return single


@intrinsic
def pow(typing: Any, x: Any, y: Any) -> Any:
    """x^y, as in `vmath.pow`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y = (Value(builder, argument) for argument in arguments)
        return vmath.pow(x, y).value

    accepted = x == types.float32 and y == types.float32
    return (types.float32(types.float32, types.float32), generate) if accepted else None


exp, expm1, log, log1p = (_of_one(vmath.UNARY[n]) for n in ("exp", "expm1", "log", "log1p"))
tanh, sigmoid, erf = (_of_one(vmath.UNARY[n]) for n in ("tanh", "sigmoid", "erf"))
sin, cos, tan = (_of_one(vmath.UNARY[n]) for n in ("sin", "cos", "tan"))
