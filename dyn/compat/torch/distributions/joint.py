"""Distributions of vectors: independent ones counted as one, and the multivariate normal."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, ClassVar

from dyn.compat.torch import creation
from dyn.compat.torch.distributions import constraints
from dyn.compat.torch.distributions.distribution import Distribution, sum_rightmost
from dyn.compat.torch.tensor import own
from dyn.compat.torch.types import Size
from dyn.ops import decompose, linalg, solutions
from dyn.ops.infer import broadcast_shapes
from dyn.ops.matrix import eye


class Independent(Distribution):
    """A distribution whose last axes of the batch count as axes of one value.

    Args:
        base_distribution: the distribution.
        reinterpreted_batch_ndims: how many axes.
        validate_args: check arguments.
    """

    def __init__(
        self,
        base_distribution: Distribution,
        reinterpreted_batch_ndims: int,
        validate_args: bool | None = None,
    ):
        batch = base_distribution.batch_shape
        count = reinterpreted_batch_ndims
        if count > len(batch):
            raise ValueError(
                "Expected reinterpreted_batch_ndims <= len(base_distribution.batch_shape), "
                f"actual {count} vs {len(batch)}"
            )
        self.base_dist, self.reinterpreted_batch_ndims = base_distribution, count
        left = len(batch) - count
        event = batch[left:] + base_distribution.event_shape
        super().__init__(batch[:left], event, validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether the distribution draws with gradients."""
        return self.base_dist.has_rsample

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]
        """Whether all values can be listed."""
        return not self.reinterpreted_batch_ndims and self.base_dist.has_enumerate_support

    @constraints.dependent_property
    def support(self) -> Any:
        """That of the distribution, of all elements."""
        found, count = self.base_dist.support, self.reinterpreted_batch_ndims
        return constraints.independent(found, count) if count else found

    @property
    def mean(self) -> Any:
        return self.base_dist.mean

    @property
    def mode(self) -> Any:
        return self.base_dist.mode

    @property
    def variance(self) -> Any:
        return self.base_dist.variance

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        event = self._event_shape[: self.reinterpreted_batch_ndims]
        base = self.base_dist.expand((*batch_shape, *event))
        return type(self)(base, self.reinterpreted_batch_ndims, self._validate_args)

    def sample(self, sample_shape: Any = ()) -> Any:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Any) -> Any:
        return sum_rightmost(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self) -> Any:
        return sum_rightmost(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    def enumerate_support(self, expand: bool = True) -> Any:
        if self.reinterpreted_batch_ndims:
            # PyTorch's words, and why: the number of combinations grows as a power.
            raise NotImplementedError(
                "Enumeration over cartesian product is not implemented: the values of "
                f"{self.reinterpreted_batch_ndims} axes combine to too many; enumerate base_dist"
            )
        return self.base_dist.enumerate_support(expand)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_dist}, {self.reinterpreted_batch_ndims})"


_MATRICES = ("covariance_matrix", "precision_matrix", "scale_tril")


class MultivariateNormal(Distribution):
    """The normal distribution of vectors; exactly one of the matrices is given.

    Args:
        loc: means, (..., n).
        covariance_matrix: (..., n, n), symmetric and positive definite.
        precision_matrix: the inverse of the covariance, (..., n, n).
        scale_tril: the Cholesky factor of the covariance, (..., n, n).
        validate_args: check arguments.
    """

    arg_constraints: ClassVar[Any] = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support: Any = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Any,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
        validate_args: bool | None = None,
    ):
        loc = own(loc)
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        matrices = (covariance_matrix, precision_matrix, scale_tril)
        given = {n: own(m) for n, m in zip(_MATRICES, matrices, strict=True) if m is not None}
        if len(given) != 1:
            raise ValueError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be "
                "specified."
            )
        ((name, matrix),) = given.items()
        if matrix.dim() < 2:
            what = "scale_tril matrix" if name == "scale_tril" else name
            raise ValueError(
                f"{what} must be at least two-dimensional, with optional leading batch dimensions"
            )
        batch = Size(broadcast_shapes(tuple(matrix.shape[:-2]), tuple(loc.shape[:-1])))
        vars(self)[name] = matrix.expand((*batch, -1, -1))
        self.loc = loc.expand((*batch, -1))
        super().__init__(batch, loc.shape[-1:], validate_args)

    @cached_property
    def _factor(self) -> Any:
        """The Cholesky factor of the covariance."""
        if "scale_tril" in vars(self):
            return self.scale_tril
        if "covariance_matrix" in vars(self):
            return own(decompose.cholesky(self.covariance_matrix))
        # The inverse of the factor whose rows and columns are counted from the end.
        flipped = own(decompose.cholesky(self.precision_matrix.flip(-2, -1)))
        factor, n = flipped.flip(-2, -1).mT, self._event_shape[0]
        unit = eye(n, dtype=self.loc.dtype)
        return own(solutions.triangular_solve(factor, unit, upper=False))

    @cached_property
    def scale_tril(self) -> Any:
        """The Cholesky factor of the covariance."""
        return self._factor

    @cached_property
    def covariance_matrix(self) -> Any:
        """The covariances."""
        return own(linalg.matmul(self._factor, self._factor, transpose_y=True))

    @cached_property
    def precision_matrix(self) -> Any:
        """The inverse of the covariance."""
        unit = eye(self._event_shape[0], dtype=self.loc.dtype)
        return own(solutions.cholesky_solve(unit, self._factor))

    @property
    def mean(self) -> Any:
        return self.loc

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        return self._factor.square().sum(-1)

    def rsample(self, sample_shape: Any = ()) -> Any:
        drawn = creation.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + own(linalg.matmul(self._factor, drawn.unsqueeze(-1))).squeeze(-1)

    def _half_log_det(self) -> Any:
        return self._factor.diagonal(0, -2, -1).log().sum(-1)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        away = (own(value) - self.loc).unsqueeze(-1)
        white = own(solutions.triangular_solve(self._factor, away, upper=False))
        constant = self._event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (constant + white.square().sum([-2, -1])) - self._half_log_det()

    def entropy(self) -> Any:
        constant = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi))
        return constant + self._half_log_det()
