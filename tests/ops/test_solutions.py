"""Systems of equations and factors: large and strange matrices, failures, threads, files."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dyn
from dyn.kernels import factor
from dyn.kernels.factor import lu
from dyn.kernels.runtime import threads
from dyn.ops import decompose, solutions
from exporter import Predictor, export
from tracer import InputSpec, compile_training

NAN = math.nan


class Model(dyn.nn.Layer):
    """A function as a layer."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


def matrices(
    rng: np.random.Generator, *shape: int, dtype: str = "float64"
) -> tuple[np.ndarray, np.ndarray]:
    """Any matrices, well conditioned, and positive definite ones."""
    n = shape[-1]
    x = rng.standard_normal(shape) / math.sqrt(max(n, 1)) + 2 * np.roll(np.eye(n), 1, 0)
    return x.astype(dtype), (x @ np.swapaxes(x, -1, -2) + np.eye(n)).astype(dtype)


def residual(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max(initial=0) / np.abs(wanted).max(initial=1e-30))


@pytest.mark.parametrize(("dtype", "tol"), [("float32", 1e-4), ("float64", 1e-12)])
@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 70), k=st.integers(0, 40), batch=st.integers(1, 3), seed=st.integers(0, 999)
)
def test_all_sizes_agree_with_numpy(
    dtype: str, tol: float, n: int, k: int, batch: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, definite = matrices(rng, batch, n, n, dtype=dtype)
    y = rng.standard_normal((batch, n, k)).astype(dtype)
    wide, wide_y = x.astype(np.float64), y.astype(np.float64)
    sign, size = factor.slogdet(x)[:2]
    wanted = np.linalg.slogdet(wide)
    np.testing.assert_array_equal(sign, wanted[0])
    np.testing.assert_allclose(size, wanted[1], rtol=tol, atol=tol)
    assert residual(factor.inverse(x)[0], np.linalg.inv(wide)) < tol
    assert residual(factor.solve(x, y)[0], np.linalg.solve(wide, wide_y)) < tol
    for kept in (factor.solve(x, y)[2:], factor.det(x)[1:], factor.slogdet(x)[2:]):
        factors, order = kept
        assert factors.shape == x.shape and order.shape == x.shape[:-1]
        turned = wide.swapaxes(-1, -2)
        again, failed = factor.transposed_solve(factors, order, y)
        assert failed is None and residual(again, np.linalg.solve(turned, wide_y)) < tol
        if k:
            found = factor.transposed_solve(factors, order, None)[0]
            assert residual(found, np.linalg.inv(turned)) < tol
    lower = np.linalg.cholesky(definite.astype(np.float64))
    for upper in (False, True):
        found, failed = factor.cholesky(definite, upper=upper)
        assert failed is None
        assert residual(found, lower.swapaxes(-1, -2) if upper else lower) < tol
    solved = factor.triangular_solve(
        lower.astype(dtype), y, upper=False, transpose=False, unit=False
    )
    assert residual(solved, np.linalg.solve(lower, wide_y)) < tol
    tall = rng.standard_normal((batch, n, k)).astype(dtype)
    for mode, kept in (("reduced", min(n, k)), ("complete", n)):
        q, r = factor.qr(tall, kept)
        wanted_q, wanted_r = np.linalg.qr(tall.astype(np.float64), mode)
        assert q.shape == wanted_q.shape and r.shape == wanted_r.shape
        assert residual(q @ r, tall) < tol and residual(np.tril(r, -1), r * 0) < tol
        assert residual(q.swapaxes(-1, -2) @ q, np.eye(kept)) < tol


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", range(1, 10))
def test_small_matrices(n: int, dtype: str, rng: np.random.Generator) -> None:
    x, _ = matrices(rng, 40, n, n, dtype=dtype)
    y, tol = rng.standard_normal((40, n, 3)).astype(dtype), 2e-3 if dtype == "float32" else 1e-9
    found, failed = factor.solve(x, y)[:2]
    assert failed is None and residual(found, np.linalg.solve(x, y)) < tol
    assert residual(factor.inverse(x)[0], np.linalg.inv(x)) < tol
    assert residual(factor.det(x)[0], np.linalg.det(x)) < tol
    sign, size = factor.slogdet(x)[:2]
    np.testing.assert_array_equal(sign, np.linalg.slogdet(x)[0])
    np.testing.assert_allclose(size, np.linalg.slogdet(x)[1], rtol=tol, atol=tol)
    x[7, :, n - 1] = 0
    assert factor.solve(x, y)[1] == factor.inverse(x)[1] == (7, n)
    assert factor.det(x)[0][7] == 0 and factor.slogdet(x)[0][7] == 0


@pytest.mark.parametrize("n", [150, 300])
def test_large_matrices(n: int, rng: np.random.Generator) -> None:
    x, definite = matrices(rng, n, n)
    assert residual(factor.inverse(x)[0] @ x, np.eye(n)) < 1e-10
    found, _ = factor.cholesky(definite, upper=False)
    assert residual(found @ found.T, definite) < 1e-12
    q, r = factor.qr(x, n)
    assert residual(q @ r, x) < 1e-12 and residual(q.T @ q, np.eye(n)) < 1e-12


def test_results_do_not_depend_on_the_number_of_threads(rng: np.random.Generator) -> None:
    x, definite = matrices(rng, 60, 20, 20, dtype="float32")
    made: list[list[bytes]] = []
    before = threads.get_num_threads()
    for count in (1, 2, 4):
        threads.set_num_threads(count)
        results = [
            factor.det(x)[0], factor.inverse(x)[0], factor.solve(x, definite)[0],
            factor.transposed_solve(*factor.solve(x, definite)[2:], definite)[0],
            factor.transposed_solve(*factor.det(x)[1:], None)[0],
            factor.cholesky(definite, upper=True)[0], *factor.qr(x, 20),
            factor.triangular_solve(x, definite, upper=True, transpose=True, unit=False),
        ]  # fmt: skip
        made.append([a.tobytes() for a in results])
    threads.set_num_threads(before)
    assert made[0] == made[1] == made[2]


def test_large_and_small_numbers_keep_their_digits() -> None:
    x = np.array([[1e-30, 1.0], [1.0, 1.0]], "float32")
    np.testing.assert_allclose(factor.inverse(x)[0], [[-1, 1], [1, 0]], atol=1e-6)
    tiny = np.diag(np.array([1e-40, 1e-42], "float32"))
    found = factor.solve(tiny, np.diag(tiny)[:, None].copy())[0]
    np.testing.assert_allclose(found, [[1], [1]], rtol=1e-5)


@pytest.mark.parametrize("size", [1e-310, 1e-200, 1e200])
def test_squares_of_a_column_may_vanish_or_overflow(size: float, rng: np.random.Generator) -> None:
    x = rng.standard_normal((7, 4)) * size
    q, r = factor.qr(x, 4)
    np.testing.assert_allclose(q.T @ q, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(q @ r, x, rtol=1e-12, atol=size * 1e-12)


def test_chains_of_matrices_are_multiplied_in_any_order(rng: np.random.Generator) -> None:
    shapes = [(3, 40), (40, 2), (2, 50), (50, 1)]
    x = [rng.standard_normal(shape) for shape in shapes]
    for first in (x[0], x[0][0]):
        for last in (x[3], x[3][:, 0]):
            given = [first, x[1], x[2], last]
            found = dyn.linalg.multi_dot([dyn.to_tensor(a) for a in given]).numpy()
            np.testing.assert_allclose(found, np.linalg.multi_dot(given), rtol=1e-10)
    assert dyn.linalg.multi_dot([dyn.to_tensor(x[0])]).shape == [3, 40]


@pytest.mark.parametrize("p", [1, -1, math.inf, -math.inf])
@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (2, 0), (-2, -1)])
def test_norms_of_matrices(p: float, axes: tuple[int, int], rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 4, 5))
    for keep in (False, True):
        found = dyn.linalg.matrix_norm(dyn.to_tensor(x), p, axes, keep).numpy()
        np.testing.assert_allclose(found, np.linalg.norm(x, p, axes, keepdims=keep))


