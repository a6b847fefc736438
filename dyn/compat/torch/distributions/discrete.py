"""Distributions of classes: Bernoulli, categorical, one-hot; of probabilities or of logits."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, ClassVar

from dyn.compat.torch import creation
from dyn.compat.torch.distributions import constraints
from dyn.compat.torch.distributions.distribution import Distribution, broadcast_all
from dyn.compat.torch.nn import functional as F
from dyn.compat.torch.tensor import own
from dyn.compat.torch.types import Size, finfo
from dyn.core.modes import no_grad
from dyn.ops.creation import full, one_hot
from dyn.ops.join import broadcast_tensors


def _one_of(probs: Any, logits: Any) -> None:
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")


def _inside(probs: Any) -> Any:
    """Probabilities as near to 0 and 1 as the dtype tells them from 0 and 1."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(eps, 1 - eps)


class Bernoulli(Distribution):
    """1 with a probability, else 0.

    Args:
        probs: probabilities of 1.
        logits: log(probs / (1 - probs)), given instead.
        validate_args: check arguments.
    """

    arg_constraints: ClassVar[Any] = {
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    support: Any = constraints.boolean
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        _one_of(probs, logits)
        name, given = ("probs", probs) if logits is None else ("logits", logits)
        (value,) = broadcast_all(given)
        vars(self)[name] = value
        super().__init__(value.shape, validate_args=validate_args)

    @cached_property
    def probs(self) -> Any:
        """Probabilities of 1."""
        return self.logits.sigmoid()

    @cached_property
    def logits(self) -> Any:
        """log(probs / (1 - probs)), finite."""
        inside = _inside(self.probs)
        return inside.log() - (-inside).log1p()

    @property
    def mean(self) -> Any:
        return self.probs

    @property
    def mode(self) -> Any:
        half = self.probs == 0.5
        return (self.probs >= 0.5).type_as(self.probs).masked_fill(half, math.nan)

    @property
    def variance(self) -> Any:
        return self.probs * (1 - self.probs)

    @property
    def param_shape(self) -> Size:
        """Sizes of the parameter."""
        return self._batch_shape

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            return creation.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        logits, value = own(broadcast_tensors([self.logits, own(value)]))
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> Any:
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> Any:
        values = creation.arange(2, dtype=next(iter(self._given().values())).dtype)
        return _along_batch(values, self._batch_shape, expand)


def _along_batch(values: Any, batch_shape: Any, expand: bool) -> Any:
    values = values.reshape((-1,) + (1,) * len(batch_shape))
    return values.expand((-1, *batch_shape)) if expand else values


class _Classes(Distribution):
    """Distributions over the classes of a last axis."""

    arg_constraints: ClassVar[Any] = {
        "probs": constraints.simplex,
        "logits": constraints.real_vector,
    }
    has_enumerate_support = True
    _one_hot = False

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        _one_of(probs, logits)
        name, given = ("probs", probs) if logits is None else ("logits", logits)
        given = own(given)
        if given.dim() < 1:
            raise ValueError(f"`{name}` parameter must be at least one-dimensional.")
        normal = given / given.sum(-1, keepdim=True) if logits is None else given.log_softmax(-1)
        vars(self)[name] = normal
        sizes = given.shape
        event = sizes[-1:] if self._one_hot else ()
        super().__init__(sizes[:-1], event, validate_args=validate_args)

    @cached_property
    def probs(self) -> Any:
        """Probabilities, (..., classes)."""
        return self.logits.softmax(-1)

    @cached_property
    def logits(self) -> Any:
        """Logarithms of the probabilities, finite, (..., classes)."""
        return _inside(self.probs).log()

    @property
    def param_shape(self) -> Size:
        """Sizes of the parameter: batch_shape and the classes."""
        return next(iter(self._given().values())).shape

    @property
    def _count(self) -> Any:
        return self.param_shape[-1]

    def _drawn(self, sample_shape: Any) -> Any:
        """Class numbers, sample_shape + batch_shape."""
        shape = Size(sample_shape)
        rows = self.probs.reshape(-1, self._count)
        drawn = creation.multinomial(rows, shape.numel(), replacement=True)
        return drawn.t().reshape((*shape, *self._batch_shape))

    def entropy(self) -> Any:
        logits = self.logits.clamp_min(finfo(self.logits.dtype).min)
        return -(logits * self.probs).sum(-1)


class Categorical(_Classes):
    """Class numbers from 0 on.

    Args:
        probs: (..., classes), not negative; they are divided by their sums.
        logits: logarithms of probabilities but for a constant, given instead.
        validate_args: check arguments.
    """

    @constraints.dependent_property(is_discrete=True)
    def support(self) -> Any:
        """The numbers of the classes."""
        return constraints.integer_interval(0, self._count - 1)

    @property
    def mean(self) -> Any:
        return own(full(self._batch_shape, math.nan, self.probs.dtype))

    variance = mean

    @property
    def mode(self) -> Any:
        return self.probs.argmax(-1)

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            return self._drawn(sample_shape)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        places = own(value).long().unsqueeze(-1)
        places, logits = own(broadcast_tensors([places, self.logits]))
        return logits.gather(-1, places[..., :1]).squeeze(-1)

    def enumerate_support(self, expand: bool = True) -> Any:
        return _along_batch(creation.arange(self._count), self._batch_shape, expand)


class OneHotCategorical(_Classes):
    """Classes as vectors that are 1 at the class and 0 elsewhere.

    Args:
        probs, logits, validate_args: as in `Categorical`.
    """

    support: Any = constraints.one_hot
    _one_hot = True

    @property
    def mean(self) -> Any:
        return self.probs

    @property
    def mode(self) -> Any:
        return self._vectors(self.probs.argmax(-1))

    @property
    def variance(self) -> Any:
        return self.probs * (1 - self.probs)

    def _vectors(self, numbers: Any) -> Any:
        return own(one_hot(numbers, self._count)).type_as(self.probs)

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            return self._vectors(self._drawn(sample_shape))

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        return (own(value) * self.logits).sum(-1)


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """`OneHotCategorical` whose draws pass gradients to the probabilities as if they were these."""

    has_rsample = True

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self.sample(sample_shape) + (self.probs - self.probs.detach())
