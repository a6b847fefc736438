"""Whether kernels compute with what their memory held before they wrote to it.

Numbers left over in vectors that are not full are harmless to the results, but where they happen to
be denormal, Intel's processors take a hundred cycles for each. `leftovers(word)` fills fresh memory
with a pattern, `met_denormal(call)` asks the processor whether a call computed with one. x86 only.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.lib.array_utils import byte_bounds

from dyn.kernels.runtime import memory
from dyn.kernels.runtime.jit import intrinsic, kernel
from dyn.kernels.vector.value import BYTE, call_llvm

AVAILABLE = platform.machine() in ("x86_64", "AMD64")
DENORMAL = 1
"""A word of four bytes that is a denormal float32; two of them are a denormal float64."""
FLAG = 2
"""Bit of the control register: an operand was denormal."""


@contextmanager
def leftovers(word: int) -> Iterator[None]:
    """Fill every array from `memory.empty`, `memory.empty_like` and `numpy.empty` with a word."""
    before = memory._make, memory.SMALL, np.empty

    def filled(x: np.ndarray) -> np.ndarray:
        if x.size and x.dtype.kind in "fiu":
            low, high = byte_bounds(x)
            words = (ctypes.c_int32 * ((high - low) // 4)).from_address(low)
            np.frombuffer(words, np.int32)[:] = word
        return x

    def make(shape: tuple[int, ...], plan: Any) -> np.ndarray:
        return filled(before[0](shape, plan))

    def empty(*args: Any, **rest: Any) -> np.ndarray:
        return filled(before[2](*args, **rest))

    memory._make, memory.SMALL, np.empty = make, -1, empty
    try:
        yield
    finally:
        memory._make, memory.SMALL, np.empty = before


@intrinsic
def _control(typing: Any, address: Any, put: Any) -> Any:
    """Write the control register of vector units to an address, or read it from there."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], BYTE.as_pointer())
        with builder.if_else(builder.icmp_signed("!=", arguments[1], arguments[1].type(0))) as ways:
            for way, name in zip(ways, ("ldmxcsr", "stmxcsr"), strict=True):
                with way:
                    call_llvm(builder, f"llvm.x86.sse.{name}", ir.VoidType(), [place])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@kernel
def _exchange(address, put):
    _control(address, put)


def met_denormal(call: Callable[[], Any]) -> bool:
    """Whether a call computed with a denormal number in this thread."""
    word = np.zeros(1, np.uint32)
    _exchange(word.ctypes.data, 0)
    word &= ~np.uint32(FLAG)
    _exchange(word.ctypes.data, 1)
    call()
    _exchange(word.ctypes.data, 0)
    return bool(word[0] & FLAG)