# ---- what has no solution ----------------------------------------------------------------------

SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])


def refusals() -> dict[str, Callable[[dyn.Tensor], Any]]:
    return {
        "inv": solutions.inverse,
        "solve": lambda x: solutions.solve(x, dyn.ones([2, 1], "float64")),
        "cholesky": lambda x: decompose.cholesky(-x),
    }


@pytest.mark.parametrize("name", refusals())
def test_a_singular_matrix_is_refused_by_its_place(name: str) -> None:
    for shape, place in (((), ""), ((3,), r"\(Batch element 1\): ")):
        x = np.broadcast_to(np.eye(2) if name != "cholesky" else -np.eye(2), (*shape, 2, 2)).copy()
        x[(1,) if shape else ...] = SINGULAR
        with pytest.raises(solutions.SingularError, match=rf"linalg\.{name}: {place}") as caught:
            refusals()[name](dyn.to_tensor(x))
        assert isinstance(caught.value, (RuntimeError, ValueError))


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("size", [2, 12])
def test_the_slope_of_a_determinant_that_is_zero_is_refused(size: int, create_graph: bool) -> None:
    values = np.tile(np.eye(size), (3, 1, 1))
    values[1, -1] = values[1, 0]
    x = dyn.to_tensor(values, stop_gradient=False)
    where = rf"\(Batch element 1\): The diagonal element {size} is zero.* matrix is singular"
    for out in (solutions.slogdet(x)[1], solutions.det(x)):
        with pytest.raises(solutions.SingularError, match=where):
            dyn.grad([out], [x], create_graph=create_graph)


