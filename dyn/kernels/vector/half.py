"""float16 as 16 bits, to float32 and back: by the processor where it can, else in integers.

Rounds to even as IEEE 754 says; denormal numbers, infinities and NaN included.
Source: F. Giesen, half-precision conversions (float_to_half_fast3_rtne, half_to_float), 2012.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir

from dyn.kernels.vector.lanes import has
from dyn.kernels.vector.value import F32, INT16, INT32, Value, choose, vector_type

_BIAS = (127 - 15) << 23
_SIGN = -(1 << 31)
_DENORMAL = 0.5
"""The number whose last place is float16's smallest step, 2 ** -24."""
_TINY = 2.0**-14
"""float16's smallest number that is not denormal."""
NATIVE = has("f16c")
"""Whether the processor converts; where it does not, LLVM would call a function that is absent."""


def is_half(dtype: np.dtype) -> bool:
    """Whether numbers are float16 or bfloat16, which many kernels compute with in float32."""
    return dtype.itemsize == 2 and dtype.kind not in "iub"


def from_half(bits: Value) -> Value:
    """float32 numbers of the bits of float16."""
    return _by_processor(bits) if NATIVE else widened(bits)


def to_half(x: Value) -> Value:
    """The bits of the float16 nearest to float32 numbers."""
    return _rounded_by_processor(x) if NATIVE else narrowed(x)


def _by_processor(bits: Value) -> Value:
    half = bits.builder.bitcast(bits.value, vector_type(ir.HalfType(), bits.lanes))
    return bits.made(bits.builder.fpext(half, vector_type(F32, bits.lanes)))


def _rounded_by_processor(x: Value) -> Value:
    half = x.builder.fptrunc(x.value, vector_type(ir.HalfType(), x.lanes))
    return x.made(x.builder.bitcast(half, vector_type(INT16, x.lanes)))


def widened(bits: Value) -> Value:
    """`from_half` in integers."""
    wide = bits.to(INT32)
    kept = (wide & 0x7FFF) << 13
    exponent = kept & (0x7C00 << 13)
    number = kept + _BIAS
    number = choose(exponent == (0x7C00 << 13), number + _BIAS, number)
    denormal = ((number + (1 << 23)).bits(F32) - _TINY).bits(INT32)
    number = choose(exponent == 0, denormal, number)
    return (number | (wide & _SIGN)).bits(F32)


def narrowed(x: Value) -> Value:
    """`to_half` in integers."""
    bits = x.bits(INT32)
    sign = bits & _SIGN
    size = bits ^ sign
    rounded = (size - _BIAS + 0xFFF + ((size >> 13) & 1)) >> 13
    denormal = (size.bits(F32) + _DENORMAL).bits(INT32) - int(np.float32(_DENORMAL).view(np.int32))
    out = choose(size < (113 << 23), denormal, rounded)
    large = choose(size > (255 << 23), out.like(0x7E00), out.like(0x7C00))
    out = choose(size >= (143 << 23), large, out)
    return (out | (sign >> 16)).to(INT16)
