"""exp, log, tanh, erf, sin, pow and their kin in float32, as formulas on `simd.Value`s.

    e = vmath.exp(emit.load(address) - top)

The same functions for single numbers inside plain numba loops, which LLVM vectorises, are in
`vmath_numba.py`: one formula, two twins. All take every float32, denormal numbers and infinities
included, and give NaN exactly where they should; `sin`, `cos` and `tan` branch where an angle is
huge. The error bounds, in units in the last place of the result, hold over the whole range; the
tests check them. Polynomials are minimax fits made for this file, with coefficients rounded to
float32 (to float64 in `pow`). Arguments are reduced as in Cody & Waite, Software Manual for the
Elementary Functions, 1980, huge angles as in Payne & Hanek, 1983. float64 is left to numpy: nothing
here is accurate enough for it.

With AVX-512 some steps are instructions of its own (`vmath_steps.py`), and two functions are
polynomials whose coefficients it looks up (`vmath_pieces.py`).

Kernels may be compiled with any of numba's fastmath flags but "nnan" and "ninf".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

from dyn.kernels.vector.value import F32, F64, INT32, WORD, Value, branch, choose, fma, lookup
from dyn.kernels.vector.vmath_pieces import Pieces, even, growing
from dyn.kernels.vector.vmath_steps import (
    FUSED,
    WHOLE,
    apart,
    by_avx512,
    lifted,
    power_of_two,
    raised,
    scaled,
    scaled_down,
)  # fmt: skip

_LOG2E = 1.0 / math.log(2.0)
# ln 2 in two positive parts; the first has so few bits that its product with an exponent is exact.
_LN2_HIGH = 0.693145751953125
_LN2_LOW = math.log(2.0) - _LN2_HIGH

# Relative errors of the fits: exp 3.1e-9 on |r| <= ln(2) / 2, log 5.4e-9 on 3/4 .. 3/2, tanh 4.5e-9
# up to 0.625, erf 9.3e-10 up to 0.875 and 1.9e-9 above, sin 4.0e-9 and cos 1.1e-10 up to pi / 4,
# log2 1.8e-13, exp2 5.4e-11.
_EXP = (1.38208945e-3, 8.36867094e-3, 4.16682623e-2, 1.66665211e-1, 4.99999940e-1)
_LOG = (-4.50724103e-2, 1.04634374e-1, -1.31613284e-1, 1.44783303e-1, -1.66473106e-1,
        1.99908555e-1, -2.50000954e-1, 3.33334506e-1)  # fmt: skip
_TANH = (-5.69229666e-3, 2.06281673e-2, -5.37365153e-2, 1.33314058e-1, -3.33332807e-1)
_ERF_NEAR = (7.80198607e-5, -8.01324029e-4, 5.18999482e-3, -2.68550795e-2, 1.12836197e-1,
             -3.76126289e-1, 1.28379166e-1)  # fmt: skip
_ERF_FAR = (-2.00992581e-4, 3.09226569e-3, -2.24201418e-2, 1.04327403e-1, 6.36737287e-1,
            1.12793612, 1.33568741e-4)  # fmt: skip
_NORMAL_P = (2.15800173e-8, 6.37411542e-6, 1.79392393e-4, 4.74081958e-3, 3.49410647e-2,
             3.98942206e-1)  # fmt: skip
_NORMAL_Q = (1.16494881e-6, 7.67670577e-5, 1.94454527e-3, 2.92606249e-2, 2.54249730e-1,
             1.0)  # fmt: skip
_SIN = (-1.95180954e-4, 8.33218824e-3, -1.66666552e-1)
_COS = (2.44306707e-5, -1.38873013e-3, 4.16666456e-2)
_LOG2 = (0.29084674065255217, 0.31928393284313594, 0.4122261966181781, 0.577077755483458,
         0.9617966948248783, 2.885390081777426)  # fmt: skip
_EXP2 = (1.5303700711365693e-05, 0.00015469729214118296, 0.0013333478473685416,
         0.009618025613318034, 0.055504109063258665, 0.24022651213498092, 0.6931471805568324,
         0.9999999999595618)  # fmt: skip

_TANH_PIECES = Pieces(math.tanh, growing(-4), 5)
_NORMAL_PIECES = Pieces(lambda x: math.erf(x / math.sqrt(2.0)) / 2, even(48 / 256), 4)


def polynomial(x: Value, coefficients: Sequence[float]) -> Value:
    """Horner's scheme; the highest power comes first."""
    found = x.like(coefficients[0])
    for coefficient in coefficients[1:]:
        found = fma(found, x, coefficient)
    return found


