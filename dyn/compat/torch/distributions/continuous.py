"""Distributions of real numbers: normal, log-normal, Laplace, uniform, exponential."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from dyn.compat.torch import creation
from dyn.compat.torch.distributions import constraints
from dyn.compat.torch.distributions.distribution import Distribution, broadcast_all
from dyn.compat.torch.tensor import own
from dyn.ops import angles, gamma, unary
from dyn.ops.creation import full_like, zeros_like

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def _exponentials(shape: Any, dtype: Any) -> Any:
    """Numbers of the exponential distribution of rate 1; never infinite, as rand is below 1."""
    return -(-creation.rand(shape, dtype=dtype)).log1p()


class _Located(Distribution):
    """Distributions of a place `loc` and a width `scale`."""

    arg_constraints: ClassVar[Any] = {"loc": constraints.real, "scale": constraints.positive}
    support: Any = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None):
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc


class Normal(_Located):
    """The normal distribution.

    Args:
        loc: means.
        scale: standard deviations.
        validate_args: check arguments.
    """

    @property
    def stddev(self) -> Any:
        return self.scale

    @property
    def variance(self) -> Any:
        return self.scale.square()

    def rsample(self, sample_shape: Any = ()) -> Any:
        drawn = creation.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + drawn * self.scale

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        away = (own(value) - self.loc).square()
        return -away / (2 * self.variance) - self.scale.log() - _HALF_LOG_2PI

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        away = (own(value) - self.loc) / (self.scale * math.sqrt(2))
        return 0.5 * (1 + own(angles.erf(away)))

    def icdf(self, value: Any) -> Any:
        return self.loc + self.scale * math.sqrt(2) * own(gamma.erfinv(2 * own(value) - 1))

    def entropy(self) -> Any:
        return 0.5 + _HALF_LOG_2PI + self.scale.log()


class LogNormal(_Located):
    """The distribution of e to the power of a normal number.

    Args:
        loc: means of the logarithm.
        scale: standard deviations of the logarithm.
        validate_args: check arguments.
    """

    support: Any = constraints.positive

    @property
    def _log(self) -> Normal:
        return Normal(self.loc, self.scale, validate_args=False)

    @property
    def mean(self) -> Any:
        return (self.loc + self.scale.square() / 2).exp()

    @property
    def mode(self) -> Any:
        return (self.loc - self.scale.square()).exp()

    @property
    def variance(self) -> Any:
        squared = self.scale.square()
        return squared.expm1() * (2 * self.loc + squared).exp()

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self._log.rsample(sample_shape).exp()

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        logarithm = own(value).log()
        return self._log.log_prob(logarithm) - logarithm

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return self._log.cdf(own(value).log())

    def icdf(self, value: Any) -> Any:
        return self._log.icdf(value).exp()

    def entropy(self) -> Any:
        return self._log.entropy() + self.loc


class Laplace(_Located):
    """The Laplace distribution.

    Args:
        loc: means.
        scale: mean distances from the mean.
        validate_args: check arguments.
    """

    @property
    def variance(self) -> Any:
        return 2 * self.scale.square()

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        first, second = (_exponentials(shape, self.loc.dtype) for _ in range(2))
        return self.loc + self.scale * (first - second)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        return -(2 * self.scale).log() - (own(value) - self.loc).abs() / self.scale

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        away = own(value) - self.loc
        return 0.5 - 0.5 * away.sign() * (-away.abs() / self.scale).expm1()

    def icdf(self, value: Any) -> Any:
        term = own(value) - 0.5
        return self.loc - self.scale * term.sign() * (-2 * term.abs()).log1p()

    def entropy(self) -> Any:
        return 1 + (2 * self.scale).log()


class Uniform(Distribution):
    """The even distribution over [low, high).

    Args:
        low, high: bounds.
        validate_args: check arguments.
    """

    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None):
        self.low, self.high = broadcast_all(low, high)
        super().__init__(self.low.shape, validate_args=validate_args)

    @property
    def arg_constraints(self) -> Any:
        """low below high."""
        return {
            "low": constraints.less_than(self.high),
            "high": constraints.greater_than(self.low),
        }

    @constraints.dependent_property
    def support(self) -> Any:
        """From low to high."""
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Any:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Any:
        return own(full_like(self.high, math.nan))

    @property
    def stddev(self) -> Any:
        return (self.high - self.low) / math.sqrt(12)

    @property
    def variance(self) -> Any:
        return (self.high - self.low).square() / 12

    def rsample(self, sample_shape: Any = ()) -> Any:
        drawn = creation.rand(self._extended_shape(sample_shape), dtype=self.low.dtype)
        return self.low + drawn * (self.high - self.low)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        within = (own(value) >= self.low).type_as(self.low) * (own(value) < self.high)
        return within.log() - (self.high - self.low).log()

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return ((own(value) - self.low) / (self.high - self.low)).clamp(0, 1)

    def icdf(self, value: Any) -> Any:
        return own(value) * (self.high - self.low) + self.low

    def entropy(self) -> Any:
        return (self.high - self.low).log()


class Exponential(Distribution):
    """The exponential distribution.

    Args:
        rate: 1 / mean.
        validate_args: check arguments.
    """

    arg_constraints: ClassVar[Any] = {"rate": constraints.positive}
    support: Any = constraints.nonnegative
    has_rsample = True

    def __init__(self, rate: Any, validate_args: bool | None = None):
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return own(unary.reciprocal(self.rate))

    @property
    def mode(self) -> Any:
        return own(zeros_like(self.rate))

    @property
    def stddev(self) -> Any:
        return self.mean

    @property
    def variance(self) -> Any:
        return self.mean.square()

    def rsample(self, sample_shape: Any = ()) -> Any:
        return _exponentials(self._extended_shape(sample_shape), self.rate.dtype) / self.rate

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        return self.rate.log() - self.rate * own(value)

    def cdf(self, value: Any) -> Any:
        self._validate_sample(value)
        return 1 - (-self.rate * own(value)).exp()

    def icdf(self, value: Any) -> Any:
        return -(-own(value)).log1p() / self.rate

    def entropy(self) -> Any:
        return 1.0 - self.rate.log()
