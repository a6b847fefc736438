"""Kullback-Leibler divergences of pairs of distributions, by the classes of both."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dyn.compat.torch import shape
from dyn.compat.torch.distributions.continuous import (
    Exponential,
    Laplace,
    LogNormal,
    Normal,
    Uniform,
)
from dyn.compat.torch.distributions.discrete import Bernoulli, Categorical, OneHotCategorical
from dyn.compat.torch.distributions.distribution import Distribution, sum_rightmost
from dyn.compat.torch.distributions.gamma import Beta, Dirichlet, Gamma, digamma, lgamma
from dyn.compat.torch.distributions.joint import Independent, MultivariateNormal
from dyn.compat.torch.distributions.transformed import TransformedDistribution
from dyn.compat.torch.nn import functional as F
from dyn.compat.torch.tensor import own
from dyn.ops import compare, solutions
from dyn.ops.creation import full_like

_EULER = 0.5772156649015329
_PAIRS: dict[tuple[type, type], Callable[[Any, Any], Any]] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Any], Any]:
    """Make a function of two distributions the divergence of a pair of classes."""
    for name, kind in (("type_p", type_p), ("type_q", type_q)):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {kind}")

    def register(function: Any) -> Any:
        _PAIRS[type_p, type_q] = function
        return function

    return register


def kl_divergence(p: Distribution, q: Distribution) -> Any:
    """KL(p || q), batch_shape.

    Raises:
        NotImplementedError: there is no formula for the two classes.
    """
    for first in type(p).__mro__:
        for second in type(q).__mro__:
            if (first, second) in _PAIRS:
                return _PAIRS[first, second](p, q)
    raise NotImplementedError(
        f"No KL(p || q) is implemented for p type {type(p).__name__} and q type "
        f"{type(q).__name__}; register a formula with register_kl"
    )


def _where(condition: Any, value: float, other: Any) -> Any:
    return own(shape.where(condition, value, other))


@register_kl(Normal, Normal)
@register_kl(LogNormal, LogNormal)
def _(p: Any, q: Any) -> Any:
    ratio = (p.scale / q.scale).square()
    away = ((p.loc - q.loc) / q.scale).square()
    return 0.5 * (ratio + away - 1 - ratio.log())


@register_kl(Laplace, Laplace)
def _(p: Any, q: Any) -> Any:
    ratio, away = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + away / q.scale + ratio * (-away / p.scale).exp() - 1


@register_kl(Exponential, Exponential)
def _(p: Any, q: Any) -> Any:
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Uniform, Uniform)
def _(p: Any, q: Any) -> Any:
    outside = compare.logical_or(q.low > p.low, q.high < p.high)
    return _where(outside, math.inf, ((q.high - q.low) / (p.high - p.low)).log())


@register_kl(Bernoulli, Bernoulli)
def _(p: Any, q: Any) -> Any:
    ones = p.probs * (F.softplus(-q.logits) - F.softplus(-p.logits))
    ones = _where(p.probs == 0, 0.0, _where(q.probs == 0, math.inf, ones))
    zeros = (1 - p.probs) * (F.softplus(q.logits) - F.softplus(p.logits))
    return ones + _where(p.probs == 1, 0.0, _where(q.probs == 1, math.inf, zeros))


@register_kl(Categorical, Categorical)
@register_kl(OneHotCategorical, OneHotCategorical)
def _(p: Any, q: Any) -> Any:
    terms = p.probs * (p.logits - q.logits)
    return _where(p.probs == 0, 0.0, _where(q.probs == 0, math.inf, terms)).sum(-1)


@register_kl(Independent, Independent)
def _(p: Any, q: Any) -> Any:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError(
            f"p takes {p.reinterpreted_batch_ndims} axes of its batch for an event, q "
            f"{q.reinterpreted_batch_ndims}; there is a formula for the same number only; "
            "give both the same"
        )
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(MultivariateNormal, MultivariateNormal)
def _(p: Any, q: Any) -> Any:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be "
            "computed"
        )
    half = q._half_log_det() - p._half_log_det()
    spread = own(solutions.triangular_solve(q.scale_tril, p.scale_tril, upper=False))
    away = (q.loc - p.loc).unsqueeze(-1)
    white = own(solutions.triangular_solve(q.scale_tril, away, upper=False))
    traces = spread.square().sum([-2, -1]) + white.square().sum([-2, -1])
    return half + 0.5 * (traces - p.event_shape[0])


@register_kl(Uniform, Exponential)
def _(p: Any, q: Any) -> Any:
    found = q.rate * p.mean - ((p.high - p.low) * q.rate).log()
    return _where(p.low < 0, math.inf, found)


@register_kl(Normal, Exponential)
@register_kl(Normal, Uniform)
@register_kl(Laplace, Exponential)
@register_kl(Laplace, Uniform)
@register_kl(Exponential, Uniform)
def _(p: Any, q: Any) -> Any:
    return own(full_like(p.mean, math.inf))


@register_kl(Exponential, Normal)
def _(p: Any, q: Any) -> Any:
    variance, mean = q.scale.square(), 1 / p.rate
    ratio = variance * p.rate.square()
    inner = mean / variance * (mean - q.loc) + 0.5 * q.loc.square() / variance
    return 0.5 * (ratio * 2 * math.pi).log() - 1 + inner


@register_kl(Uniform, Normal)
def _(p: Any, q: Any) -> Any:
    width = p.high - p.low
    away = (width / q.scale).square() / 24 + ((p.mean - q.loc) / q.scale).square() / 2
    return (math.sqrt(2 * math.pi) * q.scale / width).log() + away


@register_kl(Laplace, Normal)
def _(p: Any, q: Any) -> Any:
    variance = q.scale.square()
    ratio = p.scale.square() / variance
    away = (p.loc - q.loc).square() / (2 * variance)
    return -0.5 * ratio.log() + ratio + 0.5 * math.log(math.pi / 2) + away - 1


@register_kl(Gamma, Gamma)
def _(p: Any, q: Any) -> Any:
    rates = q.concentration * (p.rate / q.rate).log() + p.concentration * (q.rate / p.rate - 1)
    shapes = lgamma(q.concentration) - lgamma(p.concentration)
    return rates + shapes + (p.concentration - q.concentration) * digamma(p.concentration)


@register_kl(Beta, Beta)
def _(p: Any, q: Any) -> Any:
    found = lgamma(p._total) - lgamma(q._total) + (q._total - p._total) * digamma(p._total)
    for name in ("concentration1", "concentration0"):
        a, b = getattr(p, name), getattr(q, name)
        found = found + lgamma(b) - lgamma(a) + (a - b) * digamma(a)
    return found


@register_kl(Dirichlet, Dirichlet)
def _(p: Any, q: Any) -> Any:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    parts = lgamma(b) - lgamma(a) + (a - b) * (digamma(a) - digamma(total).unsqueeze(-1))
    return lgamma(total) - lgamma(b.sum(-1)) + parts.sum(-1)


@register_kl(Exponential, Gamma)
def _(p: Any, q: Any) -> Any:
    ratio, shape = q.rate / p.rate, q.concentration
    # Euler's constant is minus the mean of the logarithm of an exponential number.
    return ratio - 1 + lgamma(shape) - shape * ratio.log() + (shape - 1) * _EULER


@register_kl(Gamma, Exponential)
def _(p: Any, q: Any) -> Any:
    ratio = q.rate / p.rate
    return -p.entropy() - q.rate.log() + p.concentration * ratio


@register_kl(Normal, Gamma)
@register_kl(Laplace, Gamma)
@register_kl(Normal, Beta)
@register_kl(Laplace, Beta)
@register_kl(Exponential, Beta)
@register_kl(Gamma, Beta)
def _(p: Any, q: Any) -> Any:
    return own(full_like(p.mean, math.inf))


@register_kl(TransformedDistribution, TransformedDistribution)
def _(p: Any, q: Any) -> Any:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError(
            "there is a formula for the same transforms of values of the same shape only: "
            f"p has {p.transforms} and {p.event_shape}, q has {q.transforms} and {q.event_shape}; "
            "estimate it as the mean of p.log_prob(x) - q.log_prob(x) over x = p.sample((n,))"
        )
    return kl_divergence(p.base_dist, q.base_dist)
