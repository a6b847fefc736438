"""Weights put in order by looked-up places, against the order worked out anew."""

import numpy as np
import pytest

from dyn.kernels.conv.reorder import MOST, Reorder
from tests.kernels.guard import AVAILABLE, guarded, guarded_results


def padded(w):
    """Turned, with a column of zeros between."""
    made = np.zeros((*w.shape[::-1][:-1], w.shape[0] + 1), w.dtype)
    made[..., 1:] = w.T
    return made


WAYS = {
    "dense": lambda a: a,
    "turned": lambda a: np.ascontiguousarray(a.T).T,
    "gaps": lambda a: np.repeat(a, 2, 0)[::2],
    "reversed": lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
    "reversed with gaps": lambda a: np.ascontiguousarray(np.repeat(a, 3, 0)[:, ::-1])[::3, ::-1],
    "repeated": lambda a: np.broadcast_to(a[:1], a.shape),
    "parts of records": lambda a: np.stack([a, a], -1).view([("x", a.dtype), ("y", a.dtype)])["x"][
        ..., 0
    ],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (16, 7), (90, 200), (3, MOST // 2)])
@pytest.mark.parametrize("way", WAYS)
def test_any_layout(way, shape, dtype):
    calls = []

    def counted(w):
        calls.append(1)
        return padded(w)

    reorder, rng = Reorder(counted), np.random.default_rng(0)
    for _ in range(3):
        w = WAYS[way](rng.standard_normal(shape).astype(dtype))
        np.testing.assert_array_equal(reorder(w), padded(w))
    if way in ("dense", "turned") and w.size < MOST // 2:
        assert len(calls) == 1


def test_numbers_keep_their_bits():
    w = np.array([[0x7F800001, 0x80000000, 0x00000001, 0xFFC12345]], np.uint32).view(np.float32)
    reorder = Reorder(padded)
    reorder(np.ones_like(w))
    np.testing.assert_array_equal(reorder(w).view(np.uint32), padded(w).view(np.uint32))


@pytest.mark.skipif(not AVAILABLE, reason="guard pages need POSIX")
@pytest.mark.parametrize("shape", [(1, 1), (5, 13), (100, 130)])
def test_inside_their_memory(shape):
    reorder, w = Reorder(padded), np.random.default_rng(0).standard_normal(shape)
    with guarded_results():
        for _ in range(2):
            np.testing.assert_array_equal(reorder(guarded(w.astype("f"))), padded(w.astype("f")))
