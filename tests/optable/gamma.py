"""Rows of `dyn/ops/gamma.py`."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from tests.optable.case import SPECIAL, OpCase, array

FLOATS = ("float32", "float64", "float16", "bfloat16")
ABOVE = array("n", 3, low=0.2, high=9)
BELOW = array("n", 3, low=-2.8, high=-2.2)
UNIT = array("n", 3, low=-0.95, high=0.95)
WIDE = array("n", 3, low=-3, high=5)
FACTORS = [1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760]


@partial(np.vectorize, otypes=[np.float64])
def lgamma(x):
    if math.isnan(x):
        return x
    if math.isinf(x) or (x == math.floor(x) and x <= 0):
        return math.inf
    return math.lgamma(x)


@partial(np.vectorize, otypes=[np.float64])
def polygamma(n, x):
    """By its recurrence up to 40, from where the series of `FACTORS` is exact."""
    total = 0.0
    sign = -1.0 if n % 2 == 0 else 1.0
    while x < 40:
        total += sign * math.factorial(n) / x ** (n + 1)
        x += 1
    if n == 0:
        series = sum(b / x ** (2 * k) for k, b in enumerate(FACTORS, 1))
        return total + math.log(x) - 0.5 / x - series
    rising = [math.factorial(2 * k + n - 1) / math.factorial(2 * k - 1) for k in range(1, 7)]
    bend = sum(
        b * r / x ** (2 * k + n) for k, (b, r) in enumerate(zip(FACTORS, rising, strict=True), 1)
    )
    first = math.factorial(n - 1) / x**n + 0.5 * math.factorial(n) / x ** (n + 1)
    return total + sign * (first + bend)


@partial(np.vectorize, otypes=[np.float64])
def erfinv(x):
    """By bisection."""
    if not abs(x) < 1:
        return x * math.inf if abs(x) == 1 else math.nan
    low, high = 0.0, 7.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle) < abs(x) else (low, middle)
    return math.copysign(low if low > 1e-6 else abs(x) * math.sqrt(math.pi) / 2, x)


def row(op, spec, reference, note="", **fields):
    return OpCase(op, [spec], reference=reference, dtypes=FLOATS, note=note, **fields)


ROWS = [
    row("lgamma", ABOVE, lgamma, points=SPECIAL, onnx="Log"),
    OpCase("lgamma", [BELOW], reference=lgamma, note="below"),
    row("digamma", ABOVE, lambda x: polygamma(0, x), onnx="Log"),
    OpCase("digamma", [BELOW], reference=lambda x: polygamma(0, x), note="below", order=0),
    *(
        OpCase(
            "digamma_derivative",
            [spec],
            {"n": n},
            lambda x, n: polygamma(n, x),
            order=order,
            note=f"{n}{note}",
        )
        for n in (1, 2, 3)
        for spec, note, order in ((array("n", 3, low=0.8, high=9), "", 2), (BELOW, "-below", 0))
    ),
    row("erfinv", UNIT, erfinv, points=(*SPECIAL, 0.999, -0.99999), onnx="Log"),
    row("erfc", WIDE, np.vectorize(math.erfc, otypes=[np.float64]), points=SPECIAL, onnx="Exp"),
]
