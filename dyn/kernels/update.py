"""Optimiser steps over a whole parameter group in one launch: SGD, momentum, Adam, AdamW.

Every element is read and written once. The old parameters and slots stay as they were, because
tensors that users hold may refer to them. float32 runs in vector code, other dtypes in numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numba import types

from dyn.kernels.runtime import drive
from dyn.kernels.runtime.arrays import DATA
from dyn.kernels.runtime.memory import LARGE, empty_like
from dyn.kernels.vector.rows import emitted_task, share, word_at
from dyn.kernels.vector.simd import F32, F64, WORD, Emitter, Value, fma, intrinsic, loop

Arrays = Sequence[np.ndarray]

LINE = 64
"""Bytes of a cache line."""
PIECE = 16384
"""Elements done at a time: a piece of one parameter."""

NUMBERS = 8
"""Numbers that a formula gets besides the arrays."""

# ---- kernels -----------------------------------------------------------------------------------


def _sgd(load: Any, number: Any) -> list[Value]:
    """p, g -> p. Numbers: lr, decay."""
    p, g = load(0), load(1)
    return [p - number(0) * fma(p, number(1), g)]


def _momentum(load: Any, number: Any) -> list[Value]:
    """p, g, v -> p, v. Numbers: lr, decay, momentum."""
    p = load(0)
    v = fma(load(2), number(2), fma(p, number(1), load(1)))
    return [p - number(0) * v, v]


def _nesterov(load: Any, number: Any) -> list[Value]:
    """p, g, v -> p, v. Numbers: lr, decay, momentum."""
    p = load(0)
    g = fma(p, number(1), load(1))
    v = fma(load(2), number(2), g)
    return [p - number(0) * fma(v, number(2), g), v]


def _adam(load: Any, number: Any) -> list[Value]:
    """p, g, m, v -> p, m, v. Numbers: step, decay, betas, their complements, floor, shrink."""
    p = load(0)
    g = fma(p, number(1), load(1))
    m = fma(load(2), number(2), g * number(4))
    v = fma(load(3), number(3), g * g * number(5))
    return [p * number(7) - number(0) * m / (v.call("sqrt") + number(6)), m, v]


class _Update:
    """A formula as a kernel over contiguous arrays: inputs first, then results."""

    def __init__(self, formula: Callable[[Any, Any], list[Value]], inputs: int, results: int):
        self.inputs = inputs
        self.results = results
        name = f"{formula.__name__.strip('_')}_update"
        self.code = emitted_task(name, _emitted(formula, inputs, results))

    def run(self, numbers: Sequence[float], *groups: Arrays) -> list[list[np.ndarray]]:
        """The results of all parameters: for each kind a list."""
        made: list[list[np.ndarray]] = [[] for _ in range(self.results)]
        words: list[int] = []
        sizes: list[int] = []
        keep: list[Any] = []
        for given in zip(*groups, strict=True):
            p = given[0]
            # numpy is quicker where memory is small.
            make = empty_like if p.nbytes >= LARGE else np.empty_like
            fresh = [make(p) for _ in made]
            strides = fresh[0].strides
            if any(x.strides != strides for x in given):
                given = [like(x, fresh[0]) for x in given]
                keep.append(given)
            words += map(id, given)
            words += map(id, fresh)
            sizes.append(p.size)
            for kind, array in zip(made, fresh, strict=True):
                kind.append(array)
        if not words:
            return made
        table, total, floats = np.array(words), sum(sizes), np.array(numbers, np.float64)
        pieces = _pieces(tuple(sizes))
        drive.run(
            self.code,
            drive.chunks_of(total, 2 * PIECE, len(pieces)),
            id(table),
            id(pieces),
            len(pieces),
            id(floats),
        )
        return made


def _emitted(formula: Any, inputs: int, results: int) -> Any:
    """The task that does the pieces of a chunk.

    Words: `id`s of the table of arrays and of the pieces, number of pieces, `id` of the numbers.
    """

    @intrinsic
    def emitted(typing: Any, args: Any, chunk: Any, chunks: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            args, chunk, chunks = arguments
            table, pieces, numbers = (
                word_at(builder, word_at(builder, args, k), DATA) for k in (0, 1, 3)
            )
            emit = Emitter(builder, F32)
            known = []
            for place in range(NUMBERS):
                at = builder.add(numbers, WORD(8 * place))
                wide = builder.load(builder.inttoptr(at, F64.as_pointer()))
                known.append(emit.splat(Value(builder, wide).to(F32)))

            def piece(index: Any, _: Any) -> list[Value]:
                at = builder.add(pieces, builder.mul(index, WORD(24)))
                which, first, stop = (word_at(builder, at, k) for k in range(3))
                row = builder.mul(which, WORD(8 * (inputs + results)))
                row = builder.add(table, row)
                offset = builder.mul(first, WORD(emit.size))
                arrays = [
                    builder.add(word_at(builder, word_at(builder, row, k), DATA), offset)
                    for k in range(inputs + results)
                ]
                count = builder.sub(stop, first)
                _stream(emit, formula, arrays[:inputs], arrays[inputs:], known, count)
                return []

            start, stop = share(builder, word_at(builder, args, 2), chunk, chunks)
            loop(builder, start, stop, WORD(1), piece)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), generate

    return emitted


def _stream(
    emit: Emitter, formula: Any, sources: list[Any], targets: list[Any], known: Any, count: Any
) -> None:
    """The formula over contiguous arrays, whole cache lines of each result at a time."""
    builder = emit.builder

    def values(at: Any, mask: Any) -> list[Value]:
        return formula(lambda k: emit.load(builder.add(sources[k], at), mask), known.__getitem__)

    def lines(at: Any, carried: Any) -> list[Value]:
        offsets = [builder.add(at, WORD(v * emit.bytes)) for v in range(LINE // emit.bytes)]
        made = [values(offset, None) for offset in offsets]
        for place, target in enumerate(targets):
            for offset, results in zip(offsets, made, strict=True):
                emit.store(results[place], builder.add(target, offset))
        return []

    def single(at: Any, carried: Any, mask: Any) -> list[Value]:
        at = builder.add(whole, at)
        for value, target in zip(values(at, mask), targets, strict=True):
            emit.store(value, builder.add(target, at), mask)
        return []

    end = builder.mul(count, WORD(emit.size))
    whole = builder.mul(builder.sdiv(end, WORD(LINE)), WORD(LINE))
    loop(builder, WORD(0), whole, WORD(LINE), lines)
    emit.row(builder.sdiv(builder.sub(end, whole), WORD(emit.size)), single, unroll=1)


@lru_cache(64)
def _pieces(sizes: tuple[int, ...]) -> np.ndarray:
    """(parameter, start, stop) of every piece."""
    found = [
        (i, start, min(start + PIECE, size))
        for i, size in enumerate(sizes)
        for start in range(0, size, PIECE)
    ]
    return np.array(found, np.int64).reshape(-1, 3)


_SGD = _Update(_sgd, 2, 1)
_MOMENTUM = _Update(_momentum, 3, 2)
_NESTEROV = _Update(_nesterov, 3, 2)
_ADAM = _Update(_adam, 4, 3)


def like(x: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """x itself if it lies in memory as `pattern` does, else a copy that does."""
    if x.strides == pattern.strides:
        return x
    made = empty_like(pattern)
    made[...] = x
    return made


# ---- calls -------------------------------------------------------------------------------------


def _all_single(params: Arrays) -> bool:
    return all(p.dtype == np.float32 for p in params)


def sgd(lr: np.ndarray, params: Arrays, grads: Arrays, *, weight_decay: float) -> list[np.ndarray]:
    """p - lr * (g + weight_decay * p)."""
    if _all_single(params):
        return _SGD.run([float(lr), weight_decay, *[0] * 6], params, grads)[0]
    out = []
    for p, g in zip(params, grads, strict=True):
        kind = p.dtype.type
        out.append(p - kind(lr) * (g + kind(weight_decay) * p))
    return out


def momentum(
    lr: np.ndarray,
    params: Arrays,
    grads: Arrays,
    velocities: Arrays,
    *,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """v' = momentum * v + g; p' = p - lr * v' (Nesterov: p - lr * (g + momentum * v'))."""
    if _all_single(params):
        update = _NESTEROV if nesterov else _MOMENTUM
        numbers = [float(lr), weight_decay, momentum, *[0] * 5]
        new_p, new_v = update.run(numbers, params, grads, velocities)
        return new_p, new_v
    new_p, new_v = [], []
    for p, g, v in zip(params, grads, velocities, strict=True):
        kind = p.dtype.type
        g = g + kind(weight_decay) * p
        velocity = kind(momentum) * v + g
        new_v.append(velocity)
        new_p.append(p - kind(lr) * (g + kind(momentum) * velocity if nesterov else velocity))
    return new_p, new_v


def adam(
    lr: np.ndarray,
    beta1_pow: np.ndarray,
    beta2_pow: np.ndarray,
    params: Arrays,
    grads: Arrays,
    first: Arrays,
    second: Arrays,
    *,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
    decoupled: bool,
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Adam, or AdamW when `decoupled`; the powers are those that belong to this step."""
    rate, root = float(lr), math.sqrt(1 - float(beta2_pow))
    shrink = 1 - rate * weight_decay if decoupled else 1.0
    decay = 0.0 if decoupled else weight_decay
    step = rate * root / (1 - float(beta1_pow))
    if _all_single(params):
        numbers = [step, decay, beta1, beta2, 1 - beta1, 1 - beta2, epsilon * root, shrink]
        new_p, new_m, new_v = _ADAM.run(numbers, params, grads, first, second)
        return new_p, new_m, new_v
    new_p, new_m, new_v = [], [], []
    for p, g, m, v in zip(params, grads, first, second, strict=True):
        kind = p.dtype.type
        g = g + kind(decay) * p
        m_next = kind(beta1) * m + kind(1 - beta1) * g
        v_next = kind(beta2) * v + kind(1 - beta2) * g * g
        new_m.append(m_next)
        new_v.append(v_next)
        below = np.sqrt(v_next) + kind(epsilon * root)
        new_p.append(kind(shrink) * p - kind(step) * m_next / below)
    return new_p, new_m, new_v
