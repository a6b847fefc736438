"""Functions of single elements that PyTorch has and dyn does not: compositions of dyn's ops.

What dyn has under another name is in `vocabulary.py`; no kernel and no op is made here.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from dyn.compat.torch import reduction
from dyn.compat.torch.tensor import Base, flavoured
from dyn.core.dtype import F32
from dyn.core.lift import cast_to
from dyn.ops import activation, angles, bounds, compare, composed, elementwise, gamma, reduce, unary
from dyn.ops import special as cases
from dyn.ops.control import while_loop
from dyn.ops.index import promoted, where
from dyn.ops.join import broadcast_tensors

LN2 = math.log(2.0)


def as_floats(x: Any) -> Any:
    """The tensor, integers and bools as float32."""
    return x if x.dtype.is_floating_point else cast_to(x, F32)


def _both(x: Any, y: Any) -> tuple[Any, Any]:
    """Two tensors, or one and a number, in their common floating-point dtype."""
    first, second = promoted(x, y)
    return as_floats(first), as_floats(second)


def signbit(x: Any) -> Any:
    """Whether the sign is minus, that of -0.0 too."""
    if not x.dtype.is_floating_point:
        return x < 0
    return compare.logical_or(x < 0, compare.logical_and(x == 0, unary.reciprocal(x) < 0))


def copysign(x: Any, other: Any) -> Any:
    """|x| with the sign of `other`, broadcast."""
    return cases.copysign(x, other)


def polygamma(n: int, x: Any) -> Any:
    """The derivative of order n of digamma."""
    return gamma.polygamma(x, n)


def mvlgamma(x: Any, p: int) -> Any:
    """The logarithm of the gamma function of p variables."""
    x = as_floats(x)
    terms = [gamma.lgamma(x - 0.5 * k) for k in range(p)]
    return sum(terms[1:], terms[0]) + p * (p - 1) / 4 * math.log(math.pi)


def exp2(x: Any) -> Any:
    """2 ** x."""
    return elementwise.pow(2.0, as_floats(x))


def float_power(x: Any, exponent: Any) -> Any:
    """x ** exponent in float64."""
    double = np.dtype(np.float64)
    bases, exponents = (cast_to(t, double) if isinstance(t, Base) else t for t in (x, exponent))
    return elementwise.pow(bases, exponents)


def ldexp(x: Any, other: Any) -> Any:
    """x * 2 ** other."""
    x, other = _both(x, other)
    return x * exp2(other)


def logaddexp2(x: Any, other: Any) -> Any:
    """log2(2 ** x + 2 ** other), without overflow."""
    return elementwise.logaddexp(x * LN2, other * LN2) / LN2


def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), 1 at 0."""
    return cases.sinc(x)


def xlogy(x: Any, other: Any) -> Any:
    """x * log(other), 0 where x is 0."""
    return cases.xlogy(x, other)


def xlog1py(x: Any, other: Any) -> Any:
    """x * log(1 + other), 0 where x is 0."""
    x, other = _both(x, other)
    outside = compare.logical_or(other <= -1, compare.isinf(other))
    safe = where(compare.logical_and(x == 0, outside), 0.0, other)
    return x * unary.log1p(safe)


def entr(x: Any) -> Any:
    """-x * log(x): 0 at 0, minus infinity below."""
    x = as_floats(x)
    return where(x < 0, -math.inf, -xlogy(x, where(x < 0, 1.0, x)))


def ndtr(x: Any) -> Any:
    """The share of the standard normal distribution that lies below x."""
    return 0.5 * gamma.erfc(as_floats(x) * -math.sqrt(0.5))


def ndtri(x: Any) -> Any:
    """The number below which lies the share x of the standard normal distribution."""
    return gamma.erfinv(2.0 * as_floats(x) - 1.0) * math.sqrt(2.0)


def clamp_min(x: Any, min: Any) -> Any:
    """x, but no less than `min`, a number or a tensor."""
    return bounds.clip(x, min, None)


def clamp_max(x: Any, max: Any) -> Any:
    """x, but no more than `max`, a number or a tensor."""
    return bounds.clip(x, None, max)


def rsub(x: Any, other: Any, *, alpha: Any = 1) -> Any:
    """other - alpha * x."""
    return other - (x if alpha == 1 else x * alpha)


def positive(x: Any) -> Any:
    """x itself."""
    return x


def conj(x: Any) -> Any:
    """x itself: real numbers are their own conjugates."""
    return x


def gcd(x: Any, other: Any) -> Any:
    """The greatest common divisor of integers, broadcast."""

    def divided(a: Any, b: Any) -> tuple[Any, Any]:
        done = compare.equal(b, 0)
        return where(done, a, b), where(done, b, elementwise.remainder(a, where(done, 1, b)))

    pair = broadcast_tensors(promoted(x, other))
    found, _ = while_loop(lambda a, b: reduce.any(compare.not_equal(b, 0)), divided, pair)
    return unary.abs(found)


def lcm(x: Any, other: Any) -> Any:
    """The least common multiple of integers, broadcast; 0 where one of them is 0."""
    divisor = gcd(x, other)
    return unary.abs(elementwise.floor_divide(x, where(divisor == 0, 1, divisor)) * other)


def isneginf(x: Any) -> Any:
    """Where x is minus infinity."""
    return x == -math.inf


def isposinf(x: Any) -> Any:
    """Where x is infinity."""
    return x == math.inf


def isreal(x: Any) -> Any:
    """True everywhere: the elements are real numbers."""
    return x == x if not x.dtype.is_floating_point else compare.logical_or(x == x, x != x)


def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Any:
    """Which elements are among the others, compared pair by pair."""
    if not isinstance(elements, Base):
        elements = Base(elements)
    if not isinstance(test_elements, Base):
        test_elements = Base(test_elements)
    return composed.isin(elements, test_elements, assume_unique, invert)


def dist(x: Any, other: Any, p: float = 2) -> Any:
    """The p-norm of x - other, 0-d."""
    return reduction.norm(x - other, p)


special = SimpleNamespace(
    **{
        name: flavoured(function)
        for name, function in {
            "digamma": gamma.digamma,
            "entr": entr,
            "erf": angles.erf,
            "erfc": gamma.erfc,
            "erfinv": gamma.erfinv,
            "exp2": exp2,
            "expit": activation.sigmoid,
            "expm1": unary.expm1,
            "gammaln": gamma.lgamma,
            "log1p": unary.log1p,
            "log_softmax": reduction.log_softmax_along,
            "logit": bounds.logit,
            "logsumexp": reduction.logsumexp,
            "multigammaln": mvlgamma,
            "ndtr": ndtr,
            "ndtri": ndtri,
            "polygamma": polygamma,
            "psi": gamma.digamma,
            "round": unary.round,
            "sinc": sinc,
            "softmax": reduction.softmax_along,
            "xlog1py": xlog1py,
            "xlogy": xlogy,
        }.items()
    }
)
"""`torch.special`."""
