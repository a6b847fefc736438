"""Distributions made of gamma draws: Gamma, Chi2, Beta, Dirichlet, Student's t."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from dyn.compat.torch import creation
from dyn.compat.torch.distributions import constraints
from dyn.compat.torch.distributions.distribution import Distribution, broadcast_all
from dyn.compat.torch.distributions.gamma_draws import log_standard_gamma
from dyn.compat.torch.elements import xlogy
from dyn.compat.torch.tensor import own
from dyn.compat.torch.types import finfo
from dyn.ops import compare, index, search
from dyn.ops import gamma as functions
from dyn.ops.creation import one_hot
from dyn.ops.join import stack


def lgamma(x: Any) -> Any:
    """The logarithm of the gamma function."""
    return own(functions.lgamma(x))


def digamma(x: Any) -> Any:
    """The slope of `lgamma`."""
    return own(functions.digamma(x))


def where(condition: Any, value: Any, other: Any) -> Any:
    """`value` where the condition holds, `other` elsewhere."""
    return own(index.where(condition, value, other))


class Gamma(Distribution):
    """The gamma distribution.

    Args:
        concentration: shapes, above 0.
        rate: 1 / scale, above 0.
        validate_args: check arguments.
    """

    arg_constraints: ClassVar[Any] = {
        "concentration": constraints.positive,
        "rate": constraints.positive,
    }
    support: Any = constraints.nonnegative
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None):
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.concentration / self.rate

    @property
    def mode(self) -> Any:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Any:
        return self.concentration / self.rate.square()

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        drawn = log_standard_gamma(self.concentration.expand(shape)).exp() / self.rate
        # Never 0, of which the logarithm of the density is infinite.
        return drawn.clamp(min=finfo(drawn.dtype).tiny)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        value, shape = own(value), self.concentration
        powers = own(xlogy(shape, self.rate)) + own(xlogy(shape - 1, value))
        return powers - self.rate * value - lgamma(shape)

    def entropy(self) -> Any:
        shape = self.concentration
        return shape - self.rate.log() + lgamma(shape) + (1.0 - shape) * digamma(shape)


class Chi2(Gamma):
    """The distribution of sums of squares of normal numbers.

    Args:
        df: how many, above 0.
        validate_args: check arguments.
    """

    arg_constraints: ClassVar[Any] = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None):
        (degrees,) = broadcast_all(df)
        super().__init__(0.5 * degrees, degrees * 0 + 0.5, validate_args)

    @property
    def df(self) -> Any:
        """Degrees of freedom."""
        return self.concentration * 2

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return type(self)(self.df.expand(batch_shape), self._validate_args)


class Dirichlet(Distribution):
    """The distribution of vectors of shares, which sum to 1.

    Args:
        concentration: [..., n], above 0.
        validate_args: check arguments.
    """

    arg_constraints: ClassVar[Any] = {
        "concentration": constraints.independent(constraints.positive, 1)
    }
    support: Any = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Any, validate_args: bool | None = None):
        self.concentration = own(concentration)
        if self.concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        shape = self.concentration.shape
        super().__init__(shape[:-1], shape[-1:], validate_args)

    @property
    def mean(self) -> Any:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @property
    def mode(self) -> Any:
        less = (self.concentration - 1).clamp(min=0.0)
        inner = less / less.sum(-1, keepdim=True)
        corner = one_hot(search.argmax(less, -1), less.shape[-1])
        flat = own(compare.less_than(self.concentration, 1.0)).all(-1, keepdim=True)
        return where(flat, own(corner).to(dtype=inner.dtype), inner)

    @property
    def variance(self) -> Any:
        total = self.concentration.sum(-1, keepdim=True)
        shape = self.concentration
        return shape * (total - shape) / (total.square() * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        # Shares of gamma draws; of their logarithms, as all may be too small for floating point.
        drawn = log_standard_gamma(self.concentration.expand(shape)).softmax(-1)
        return drawn.clamp(min=finfo(drawn.dtype).tiny)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        shape = self.concentration
        whole = lgamma(shape.sum(-1)) - lgamma(shape).sum(-1)
        return own(xlogy(shape - 1.0, own(value))).sum(-1) + whole

    def entropy(self) -> Any:
        shape, count = self.concentration, self._event_shape[0]
        total = shape.sum(-1)
        of_parts = ((shape - 1.0) * digamma(shape)).sum(-1)
        whole = lgamma(shape).sum(-1) - lgamma(total)
        return whole - (count - total) * digamma(total) - of_parts


class Beta(Distribution):
    """The beta distribution of shares between 0 and 1.

    Args:
        concentration1: shape of the share, above 0.
        concentration0: shape of the rest, above 0.
        validate_args: check arguments.
    """

    arg_constraints: ClassVar[Any] = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support: Any = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None):
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        super().__init__(self.concentration1.shape, validate_args=validate_args)

    @property
    def _total(self) -> Any:
        return self.concentration1 + self.concentration0

    @property
    def mean(self) -> Any:
        return self.concentration1 / self._total

    @property
    def mode(self) -> Any:
        pair = own(stack([self.concentration1, self.concentration0], -1))
        return Dirichlet(pair, validate_args=False).mode[..., 0]

    @property
    def variance(self) -> Any:
        total = self._total
        return self.concentration1 * self.concentration0 / (total.square() * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        share = log_standard_gamma(self.concentration1.expand(shape))
        rest = log_standard_gamma(self.concentration0.expand(shape))
        drawn = (share - rest).sigmoid()
        info = finfo(drawn.dtype)
        return drawn.clamp(info.tiny, 1 - info.eps)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        one, rest, value = self.concentration1, self.concentration0, own(value)
        # At 1 the power of the rest is 0 to the power of 0 where its exponent is 0.
        even = compare.logical_and(compare.equal(rest, 1.0), compare.equal(value, 1.0))
        powers = own(xlogy(one - 1.0, value)) + (rest - 1.0) * (-where(even, 0.0, value)).log1p()
        return powers + lgamma(self._total) - lgamma(one) - lgamma(rest)

    def entropy(self) -> Any:
        one, rest, total = self.concentration1, self.concentration0, self._total
        parts = (one - 1.0) * digamma(one) + (rest - 1.0) * digamma(rest)
        whole = lgamma(one) + lgamma(rest) - lgamma(total)
        return whole - parts + (total - 2.0) * digamma(total)


class StudentT(Distribution):
    """Student's t distribution.

    Args:
        df: degrees of freedom, above 0.
        loc: places.
        scale: widths, above 0.
        validate_args: check arguments.
    """

    arg_constraints: ClassVar[Any] = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support: Any = constraints.real
    has_rsample = True

    def __init__(
        self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None
    ):
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        super().__init__(self.df.shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return where(compare.greater_than(self.df, 1.0), self.loc, math.nan)

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        known = compare.greater_than(self.df, 2.0)
        df = where(known, self.df, 3.0)
        wide = where(known, self.scale.square() * df / (df - 2.0), math.inf)
        return where(compare.greater_than(self.df, 1.0), wide, math.nan)

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        normal = creation.randn(shape, dtype=self.df.dtype)
        # The square of a normal number's width: a gamma draw of shape df / 2 over df / 2.
        half = 0.5 * self.df.expand(shape)
        wide = (-0.5 * (log_standard_gamma(half) - half.log())).exp()
        return self.loc + self.scale * normal * wide

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        away = (own(value) - self.loc) / self.scale
        half = 0.5 * self.df
        whole = self.scale.log() + 0.5 * (self.df.log() + math.log(math.pi))
        whole = whole + lgamma(half) - lgamma(half + 0.5)
        return -(half + 0.5) * (away.square() / self.df).log1p() - whole

    def entropy(self) -> Any:
        half = 0.5 * self.df
        beta = lgamma(half) + 0.5 * math.log(math.pi) - lgamma(half + 0.5)
        slope = digamma(half + 0.5) - digamma(half)
        return self.scale.log() + (half + 0.5) * slope + 0.5 * self.df.log() + beta
