"""Attention by blocks against the definition in float64: shapes, masks, layouts, NaN, memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels.attention import attention, attention_grad
from dyn.kernels.runtime import memory, threads
from dyn.kernels.shape import concat


def reference(q, k, v, mask, g, scale, is_causal):
    """(out, lse, gq, gk, gv) in float64, with the whole matrix of scores."""
    q, k, v, g = (x.astype(np.float64) for x in (q, k, v, g))
    own, group = k.shape[1], q.shape[1] // k.shape[1]
    wide_k, wide_v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    s = q @ wide_k.swapaxes(2, 3) * scale
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    if is_causal:
        s = np.where(np.tri(*s.shape[2:], dtype=bool), s, -np.inf)
    top = s.max(-1, keepdims=True)
    e = np.exp(s - np.where(np.isinf(top), 0, top))
    total = e.sum(-1, keepdims=True)
    p = e / np.where(total == 0, 1, total)
    dp = g @ wide_v.swapaxes(2, 3)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) * scale

    def gathered(x):
        return x.reshape(x.shape[0], own, group, *x.shape[2:]).sum(2)

    with np.errstate(divide="ignore"):
        lse = (np.log(total) + top)[..., 0]
    gk, gv = gathered(ds.swapaxes(2, 3) @ q), gathered(p.swapaxes(2, 3) @ g)
    return p @ wide_v, lse, ds @ wide_k, gk, gv


def run(q, k, v, mask, g, scale, is_causal):
    out, lse = attention(q, k, v, mask, scale=scale, is_causal=is_causal)
    grads = attention_grad(g, q, k, v, mask, out, lse, scale=scale, is_causal=is_causal)
    return out, lse, *grads


def laid_out(x: np.ndarray, layout: str) -> np.ndarray:
    """The same numbers in another order of memory."""
    if layout == "by length":
        return np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    if layout == "packed":
        packed = np.full((x.shape[0], x.shape[2], 3, x.shape[1], x.shape[3]), np.nan, x.dtype)
        packed[:, :, 1] = x.transpose(0, 2, 1, 3)
        return packed[:, :, 1].transpose(0, 2, 1, 3)
    if layout == "far":  # all rows in one set of the first-level cache
        wide = np.full((*x.shape[:3], 4096 // x.itemsize), np.nan, x.dtype)
        wide[..., : x.shape[3]] = x
        return wide[..., : x.shape[3]]
    if layout == "columns":
        return np.ascontiguousarray(x.swapaxes(2, 3)).swapaxes(2, 3)
    return x[:, :, ::-1].copy()[:, :, ::-1]


LAYOUTS = ("by length", "packed", "columns", "backwards", "far")
MASKS = ("none", "bool", "keys", "number", "expanded", "nothing")


def make_mask(kind: str, rng: Any, b: int, h: int, t: int, s: int) -> np.ndarray | None:
    if kind == "bool":
        return rng.random((b, 1, t, s)) < 0.7
    if kind == "keys":
        return rng.random((b, 1, 1, s)) < 0.5
    if kind == "number":
        return rng.standard_normal((h, t, s)).astype(np.float32)
    if kind == "expanded":
        return np.broadcast_to(rng.random((t, 1)) < 0.5, (b, h, t, s))
    return np.full((t, s), -np.inf, np.float32) if kind == "nothing" else None


def make(seed: int, b: int, own: int, group: int, t: int, s: int, width: int, value: int) -> Any:
    rng = np.random.default_rng(seed)
    shapes = [(own * group, t, width), (own, s, width), (own, s, value), (own * group, t, value)]
    return rng, [rng.standard_normal((b, *shape)).astype(np.float32) for shape in shapes]


def check(found, wanted, bound=2e-5, least=1.0):
    """`bound` is relative to the largest number, or to `least`."""
    for name, a, b in zip(("out", "lse", "gq", "gk", "gv"), found, wanted, strict=True):
        assert a.shape == b.shape
        scale = max(least, np.abs(b[np.isfinite(b)]).max(initial=0))
        np.testing.assert_allclose(a / scale, b / scale, rtol=0, atol=bound, err_msg=name)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 99),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 3)),
    t=st.integers(1, 200),
    s=st.integers(1, 300),
    width=st.integers(1, 40) | st.sampled_from([64, 128, 256]),
    value=st.integers(1, 40) | st.sampled_from([64, 128]),
    kind=st.sampled_from(MASKS),
    layouts=st.tuples(*[st.sampled_from(LAYOUTS)] * 4),
    is_causal=st.booleans(),
)
def test_any_shape(seed, sizes, t, s, width, value, kind, layouts, is_causal):
    batch, own, group = sizes
    rng, arrays = make(seed, batch, own, group, t, s, width, value)
    q, k, v, g = (laid_out(x, layout) for x, layout in zip(arrays, layouts, strict=True))
    mask = make_mask(kind, rng, batch, q.shape[1], t, s)
    scale = width**-0.5
    found = run(q, k, v, mask, g, scale, is_causal)
    # The gradient of a score is a difference of sums of `value` products, which may cancel.
    wanted = reference(q, k, v, mask, g, scale, is_causal)
    check(found, wanted, least=max(1.0, value / 8))


@pytest.mark.parametrize("dtype, bound", [(np.float64, 1e-12), (np.float16, 3e-2)])
def test_other_types(dtype, bound):
    rng, arrays = make(5, 2, 2, 2, 70, 90, 20, 12)
    q, k, v, g = (x.astype(dtype) for x in arrays)
    mask = rng.standard_normal((70, 90)).astype(dtype)
    found = run(q, k, v, mask, g, -0.3, True)
    assert all(x.dtype == dtype for x in found)
    check(found, reference(q, k, v, mask, g, -0.3, True), bound)


def test_float64_by_blocks(monkeypatch):
    from dyn.kernels.attention import general as attention_general

    monkeypatch.setattr(attention_general, "SCORES", 2000)
    rng, arrays = make(6, 2, 1, 2, 50, 60, 8, 8)
    q, k, v, g = (x.astype(np.float64) for x in arrays)
    mask = rng.random((50, 60)) < 0.5
    check(run(q, k, v, mask, g, 0.4, True), reference(q, k, v, mask, g, 0.4, True), 1e-12)


@pytest.mark.parametrize("shape", [(1, 1, 1, 700, 900, 32, 32), (3, 2, 2, 65, 64, 20, 33)])
def test_threads_change_nothing(shape: Any):
    _, (q, k, v, g) = make(1, *shape)
    count = threads.get_num_threads()
    found = []
    try:
        for n in (1, 2, 4):
            threads.set_num_threads(n)
            found.append(run(q, k, v, None, g, 0.2, True))
    finally:
        threads.set_num_threads(count)
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(a, b)


def test_long_sequences_by_ranges_of_keys():
    _, (q, k, v, g) = make(2, 1, 1, 2, 300, 1500, 16, 24)
    for is_causal in (False, True):
        check(run(q, k, v, None, g, 0.25, is_causal), reference(q, k, v, None, g, 0.25, is_causal))


def test_large_scores_do_not_overflow():
    _, (q, k, v, g) = make(3, 1, 2, 1, 40, 300, 16, 16)
    q *= 50
    check(run(q, k, v, None, g, 1.0, False), reference(q, k, v, None, g, 1.0, False), 2e-3)


def test_nan_goes_to_the_queries_that_see_it():
    _, (q, k, v, g) = make(4, 1, 2, 1, 150, 300, 16, 16)
    k[0, 1, 140, 3] = np.nan
    q[0, 0, 7, 0] = np.nan
    out, lse, gq, gk, gv = run(q, k, v, None, g, 0.25, True)
    for per_query in (out[..., 0], lse, gq[..., 0]):
        expected = np.zeros((1, 2, 150), bool)
        expected[0, 0, 7], expected[0, 1, 140:] = True, True
        np.testing.assert_array_equal(np.isnan(per_query), expected)
    for per_key in (gk[0, 0], gv[0, 0]):
        assert np.isnan(per_key[:8]).all() and not np.isnan(per_key[150:]).any()


def test_no_keys_or_queries():
    for t, s in ((0, 5), (5, 0)):
        _, (q, k, v, g) = make(0, 2, 2, 1, t, s, 8, 8)
        out, lse, gq, gk, gv = run(q, k, v, None, g, 0.3, False)
        assert not out.any() and not gq.any() and not gk.any() and not gv.any()
        assert (lse == -np.inf).all()


def test_results_lie_by_length():
    _, (q, k, v, g) = make(0, 2, 3, 1, 20, 20, 8, 8)
    out, _, *grads = run(q, k, v, None, g, 0.3, False)
    assert all(x.transpose(0, 2, 1, 3).flags.c_contiguous for x in (out, *grads))


def test_long_sequences_need_no_matrix_of_scores():
    length = 4096
    _, (q, k, v, g) = make(0, 1, 1, 1, length, length, 8, 8)
    memory.empty_cache()
    before = memory.memory_info()["live_bytes"]
    held = run(q, k, v, None, g, 0.3, True)
    info = memory.memory_info()
    assert held[0].shape == q.shape
    # A matrix of scores has 64 MiB. Everything allocated is live or waits in the free list.
    assert info["live_bytes"] + info["waiting_bytes"] - before < 8 << 20


@pytest.mark.parametrize("axis", [0, 2, 3])
@pytest.mark.parametrize("shape", [(4, 6, 70, 128), (1, 1, 900, 200)])
def test_gradients_of_parts_of_an_array_join_without_a_copy(axis, shape):
    batch, heads, length, width = shape
    rng = np.random.default_rng(axis)
    lead = [batch, length, heads, width]
    whole = rng.standard_normal((*lead[:axis], 3, *lead[axis:])).astype(np.float32)
    q, k, v = (x.transpose(0, 2, 1, 3) for x in np.moveaxis(whole, axis, 0))
    g = rng.standard_normal(shape).astype(np.float32)
    check(run(q, k, v, None, g, 0.3, True), reference(q, k, v, None, g, 0.3, True))
    found = run(q, k, v, None, g, 0.3, True)[2:]
    turned = [np.expand_dims(x.transpose(0, 2, 1, 3), axis) for x in found]
    joined = concat(turned, axis)
    np.testing.assert_array_equal(joined, np.concatenate(turned, axis))
    assert np.shares_memory(joined, found[0]) and joined.flags.c_contiguous
