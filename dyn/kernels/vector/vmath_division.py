"""Whole quotients and what they leave, in float32, as formulas on `Value`s.

A quotient is taken in float64 and its whole part multiplied back in one rounding (fma): as long as
it is below 2^53 nothing is lost, and what is left is exact after at most one step back. Larger
quotients are brought down 52 bits at a time, which is exact as well: what is left is always a
multiple of the last place of the operands, and small. Zeros and signs are those of numpy.
"""

from __future__ import annotations

import math

from dyn.kernels.vector.value import F32, F64, Value, branch, choose

_EXACT = 2.0**53
_STEPS = 5
"""Times a quotient of float32 numbers, less than 2^278, is brought down by 52 bits to get there."""


def _step(x: Value, y: Value) -> Value:
    """x less the whole part of x / y times y."""
    return (-(x / y).call("trunc")).call("fma", y, x)


def fmod(x: Value, y: Value) -> Value:
    """What division toward zero leaves, exactly; with the sign of x."""
    a, b = x.to(F64), y.to(F64)
    far = ~(abs(a / b) < _EXACT)

    def several() -> list[Value]:
        rest = a
        for _ in range(_STEPS):
            rest = choose(abs(rest) >= abs(b), _step(rest, b), rest)
        return [rest]

    (rest,) = branch(x.builder, (far & (abs(a) < math.inf)).any(), several, lambda: [a])
    rest = _step(rest, b)
    # A quotient that was rounded up to a whole number leaves less than nothing.
    over = ((rest < 0.0) & (a > 0.0)) | ((rest > 0.0) & (a < 0.0))
    rest = choose(over, rest + abs(b).call("copysign", a), rest)
    # An infinite divisor leaves everything.
    rest = choose((abs(b) == math.inf) & (abs(a) < math.inf), a, rest)
    return rest.to(F32).call("copysign", x)


def remainder(x: Value, y: Value) -> Value:
    """What division toward minus infinity leaves; with the sign of y."""
    rest = fmod(x, y)
    other = ((y < 0.0) & (rest > 0.0)) | ((y > 0.0) & (rest < 0.0))
    nothing = (rest == 0.0) & (y == y)
    return choose(nothing, rest.call("copysign", y), choose(other, rest + y, rest))


def floor_divide(x: Value, y: Value) -> Value:
    """The whole quotient, rounded toward minus infinity."""
    rest = fmod(x, y)
    plain = x / y
    found = (x - rest) / y
    other = ((y < 0.0) & (rest > 0.0)) | ((y > 0.0) & (rest < 0.0))
    found = choose(other, found - 1.0, found)
    whole = found.call("floor")
    whole = choose(found - whole > 0.5, whole + 1.0, whole)
    whole = choose(found == 0.0, (found * 0.0).call("copysign", plain), whole)
    return choose(y == 0.0, plain, whole)
