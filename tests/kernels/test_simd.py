"""Vector building blocks: loads with masks, rows of every length, reductions, transposes, lanes."""

import os
import subprocess
import sys
from functools import reduce

import numpy as np
import pytest
from llvmlite import ir
from numba import types

from dyn.kernels.runtime.jit import kernel
from dyn.kernels.vector import simd
from dyn.kernels.vector.simd import F32, F64, INT32, LANES, WORD, Emitter, intrinsic

CANARY = 7.25


def guarded(values, before=13, after=3 * LANES):
    """An array inside a larger one full of canaries; both."""
    whole = np.full(before + len(values) + after, CANARY, values.dtype)
    inside = whole[before : before + len(values)]
    inside[:] = values
    return whole, inside


def untouched(whole, inside):
    """Whether nothing around `inside` was written to."""
    start = (inside.ctypes.data - whole.ctypes.data) // whole.itemsize if inside.size else 0
    rest = np.concatenate([whole[:start], whole[start + inside.size :]])
    return (rest == CANARY).all()


def _scaler(element, kind):
    @intrinsic
    def scaled(typing, target, source, count, factor, found):
        def generate(context, builder, signature, arguments):
            target, source, count, factor, found = arguments
            emit = Emitter(builder, element)
            by = emit.splat(factor)

            def step(offset, carried, mask):
                x = emit.load(builder.add(source, offset), mask)
                emit.store(x * by, builder.add(target, offset), mask)
                return [carried[0] + x, simd.maximum(carried[1], x), simd.minimum(carried[2], x)]

            start = [emit.numbers(0), emit.numbers(-np.inf), emit.numbers(np.inf)]
            sums, tops, lows = emit.row(count, step, start)
            extremes = [
                reduce(better, found).folded(better)
                for better, found in ((simd.maximum, tops), (simd.minimum, lows))
            ]
            results = [simd.total(*sums), *extremes]
            for place, value in enumerate(results):
                emit.put_number(value, builder.add(found, WORD(place * emit.size)))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64, kind, types.int64), generate

    return scaled


_scale_f32, _scale_f64 = _scaler(F32, types.float32), _scaler(F64, types.float64)


@kernel
def _run_f32(target, source, factor, found):
    _scale_f32(target.ctypes.data, source.ctypes.data, source.size, factor, found.ctypes.data)


@kernel
def _run_f64(target, source, factor, found):
    _scale_f64(target.ctypes.data, source.ctypes.data, source.size, factor, found.ctypes.data)


@pytest.mark.parametrize("run, dtype", [(_run_f32, np.float32), (_run_f64, np.float64)])
@pytest.mark.parametrize("size", [*range(2 * LANES + 2), 4 * LANES, 4 * LANES + 1, 10 * LANES - 1])
def test_rows_of_every_length(rng, run, dtype, size):
    source, x = guarded(rng.standard_normal(size).astype(dtype))
    whole, target = guarded(np.zeros(size, dtype))
    found = np.zeros(3, dtype)
    run(target, x, dtype(3), found)
    np.testing.assert_array_equal(target, x * dtype(3))
    total, largest, smallest = found
    assert largest == x.max(initial=-np.inf)
    assert smallest == x.min(initial=np.inf)
    np.testing.assert_allclose(total, x.sum(), rtol=1e-5, atol=1e-5)
    assert untouched(whole, target) and untouched(source, x)


