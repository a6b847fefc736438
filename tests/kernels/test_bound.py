"""Products bound to shapes against numpy: batches, transposes, strides, bias, many layouts."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dyn
from dyn import nn
from dyn.kernels import gemm
from dyn.kernels.gemm import weights
from dyn.kernels.gemm.bound import MAX_LAYOUTS
from dyn.kernels.runtime import memory, threads

OTHERWISE = "the general way"

SIZES = st.integers(1, 40)
BATCHES = st.sampled_from([((), ()), ((3,), ()), ((2, 3), ()), ((1,), (1,)), ((4,), (4,)),
                           ((2, 1), (3,)), ((), (3,)), ((1, 1), (1,))])  # fmt: skip


def swapped(x, turn):
    return x.swapaxes(-1, -2) if turn else x


def laid(x, layout):
    """The same numbers in another memory layout."""
    if layout == "last axes swapped":
        return np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
    if layout == "rows apart":
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., : x.shape[-1]] = x
        return wide[..., : x.shape[-1]]
    if layout == "reversed":
        return np.ascontiguousarray(x[..., ::-1, ::-1])[..., ::-1, ::-1]
    return x


LAYOUTS = st.sampled_from(["C", "last axes swapped", "rows apart", "reversed"])


@given(SIZES, SIZES, SIZES, BATCHES, LAYOUTS, LAYOUTS, st.sampled_from(["f4", "f8"]), st.data())
@settings(max_examples=500, deadline=None)
def test_any_product_equals_numpys(m, k, n, batches, left, right, dtype, data):
    transpose_a, transpose_b, biased = (data.draw(st.booleans()) for _ in range(3))
    rng = np.random.default_rng(m * 1600 + k * 40 + n)
    lead_a, lead_b = batches
    a = rng.standard_normal((*lead_a, *((k, m) if transpose_a else (m, k)))).astype(dtype)
    b = rng.standard_normal((*lead_b, *((n, k) if transpose_b else (k, n)))).astype(dtype)
    bias = rng.standard_normal(n).astype(dtype) if biased and not lead_b else None
    x, y = swapped(a, transpose_a), swapped(b, transpose_b)
    if not lead_a and data.draw(st.booleans(), label="a row without its axis"):
        a = x = x[0]
    if not lead_b and bias is None and data.draw(st.booleans(), label="a column without its axis"):
        b = y = y[:, 0]
    wanted = np.matmul(x.astype("f8"), y.astype("f8"))
    if bias is not None:
        wanted = wanted + bias

    def otherwise(x, y, bias=None):
        x, y = (swapped(z, turn and z.ndim > 1) for z, turn in ((x, transpose_a), (y, transpose_b)))
        return gemm.matmul(x, y, bias=bias)

    how = {"transpose_a": transpose_a, "transpose_b": transpose_b, "biased": bias is not None}
    run = gemm.bound(a.shape, b.shape, a.dtype, otherwise, **how) or otherwise
    more = () if bias is None else (np.repeat(bias, 2)[::2] if left == "reversed" else bias,)
    left, right = (how if z.ndim > 1 else "C" for how, z in ((left, a), (right, b)))
    for _ in range(2):  # the second time from memory
        got = run(laid(a, left), laid(b, right), *more)
        assert got.dtype == a.dtype and got.flags.c_contiguous
        scale = 16 if dtype == "f4" else 64
        np.testing.assert_allclose(got, wanted, atol=(k + 4) * scale * np.finfo(dtype).eps)


def test_vectors_with_steps():
    wide = np.arange(24, dtype=np.float32)
    matrix = np.arange(24, dtype=np.float32).reshape(3, 8)
    general = []

    def otherwise(x, y):
        general.append(1)
        return gemm.matmul(x, y)

    for step in (1, 3, -1, -2):
        x = wide[::step][:8]
        along = gemm.bound((3, 8), (8,), x.dtype, otherwise)
        np.testing.assert_array_equal(along(matrix, x), matrix @ x)
        np.testing.assert_array_equal(along(matrix, x), matrix @ x)
        across = gemm.bound((8,), (8, 3), x.dtype, otherwise)
        np.testing.assert_array_equal(across(x, matrix.T), x @ matrix.T)
        dot = gemm.bound((8,), (8,), x.dtype, otherwise)
        assert dot(x, x).shape == () and dot(x, x) == x @ x
    assert len(general) == 3 * 5


@pytest.mark.parametrize(
    ("a", "b"),
    [((4, 5), (5, 6)), ((1, 5), (5, 6)), ((4, 5), (5, 1)), ((5,), (5, 6)), ((4, 5), (5,)),
     ((5,), (5,)), ((2, 4, 5), (5, 6)), ((2, 1, 5), (5, 6)), ((2, 4, 5), (2, 5, 6)),
     ((4, 1), (1, 6)), ((70, 1), (1, 60)), ((2, 4, 5), (5,)), ((1, 4, 5), (1, 5, 6)),
     ((1, 1, 5), (1, 5, 6)),
     ((2, 4, 1), (1, 6)), ((7, 4, 1), (7, 1, 6))],
)  # fmt: skip
def test_what_does_not_go_the_general_way(a, b):
    x, y = np.ones(a, np.float32), np.ones(b, np.float32)
    run = gemm.bound(a, b, x.dtype, lambda *_: OTHERWISE)
    np.testing.assert_array_equal(run(x, y), x @ y)
    np.testing.assert_array_equal(run(x, y, None), x @ y)


@pytest.mark.parametrize(
    ("a", "b", "dtype"),
    [
        ((7, 1, 5), (7, 5, 6), "f4"),
        ((7, 4, 5), (7, 5, 1), "f4"),
        ((0, 5), (5, 6), "f4"),
        ((0, 4, 5), (5, 6), "f4"),
        ((4, 5), (5, 6), "i8"),
        ((4, 5), (5, 6), "f2"),
    ],
)
def test_what_is_left_to_the_general_way(a, b, dtype):
    assert gemm.bound(a, b, np.dtype(dtype), lambda *_: OTHERWISE) is None


def test_layouts_beyond_those_that_are_remembered_go_the_general_way():
    b = np.ones((3, 3), np.float32)
    run = gemm.bound((3, 3), (3, 3), b.dtype, lambda *_: OTHERWISE)
    wide = np.arange(3 * 40, dtype=np.float32).reshape(3, 40)
    for by in range(3, 3 + MAX_LAYOUTS):
        a = np.lib.stride_tricks.as_strided(wide, (3, 3), (4 * by, 4))
        np.testing.assert_array_equal(run(a, b), a @ b)
    assert run(np.ones((3, 3), np.float32), b) is not OTHERWISE  # rows of 3, seen before
    assert run(np.lib.stride_tricks.as_strided(wide, (3, 3), (4 * 36, 4)), b) is OTHERWISE


@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (7, 9), (memory.SMALL + 1,), (300, 400)])
def test_a_maker_makes_what_empty_makes(shape):
    made, wanted = memory.maker(shape, np.dtype("f4"))(), memory.empty(shape, np.dtype("f4"))
    assert (made.shape, made.dtype, made.strides) == (wanted.shape, wanted.dtype, wanted.strides)
    assert isinstance(made.base, memory.Lease) == isinstance(wanted.base, memory.Lease)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("layout", ["C", "last axes swapped", "rows apart"])
@pytest.mark.parametrize("m, k, n", [(2, 70, 130), (7, 1030, 521), (31, 515, 64), (250, 33, 700)])
def test_a_weight_that_is_asked_for_again_is_packed_once(m, k, n, layout, dtype, monkeypatch):
    monkeypatch.setattr(weights, "LEAST", 0)
    weights.ready_kept.cache_clear()
    rng, packed = np.random.default_rng(0), []
    pack = weights.packed
    monkeypatch.setattr(weights, "packed", lambda *args: packed.append(1) or pack(*args))
    x, w = (rng.standard_normal(shape).astype(dtype) for shape in ((3, m, k), (k, n)))
    w, bias, before = (
        laid(w, layout),
        rng.standard_normal(n).astype(dtype),
        threads.get_num_threads(),
    )
    tolerance = 1e-4 if dtype == "f4" else 1e-11
    for rows in (x[0], x[1], x[2], x):
        run = gemm.bound(rows.shape, w.shape, w.dtype, OTHERWISE, biased=True, weight=True)
        found = []
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            found.append(run(rows, w, bias))
        threads.set_num_threads(before)
        wanted = rows.astype("f8") @ w.astype("f8") + bias
        np.testing.assert_allclose(found[0], wanted, rtol=tolerance, atol=tolerance * k)
        if rows is not x[0]:  # there the first is the product that packs as it goes
            np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_array_equal(found[1], found[2])
    assert len(packed) == 1


@pytest.mark.parametrize("turn", [np.s_[::-1], np.s_[:, ::-1]])
def test_a_weight_may_lie_backwards_or_repeat_a_row(turn):
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-3, 4, (n, 128)).astype("f4") for n in (64, 128))
    row, wide = x[:1], w[:1].repeat(8, 1)
    for a, b in ((x[turn], w[turn]), (x, w[turn]), (row.repeat(2, 0), wide.repeat(128, 0)),
                 (np.broadcast_to(row, x.shape), np.broadcast_to(wide, (128, 1024)))):  # fmt: skip
        run = gemm.bound(a.shape, b.shape, b.dtype, np.matmul, weight=True)
        for _ in range(3):
            np.testing.assert_array_equal(run(a, b), a @ b)


def test_a_weight_that_was_written_to_is_packed_anew():
    layer, x = nn.Linear(600, 600), dyn.ones([4, 600])
    for number in (1.0, 2.0, 3.0):
        with dyn.no_grad():
            layer.weight.fill_(number)
            layer.weight[0] = 0.0
            for _ in range(3):
                assert layer(x)[0, 0].item() == 599 * number + layer.bias[0].item()


def test_what_is_packed_of_a_weight_ends_with_it():
    layer, x = nn.Linear(600, 600), dyn.ones([4, 600])
    for _ in range(3):
        layer(x)
    held = memory.memory_info()["live_bytes"]
    del layer
    gc.collect()
    assert memory.memory_info()["live_bytes"] <= held - 600 * 600 * 4
