"""Matrix products against numpy: sizes, strides, batches, dtypes, NaN, threads, bounds."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels import gemm
from dyn.kernels.gemm import product as gemm_product
from dyn.kernels.runtime import threads
from tests.kernels import guard

LAYOUTS = ("C", "F", "sliced", "reversed")


def lay(x, layout):
    """The same matrix in another memory layout."""
    if layout == "F":
        return np.asfortranarray(x)
    if layout == "sliced":
        wide = np.zeros((*x.shape[:-2], x.shape[-2] * 2, x.shape[-1] * 3), x.dtype)
        wide[..., ::2, 1::3] = x
        return wide[..., ::2, 1::3]
    if layout == "reversed":
        return np.ascontiguousarray(x[..., ::-1, :])[..., ::-1, :]
    return x


def check(got, a, b, bias=None, relu=False):
    wanted = a.astype(np.float64) @ b.astype(np.float64)
    if bias is not None:
        wanted = wanted + bias
    if relu:
        wanted = np.maximum(wanted, 0)
    assert got.shape == wanted.shape and got.dtype == a.dtype
    scale = np.abs(a).astype(np.float64).max(initial=1) * np.abs(b).astype(np.float64).max(
        initial=1
    )
    bound = (a.shape[-1] + 4) * np.finfo(a.dtype).eps * max(scale, 1)
    assert np.abs(got - wanted).max(initial=0) <= bound


@given(
    st.tuples(*[st.integers(0, 70)] * 3),
    st.sampled_from(LAYOUTS),
    st.sampled_from(LAYOUTS),
    st.sampled_from([np.float32, np.float64]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=250, deadline=None)
def test_any_size_and_layout(sizes, layout_a, layout_b, dtype, with_bias, relu):
    m, k, n = sizes
    rng = np.random.default_rng(m * 10_000 + k * 100 + n)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    bias = rng.standard_normal(n).astype(dtype) if with_bias else None
    got = gemm.matmul(
        lay(a, layout_a),
        lay(b, layout_b),
        bias=None if bias is None else np.repeat(bias, 2)[::2],
        activation="relu" if relu else None,
    )
    check(got, a, b, bias, relu)


@pytest.mark.parametrize(
    ("m", "k", "n"), [(300, 700, 33), (14, 513, 600), (1200, 40, 1100), (65, 64, 12000)]
)
@pytest.mark.parametrize("layout", ["C", "F"])
def test_several_blocks_and_chunks(m, k, n, layout):
    rng = np.random.default_rng(m)
    a = rng.standard_normal((m, k), dtype=np.float32)
    b = rng.standard_normal((k, n), dtype=np.float32)
    check(gemm.matmul(lay(a, layout), lay(b, layout)), a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((5, 3, 4), (5, 4, 6)),
        ((2, 1, 3, 4), (5, 4, 6)),
        ((7, 3, 4), (4, 6)),
        ((3, 4), (7, 4, 6)),
        ((4,), (7, 4, 6)),
        ((7, 3, 4), (4,)),
        ((4,), (4,)),
        ((2, 0, 4), (4, 3)),
        ((5, 30, 1), (1, 60)),
        ((40, 60, 50), (40, 50, 70)),
    ],
)
def test_batches_follow_numpy(a, b):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal(a), rng.standard_normal(b)
    got, wanted = gemm.matmul(x, y), np.matmul(x, y)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
    other = gemm.matmul(np.asfortranarray(x), np.asfortranarray(y))
    np.testing.assert_allclose(other, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.bool_, np.float16])
def test_other_dtypes(dtype):
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 5, (9, 7)).astype(dtype), rng.integers(0, 5, (7, 8)).astype(dtype)
    got = gemm.matmul(a, b)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, np.matmul(a, b))


def test_nan_and_infinity_go_where_they_belong():
    a, b = np.ones((40, 30), np.float32), np.ones((30, 50), np.float32)
    a[3, 4], b[7, 9], b[0, 11] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        wanted = a @ b
    got = gemm.matmul(a, b)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(wanted))
    np.testing.assert_array_equal(np.isposinf(got), np.isposinf(wanted))
    relu = gemm.matmul(a, b, activation="relu")
    assert np.isnan(relu[3]).all() and (relu[0, 11] == 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [2, 64])
def test_an_infinite_dot_product(dtype, rows):
    a = np.ones((rows, 2048), dtype)
    a[0, 0], a[1, 5] = np.inf, -np.inf
    x = np.ones((2048, 1), dtype)
    np.testing.assert_array_equal(gemm.matmul(a, x), np.matmul(a, x))
    np.testing.assert_array_equal(gemm.matmul(x.T, a.T), np.matmul(x.T, a.T))


@given(
    st.lists(st.integers(1, 4), max_size=2),
    st.integers(1, 40),
    st.integers(1, 70),
    st.booleans(),
    st.sampled_from(["f4", "f8"]),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_a_vector_for_each_matrix(batch, m, k, turned, dtype, seed):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((*batch, k, m) if turned else (*batch, m, k)).astype(dtype)
    a = a.swapaxes(-1, -2) if turned else a
    x = rng.standard_normal((*batch, k, 1)).astype(dtype)
    bound = k * np.finfo(dtype).eps * 8
    np.testing.assert_allclose(gemm.matmul(a, x), a @ x, rtol=0, atol=bound * 4)
    xt, at = x.swapaxes(-1, -2), a.swapaxes(-1, -2)
    np.testing.assert_allclose(gemm.matmul(xt, at), xt @ at, rtol=0, atol=bound * 4)
    # One vector for all matrices, one matrix for all vectors.
    first = x.reshape(-1, k, 1)[0]
    np.testing.assert_allclose(gemm.matmul(a, first), a @ first, rtol=0, atol=bound * 4)
    whole = a.reshape(-1, m, k)[0]
    np.testing.assert_allclose(gemm.matmul(whole, x), whole @ x, rtol=0, atol=bound * 4)


@pytest.mark.parametrize(("m", "k", "n"), [(9, 33, 64), (31, 600, 70), (200, 1024, 96)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("turned", [False, True])
def test_rows_that_meet_in_one_set_of_the_cache(m, k, n, dtype, turned):
    rng = np.random.default_rng(k)
    wide = rng.standard_normal((m, 8192 // np.dtype(dtype).itemsize)).astype(dtype)
    a, b = wide[:, :k], rng.standard_normal((k, n)).astype(dtype)
    b = np.asfortranarray(b) if turned else b
    check(gemm.matmul(a, b, activation="relu"), a, b, None, relu=True)
    check(gemm.matmul(np.stack([wide] * 3)[:, :, :k], b), np.stack([a] * 3), b)


def test_nothing_is_written_beyond_the_result():
    rng = np.random.default_rng(3)
    for m, k, n in [(13, 5, 31), (29, 300, 33), (200, 64, 100)]:
        a = rng.standard_normal((m, k), dtype=np.float32)
        b = rng.standard_normal((k, n), dtype=np.float32)
        guarded = np.full(m * n + 64, 7.0, np.float32)
        c = guarded[32 : 32 + m * n].reshape(m, n)
        gemm_product.product(a, b, c, None, 0)
        check(c, a, b)
        assert (guarded[:32] == 7).all() and (guarded[32 + m * n :] == 7).all()


@given(
    st.integers(2, 17),
    st.integers(2, 60),
    st.sampled_from([96, 97, 111, 300]),
    st.sampled_from([(), (3,), (2, 1)]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([np.float32, np.float64]),
)
@settings(max_examples=80, deadline=None)
def test_few_rows_along_k(few, many, k, batch, swapped, with_bias, dtype):
    rng = np.random.default_rng(many)
    m, n = (many, few) if swapped else (few, many)
    a = guard.guarded(rng.standard_normal((*batch, m, k)).astype(dtype))
    b = guard.guarded(rng.standard_normal((n, k)).astype(dtype)).T
    bias = guard.guarded(rng.standard_normal(n).astype(dtype)) if with_bias else None
    with guard.guarded_results():
        check(gemm.matmul(a, b, bias=bias), a, b, bias)
    if batch:
        columns = rng.standard_normal((*batch, n, k)).astype(dtype).swapaxes(-1, -2)
        check(gemm.matmul(a, columns), a, columns)


@pytest.mark.skipif(not guard.AVAILABLE, reason="needs POSIX memory protection")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 7, 15, 17, 31, 33, 50])
def test_edges_are_read_in_place_and_nothing_beyond(n, dtype):
    rng = np.random.default_rng(n)
    for batch, m, k in [((), 5, 9), ((), 40, 3), ((3,), 15, 20), ((2,), 2, 600)]:
        a = guard.guarded(rng.standard_normal((*batch, m, k)).astype(dtype))
        b = guard.guarded(rng.standard_normal((*batch, k, n)).astype(dtype))
        with guard.guarded_results():
            check(gemm.matmul(a, b), a, b)


@pytest.mark.skipif(not guard.AVAILABLE, reason="needs POSIX memory protection")
@pytest.mark.parametrize("k", [1, 7, 8, 61])
@pytest.mark.parametrize("n", [3, 16, 700, 9001])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_row_near_and_far(k, n, dtype):
    rng = np.random.default_rng(k + n)
    a = rng.standard_normal((1, k)).astype(dtype)
    b = guard.guarded(rng.standard_normal((k, n)).astype(dtype))
    with guard.guarded_results():
        check(gemm.matmul(a, b), a, b)


@pytest.mark.parametrize(("m", "k", "n"), [(500, 300, 400), (1, 1500, 1001)])
def test_result_does_not_depend_on_the_number_of_threads(m, k, n):
    rng = np.random.default_rng(4)
    a = rng.standard_normal((m, k), dtype=np.float32)
    b = rng.standard_normal((k, n), dtype=np.float32)
    before = threads.get_num_threads()
    results = []
    try:
        for count in (1, 2, 4):
            threads.set_num_threads(count)
            results.append(gemm.matmul(a, b))
    finally:
        threads.set_num_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


NARROW = """
import numpy as np
from dyn.kernels import gemm
rng = np.random.default_rng(0)
for m, k, n in [(33, 70, 45), (64, 256, 256), (5, 3, 2), (300, 20, 9), (1, 300, 50)]:
    a = rng.standard_normal((m, k), dtype=np.float32)
    b = rng.standard_normal((k, n), dtype=np.float32)
    for x, y in ((a, b), (np.asfortranarray(a), np.asfortranarray(b))):
        assert np.abs(gemm.matmul(x, y) - a.astype(float) @ b).max() < 1e-4
"""


@pytest.mark.parametrize("lanes", ["8", "4"])
def test_narrower_vectors(lanes):
    environment = dict(os.environ, DYN_LANES=lanes)
    subprocess.run([sys.executable, "-c", NARROW], check=True, env=environment)


def test_matrices_of_one_element_whose_strides_mean_nothing():
    x = np.lib.stride_tricks.as_strided(np.arange(3, dtype=np.float32), (3, 1, 1), (4, 96, 96))
    np.testing.assert_array_equal(gemm.matmul(x, x), x * x)