@pytest.mark.parametrize("size", [3, LANES, 9 * LANES + 2])
def test_extremes_keep_nan_wherever_it_is(size):
    for place in {0, size // 2, size - 1}:
        x = np.arange(size, dtype=np.float32)
        x[place] = np.nan
        found = np.zeros(3, np.float32)
        _run_f32(np.zeros_like(x), x, np.float32(1), found)
        assert np.isnan(found).all()


@intrinsic
def _turn(typing, target, source):
    def generate(context, builder, signature, arguments):
        emit = Emitter(builder, F32)
        at = [WORD(i * emit.bytes) for i in range(LANES)]
        rows = [emit.load(builder.add(arguments[1], offset)) for offset in at]
        for column, offset in zip(simd.transpose(rows), at, strict=True):
            emit.store(column, builder.add(arguments[0], offset))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@kernel
def _run_turn(target, source):
    _turn(target.ctypes.data, source.ctypes.data)


def test_transpose():
    x = np.arange(LANES * LANES, dtype=np.float32).reshape(LANES, LANES)
    out = np.zeros_like(x)
    _run_turn(out, x)
    np.testing.assert_array_equal(out, x.T)


@intrinsic
def _operate(typing, target, a, b):
    def generate(context, builder, signature, arguments):
        emit = Emitter(builder, F32)
        target, a, b = arguments
        a, b = emit.load(a), emit.load(b)
        whole = a.to(INT32)
        results = [
            a + b,
            2 - a,
            a * 3,
            1 / b,
            -a,
            abs(a),
            simd.fma(a, b, 1),
            a.call("rint"),
            whole.to(F32),
            ((whole << 3) >> 1).to(F32),
            ((whole & 6) | (whole ^ 1)).to(F32),
            (a.bits(INT32) + 0).bits(F32),
            simd.choose(a < b, a, 5),
            simd.choose(~(a >= b), 1, b),
            (a.to(F64) * b.to(F64)).to(F32),
            (a != a).to(F32),
            (a == b).to(F32),
            simd.choose((a > 0) & (b <= 0), 1, emit.numbers(0)),
            emit.splat(a.at(1)),
        ]
        for place, value in enumerate(results):
            emit.store(value, builder.add(target, WORD(place * emit.bytes)))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@kernel
def _run_operate(target, a, b):
    _operate(target.ctypes.data, a.ctypes.data, b.ctypes.data)


def test_operators(rng):
    a = (4 * rng.standard_normal(LANES)).astype(np.float32)
    b = (4 * rng.standard_normal(LANES)).astype(np.float32)
    b[0] = a[0]
    out = np.zeros((19, LANES), np.float32)
    _run_operate(out, a, b)
    whole = a.astype(np.int32)
    wanted = [
        a + b,
        2 - a,
        a * 3,
        1 / b,
        -a,
        np.abs(a),
        (a.astype(np.float64) * b + 1).astype(np.float32),
        np.rint(a),
        whole,
        (whole << 3) >> 1,
        (whole & 6) | (whole ^ 1),
        a,
        np.where(a < b, a, 5),
        np.where(~(a >= b), 1, b),
        a * b,
        a != a,
        a == b,
        (a > 0) & (b <= 0),
        np.full(LANES, a[1]),
    ]
    for row, expected in zip(out, wanted, strict=True):
        np.testing.assert_allclose(row, expected, rtol=2e-6, atol=2e-7)


@intrinsic
def _count(typing, start, stop, by):
    def generate(context, builder, signature, arguments):
        def body(index, carried):
            return [carried[0] + 1, carried[0].made(index)]

        none = simd.Value(builder, ir.Constant(WORD, 0))
        start, stop, by = arguments
        turns, last = simd.loop(builder, start, stop, by, body, [none, none])
        return (turns * 1000 + last).value

    return types.int64(types.int64, types.int64, types.int64), generate


@kernel
def _run_count(start, stop, by):
    return _count(start, stop, by)


@pytest.mark.parametrize("start, stop, by", [(0, 0, 1), (3, 2, 1), (0, 1, 4), (1, 9, 3), (0, 9, 3)])
def test_loop(start, stop, by):
    turns = range(start, stop, by)
    assert _run_count(start, stop, by) == 1000 * len(turns) + (turns[-1] if turns else 0)


def narrower(lanes, *more):
    """Run this file's tests as processors with fewer lanes would; the environment adds `more`."""
    environment = dict(os.environ, DYN_LANES=str(lanes), **dict(more))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    command += ["-k", "not lanes"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("lanes", [lanes for lanes in (4, 8, 16) if lanes != LANES])
def test_other_lanes(lanes):
    done = narrower(lanes)
    assert done.returncode == 0, done.stdout[-3000:]
