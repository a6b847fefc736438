"""Angles from ratios and hyperbolic functions in float32, as formulas on `simd.Value`s.

Made of the functions in `vmath.py` and of two minimax fits (relative errors: asin 8.7e-10 up to
1/2, atan 2.3e-9 up to 1). NaN and infinities are as in numpy. The error bounds, in units in the
last place, hold over the whole range and are tested.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from dyn.kernels.vector.value import INT32, Value, choose, fma
from dyn.kernels.vector.vmath import exp, expm1, log, log1p

_ASIN = (3.37997116e-2, 1.70816537e-2, 3.11153196e-2, 4.45981063e-2, 7.50009865e-2,
         1.66666657e-1)  # fmt: skip
_ATAN = (1.51223352e-3, -9.25178826e-3, 2.65085716e-2, -4.91694808e-2, 7.04444721e-2,
         -8.93625692e-2, 1.10891446e-1, -1.42840922e-1, 1.99999526e-1, -3.33333343e-1)  # fmt: skip

# pi and pi / 2 in two parts: float32 numbers and what is left.
_PI, _PI_LEFT = 3.1415927410125732, -8.742277657347586e-08
_HALF_PI, _HALF_PI_LEFT = 1.5707963705062866, -4.371138828673793e-08
_LN2 = math.log(2.0)
_LARGE = 1e10
"""From here on x^2 + 1 and x^2 - 1 are x^2, and x^2 must not overflow."""


def _bent(x: Value, coefficients: Sequence[float]) -> Value:
    """x + x^3 times a polynomial in x^2."""
    square = x * x
    found = x.like(coefficients[0])
    for coefficient in coefficients[1:]:
        found = fma(found, square, coefficient)
    return fma(x * square, found, x)


def _asin_parts(x: Value) -> tuple[Value, Value]:
    """Whether |x| > 1/2, and asin(|x|) if not, else half of acos(|x|)."""
    size = abs(x)
    large = size > 0.5
    # asin(s) = pi / 2 - 2 asin(sqrt((1 - s) / 2)); the root is NaN above 1.
    return large, _bent(choose(large, ((1.0 - size) * 0.5).call("sqrt"), size), _ASIN)


def asin(x: Value) -> Value:
    """Inverse sine within 2.5 ulp; NaN outside [-1, 1]."""
    large, part = _asin_parts(x)
    found = choose(large, _HALF_PI - ((part + part) - _HALF_PI_LEFT), part)
    return found.call("copysign", x)


def acos(x: Value) -> Value:
    """Inverse cosine within 2.5 ulp; NaN outside [-1, 1]."""
    large, part = _asin_parts(x)
    twice = part + part
    far = choose(x > 0.0, twice, _PI - (twice - _PI_LEFT))
    near = _HALF_PI - (part.call("copysign", x) - _HALF_PI_LEFT)
    return choose(large, far, near)


def atan(x: Value) -> Value:
    """Inverse tangent within 2 ulp."""
    size = abs(x)
    large = size > 1.0
    part = _bent(choose(large, 1.0 / size, size), _ATAN)
    found = choose(large, _HALF_PI - (part - _HALF_PI_LEFT), part)
    return found.call("copysign", x)


def atan2(y: Value, x: Value) -> Value:
    """Angle of the point (x, y) within 3 ulp, in [-pi, pi]; signed zeros and infinities as in C."""
    tall, wide = abs(y), abs(x)
    steep = tall > wide
    low, high = choose(steep, wide, tall), choose(steep, tall, wide)
    # Equal ones, infinities too, make 45 degrees; two zeros none.
    ratio = choose(low == high, 1.0, low / high)
    ratio = choose(high == 0.0, 0.0, ratio)
    part = _bent(ratio, _ATAN)
    found = choose(steep, _HALF_PI - (part - _HALF_PI_LEFT), part)
    left = x.bits(INT32) < 0
    found = choose(left, _PI - (found - _PI_LEFT), found)
    found = choose((x != x) | (y != y), x.like(math.nan), found)
    return found.call("copysign", y)


def sinh(x: Value) -> Value:
    """Hyperbolic sine within 4 ulp."""
    size = abs(x)
    less = expm1(choose(size > 2.0, 2.0, size))
    near = (less + less / (less + 1.0)) * 0.5
    # In two factors, as e^x may overflow before its half does.
    root = exp(size * 0.5)
    far = (root * 0.5) * root - 0.5 / root / root
    return choose(size < 1.0, near, far).call("copysign", x)


def cosh(x: Value) -> Value:
    """Hyperbolic cosine within 4 ulp."""
    root = exp(abs(x) * 0.5)
    return (root * 0.5) * root + 0.5 / root / root


def asinh(x: Value) -> Value:
    """Inverse hyperbolic sine within 3.5 ulp."""
    size = abs(x)
    large = size > _LARGE
    s = choose(large, 1.0, size)
    square = s * s
    near = log1p(s + square / ((square + 1.0).call("sqrt") + 1.0))
    return choose(large, log(size) + _LN2, near).call("copysign", x)


def acosh(x: Value) -> Value:
    """Inverse hyperbolic cosine within 3.5 ulp; NaN below 1."""
    large = x > _LARGE
    t = choose(large, 1.0, x - 1.0)
    near = log1p(t + fma(t, t, t + t).call("sqrt"))
    found = choose(large, log(x) + _LN2, near)
    return choose(x < 1.0, x.like(math.nan), found)


def atanh(x: Value) -> Value:
    """Inverse hyperbolic tangent within 3.5 ulp; NaN outside [-1, 1]."""
    size = abs(x)
    found = log1p((size + size) / (1.0 - size)) * 0.5
    return choose(size > 1.0, x.like(math.nan), found).call("copysign", x)


UNARY: dict[str, Callable[[Value], Value]] = {
    f.__name__: f for f in (asin, acos, atan, sinh, cosh, asinh, acosh, atanh)
}
"""The functions of one argument by name."""