def _reduced(x: Value) -> tuple[Value, Value]:
    """n, raised, and r such that e^x = 2^n e^r with |r| at most ln(2) / 2."""
    n = raised(x, _LOG2E)
    return n, fma(n - WHOLE, -_LN2_LOW, fma(n - WHOLE, -_LN2_HIGH, x))


def _less(r: Value) -> Value:
    """e^r - 1."""
    return fma(r * r, polynomial(r, _EXP), r)


def _power(r: Value) -> Value:
    """e^r for |r| at most ln(2) / 2."""
    return polynomial(r, (*_EXP, 1.0, 1.0))


def exp(x: Value) -> Value:
    """e^x within 1.1 ulp."""
    # Beyond these the result is 0 or infinity; NaN passes.
    x = choose(x < -104.0, -104.0, x)
    return _exp(choose(x > 89.0, 89.0, x))


def _exp(x: Value) -> Value:
    """e^x from -104 to 89."""
    n, r = _reduced(x)
    return scaled(_power(r), n)


def exp_down(x: Value) -> Value:
    """e^x within 1.1 ulp for x up to 0 (or NaN); 0 below -87, where it is no normal number."""
    low = x < -87.0
    n, r = _reduced(choose(low, -87.0, x))
    return choose(low, 0.0, lifted(_power(r), n))


def exp2(x: Value) -> Value:
    """2^x within 1.1 ulp."""
    x = choose(x < -151.0, -151.0, x)
    x = choose(x > 129.0, 129.0, x)
    n = raised(x, 1.0)
    r = (x - (n - WHOLE)) * math.log(2.0)
    return scaled(_power(r), n)


def expm1(x: Value) -> Value:
    """e^x - 1 within 1.5 ulp."""
    x = choose(x < -20.0, -20.0, x)
    x = choose(x > 89.0, 89.0, x)
    n, r = _reduced(x)
    less, scale = _less(r), power_of_two(n - 1.0)
    # A result near x keeps the sign and the digits of x; -0 stays.
    return choose(abs(x) < 1e-7, x, fma(scale, less, scale - 0.5) * 2.0)


def log(x: Value) -> Value:
    """Natural logarithm within 1.0 ulp; -inf at 0, NaN below."""
    m, n = apart(x)
    return _log(m - 1.0, n)


def _log(f: Value, n: Value) -> Value:
    """log(1 + f) + n log(2) for f from -1/4 to 1/2."""
    square = f * f
    # Even and odd powers apart: two short chains of instructions instead of a long one.
    factor = fma(polynomial(square, _LOG[::2]), f, polynomial(square, _LOG[1::2]))
    found = fma(factor * f, square, n * _LN2_LOW)
    return fma(n, _LN2_HIGH, f + fma(square, -0.5, found))


def log1p(x: Value) -> Value:
    """log(1 + x) within 1.5 ulp."""
    u = x + 1.0
    m, n = apart(u)
    # What was lost in rounding u, to the scale of m; nothing where u is 0 or infinite.
    lost = x - (u - 1.0)
    lost = choose(abs(lost) > 0.0, scaled_down(lost, n), 0.0)
    # The sign of x also where x is -0.
    return _log((m - 1.0) + lost, n).call("copysign", x)


def tanh(x: Value) -> Value:
    """Hyperbolic tangent within 1.5 ulp."""
    if by_avx512(x):
        return _TANH_PIECES(x)
    size = abs(x)
    square = x * x
    near = fma(x * square, polynomial(square, _TANH), x)
    size = choose(size > 10.0, 10.0, size)
    n, r = _reduced(size + size)
    e = fma(power_of_two(n), _less(r), power_of_two(n))
    far = 1.0 - 2.0 / (e + 1.0)
    # The sign of x also where x is -0.
    return choose(size < 0.625, near, far).call("copysign", x)


def sigmoid(x: Value) -> Value:
    """e^x / (e^x + 1) within 2.5 ulp, small results included."""
    # Beyond these the result is 0 or 1.
    x = choose(x < -104.0, -104.0, x)
    e = _exp(choose(x > 30.0, 30.0, x))
    return e / (e + 1.0)


def erf(x: Value) -> Value:
    """Error function within 1.5 ulp."""
    size = abs(x)
    square = x * x
    near = fma(x, polynomial(square, _ERF_NEAR), x)
    # 1 - e^-p, where p is the logarithm of the complement.
    size = choose(size > 4.0, 4.0, size)
    n, r = _reduced(-polynomial(size, _ERF_FAR))
    scale = power_of_two(n)
    far = (1.0 - scale) - scale * _less(r)
    return choose(size < 0.875, near, far.call("copysign", x))


