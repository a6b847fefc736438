"""The gamma and error functions and their kin: formulas that are computed in float64 alone.

They take a namespace `m` as those of `formulas.py` do: numpy's functions for kernels, ONNX values
for files. Errors are relative to 1 + |result| unless something else is said, in float64; a result
in float32 is rounded once. Coefficients are those that were published.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from dyn.kernels.elementwise.special import P1, P2, P3, Q1, Q2, Q3

_SMALLEST = 5e-324
"""Nothing but 0 is smaller."""

# B(2k) / (2k), k = 1 ... 10: Abramowitz & Stegun, Handbook of Mathematical Functions, 23.2.
_BERNOULLI = tuple(
    Fraction(*pair) / (2 * k)
    for k, pair in enumerate(
        ((1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66), (-691, 2730), (7, 6), (-3617, 510),
         (43867, 798), (-174611, 330)), 1,
    )
)  # fmt: skip
# lgamma(2 + x) = x * P(x) / Q(x) from 0 to 1: Moshier, Cephes Mathematical Library, gamma.c.
_P = (-1.37825152569120859100e3, -3.88016315134637840924e4, -3.31612992738871184747e5,
      -1.16237097492762307383e6, -1.72173700820839662146e6, -8.53555664245765465627e5)  # fmt: skip
_Q = (1.0, -3.51815701436523470549e2, -1.70642106651881159223e4, -2.20528590553854454839e5,
      -1.13933444367982507207e6, -2.53252307177582951285e6, -2.01889141433532773231e6)  # fmt: skip
# The normal quantile: Wichura, algorithm AS 241, Applied Statistics 37 (1988) 477-484.
_A = (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
      4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
      1.3314166789178437745e2, 3.3871328727963666080e0)  # fmt: skip
_B = (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
      2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
      4.2313330701600911252e1, 1.0)  # fmt: skip
_C = (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
      1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0,
      4.63033784615654529590e0, 1.42343711074968357734e0)  # fmt: skip
_D = (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
      1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
      2.05319162663775882187e0, 1.0)  # fmt: skip
_E = (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
      2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580e0,
      5.46378491116411436990e0, 6.65790464350110377720e0)  # fmt: skip
_F = (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
      7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1,
      5.99832206555887937690e-1, 1.0)  # fmt: skip


def _polynomial(coefficients: Sequence[float], x: Any) -> Any:
    """By Horner's rule, the highest power first."""
    total = coefficients[0]
    for c in coefficients[1:]:
        total = x * total + c
    return total


def _angle(m, x):
    """The sine and the cosine of pi x, exact zeros where they are."""
    away = x - m.rint(x)
    sign = m.where(m.abs(x - 2 * m.rint(x * 0.5)) > 0.5, -1.0, 1.0)
    return sign * m.sin(away * math.pi), sign * m.sin((0.5 - m.abs(away)) * math.pi)


# ---- gamma -------------------------------------------------------------------------------------


def _above(m, u):
    """log(gamma(u)) for u >= 0.5; the relative error is below 1e-13 except very near 1 and 2."""
    # Up by 1 or 2, or down by up to 4, into [2, 3) unless u >= 7.
    product, t = 1.0, m.minimum(u, 7.0)
    for _ in range(2):
        low = t < 2.0
        product = m.where(low, product / t, product)
        t = m.where(low, t + 1.0, t)
    for _ in range(4):
        high = t > 3.0
        t = m.where(high, t - 1.0, t)
        product = m.where(high, product * t, product)
    d = t - 2.0
    near = m.log(product) + d * (_polynomial(_P, d) / _polynomial(_Q, d))
    # Stirling's series.
    far = m.maximum(u, 7.0)
    inverse = 1.0 / far
    terms = [float(b) / (2 * k + 1) for k, b in enumerate(_BERNOULLI)]
    bend = inverse * _polynomial(terms[::-1], inverse * inverse)
    series = (far - 0.5) * m.log(far) - far + (bend + 0.5 * math.log(2 * math.pi))
    return m.where(u > 7.0, series, near)


def lgamma(m, x):
    """log(|gamma(x)|) within 1e-14."""
    below = x < 0.5
    value = _above(m, m.where(below, 1.0 - x, x))
    sine, _ = _angle(m, m.where(below, x, 0.5))
    reflected = math.log(math.pi) - m.log(m.abs(sine)) - value
    value = m.where(below, reflected, value)
    pole = m.abs(sine) < _SMALLEST
    return m.where(pole, math.inf, m.where(m.abs(x) > 1e308, math.inf, value))


