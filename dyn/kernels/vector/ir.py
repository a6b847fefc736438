"""Vector instructions for the convolution kernels: a writer of LLVM IR, and words in memory.

Nothing here knows what a convolution is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

from dyn.kernels.vector.lanes import LANES

intrinsic: Any = extending.intrinsic
"""Untyped: a call leaves out the first parameter, which no type checker can know."""
F32, F64 = ir.FloatType(), ir.DoubleType()
WORD, INT32, BIT, BYTE = ir.IntType(64), ir.IntType(32), ir.IntType(1), ir.IntType(8)


class Emitter:
    """Writes vector instructions of one element type into a function under construction.

    Attributes:
        builder: where the instructions go.
        size: bytes of an element.
        lanes: elements of a vector; a vector of doubles is as many bytes as one of floats.
        vector: the LLVM vector type.
        bytes: bytes of a vector.
    """

    def __init__(self, builder: Any, element: Any) -> None:
        self.builder = builder
        self.element = element
        self.size = 4 if element is F32 else 8
        self.lanes = max(LANES * 4 // self.size, 2)
        self.vector = ir.VectorType(element, self.lanes)
        self.bytes = self.size * self.lanes
        self.zero = ir.Constant(self.vector, [0.0] * self.lanes)

    def word(self, value: int) -> Any:
        """A 64-bit integer constant."""
        return WORD(value)

    def number(self, value: float) -> Any:
        """A constant of the element type."""
        return ir.Constant(self.element, value)

    def numbers(self, value: float) -> Any:
        """A constant vector with the same number in every lane."""
        return ir.Constant(self.vector, [value] * self.lanes)

    def pointer(self, address: Any, to: Any) -> Any:
        """An address as a pointer."""
        return self.builder.inttoptr(address, to.as_pointer())

    def load_word(self, address: Any) -> Any:
        """The 64-bit integer at an address."""
        return self.builder.load(self.pointer(address, WORD))

    def _intrinsic(self, name: str, result: Any, arguments: list[Any]) -> Any:
        kind = ir.FunctionType(result, [a.type for a in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, arguments)

    @property
    def _suffix(self) -> str:
        return f"v{self.lanes}f{8 * self.size}"

    def load(self, address: Any, mask: Any = None) -> Any:
        """The vector at an address, aligned to its elements; zero where the mask is off."""
        pointer = self.pointer(address, self.vector)
        if mask is None:
            loaded = self.builder.load(pointer)
            loaded.align = self.size
            return loaded
        arguments = [pointer, INT32(self.size), mask, self.zero]
        return self._intrinsic(f"llvm.masked.load.{self._suffix}.p0", self.vector, arguments)

    def store(self, value: Any, address: Any, mask: Any = None) -> None:
        """Store a vector, or those lanes of it where the mask is on."""
        pointer = self.pointer(address, self.vector)
        if mask is None:
            self.builder.store(value, pointer).align = self.size
            return
        arguments = [value, pointer, INT32(self.size), mask]
        self._intrinsic(f"llvm.masked.store.{self._suffix}.p0", ir.VoidType(), arguments)

    def splat(self, number: Any) -> Any:
        """A vector with one number in every lane."""
        return self._spread(number, ir.VectorType(number.type, self.lanes))

    def _spread(self, number: Any, kind: Any) -> Any:
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, number, INT32(0))
        lanes = ir.Constant(ir.VectorType(INT32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def splat_at(self, address: Any) -> Any:
        """A vector with the number at an address in every lane."""
        return self.splat(self.builder.load(self.pointer(address, self.element)))

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, in one rounding where the processor can."""
        return self._intrinsic(f"llvm.fmuladd.{self._suffix}", self.vector, [a, b, c])

    def mask_below(self, count: Any) -> Any:
        """The lanes whose number is below `count`."""
        kind = ir.VectorType(WORD, self.lanes)
        numbers = ir.Constant(kind, list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, self._spread(count, kind))

    def is_nonzero(self, word: Any) -> Any:
        """Whether an integer is not zero."""
        return self.builder.icmp_signed("!=", word, self.word(0))

    def has_bit(self, flags: Any, bit: int) -> Any:
        """Whether a bit of an integer is set."""
        return self.is_nonzero(self.builder.and_(flags, self.word(bit)))

    def choose(
        self, condition: Any, made: Callable[[], list[Any]], otherwise: list[Any]
    ) -> list[Any]:
        """Values made only when the condition holds, else other values."""
        before = self.builder.block
        with self.builder.if_then(condition):
            values = made()
            inside = self.builder.block
        chosen = []
        for value, other in zip(values, otherwise, strict=True):
            phi = self.builder.phi(value.type)
            phi.add_incoming(value, inside)
            phi.add_incoming(other, before)
            chosen.append(phi)
        return chosen

    def opaque(self, word: Any) -> Any:
        """The same integer, about which the optimiser knows nothing."""
        kind = ir.FunctionType(WORD, [WORD])
        return self.builder.call(ir.InlineAsm(kind, "", "=r,0"), [word])

    def prefetch(self, address: Any, write: bool, locality: int = 3) -> None:
        """Ask for the cache line at an address, to be read or written soon."""
        pointer = self.pointer(address, BYTE)
        arguments = [pointer, INT32(int(write)), INT32(locality), INT32(1)]
        self._intrinsic("llvm.prefetch.p0", ir.VoidType(), arguments)


@intrinsic
def prefetch(typing: Any, address: Any) -> Any:
    """Ask for the cache line at an address, to be read soon."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        Emitter(builder, F32).prefetch(arguments[0], write=False, locality=2)
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def prefetch_write(typing: Any, address: Any) -> Any:
    """Ask for the cache line at an address, to be written soon."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        Emitter(builder, F32).prefetch(arguments[0], write=True, locality=3)
        return context.get_dummy_value()

    return types.void(types.int64), generate


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
