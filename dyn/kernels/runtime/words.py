"""Words of memory by address, for kernels: atomic access, and blocks of parameters on the stack.

Every access is sequentially consistent: these are for words that threads share, not for data.
What is built of them is `threads.py`.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils

from dyn.kernels.runtime.jit import intrinsic, packed_types

X86 = llvmlite.binding.get_process_triple().startswith(("x86_64", "i686", "i386"))
_word = ir.IntType(64)
ROOM = 48


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _word.as_pointer())


@intrinsic
def atomic_load(typingctx: Any, address: Any) -> Any:
    """The word at an address, read atomically."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load_atomic(_pointer(builder, values[0]), "seq_cst", 8)

    return types.int64(types.int64), generate


@intrinsic
def atomic_store(typingctx: Any, address: Any, value: Any) -> Any:
    """Write the word at an address atomically."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.store_atomic(values[1], _pointer(builder, values[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def atomic_add(typingctx: Any, address: Any, value: Any) -> Any:
    """Add to the word at an address atomically; the value it had before."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.atomic_rmw("add", _pointer(builder, values[0]), values[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def compare_swap(typingctx: Any, address: Any, old: Any, new: Any) -> Any:
    """Replace the word at an address if it is `old`; whether it was."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(builder, values[0])
        pair = builder.cmpxchg(pointer, values[1], values[2], "seq_cst")
        return builder.extract_value(pair, 1)

    return types.boolean(types.int64, types.int64, types.int64), generate


@intrinsic
def pause(typingctx: Any) -> Any:
    """Tell the processor that this is a waiting loop; nothing where there is no such hint."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), kind), [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def pack(typingctx: Any, *values: Any) -> Any:
    """Put numbers into a block on the stack of the calling kernel; its address.

    Integers go in as 64-bit words, floats as float64; a task reads them with `argument` and
    `argument_float`. The block lives until the kernel returns.
    """
    given = packed_types(values)

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        size = ir.Constant(_word, max(1, len(given)))
        block = cgutils.alloca_once(builder, _word, size=size)
        for place, value in enumerate(cgutils.unpack_tuple(builder, operands[0])):
            if isinstance(given[place], types.Float):
                value = context.cast(builder, value, given[place], types.float64)
                value = builder.bitcast(value, _word)
            else:
                value = context.cast(builder, value, given[place], types.int64)
            builder.store(value, builder.gep(block, [ir.Constant(_word, place)]))
        return builder.ptrtoint(block, _word)

    return types.int64(types.StarArgTuple(given)), generate


@intrinsic
def room(typingctx: Any) -> Any:
    """The address of ROOM words, not initialized, on the stack of the calling kernel."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        size = ir.Constant(_word, ROOM)
        return builder.ptrtoint(cgutils.alloca_once(builder, _word, size=size), _word)

    return types.int64(), generate


@intrinsic
def argument(typingctx: Any, args: Any, place: Any) -> Any:
    """The integer at `place` of a packed block."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(builder.gep(_pointer(builder, values[0]), [values[1]]))

    return types.int64(types.int64, types.int64), generate


@intrinsic
def argument_float(typingctx: Any, args: Any, place: Any) -> Any:
    """The float64 at `place` of a packed block."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        bits = builder.load(builder.gep(_pointer(builder, values[0]), [values[1]]))
        return builder.bitcast(bits, ir.DoubleType())

    return types.float64(types.int64, types.int64), generate