def _slopes(m, n, u):
    """The derivative of order n of digamma at u >= 0.5, by Euler and Maclaurin's series."""
    steps = 8 + n
    y = u + float(steps)
    inverse = 1.0 / y
    factorial = float(math.factorial(n))
    terms = [
        float(b * math.factorial(2 * k + n + 1) / math.factorial(2 * k + 1))
        for k, b in enumerate(_BERNOULLI)
    ]
    bend = inverse * inverse * _polynomial(terms[::-1], inverse * inverse) + inverse * (
        0.5 * factorial
    )
    if not n:
        total = m.log(y) - bend
        for k in range(steps):
            total = total - 1.0 / (u + float(k))
        return total
    total = _power(inverse, n) * (float(math.factorial(n - 1)) + bend)
    for k in range(steps):
        total = total + factorial / _power(u + float(k), n + 1)
    return total if n % 2 else -total


def _power(x, n):
    product = x
    for _ in range(n - 1):
        product = product * x
    return product


def _cotangents(n: int) -> list[float]:
    """Coefficients of the derivative of order n of cot(t) in its powers, the highest first."""
    rising = [0, 1]
    for _ in range(n):
        slope = [k * c for k, c in enumerate(rising)][1:]
        rising = [-c for c in slope] + [0, 0]
        for k, c in enumerate(slope):
            rising[k + 2] -= c
    return [float(c) for c in rising[::-1]]


def digamma(m, x):
    """The derivative of lgamma within 1e-14; infinite at 0 and NaN at the poles below."""
    return _reflected(m, 0, x, m.where(x < 0.0, math.nan, -1.0 / x))


def digamma_derivative(m, x, *, n):
    """The derivative of order n of digamma, relative error 1e-13 for x > 0; infinite at poles."""
    return _reflected(m, n, x, math.inf if n % 2 else -math.inf)


def _reflected(m, n, x, pole):
    below = x < 0.5
    value = _slopes(m, n, m.where(below, 1.0 - x, x))
    sine, cosine = _angle(m, m.where(below, x, 0.5))
    part = _polynomial(_cotangents(n), cosine / sine) * math.pi ** (n + 1)
    value = m.where(below, (-value if n % 2 else value) - part, value)
    return m.where(m.abs(sine) < _SMALLEST, pole, value)


# ---- the error function ------------------------------------------------------------------------


def erfinv(m, x):
    """The number whose erf is x, relative error 1e-15; NaN outside [-1, 1]."""
    size = m.abs(x)
    r = 0.180625 - 0.25 * x * x
    near = 0.5 * x * (_polynomial(_A, r) / _polynomial(_B, r))
    tail = m.sqrt(-m.log(0.5 * (1.0 - size)))
    s, t = tail - 1.6, tail - 5.0
    far = m.where(
        tail > 5.0, _polynomial(_E, t) / _polynomial(_F, t), _polynomial(_C, s) / _polynomial(_D, s)
    )
    far = m.where(size < 1.0, far, m.where(size > 1.0, math.nan, math.inf))
    # NaN is in no range, and stays in the near one.
    value = m.where(size > 0.85, m.where(x < 0.0, -far, far), near)
    return math.sqrt(0.5) * value


def erfc(m, x):
    """1 - erf(x); relative error 1e-15 for every result that is a normal number."""
    size = m.minimum(m.abs(x), 28.0)
    middle = m.minimum(size, 4.0)
    inverse = 1.0 / m.maximum(size, 4.0)
    square = inverse * inverse
    bend = square * (_polynomial(P3, square) / _polynomial(Q3, square))
    share = m.where(
        size > 4.0,
        inverse * (1 / math.sqrt(math.pi) - bend),
        _polynomial(P2, middle) / _polynomial(Q2, middle),
    )
    # e^(-x^2) in two factors, the first of an exact square.
    cut = m.floor(size * 16.0) * 0.0625
    tail = m.exp(-(cut * cut)) * m.exp((cut - size) * (cut + size)) * share
    near = m.minimum(m.maximum(x, -0.5), 0.5)
    square = near * near
    near = 1.0 - near * (_polynomial(P1, square) / _polynomial(Q1, square))
    return m.where(m.abs(x) < 0.46875, near, m.where(x < 0.0, 2.0 - tail, tail))


WIDE: dict[str, Callable[..., Any]] = {
    f.__name__: f for f in (digamma, erfc, erfinv, lgamma, digamma_derivative)
}
"""Formulas by name."""
