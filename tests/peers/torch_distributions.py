"""Distributions and linear algebra as PyTorch's users write them: densities, policies, factors."""

from __future__ import annotations

import math
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from tests.peers.snippets import kind, message, ramp, snippet


def _parameters(torch: Any) -> Any:
    loc = torch.tensor([0.1, -0.4, 2.0], requires_grad=True)
    return loc, torch.tensor([0.5, 1.0, 2.0], requires_grad=True)


def _values(torch: Any) -> Any:
    return torch.tensor([[0.3, 0.7, 0.9], [0.1, 0.2, 0.35]])


def _facts(torch: Any, p: Any, value: Any, *leaves: Any) -> Any:
    """What a distribution says of itself and of a value, and the gradients of that."""
    density, entropy = p.log_prob(value), p.entropy()
    for leaf in leaves:
        leaf.grad = None
    (density.sum() + entropy.sum()).backward()
    numbers = [getattr(p, name).detach() for name in ("mean", "variance", "stddev")]
    drawn = p.sample((4,))
    shapes = [tuple(s) for s in (p.batch_shape, p.event_shape, drawn.shape)]
    grads = [leaf.grad for leaf in leaves if leaf.grad is not None]
    return density.detach(), entropy.detach(), numbers, shapes, str(drawn.dtype), grads, repr(p)


def _mixed(*shape: int) -> Any:
    """Numbers in no regular order, so that matrices of them have full rank."""
    return ramp(*shape) * np.cos(np.arange(math.prod(shape)).reshape(shape) ** 2).astype("float32")


@snippet(flavour="torch")
def continuous(torch: Any) -> Any:
    d, (loc, scale), value = torch.distributions, _parameters(torch), _values(torch)
    made = [
        d.Normal(loc, scale),
        d.Laplace(loc, scale),
        d.Uniform(loc - 3, loc + scale + 4),
        d.Exponential(scale),
        d.Normal(0.0, torch.tensor([1.0, 2.0, 3.0]) * scale),
    ]
    found = [_facts(torch, p, value, loc, scale) for p in made]
    return found, [p.cdf(value).detach() for p in made], d.LogNormal(loc, scale).mean.detach()


@snippet(flavour="torch")
def discrete(torch: Any) -> Any:
    d, (loc, scale), value = torch.distributions, _parameters(torch), _values(torch)
    ones, classes = (value > 0.4).float(), torch.tensor([[0], [2]])
    made = [
        (d.Bernoulli(logits=loc), ones),
        (d.Bernoulli(torch.sigmoid(loc)), ones),
        (d.Categorical(logits=loc), classes),
        (d.Categorical(scale), classes),
    ]
    found = [_facts(torch, p, v, loc, scale) for p, v in made]
    hot = d.OneHotCategorical(logits=loc)
    more = hot.log_prob(torch.eye(3)[:2]), hot.mode, made[2][0].mode, made[0][0].mode
    probs, logits = d.Categorical(scale).logits, d.Bernoulli(logits=loc).probs
    listed = made[2][0].enumerate_support(), made[0][0].enumerate_support(expand=False)
    return found, [m.detach() for m in more], probs.detach(), logits.detach(), listed


@snippet(flavour="torch")
def joint(torch: Any) -> Any:
    d, (loc, scale), value = torch.distributions, _parameters(torch), _values(torch)
    half = torch.tensor(_mixed(3, 3))
    matrix = half @ half.T + torch.eye(3)
    made = [
        d.Independent(d.Normal(loc, scale), 1),
        d.MultivariateNormal(loc, matrix),
        d.MultivariateNormal(loc, scale_tril=torch.diag(scale)),
        d.MultivariateNormal(loc, precision_matrix=matrix),
    ]
    found = [_facts(torch, p, value, loc, scale) for p in made]
    p, q = made[1], made[2]
    spread = d.Normal(loc, scale).expand((2, 3))
    return (
        found, d.kl_divergence(p, q).detach(), p.precision_matrix.detach(), tuple(spread.loc.shape),
        q.covariance_matrix.detach(), tuple(p.expand((5,)).sample((2,)).shape),
    )  # fmt: skip