def normal_cdf(x: Value) -> Value:
    """The cumulative normal distribution, absolute error below 2e-7; 0 or 1 beyond 5.7.

    1/2 and an odd function, of pieces or rational, which takes no exponential and is exact to the
    last digits around 0: gelu needs no more, as it multiplies by x.
    """
    if by_avx512(x):
        return _NORMAL_PIECES(x) + 0.5
    size = abs(x)
    size = choose(size > 5.7, 5.7, size)
    square = size * size
    half = size * polynomial(square, _NORMAL_P) / polynomial(square, _NORMAL_Q)
    # At the end the function is a bit above 1/2. Its sign is that of x; NaN stays.
    half = choose(half > 0.5, 0.5, half)
    return (half.bits(INT32) | (x.bits(INT32) & -0x80000000)).bits(F32) + 0.5


# ---- circles -----------------------------------------------------------------------------------

_MANY_TURNS = 1e6
"""Below, 2 / pi in float64 is exact enough; above, its bits are chosen by the exponent of x."""
_HALF_PI = math.pi / 2
_HALF_PI_HIGH = float.fromhex("0x1.921fb544p+0")  # 33 bits: times a number of turns it is exact
_HALF_PI_LOW = float.fromhex("0x1.0b4611a626331p-34")
_HALF_PI_PARTS = (1.57079637, -4.37113883e-8, -1.71512489e-15)
"""Float32 numbers whose sum is pi / 2. What the first leaves of x is exact in fused arithmetic."""
_FRACTION_BITS = 29
_EXPONENTS = 105


def _arctangent_of_inverse(base: int, unit: int) -> int:
    """The angle whose tangent is 1 / base, in units of 1 / unit."""
    term, k, found = unit // base, 0, 0
    while term:
        found += term // (2 * k + 1) * (-1) ** k
        term, k = term // (base * base), k + 1
    return found


@cache
def _turns_tables() -> tuple[list[float], list[float]]:
    """2^i * 2 / pi modulo 4, from -2 to 2, for i below _EXPONENTS: 29 bits of each, and the rest.

    A float32 times a number of 29 bits is exact in float64.
    """
    # pi by Machin's formula, 16 atan(1 / 5) - 4 atan(1 / 239), in integers of 300 bits.
    unit = 1 << 300
    pi = 16 * _arctangent_of_inverse(5, unit) - 4 * _arctangent_of_inverse(239, unit)
    ratio = Fraction(2 * unit, pi)
    highs, lows = [], []
    for i in range(_EXPONENTS):
        turn = (ratio * 2**i + 2) % 4 - 2
        step = Fraction(2) ** (math.frexp(float(turn))[1] - _FRACTION_BITS)
        high = round(turn / step) * step
        highs.append(float(high))
        lows.append(float(turn - high))
    return highs, lows


def _few_turns(x: Value) -> list[Value]:
    """x in quarter turns modulo 4, and the angle left in two parts; for |x| below _MANY_TURNS."""
    if FUSED:
        turns = raised(x, 1 / _HALF_PI)
        n, (first, second, third) = turns - WHOLE, _HALF_PI_PARTS
        # The third part matters to small angles only. Subtracting it would round large ones again.
        return [turns.bits(INT32), fma(n, -second, fma(n, -first, x)), n * -third]
    wide = x.to(F64)
    n = (wide * (1 / _HALF_PI)).call("rint")
    rest = fma(n, -_HALF_PI_LOW, fma(n, -_HALF_PI_HIGH, wide)).to(F32)
    return [n.to(INT32), rest, rest.like(0.0)]


def _any_turns(x: Value) -> list[Value]:
    """As `_few_turns` for any size; NaN for infinities.

    After Payne and Hanek, Radian reduction for trigonometric functions, 1983: only the bits of
    2 / pi are used that do not make whole turns.
    """
    bits = x.bits(INT32) & 0x7FFFFFFF
    # |x| = whole * 2^shift with a whole number below 2^24, or |x| itself and no shift.
    shift = (bits >> 23) - 150
    large = shift > 0
    whole = ((bits & 0x7FFFFF) | (150 << 23)).bits(F32)
    shift = choose(large, shift, 0)
    shift = choose(shift < _EXPONENTS, shift, _EXPONENTS - 1)
    mantissa = choose(large, whole, abs(x)).call("copysign", x).to(F64)
    highs, lows = _turns_tables()
    turns = mantissa * lookup(highs, shift)
    n = turns.call("rint")
    rest = fma(mantissa, lookup(lows, shift), turns - n)
    rest = choose(abs(x) < math.inf, (rest * _HALF_PI).to(F32), x.like(math.nan))
    return [n.to(INT32), rest, rest.like(0.0)]


