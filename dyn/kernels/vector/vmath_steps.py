"""Steps of the formulas in `vmath.py` for which AVX-512 has an instruction of its own.

Scaling by a power of two and taking a float apart: for sixteen float32 numbers on such a processor
one instruction each, which serves zeros, denormal numbers, infinities and NaN as well; elsewhere
arithmetic on the bits. Square roots: refined from an estimate. The results are the same everywhere.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir

from dyn.kernels.vector.lanes import has
from dyn.kernels.vector.value import F32, INT16, INT32, Value, branch, call_llvm, choose, fma

WHOLE = 1.5 * 2.0**23
"""The last place of float32 numbers of this size is 1."""
_WHOLE_BITS = 0x4B400000
FUSED = has("fma")
"""Whether a product and a sum are rounded once for certain."""
_THREE_QUARTERS = 0x3F400000
_MANTISSA = 0b1011
"""Of VGETMANTPS: from 3/4 to 3/2, and NaN for negative numbers."""


def by_avx512(x: Value) -> bool:
    """Whether vectors like this one fill a register of a processor with AVX-512."""
    return x.lanes == 16 and x.element is F32 and has("avx512f")


def _avx512(name: str, *operands: Value | int) -> Value:
    """One of LLVM's functions for AVX-512, for all lanes and with the usual rounding."""
    first = operands[0]
    assert isinstance(first, Value)
    kind = first.value.type
    values = [o.value if isinstance(o, Value) else INT32(o) for o in operands]
    rest: list[Any] = [ir.Constant(kind, ir.Undefined), INT16(-1), INT32(4)]
    full = f"llvm.x86.avx512.mask.{name}.ps.512"
    return first.made(call_llvm(first.builder, full, kind, [*values, *rest]))


def raised(x: Value, factor: float) -> Value:
    """The whole number nearest to x * factor, plus WHOLE; NaN stays.

    Raised like this, a number below 2^22 in size is an integer in the last bits, too.
    """
    return fma(x, factor, WHOLE)


def power_of_two(n: Value) -> Value:
    """2^n for whole numbers from -126 to 127, raised."""
    if by_avx512(n):
        return _avx512("scalef", n.like(1.0), n - WHOLE)
    return ((n.bits(INT32) + 127) << 23).bits(F32)


def lifted(x: Value, n: Value) -> Value:
    """x * 2^n where x and the result are normal numbers; n is whole and raised."""
    if by_avx512(n):
        return _avx512("scalef", x, n - WHOLE)
    return (x.bits(INT32) + (n.bits(INT32) << 23)).bits(F32)


def scaled(x: Value, n: Value) -> Value:
    """x * 2^n, rounded once, for x about 1 and whole numbers n from -151 to 129, raised."""
    if by_avx512(n):
        return _avx512("scalef", x, n - WHOLE)
    # In two steps, as 2^n may be too large or too small for a float32 while the result is not.
    exponent = n.bits(INT32) - _WHOLE_BITS
    half = exponent >> 1
    halves = [((e + 127) << 23).bits(F32) for e in (half, exponent - half)]
    return x * halves[0] * halves[1]


def apart(x: Value) -> tuple[Value, Value]:
    """m from 3/4 to 3/2 and a whole number n, as a float, such that x = 2^n m.

    n is -inf for 0 and inf for inf; m or n is NaN for negative numbers and NaN.
    """
    if by_avx512(x):
        m = _avx512("getmant", x, _MANTISSA)
        return m, _avx512("getexp", x) - _avx512("getexp", m)
    if x.lanes == 1:
        return _any_apart(x)
    rare = _rare(x, -126).any()
    m, n = branch(x.builder, rare, lambda: _any_apart(x), lambda: _normal_apart(x))
    return m, n


def _rare(x: Value, exponent: int) -> Value:
    """Whether numbers are below 2^exponent, negative, infinite or NaN, in one comparison."""
    # As integers without a sign: what is too small wraps around and is large.
    least, half = (exponent + 127) << 23, 1 << 31
    return x.bits(INT32) + (half - least) >= 0x7F800000 - least - half


def _normal_apart(x: Value) -> tuple[Value, Value]:
    """`apart` for positive normal numbers."""
    bits = x.bits(INT32)
    exponent = (bits - _THREE_QUARTERS) & -0x800000
    return (bits - exponent).bits(F32), exponent.to(F32) * 2.0**-23


def _any_apart(x: Value) -> tuple[Value, Value]:
    """`apart` for all numbers."""
    tiny = x < 2.0**-126
    m, n = _normal_apart(choose(tiny, x * 2.0**23, x))
    n = n - choose(tiny, 23.0, x.like(0.0))
    n = choose((x > 0.0) & (x < math.inf), n, x.like(math.nan))
    n = choose(x == 0.0, -math.inf, n)
    return m, choose(x == math.inf, math.inf, n)


def scaled_down(x: Value, n: Value) -> Value:
    """x / 2^n for a finite n that came from `apart`, where the result is a normal number."""
    if by_avx512(x):
        return _avx512("scalef", x, -n)
    return x * ((127 - n.to(INT32)) << 23).bits(F32)


def root(x: Value) -> Value:
    """Square root, rounded correctly; NaN below 0."""
    if not by_avx512(x):
        return x.call("sqrt")

    def refined() -> list[Value]:
        # Newton's method takes half as long as the instruction. Source: Markstein, Computation of
        # elementary functions on the IBM RISC System/6000 processor, 1990.
        near = _avx512_rsqrt(x)
        found, half = x * near, near * 0.5
        error = fma(-found, half, 0.5)
        found, half = fma(found, error, found), fma(half, error, half)
        return [fma(fma(-found, found, x), half, found)]

    # The last error of tiny numbers would be no normal number.
    (found,) = branch(x.builder, _rare(x, -100).any(), lambda: [x.call("sqrt")], refined)
    return found


def _avx512_rsqrt(x: Value) -> Value:
    """1 / sqrt(x) but for a part in 2^14."""
    kind = x.value.type
    arguments = [x.value, ir.Constant(kind, ir.Undefined), INT16(-1)]
    return x.made(call_llvm(x.builder, "llvm.x86.avx512.rsqrt14.ps.512", kind, arguments))