@snippet(flavour="torch")
def divergences(torch: Any) -> Any:
    d, (loc, scale) = torch.distributions, _parameters(torch)
    made = [
        d.Normal(loc, scale), d.Laplace(loc, scale), d.Uniform(loc + 1, loc + scale + 4),
        d.Exponential(scale), d.Bernoulli(logits=loc), d.Categorical(logits=loc),
    ]  # fmt: skip
    others = [
        d.Normal(scale, 2.0), d.Laplace(scale, 2.0), d.Uniform(-5.0, 9.0),
        d.Exponential(torch.tensor(0.7)), d.Bernoulli(torch.tensor(0.3)), d.Categorical(scale),
    ]  # fmt: skip
    same = [d.kl_divergence(p, q) for p, q in zip(made, others, strict=True)]
    sum(s.sum() for s in same).backward()
    pairs = [(0, 2), (0, 3), (1, 0), (1, 2), (2, 0), (2, 3), (3, 0), (3, 2)]
    mixed = [d.kl_divergence(made[i], others[j]).detach() for i, j in pairs]
    none = kind(lambda: d.kl_divergence(made[4], others[0]))
    return [s.detach() for s in same], mixed, loc.grad, scale.grad, none


@snippet(flavour="torch")
def policy(torch: Any) -> Any:
    """The losses of reinforcement learning and of variational encoders."""
    normal = import_module(f"{torch.__name__}.distributions.normal").Normal
    categorical = import_module(f"{torch.__name__}.distributions").Categorical
    x = torch.tensor(ramp(4, 3), requires_grad=True)
    m = categorical(logits=x)
    action = torch.tensor([0, 2, 1, 1])
    reward = torch.tensor([1.0, -1.0, 0.5, 2.0])
    (-(m.log_prob(action) * reward).mean() - 0.01 * m.entropy().mean()).backward()
    first = x.grad.clone()
    x.grad = None
    q = normal(x, torch.nn.functional.softplus(x))
    z = q.rsample()
    prior = normal(torch.zeros_like(x), torch.ones_like(x))
    torch.distributions.kl_divergence(q, prior).sum().backward()
    drawn = m.sample()
    ratio = torch.exp(m.log_prob(drawn) - m.log_prob(drawn).detach())
    return first, x.grad, z.requires_grad, q.sample().requires_grad, drawn.shape[0], ratio.detach()


@snippet(flavour="torch")
def invalid_arguments(torch: Any) -> Any:
    d = torch.distributions
    p = d.Normal(torch.zeros(2), torch.ones(2))
    return [
        message(lambda: d.Normal(torch.zeros(2), torch.tensor([-1.0, 1.0]))),
        message(lambda: d.Bernoulli(torch.tensor([0.5, 1.5]))),
        message(lambda: d.Bernoulli()),
        message(lambda: d.Categorical(torch.tensor(0.5))),
        message(lambda: d.Categorical(torch.tensor([0.5, -0.5]))),
        message(lambda: d.Uniform(1.0, torch.tensor(0.0))),
        message(lambda: p.log_prob(torch.zeros(3))),
        message(lambda: p.log_prob(1.0)),
        message(lambda: d.Exponential(1.0).log_prob(torch.tensor(-1.0))),
        message(lambda: d.Categorical(torch.ones(2)).log_prob(torch.tensor(2))),
        message(lambda: d.MultivariateNormal(torch.zeros(2), -torch.eye(2))),
        message(lambda: d.MultivariateNormal(torch.zeros(2), scale_tril=torch.ones(2, 2))),
        message(lambda: d.Independent(p, 2)),
        d.Normal(0.0, -1.0, validate_args=False).scale.item(),
    ]


