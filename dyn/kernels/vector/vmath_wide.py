"""Logarithm, exponential and sine of float64 in registers, for formulas that need its digits.

The largest errors found in eight million numbers are 0.9, 0.9 and 2 ulp.
"""

from __future__ import annotations

import math
from operator import methodcaller
from types import SimpleNamespace

from dyn.kernels.vector import simd
from dyn.kernels.vector.value import F64, WORD, Value, constant, vector_type
from dyn.kernels.vector.vmath import polynomial

_LN2 = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""log(2) in two parts, the first of few digits."""
# log(1 + f) = f - f^2 / 2 + s * (f^2 / 2 + R(s^2)) with s = f / (2 + f): Sun's fdlibm, e_log.c.
_LOG = (1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01,
        2.222219843214978396e-01, 2.857142874366239149e-01, 3.999999999940941908e-01,
        6.666666666666735130e-01)  # fmt: skip
_EXP = tuple(1 / math.factorial(k) for k in range(13, -1, -1))
_SIN = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(10, 0, -1))
_NORMAL, _LIFT = 2.0**-1022, 54
_HALF_ROOT = 0x3FE6A09E667F3BCD
"""The bits of sqrt(1 / 2)."""


def log(x: Value) -> Value:
    """The natural logarithm; -inf of zeros, NaN of negative numbers."""
    small = x < _NORMAL
    bits = simd.choose(small, x * 2.0**_LIFT, x).bits(WORD)
    # x = 2^n * (1 + f), 1 + f from sqrt(1/2) to sqrt(2).
    n = (bits - _HALF_ROOT) >> 52
    f = (bits - (n << 52)).bits(F64) - 1.0
    n = simd.choose(small, n - _LIFT, n).to(F64)
    s, half = f / (f + 2.0), 0.5 * f * f
    z = s * s
    bend = s * (half + z * polynomial(z, _LOG))
    found = n * _LN2[0] - ((half - (bend + n * _LN2[1])) - f)
    found = simd.choose(x < math.inf, found, x)  # infinity and NaN
    return simd.choose(x > 0.0, found, simd.choose(x == 0.0, x.like(-math.inf), x + math.nan))


def exp(x: Value) -> Value:
    """e^x, with results that are not normal and infinity where it overflows."""
    bounded = simd.minimum(simd.maximum(x, -750.0), 710.0)
    n = (bounded * (1 / math.log(2))).call("rint")
    r = (bounded - n * _LN2[0]) - n * _LN2[1]
    whole = simd.choose(n == n, n, 0.0).to(WORD)
    first = whole >> 1
    found = polynomial(r, _EXP)
    for power in (first, whole - first):
        found = found * ((power + 1023) << 52).bits(F64)
    return found


def sin_near(x: Value) -> Value:
    """The sine of numbers from -pi / 2 to pi / 2."""
    z = x * x
    return x + x * (z * polynomial(z, _SIN))


def _where(condition: Value, a: Value | float, b: Value | float) -> Value:
    """`choose`, of two Python numbers, too."""
    if not isinstance(a, Value) and not isinstance(b, Value):
        a = condition.made(constant(vector_type(F64, condition.lanes), a))
    return simd.choose(condition, a, b)


NEAR = SimpleNamespace(
    **{name: methodcaller("call", name) for name in ("floor", "rint", "sqrt")},
    abs=abs,
    exp=exp,
    log=log,
    maximum=simd.maximum,
    minimum=simd.minimum,
    sin=sin_near,
    where=_where,
)
"""Functions of float64 `Value`s for formulas whose sines are of no more than a quarter turn."""