@pytest.mark.parametrize("size", [1, 4, 20])
def test_gradients_go_by_the_factors_that_were_kept(
    size: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = dyn.to_tensor(matrices(rng, 3, size, size)[0], stop_gradient=False)
    y = dyn.to_tensor(rng.standard_normal((3, size, 2)), stop_gradient=False)
    results = solutions.solve(x, y), solutions.det(x), solutions.slogdet(x)[1]
    of_ops = [dyn.grad([out], [x], create_graph=True, retain_graph=True)[0] for out in results]

    def refused(*_: Any) -> None:
        raise AssertionError("a matrix is factored anew")

    monkeypatch.setattr(lu, "_plan", refused)
    for out, wanted in zip(results, of_ops, strict=True):
        (found,) = dyn.grad([out], [x])
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-9, atol=1e-12)


def test_a_compiled_step_solves_as_it_is_written(rng: np.random.Generator) -> None:
    start, y = matrices(rng, 2, 4, 4)[0], rng.standard_normal((2, 4, 1))
    made = []
    for compiled in (False, True):
        p = dyn.nn.Parameter(start, dtype="float64")
        opt = dyn.optimizer.SGD(0.01, [p])

        def loss(y: Any, p: Any = p) -> Any:
            return (solutions.solve(p, y) ** 2).sum() + solutions.det(p).sum()

        step = compile_training(loss, optimizer=opt, state={"p": p})
        for _ in range(3):
            if compiled:
                step(dyn.to_tensor(y))
                continue
            loss(dyn.to_tensor(y)).backward()
            opt.step()
            opt.clear_grad()
        made.append(p.numpy())
    np.testing.assert_allclose(made[1], made[0], rtol=1e-12)


def test_determinants_of_singular_matrices_are_zero() -> None:
    for x in (SINGULAR, np.zeros((3, 3)), np.zeros((20, 20))):
        assert solutions.det(dyn.to_tensor(x)).item() == 0
        sign, size = solutions.slogdet(dyn.to_tensor(x))
        assert sign.item() == 0 and size.item() == -math.inf


def test_nan_goes_through_and_is_no_failure() -> None:
    x = dyn.to_tensor([[1.0, NAN], [2.0, 3.0]])
    assert np.isnan(solutions.inverse(x).numpy()).all()
    assert np.isnan(solutions.det(x).item())
    assert np.isnan(solutions.solve(x, dyn.ones([2, 1])).numpy()).any()
    # Of a triangular matrix the other triangle is not read.
    found = solutions.triangular_solve(x, dyn.ones([2, 1]), upper=False).numpy()
    np.testing.assert_allclose(found, [[1], [-1 / 3]], rtol=1e-6)
    with pytest.raises(solutions.SingularError, match="order 1 is not positive"):
        decompose.cholesky(dyn.to_tensor([[NAN, 1.0], [1.0, 2.0]]))


def test_integers_become_floats_and_complex_numbers_stay() -> None:
    assert solutions.inverse(dyn.to_tensor([[2, 0], [0, 4]])).numpy()[1, 1] == 0.25
    x = np.array([[2, 1j], [0, 4]], "complex64")
    np.testing.assert_allclose(solutions.inverse(dyn.to_tensor(x)).numpy() @ x, np.eye(2))
    assert solutions.det(dyn.to_tensor(x)).item() == 8


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(dyn.ShapeError, match=r"square matrices \(\.\.\., n, n\), got \[2, 3\]"):
        solutions.inverse(dyn.ones([2, 3]))
    with pytest.raises(dyn.ShapeError, match=r"must be \(\.\.\., 2, k\), got \[3, 1\]"):
        solutions.solve(dyn.ones([2, 2]), dyn.ones([3, 1]))


# ---- files -------------------------------------------------------------------------------------

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "inverse": solutions.inverse,
    "slogdet": lambda x: list(solutions.slogdet(x)),
    "solve": lambda x: solutions.solve(x, x[..., :2] * 2.0),
    "cholesky": lambda x: decompose.cholesky(dyn.matmul(x, x, transpose_y=True)),
    "triangular_solve": lambda x: solutions.triangular_solve(x, x, upper=False),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_even_the_size_of_matrices_may_be_left_open(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    function, path = FUNCTIONS[name], tmp_path / "m.onnx"
    example = matrices(rng, 2, 4, 4, dtype="float32")[0]
    spec = InputSpec(["batch", "n", "n"], "float32", name="x", example=example)
    export(Model(function), path, [spec])
    for shape in ((2, 4, 4), (3, 7, 7), (1, 1, 1)):
        x = matrices(rng, *shape, dtype="float32")[0]
        wanted = function(dyn.to_tensor(x))
        given = Predictor(path).run(x)
        for a, b in zip(wanted if isinstance(wanted, list) else [wanted], given, strict=True):
            np.testing.assert_allclose(b, a.numpy(), rtol=1e-3, atol=1e-4)


def test_a_file_gives_no_number_for_what_is_singular(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    example = matrices(rng, 1, 2, 2, dtype="float32")[0]
    spec = InputSpec(["batch", 2, 2], "float32", name="x", example=example)
    export(Model(lambda x: [solutions.inverse(x), *solutions.slogdet(x)]), tmp_path / "m", [spec])
    inverse, sign, size = Predictor(tmp_path / "m").run(SINGULAR[None].astype("float32"))
    assert not np.isfinite(inverse).all()
    assert sign == 0 and size == -math.inf
