"""Functions that ops compose, against numpy, and as files at sizes that were never traced."""

from typing import Any

import numpy as np
import pytest

import dyn
from exporter import InputSpec, Predictor, export

RNG = np.random.default_rng(0)
A = RNG.standard_normal((7, 4)).astype(np.float32)
V = RNG.standard_normal(5).astype(np.float32)
CUBE = RNG.standard_normal((2, 6, 4)).astype(np.float32)


def rows_of(arrays: Any) -> np.ndarray:
    return np.array(list(arrays))


CASES = {
    "column_stack": (lambda m: m.column_stack([A, A[:, 0], A]), None),
    "row_stack": (lambda m: m.vstack([V, V[None]]) if m is np else m.row_stack([V, V[None]]), None),
    "dstack": (lambda m: m.dstack([A, A]), None),
    "dstack of vectors": (lambda m: m.dstack([V, V]), None),
    "hsplit": (lambda m: m.hsplit(A, 2), None),
    "hsplit of a vector": (lambda m: m.hsplit(V, [1, 3]), None),
    "vsplit": (lambda m: m.vsplit(A, [2, -1]), None),
    "dsplit": (lambda m: m.dsplit(CUBE, 2), None),
    "tensor_split": (lambda m: m.tensor_split(A, 3, axis=0), lambda: np.array_split(A, 3)),
    "diagflat": (lambda m: m.diagflat(V, 1), None),
    "isin": (lambda m: m.isin(np.arange(6), np.array([4, 1, 9])), None),
    "isin, invert": (lambda m: m.isin(np.arange(6), np.array([4, 1]), invert=True), None),
    "tril_indices": (lambda m: m.tril_indices(3, 4, 1), lambda: np.tril_indices(3, 1, 4)),
    "tril_indices, square": (lambda m: m.tril_indices(3), None),
    "triu_indices": (lambda m: m.triu_indices(4, 3, -1), lambda: np.triu_indices(4, -1, 3)),
    "block_diag": (
        lambda m: m.block_diag([A[:2], V]),
        lambda: np.block([[A[:2], np.zeros((2, 5))], [np.zeros((1, 4)), V[None]]]),
    ),
    "cartesian_prod": (
        lambda m: m.cartesian_prod([V[:2], V]),
        lambda: rows_of((a, b) for a in V[:2] for b in V),
    ),
    "combinations": (
        lambda m: m.combinations(V, 2),
        lambda: rows_of((V[i], V[j]) for i in range(5) for j in range(i + 1, 5)),
    ),
    "combinations, repeated": (
        lambda m: m.combinations(V, 2, True),
        lambda: rows_of((V[i], V[j]) for i in range(5) for j in range(i, 5)),
    ),
    "logcumsumexp": (
        lambda m: m.logcumsumexp(A * 50, 1),
        lambda: np.logaddexp.accumulate(A * 50, 1),
    ),
    "logcumsumexp of all": (
        lambda m: m.logcumsumexp(A),
        lambda: np.logaddexp.accumulate(A.reshape(-1)),
    ),
}


def converted(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return dyn.to_tensor(value)
    return [converted(v) for v in value] if isinstance(value, list) else value


class Converting:
    """dyn's functions, given arrays."""

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            return getattr(dyn, name)(*map(converted, args), **kwargs)

        return call


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    call, wanted = CASES[name]
    given, numbers = call(Converting()), call(np) if wanted is None else wanted()
    if isinstance(given, list):
        assert len(given) == len(numbers)
        for a, b in zip(given, numbers, strict=True):
            np.testing.assert_array_equal(a.numpy(), b)
    else:
        np.testing.assert_allclose(given.numpy(), numbers, rtol=1e-5, atol=1e-6)


def test_runs() -> None:
    x = dyn.to_tensor([1, 1, 2, 2, 2, 1, 3])
    values, inverse, counts = dyn.unique_consecutive(x, True, True, dtype="int32")
    assert values.tolist() == [1, 2, 1, 3] and inverse.tolist() == [0, 0, 1, 1, 1, 2, 3]
    assert counts.tolist() == [2, 3, 1, 1] and str(counts.dtype) == "dyn.int32"
    rows = dyn.to_tensor([[1, 2], [1, 2], [1, 3]])
    assert rows.unique_consecutive(axis=0).tolist() == [[1, 2], [1, 3]]
    assert rows.unique_consecutive().tolist() == [1, 2, 1, 2, 1, 3]


def test_scattered_by_a_mask() -> None:
    x, value = dyn.zeros([2, 3]), dyn.to_tensor(A)
    mask = np.array([[True, False, True], [False, True, False]])
    wanted = np.zeros((2, 3), np.float32)
    wanted[mask] = A.reshape(-1)[:3]
    np.testing.assert_array_equal(x.masked_scatter(dyn.to_tensor(mask), value).numpy(), wanted)
    wide = dyn.masked_scatter(x, dyn.to_tensor([True, False, True]), value).numpy()
    np.testing.assert_array_equal(wide[:, [0, 2]], A.reshape(-1)[:4].reshape(2, 2))


def test_no_pieces() -> None:
    with pytest.raises(dyn.AttributeValueError, match="a piece or more, got 0"):
        dyn.tensor_split(dyn.ones([3]), 0)


def composed(x: Any) -> Any:
    n = x.shape[0]
    first, second = dyn.tensor_split(x, 2)
    whole = dyn.block_diag([first, second])
    rows, columns = dyn.tril_indices(n)
    return whole, rows * n + columns, dyn.logcumsumexp(x, 0), dyn.column_stack([x, x[:, 0]])


def test_files(tmp_path: Any) -> None:
    export(composed, tmp_path / "m.onnx", InputSpec(["n", 4], name="x"))
    predictor = Predictor(tmp_path / "m.onnx")
    for n in (2, 7):
        x = RNG.standard_normal((n, 4)).astype(np.float32)
        for a, b in zip(predictor.run(x), composed(dyn.to_tensor(x)), strict=True):
            np.testing.assert_allclose(a, b.numpy(), rtol=1e-5, atol=1e-6)