@snippet(flavour="torch")
def distribution_of_ones_own(torch: Any) -> Any:
    d = torch.distributions

    class Logistic(d.Distribution):
        arg_constraints = {"loc": d.constraints.real, "scale": d.constraints.positive}  # noqa: RUF012
        support = d.constraints.real
        has_rsample = True

        def __init__(self, loc: Any, scale: Any) -> None:
            self.loc, self.scale = loc, scale
            super().__init__(loc.shape)

        def rsample(self, sample_shape: Any = ()) -> Any:
            u = torch.rand(self._extended_shape(sample_shape))
            return self.loc + self.scale * (torch.log(u) - torch.log1p(-u))

        def log_prob(self, value: Any) -> Any:
            if self._validate_args:
                self._validate_sample(value)
            z = (value - self.loc) / self.scale
            return -z - 2 * torch.nn.functional.softplus(-z) - torch.log(self.scale)

    @d.register_kl(Logistic, d.Normal)
    def _(p: Any, q: Any) -> Any:
        return p.loc - q.loc

    p = Logistic(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    wrong = kind(lambda: Logistic(torch.zeros(1), -torch.ones(1)))
    away = d.kl_divergence(p, d.Normal(1.0, 1.0))
    return p.log_prob(torch.tensor(0.5)), repr(p), wrong, away, tuple(p.sample((3,)).shape)


@snippet(flavour="torch")
def solved_matrices(torch: Any) -> Any:
    x = torch.tensor(_mixed(2, 4, 4), requires_grad=True)
    y = torch.tensor(ramp(2, 4, 3, scale=2.0), requires_grad=True)
    la = torch.linalg
    found = []
    for make in (
        lambda: la.inv(x), lambda: la.solve(x, y), lambda: la.solve(x, y[..., 0]),
        lambda: la.solve(x, y.mT, left=False), lambda: la.det(x), lambda: la.slogdet(x).logabsdet,
        lambda: la.solve_triangular(x, y, upper=True), lambda: torch.inverse(x) @ y,
        lambda: la.solve_triangular(x, y, upper=False, unitriangular=True),
    ):  # fmt: skip
        x.grad = y.grad = None
        made = make()
        weights = torch.arange(made.numel()).reshape(made.shape) + 1.0
        (made * weights.cos()).sum().backward()
        found.append((made.detach(), x.grad, y.grad))
    none = torch.zeros(2, 2)
    singular = [kind(partial(f, none), RuntimeError) for f in (la.inv, la.cholesky)]
    return found, la.slogdet(x).sign.detach(), singular


@snippet(flavour="torch")
def factored_matrices(torch: Any) -> Any:
    half = torch.tensor(_mixed(2, 4, 3))
    x = half.mT @ half + torch.eye(3)
    x.requires_grad_()
    half.requires_grad_()
    la = torch.linalg
    factor = la.cholesky(x)
    tall, wide = la.qr(half), la.qr(half.mT)
    weights = torch.arange(9.0).reshape(3, 3).sin()
    ((factor * weights).sum() + (tall.Q * half).sum() + (tall.R * weights).sum()).backward()
    both = torch.cholesky_solve(torch.ones(3, 1), factor), torch.cholesky_inverse(factor)
    complete = la.qr(half, mode="complete")
    results = factor, *tall, *wide, *both, *complete, torch.logdet(x), la.cholesky(x, upper=True)
    return [r.detach() for r in results], x.grad, half.grad


@snippet(flavour="torch")
def norms_of_matrices(torch: Any) -> Any:
    x, la = torch.tensor(ramp(2, 3, 4)), torch.linalg
    matrices = [la.matrix_norm(x, p) for p in ("fro", 1, -1, math.inf, -math.inf)]
    kept = la.matrix_norm(x, 1, dim=(0, 2), keepdim=True)
    vectors = [la.vector_norm(x, p, dim=-1) for p in (0, 1, 2, 3, math.inf)]
    both = la.norm(x), la.norm(x[0], "fro"), la.norm(x[0], 1), la.norm(x, dim=(1, 2))
    products = la.multi_dot([x[0], x[1].T, x[0]]), la.diagonal(x), la.norm(x[0, 0], 3)
    return matrices, kept, vectors, both, products
