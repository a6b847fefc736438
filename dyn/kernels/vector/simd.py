"""Vector instructions for kernels: values in registers, loads and stores, loops, reductions.

A kernel part is written as a Python function that emits LLVM instructions from inside a numba
intrinsic; `LANES` (16, 8 or 4 numbers of four bytes) is the only thing that differs between
processors, and no instruction is named, so LLVM serves x86 and ARM alike.

    @intrinsic
    def scale_row(typing, target, source, count, factor):
        def generate(context, builder, signature, arguments):
            target, source, count, factor = arguments
            emit = Emitter(builder, F32)
            factor = emit.splat(factor)
            def step(offset, carried, mask):
                x = emit.load(builder.add(source, offset), mask)
                emit.store(x * factor, builder.add(target, offset), mask)
                return []
            emit.row(count, step)
            return context.get_dummy_value()
        return types.void(types.int64, types.int64, types.int64, types.float32), generate

Addresses are 64-bit integers, offsets are in bytes, counts in elements. Functions such as exp are
in `vmath.py`; nothing here knows what is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from dyn.kernels.runtime.bytes import request_line
from dyn.kernels.runtime.jit import intrinsic
from dyn.kernels.vector.lanes import LANES
from dyn.kernels.vector.value import (
    BIT,
    BYTE,
    F32,
    F64,
    INT16,
    INT32,
    NAMES,
    WORD,
    Value,
    call_llvm,
    choose,
    constant,
    fma,
    maximum,
    minimum,
    total,
    transpose,
    vector_type,
)  # fmt: skip

__all__ = ["BIT", "BYTE", "F32", "F64", "INT16", "INT32", "LANES", "WORD", "Emitter", "Value",
           "choose", "fma", "intrinsic", "loop", "maximum", "minimum", "opaque", "repeat", "reread",
           "total", "transpose"]  # fmt: skip

PIECES = LANES < 16
"""Whether the first lanes of a vector are stored piece by piece. Processors with vectors of sixteen
numbers store under any mask in one cycle; of the others some need thirteen (AMD's) or have no such
instruction (ARM's), and no mask is faster than pieces."""

_SIZES = {F32: 4, F64: 8, INT16: 2, INT32: 4, WORD: 8, BYTE: 1}

Step = Callable[[Any, list[Value], Any], Sequence[Value]]


def loop(
    builder: Any,
    start: Any,
    stop: Any,
    by: Any,
    body: Callable[[Any, list[Value]], Sequence[Value]],
    carried: Sequence[Value] = (),
) -> list[Value]:
    """`carried = body(index, carried)` for index = start, start + by, ... while it is below stop.

    Args:
        builder: where instructions go.
        start, stop, by: LLVM integers; by is positive.
        body: emits one turn; gives as many Values as it gets.
        carried: what the first turn gets.

    Returns:
        What the last turn gave; `carried` if there was none.
    """
    before = builder.block
    head, turn, done = (builder.append_basic_block(name) for name in ("head", "turn", "done"))
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(start.type)
    phis = [builder.phi(value.value.type) for value in carried]
    index.add_incoming(start, before)
    builder.cbranch(builder.icmp_signed("<", index, stop), turn, done)
    builder.position_at_end(turn)
    given = body(index, [Value(builder, phi) for phi in phis])
    index.add_incoming(builder.add(index, by), builder.block)
    for phi, first, value in zip(phis, carried, given, strict=True):
        phi.add_incoming(first.value, before)
        phi.add_incoming(value.value, builder.block)
    builder.branch(head)
    builder.position_at_end(done)
    return [Value(builder, phi) for phi in phis]


def repeat(
    builder: Any,
    times: Any,
    body: Callable[[list[Value]], Sequence[Value]],
    carried: Sequence[Value],
) -> list[Value]:
    """`carried = body(carried)`, `times` times over, which is at least once.

    Args:
        builder: where instructions go.
        times: an LLVM integer.
        body: emits one turn; gives as many Values as it gets.
        carried: what the first turn gets.

    Returns:
        What the last turn gave.
    """
    before = builder.block
    turn, done = (builder.append_basic_block(name) for name in ("turn", "done"))
    builder.branch(turn)
    builder.position_at_end(turn)
    left = builder.phi(times.type)
    phis = [builder.phi(value.value.type) for value in carried]
    given = body([Value(builder, phi) for phi in phis])
    less = builder.sub(left, times.type(1))
    left.add_incoming(times, before)
    left.add_incoming(less, builder.block)
    for phi, first, value in zip(phis, carried, given, strict=True):
        phi.add_incoming(first.value, before)
        phi.add_incoming(value.value, builder.block)
    more = builder.icmp_signed("!=", less, times.type(0))
    builder.cbranch(more, turn, done)
    builder.position_at_end(done)
    return list(given)


def opaque(word: Value) -> Value:
    """The same 64-bit integer, about which the optimiser knows nothing.

    An offset that moves along many rows at once stays one register: LLVM would keep a moving
    pointer per row instead, and run out of registers.
    """
    kind = ir.FunctionType(WORD, [WORD])
    return word.made(word.builder.call(ir.InlineAsm(kind, "", "=r,0"), [word.value]))


def reread(builder: Any) -> None:
    """What is read from memory after this is read anew, though it was read before.

    No instruction; LLVM does not keep a number in a register for what could read it from memory.
    """
    kind = ir.FunctionType(ir.VoidType(), [])
    builder.call(ir.InlineAsm(kind, "", "~{memory}", side_effect=True), [])


class Below(Value):
    """The mask of the lanes whose number is below `count`, an LLVM integer of any size and sign."""

    __slots__ = ("count",)

    def __init__(self, builder: Any, value: Any, count: Any) -> None:
        super().__init__(builder, value)
        self.count = count


class Emitter:
    """Loads, stores, constants and loops for vectors of one element type.

    Attributes:
        builder: where instructions go.
        size: bytes of an element.
        lanes: elements of a vector; a vector of float64 is as many bytes as one of float32.
        vector: LLVM's type of a vector.
        bytes: bytes of a vector.
    """

    def __init__(self, builder: Any, element: Any, lanes: int | None = None) -> None:
        self.builder = builder
        self.element = element
        self.size = _SIZES[element]
        self.lanes = max(LANES * 4 // self.size, 2) if lanes is None else lanes
        self.vector = vector_type(element, self.lanes)
        self.bytes = self.size * self.lanes

    def numbers(self, number: float) -> Value:
        """A constant in every lane."""
        return Value(self.builder, constant(self.vector, number))

    def splat(self, number: Any) -> Value:
        """A single number, as an LLVM value or a Value, in every lane."""
        value = number.value if isinstance(number, Value) else number
        if self.lanes == 1:
            return Value(self.builder, value)
        undefined = ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined)
        first = Value(self.builder, self.builder.insert_element(undefined, value, INT32(0)))
        return first.shuffled([0] * self.lanes)

    def pointer(self, address: Any, to: Any = None) -> Any:
        """An address as a pointer, to an element by default."""
        return self.builder.inttoptr(address, (to or self.element).as_pointer())

    def number_at(self, address: Any) -> Value:
        """The single number at an address."""
        return Value(self.builder, self.builder.load(self.pointer(address)))

    def put_number(self, number: Value, address: Any) -> None:
        """Store a single number."""
        self.builder.store(number.value, self.pointer(address))

    def splat_at(self, address: Any) -> Value:
        """The number at an address in every lane."""
        return self.splat(self.number_at(address))

    @property
    def _suffix(self) -> str:
        return f"v{self.lanes}{NAMES[self.element]}.p0"

    def load(self, address: Any, mask: Any = None) -> Value:
        """The vector at an address; zero in lanes where the mask is off, which are not read."""
        pointer = self.pointer(address, self.vector)
        if mask is None:
            value = self.builder.load(pointer)
            value.align = self.size
        else:
            rest = [INT32(self.size), mask.value, constant(self.vector, 0)]
            name = f"llvm.masked.load.{self._suffix}"
            value = call_llvm(self.builder, name, self.vector, [pointer, *rest])
        return Value(self.builder, value)

    def fetch(self, address: Any) -> None:
        """Ask for the cache line at an address to come to the second-level cache."""
        request_line(self.builder, address, write=False, locality=2)

    def store(self, value: Value, address: Any, mask: Any = None, aside: Any = None) -> None:
        """Store a vector, or those of its lanes where the mask is on.

        Where `aside`, an LLVM truth value, holds, a whole vector goes past the cache, and its
        address is a multiple of its size. The atomic operation that ends a chunk waits for it.
        """
        pointer = self.pointer(address, self.vector)
        if mask is None and aside is not None:
            with self.builder.if_else(aside) as (past, near):
                with past:
                    written = self.builder.store(value.value, pointer)
                    written.align = self.bytes
                    mark = self.builder.module.add_metadata([INT32(1)])
                    written.set_metadata("nontemporal", mark)
                with near:
                    self.store(value, address)
        elif mask is None:
            self.builder.store(value.value, pointer).align = self.size
        elif PIECES and isinstance(mask, Below) and self.lanes > 1:
            self._store_first(value, address, mask.count)
        else:
            arguments = [value.value, pointer, INT32(self.size), mask.value]
            name = f"llvm.masked.store.{self._suffix}"
            call_llvm(self.builder, name, ir.VoidType(), arguments)

    def _store_first(self, value: Value, address: Any, count: Any) -> None:
        """Store the first `count` lanes: a half of the vector, a quarter, and so on, as needed."""
        builder, rest, half = self.builder, value.value, self.lanes // 2
        whole = builder.icmp_signed(">=", count, WORD(self.lanes))
        with builder.if_then(whole):
            builder.store(rest, self.pointer(address, self.vector)).align = self.size
        none = builder.or_(whole, builder.icmp_signed("<", count, WORD(0)))
        count = builder.select(none, WORD(0), count)
        while half:
            low, high = (
                Value(builder, rest).shuffled(list(range(at, at + half))).value for at in (0, half)
            )
            before = builder.block
            taken, after = (builder.append_basic_block(name) for name in ("taken", "after"))
            has = builder.icmp_signed("!=", builder.and_(count, WORD(half)), WORD(0))
            builder.cbranch(has, taken, after)
            builder.position_at_end(taken)
            builder.store(low, self.pointer(address, low.type)).align = self.size
            beyond = builder.add(address, WORD(half * self.size))
            builder.branch(after)
            builder.position_at_end(after)
            following, place = builder.phi(low.type), builder.phi(WORD)
            for phi, on, off in ((following, high, low), (place, beyond, address)):
                phi.add_incoming(on, taken)
                phi.add_incoming(off, before)
            rest, address, half = following, place, half // 2

    def mask_below(self, count: Any) -> Below:
        """The lanes whose number is below `count`, an LLVM integer."""
        # As wide as the elements, so that the comparison is one instruction.
        element = INT32 if self.size == 4 else WORD
        limit = self.builder.select(
            self.builder.icmp_signed("<", count, WORD(self.lanes)), count, WORD(self.lanes)
        )
        limit = limit if element is WORD else self.builder.trunc(limit, element)
        numbers = ir.Constant(ir.VectorType(element, self.lanes), list(range(self.lanes)))
        mask = Value(self.builder, numbers) < self.splat(limit)
        return Below(self.builder, mask.value, count)

    def row(
        self, count: Any, step: Step, carried: Sequence[Value] = (), unroll: int = 4
    ) -> list[list[Value]]:
        """`carried = step(offset, carried, mask)` over the vectors of a row, the last one masked.

        Several vectors a turn, each with `carried` of its own, so that sums do not wait for each
        other. In the last, incomplete vector lanes beyond the row keep what they carried.

        Args:
            count: elements of the row, an LLVM integer.
            step: emits the work on the vector at a byte offset; mask is None for whole vectors.
            carried: what every chain starts with.
            unroll: number of chains.

        Returns:
            For each carried Value the `unroll` vectors it has become, to be combined by the caller,
            as by total(*sums).
        """
        builder = self.builder
        turn = WORD(unroll * self.bytes)
        end = builder.mul(count, WORD(self.size))
        whole = builder.mul(builder.sdiv(end, turn), turn)
        flat = [value for value in carried for _ in range(unroll)]
        width = len(carried)

        def several(offset: Any, chains: list[Value]) -> list[Value]:
            given = list(chains)
            for u in range(unroll):
                at = builder.add(offset, WORD(u * self.bytes))
                given[u::unroll] = step(at, chains[u::unroll], None)
            return given

        def single(offset: Any, chain: list[Value]) -> list[Value]:
            return list(step(offset, chain, None))

        chains = loop(builder, WORD(0), whole, turn, several, flat)
        # The rest goes through the first chain: whole vectors, then one with a mask.
        vectors = builder.mul(builder.sdiv(end, WORD(self.bytes)), WORD(self.bytes))
        first = chains[::unroll]
        if unroll > 1:
            first = loop(builder, whole, vectors, WORD(self.bytes), single, first)
        before = builder.block
        with builder.if_then(builder.icmp_signed("<", vectors, end)):
            mask = self.mask_below(builder.sdiv(builder.sub(end, vectors), WORD(self.size)))
            given = step(vectors, first, mask)
            kept = [choose(mask, new, old) for new, old in zip(given, first, strict=True)]
            inside = builder.block
        for i in range(width):
            phi = builder.phi(first[i].value.type)
            phi.add_incoming(first[i].value, before)
            phi.add_incoming(kept[i].value, inside)
            chains[i * unroll] = Value(builder, phi)
        return [chains[i * unroll : (i + 1) * unroll] for i in range(width)]
