"""Distributions of transformed values, and mixtures of distributions of one kind."""

from __future__ import annotations

from typing import Any

from dyn.compat.torch.distributions import constraints
from dyn.compat.torch.distributions.composed import ComposeTransform
from dyn.compat.torch.distributions.discrete import Categorical
from dyn.compat.torch.distributions.distribution import Distribution, sum_rightmost
from dyn.compat.torch.distributions.joint import Independent
from dyn.compat.torch.distributions.transforms import Transform
from dyn.compat.torch.tensor import own
from dyn.core.modes import no_grad
from dyn.ops import creation


class TransformedDistribution(Distribution):
    """What becomes of the draws of a distribution by transforms.

    Args:
        base_distribution: the distribution.
        transforms: a transform, or several, the first one first.
        validate_args: check arguments.

    Raises:
        ValueError: there are no transforms, or they take more axes than the distribution has.
    """

    def __init__(self, base_distribution: Any, transforms: Any, validate_args: bool | None = None):
        given = [transforms] if isinstance(transforms, Transform) else transforms
        if not isinstance(given, (list, tuple)) or not all(isinstance(t, Transform) for t in given):
            raise ValueError(f"transforms must be a Transform or list, but was {transforms}")
        several = list(given)
        self.transforms = several
        base, whole = base_distribution, ComposeTransform(several)
        shape, event = base.batch_shape + base.event_shape, len(base.event_shape)
        if len(shape) < whole.domain.event_dim:
            raise ValueError(
                "base_distribution needs to have shape with size at least "
                f"{whole.domain.event_dim}, but got {shape}."
            )
        after = whole.forward_shape(shape)
        wider = whole.inverse_shape(after)
        if tuple(wider) != tuple(shape):
            base = base.expand(wider[: len(wider) - event])
        more = whole.domain.event_dim - event
        self.base_dist = Independent(base, more) if more > 0 else base
        change = whole.codomain.event_dim - whole.domain.event_dim
        axes = max(whole.codomain.event_dim, event + change)
        cut = len(after) - axes
        super().__init__(after[:cut], after[cut:], validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether the distribution draws with gradients."""
        return self.base_dist.has_rsample

    @constraints.dependent_property
    def support(self) -> Any:
        """Where the last transform goes."""
        if not self.transforms:
            return self.base_dist.support
        found = self.transforms[-1].codomain
        more = len(self._event_shape) - found.event_dim
        return constraints.independent(found, more) if more > 0 else found

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        whole = ComposeTransform(self.transforms)
        shape = whole.inverse_shape((*batch_shape, *self._event_shape))
        base = self.base_dist.expand(shape[: len(shape) - len(self.base_dist.event_shape)])
        new = object.__new__(type(self))
        vars(new).update(vars(self))
        TransformedDistribution.__init__(new, base, self.transforms, self._validate_args)
        return new

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            return self._transformed(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Any = ()) -> Any:
        return self._transformed(self.base_dist.rsample(sample_shape))

    def _transformed(self, x: Any) -> Any:
        for transform in self.transforms:
            x = transform(x)
        return x

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        axes, total, y = len(self._event_shape), None, value
        for transform in reversed(self.transforms):
            x = transform._inv_call(y)
            axes += transform.domain.event_dim - transform.codomain.event_dim
            slope = transform.log_abs_det_jacobian(x, y)
            slope = sum_rightmost(slope, axes - transform.domain.event_dim)
            total = -slope if total is None else total - slope
            y = x
        inner = self.base_dist.log_prob(y)
        inner = sum_rightmost(inner, axes - len(self.base_dist.event_shape))
        return inner if total is None else inner + total

    def cdf(self, value: Any) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        for transform in reversed(self.transforms):
            value = transform._inv_call(value)
        return self._turned(self.base_dist.cdf(value))

    def icdf(self, value: Any) -> Any:
        return self._transformed(self.base_dist.icdf(self._turned(own(value))))

    def _turned(self, value: Any) -> Any:
        """A probability, or the rest up to 1 where the transforms fall."""
        sign = 1
        for transform in self.transforms:
            sign = sign * transform.sign
        if isinstance(sign, (int, float)):
            return value if sign == 1 else 1 - value
        return sign * (value - 0.5) + 0.5

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_dist!r}, {self.transforms!r})"


class MixtureSameFamily(Distribution):
    """A draw of one of several distributions of a kind, chosen by another.

    Draws have no gradients: which one is chosen is no smooth function of anything.

    Args:
        mixture_distribution: a `Categorical` over the components.
        component_distribution: the components, along the last axis of its batch.
        validate_args: check arguments.

    Raises:
        ValueError: the arguments are of other kinds or shapes.
    """

    def __init__(
        self,
        mixture_distribution: Any,
        component_distribution: Any,
        validate_args: bool | None = None,
    ):
        mixture, component = mixture_distribution, component_distribution
        if not isinstance(mixture, Categorical):
            raise ValueError(
                " The Mixture distribution needs to be an  instance of torch.distributions."
                "Categorical"
            )
        if not isinstance(component, Distribution):
            raise ValueError(
                "The Component distribution need to be an instance of torch.distributions."
                "Distribution"
            )
        batch, several = component.batch_shape[:-1], component.batch_shape[-1]
        if mixture.batch_shape not in ((), batch):
            raise ValueError(
                f"`mixture_distribution.batch_shape` ({mixture.batch_shape}) is not compatible "
                f"with `component_distribution.batch_shape`({batch})"
            )
        if mixture.probs.shape[-1] != several:
            raise ValueError(
                f"`mixture_distribution component` ({mixture.probs.shape[-1]}) does not equal "
                f"`component_distribution.batch_shape[-1]` ({several})"
            )
        self._mixture_distribution, self._component_distribution = mixture, component
        self._num_component = several
        super().__init__(batch, component.event_shape, validate_args)

    @property
    def mixture_distribution(self) -> Any:
        """Which component is drawn."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Any:
        """The components."""
        return self._component_distribution

    @constraints.dependent_property
    def support(self) -> Any:
        """That of the components."""
        return self._component_distribution.support

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        component = self._component_distribution.expand((*batch_shape, self._num_component))
        mixture = self._mixture_distribution.expand(batch_shape)
        return type(self)(mixture, component, self._validate_args)

    def _probs(self) -> Any:
        found = self._mixture_distribution.probs
        return found.reshape((*found.shape, *[1] * len(self._event_shape)))

    def _averaged(self, values: Any) -> Any:
        return (self._probs() * values).sum(-1 - len(self._event_shape))

    @property
    def mean(self) -> Any:
        return self._averaged(self._component_distribution.mean)

    @property
    def variance(self) -> Any:
        # Within the components, and between them.
        means = self._component_distribution.mean
        away = means - self.mean.unsqueeze(-1 - len(self._event_shape))
        return self._averaged(self._component_distribution.variance + away.square())

    def _beside(self, value: Any) -> Any:
        """A value for each component."""
        return own(value).unsqueeze(-1 - len(self._event_shape))

    def cdf(self, value: Any) -> Any:
        found = self._component_distribution.cdf(self._beside(value))
        return (found * self._mixture_distribution.probs).sum(-1)

    def log_prob(self, value: Any) -> Any:
        self._validate_sample(value)
        found = self._component_distribution.log_prob(self._beside(value))
        return (found + self._mixture_distribution.logits.log_softmax(-1)).logsumexp(-1)

    def sample(self, sample_shape: Any = ()) -> Any:
        with no_grad():
            axis = -1 - len(self._event_shape)
            drawn = self._component_distribution.sample(sample_shape)
            shape = (*sample_shape, *self._batch_shape)
            which = self._mixture_distribution.expand(self._batch_shape).sample(sample_shape)
            ones = own(creation.one_hot(which, self._num_component))
            ones = ones.reshape((*shape, self._num_component, *[1] * len(self._event_shape)))
            # Chosen, not summed: what is not chosen may be infinite.
            chosen = own(drawn).masked_fill(ones == 0, 0.0)
            return chosen.sum(axis)

    def rsample(self, sample_shape: Any = ()) -> Any:
        raise NotImplementedError(
            "MixtureSameFamily has no rsample: the choice of a component has no gradient. Use "
            "sample() with log_prob(), or the components weighted by their probabilities"
        )

    def __repr__(self) -> str:
        return (
            f"MixtureSameFamily(\n  {self._mixture_distribution},\n  "
            f"{self._component_distribution})"
        )
