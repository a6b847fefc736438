"""Distributions and solved matrices trace and export: densities as formulas, draws as draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import dyn.compat.torch as torch
from dyn.compat.torch import distributions as D
from exporter import export
from tracer.spec import InputSpec


class Model(torch.nn.Module):
    """A function as a module, whose inputs are PyTorch's tensors."""

    def __init__(self, function: Any):
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


def _session(function: Any, tmp_path: Path, *specs: InputSpec) -> onnxruntime.InferenceSession:
    path = tmp_path / "m.onnx"
    export(Model(function), path, list(specs))
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


DENSITIES = {
    "normal": lambda x, a: D.Normal(x[:, :1], x[:, 1:2].exp()).log_prob(a[:, :1]),
    "laplace": lambda x, a: D.Laplace(x[:, :1], x[:, 1:2].exp()).log_prob(a[:, :1]),
    "bernoulli": lambda x, a: D.Bernoulli(logits=x).log_prob((a > 0).float()),
    "categorical": lambda x, a: D.Categorical(logits=x).log_prob((a[:, 0] > 0).long()),
    "entropy": lambda x, a: D.Categorical(logits=x).entropy() + D.Normal(a, 1.0).entropy().sum(-1),
    "independent": lambda x, a: D.Independent(D.Normal(x, 0.5), 1).log_prob(a),
    "kl": lambda x, a: D.kl_divergence(D.Normal(x, 1.0), D.Normal(a, 2.0)),
    "multivariate": lambda x, a: D.MultivariateNormal(
        x, covariance_matrix=a.unsqueeze(-1) * a.unsqueeze(-2) + torch.eye(3)
    ).log_prob(a),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_a_density_is_a_formula_of_the_file(name: str, tmp_path: Path) -> None:
    specs = [InputSpec(["batch", 3], "float32", name=n) for n in "xa"]
    session = _session(DENSITIES[name], tmp_path, *specs)
    x, a = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    wanted = DENSITIES[name](torch.tensor(x), torch.tensor(a)).numpy()
    (found,) = session.run(None, {"x": x, "a": a})
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


DRAWS = {
    "normal": lambda x: D.Normal(x, 2.0).rsample(),
    "uniform": lambda x: D.Uniform(x, x + 2).rsample(),
    "exponential": lambda x: D.Exponential(x.abs()).sample(),
    "laplace": lambda x: D.Laplace(x, 3.0).sample(),
    "bernoulli": lambda x: D.Bernoulli((x / 4).clamp(0, 1)).sample(),
    "categorical": lambda x: D.Categorical(torch.tensor([[0.2, 0.8]]) * x.abs()[:, None]).sample(),
}
LAWS = {
    "normal": D.Normal(2.0, 2.0),
    "uniform": D.Uniform(2.0, 4.0),
    "exponential": D.Exponential(2.0),
    "laplace": D.Laplace(2.0, 3.0),
    "bernoulli": D.Bernoulli(0.5),
    "categorical": D.Bernoulli(0.8),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_draw_is_a_draw_of_the_file(name: str, tmp_path: Path) -> None:
    session = _session(DRAWS[name], tmp_path, InputSpec(["batch"], "float32", name="x"))
    x = np.full(20000, 2.0, "float32")
    law = LAWS[name]
    drawn = [session.run(None, {"x": x})[0], DRAWS[name](torch.tensor(x)).numpy()]
    for values in (*drawn, law.sample((20000,)).numpy()):
        deviation = float(law.stddev)
        assert abs(values.mean() - float(law.mean)) < 0.05 * deviation
        assert abs(values.std() - deviation) < 0.05 * deviation


def _definite(x: Any) -> Any:
    return x @ x.transpose(-1, -2) + torch.eye(4)


MATRICES = {
    "inv": (lambda x, y: torch.linalg.inv(x), lambda x, y: np.linalg.inv(x)),
    "solve": (torch.linalg.solve, np.linalg.solve),
    "cholesky": (
        lambda x, y: torch.linalg.cholesky(_definite(x)),
        lambda x, y: np.linalg.cholesky(x @ x.transpose(0, 2, 1) + np.eye(4)),
    ),
    "slogdet": (lambda x, y: torch.linalg.slogdet(x)[1], lambda x, y: np.linalg.slogdet(x)[1]),
    "qr": (lambda x, y: torch.linalg.qr(x).R, lambda x, y: np.linalg.qr(x)[1]),
}


@pytest.mark.parametrize("name", MATRICES)
def test_solved_and_factored_matrices_run_in_onnxruntime(name: str, tmp_path: Path) -> None:
    specs = [InputSpec(["batch", 4, n], "float32", name=k) for k, n in (("x", 4), ("y", 2))]
    function, reference = MATRICES[name]
    session = _session(function, tmp_path, *specs)
    draws = np.random.default_rng(1)
    x, y = (draws.normal(size=(3, 4, n)).astype("float32") for n in (4, 2))
    (found,) = session.run(None, {"x": x, "y": y})
    np.testing.assert_allclose(found, reference(x, y), rtol=2e-4, atol=2e-5)


def test_singular_values_are_refused_before_a_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    spec = InputSpec(["batch", 3, 3], "float32", name="x")
    for function in (lambda x: torch.linalg.matrix_norm(x, 2), lambda x: torch.linalg.svd(x)):
        with pytest.raises((ValueError, AttributeError), match=r"numpy\.linalg"):
            export(Model(function), path, [spec])
    assert not path.exists()


def test_checks_leave_no_branch_in_the_file(tmp_path: Path) -> None:
    _session(DENSITIES["normal"], tmp_path, *(InputSpec(["b", 3], "float32", name=n) for n in "xa"))
    kinds = {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    assert not kinds & {"If", "ReduceMin", "Greater", "IsNaN"}, kinds
