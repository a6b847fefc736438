"""Bytes of memory by address, for kernels: words stored, runs copied and cleared, lines fetched.

Plain accesses, for memory that one thread works on. What threads share is in `words.py`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from dyn.kernels.runtime.jit import intrinsic

WORD, INT32, BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(8)


@intrinsic
def put_word(typing: Any, address: Any, index: Any, value: Any) -> Any:
    """Store a 64-bit integer as number `index` of those at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        at = builder.add(arguments[0], builder.shl(arguments[1], WORD(3)))
        builder.store(arguments[2], builder.inttoptr(at, WORD.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def copy_bytes(typing: Any, target: Any, source: Any, count: Any) -> Any:
    """Copy bytes between places that do not overlap."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointers = [builder.inttoptr(a, BYTE.as_pointer()) for a in arguments[:2]]
        cgutils.raw_memcpy(builder, *pointers, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def clear_bytes(typing: Any, target: Any, count: Any) -> Any:
    """Set bytes to zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], BYTE.as_pointer())
        cgutils.memset(builder, pointer, arguments[1], 0)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def request_line(builder: Any, address: Any, *, write: bool, locality: int) -> None:
    """Emit a request for the cache line at an address; locality is 3 for the nearest cache."""
    pointer = builder.inttoptr(address, BYTE.as_pointer())
    hints = [INT32(int(write)), INT32(locality), INT32(1)]
    kind = ir.FunctionType(ir.VoidType(), [pointer.type] + [INT32] * 3)
    fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(fetch, [pointer, *hints])


def _prefetch(write: bool, locality: int) -> Any:
    """The generator of an intrinsic that requests a line."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        request_line(builder, arguments[0], write=write, locality=locality)
        return context.get_dummy_value()

    return generate


@intrinsic
def prefetch(typing: Any, address: Any) -> Any:
    """Ask for the cache line at an address, to be read soon."""
    return types.void(types.int64), _prefetch(write=False, locality=2)


@intrinsic
def prefetch_write(typing: Any, address: Any) -> Any:
    """Ask for the cache line at an address, to be written soon."""
    return types.void(types.int64), _prefetch(write=True, locality=3)
