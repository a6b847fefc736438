"""Launches: tasks with remembered words, and the kernels over rows and columns that use them."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from dyn.kernels import pool
from dyn.kernels.batch_norm import MOMENTS
from dyn.kernels.runtime import arrays, threads
from dyn.kernels.runtime.arrays import data
from dyn.kernels.runtime.drive import Launch
from dyn.kernels.runtime.jit import kernel, task
from dyn.kernels.runtime.threads import argument, bounds
from dyn.kernels.runtime.words import ROOM
from dyn.kernels.softmax import _KERNELS
from dyn.kernels.vector.runs import pointer

I64 = np.int64(0)


@task
def _multiply(args, chunk, chunks):
    """Words: x, y; count, factor."""
    x, y = pointer(data(argument(args, 0)), I64), pointer(data(argument(args, 1)), I64)
    start, stop = bounds(argument(args, 2), chunk, chunks, 1)
    for i in range(start, stop):
        y[i] = x[i] * argument(args, 3)


@task
def _accumulate(args, chunk, chunks):
    """Words: x, y; count."""
    y = pointer(data(argument(args, 1)), I64)
    for i in range(1, argument(args, 2)):
        y[i] += y[i - 1]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_stages_run_in_turn_over_the_same_words(count: int) -> None:
    x = np.arange(1000, dtype=np.int64)
    launch = Launch([(_multiply, 7), (_accumulate, 1)], 2, len(x), 3)
    before = threads.get_num_threads()
    try:
        threads.set_num_threads(count)
        for source in (x, x[::-1].copy()):
            out = np.full(len(x), -1, np.int64)
            launch(source, out)
            np.testing.assert_array_equal(out, np.cumsum(3 * source))
    finally:
        threads.set_num_threads(before)


def test_no_chunks_are_nothing_to_do() -> None:
    out = np.full(3, -1, np.int64)
    Launch([(_multiply, 0)], 2, 3, 3)(out, out)
    np.testing.assert_array_equal(out, -1)


def test_words_must_fit() -> None:
    Launch([(_multiply, 1)], 2, *range(ROOM - 2))
    with pytest.raises(ValueError, match="do not fit"):
        Launch([(_multiply, 1)], 2, *range(ROOM - 1))


def test_every_array_of_rows_has_a_step() -> None:
    with pytest.raises(ValueError, match="3 steps are given for 2 arrays"):
        _KERNELS["_softmax"].plan(4, 4, (16, 16, 16))


@pytest.mark.parametrize("rows", [1, 7, 64, 4096])
@pytest.mark.parametrize("columns", [1, 3, 16, 100, 300])
def test_sums_of_columns_however_rows_are_joined_and_cut(
    rows: int, columns: int, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((rows, columns)).astype(np.float32)
    shift = x[:1].copy()
    found = MOMENTS.columns[x.dtype].plan(rows, columns).run(x, constants=shift)
    away = x.astype(np.float64) - shift
    wanted = np.stack([away.sum(0), (away * away).sum(0)])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * rows)


@kernel
def _look(array):
    axes = arrays.size(array, 0), arrays.size(array, 1)
    return arrays.data(array), axes, (arrays.stride(array, 0), arrays.stride(array, 1))


@kernel
def _look_inside(items):
    return arrays.length(items), arrays.item(items, 0), arrays.item(items, 1)


def test_arrays_and_tuples_are_laid_out_as_believed():
    x = np.empty((3, 8))[:, ::2]
    assert _look(id(x)) == (x.ctypes.data, x.shape, x.strides)
    pair = x, x.base
    assert _look_inside(id(pair)) == (2, *map(id, pair))


def test_a_launch_keeps_what_it_reads_beside_its_arrays(monkeypatch):
    made = []

    class Noted(pool._Plan):
        def __init__(self, *given):
            super().__init__(*given)
            made.append(weakref.ref(self))

    monkeypatch.setattr(pool, "_Plan", Noted)
    pool._mean_plan.cache_clear()
    window = {"kernel": (3, 3), "stride": (1, 1), "padding": (0, 0, 0, 0)}
    run = pool.avg_pool_of((1, 2, 6, 6), np.dtype("f4"), **window)
    for cached in (pool._launch, pool._mean_plan):
        cached.cache_clear()
    gc.collect()
    (plan,) = made
    assert plan() is not None
    x = np.arange(72, dtype=np.float32).reshape(1, 2, 6, 6)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))
    np.testing.assert_allclose(run(x), windows.mean((4, 5)), rtol=1e-6)