def _turned(x: Value) -> list[Value]:
    """x in quarter turns modulo 4, and the angle left in two parts; NaN for infinities."""
    many = ~(abs(x) < _MANY_TURNS)

    def both() -> list[Value]:
        ways = zip(_any_turns(x), _few_turns(x), strict=True)
        return [choose(many, exact, quick) for exact, quick in ways]

    return branch(x.builder, many.any(), both, lambda: _few_turns(x))


def _sine(r: Value, low: Value) -> Value:
    """sin(r + low) for |r| up to pi / 4 and a low that is far smaller."""
    square = r * r
    return fma(r * square, polynomial(square, _SIN), low) + r


def _cosine(r: Value) -> Value:
    """cos(r) for |r| up to pi / 4."""
    square = r * r
    return fma(square * square, polynomial(square, _COS), fma(square, -0.5, 1.0))


def _circular(x: Value, quarters: int) -> Value:
    """sin(x + quarters * pi / 2)."""
    n, r, low = _turned(x)
    n = n + quarters
    found = choose((n & 1) == 0, _sine(r, low), _cosine(r))
    return (found.bits(INT32) ^ ((n & 2) << 30)).bits(F32)


def sin(x: Value) -> Value:
    """Sine within 1.6 ulp for every finite x; NaN at infinities."""
    # Small angles are their own sine; -0 keeps its sign.
    return choose(abs(x) < 1e-4, x, _circular(x, 0))


def cos(x: Value) -> Value:
    """Cosine within 1.6 ulp for every finite x; NaN at infinities."""
    return _circular(x, 1)


def tan(x: Value) -> Value:
    """Tangent within 4 ulp for every finite x; NaN at infinities."""
    n, r, low = _turned(x)
    sine, cosine, odd = _sine(r, low), _cosine(r), (n & 1) != 0
    found = choose(odd, -cosine, sine) / choose(odd, sine, cosine)
    # Small angles are their own tangent; -0 keeps its sign.
    return choose(abs(x) < 1e-4, x, found)


# ---- powers ------------------------------------------------------------------------------------


def _log2_of(x: Value) -> Value:
    """Base-2 logarithm in float64 of a float64 that came from a positive float32."""
    bits = x.bits(WORD)
    power = (bits - 0x3FE5555555555555) & -(1 << 52)
    m = (bits - power).bits(F64)
    # The exponent becomes a number inside the mantissa of 1.5 * 2^52: AVX2 has no conversion.
    n = (((power >> 52) + 0x4338000000000000).bits(F64)) - 1.5 * 2.0**52
    s = (m - 1.0) / (m + 1.0)
    return fma(s, polynomial(s * s, _LOG2), n)


def _exp2_of(x: Value) -> Value:
    """2^x as a float32 for a float64."""
    x = choose(x < -160.0, -160.0, x)
    x = choose(x > 140.0, 140.0, x)
    n = x.call("rint")
    scale = ((n.to(INT32).to(WORD) + 1023) << 52).bits(F64)
    return (polynomial(x - n, _EXP2) * scale).to(F32)


def pow(x: Value, y: Any) -> Value:
    """x^y within 0.6 ulp, by way of float64; special cases as in C and numpy."""
    y = x.like(y)
    size, wide = abs(x), y.to(F64)
    power = _log2_of(size.to(F64))
    power = choose((size == 0.0), -math.inf, power)
    power = choose(size == math.inf, math.inf, power)
    # 1 to any power is 1, infinite powers included.
    found = _exp2_of(choose(size == 1.0, power.like(0.0), wide * power))
    whole = y.call("rint") == y
    half = y * 0.5
    odd = whole & (half.call("rint") != half)
    negative = (x.bits(INT32) & -0x80000000) != 0
    found = choose(odd & negative, -found, found)
    below = (x < 0.0) & (x > -math.inf)
    found = choose(below & ~whole, x.like(math.nan), found)
    found = choose((x != x) | (y != y), x.like(math.nan), found)
    return choose((y == 0.0) | (x == 1.0), x.like(1.0), found)


UNARY: dict[str, Callable[[Value], Value]] = {
    f.__name__: f for f in (exp, expm1, log, log1p, tanh, sigmoid, erf, sin, cos, tan)
}
"""The functions of one argument by name."""
