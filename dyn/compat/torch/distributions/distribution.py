"""What all distributions share: shapes, checks of arguments, sampling and text.

Checks look at values without being recorded: a file that was traced takes any value.
"""

from __future__ import annotations

import copy
from functools import cache, cached_property
from typing import Any, ClassVar

from dyn.compat.torch import creation
from dyn.compat.torch.distributions import constraints
from dyn.compat.torch.tensor import Base, own
from dyn.compat.torch.types import Size
from dyn.core.modes import no_grad
from dyn.core.observe import unobserved
from dyn.ops.join import broadcast_tensors


def broadcast_all(*values: Any) -> list[Any]:
    """Numbers and tensors as tensors of one shape; numbers take the dtype of the first tensor."""
    if not all(isinstance(v, (Base, int, float)) for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects "
            "implementing __torch_function__."
        )
    like = next((v.dtype for v in values if isinstance(v, Base)), creation.get_default_dtype())
    made = [own(v) if isinstance(v, Base) else creation.tensor(v, dtype=like) for v in values]
    if all(tuple(t.shape) == tuple(made[0].shape) for t in made):
        return made
    return list(own(broadcast_tensors(made)))


def sum_rightmost(value: Any, count: int) -> Any:
    """The sum over so many of the last axes."""
    return value.sum(list(range(-count, 0))) if count else value


@cache
def _derived(kind: type) -> frozenset[str]:
    """Names of what a class derives from its parameters when it is asked for."""
    return frozenset(n for n in dir(kind) if isinstance(getattr(kind, n), cached_property))


class Distribution:
    """The base of distributions.

    A class of one's own lists its parameters in `arg_constraints`, keeps them as attributes of the
    same names with the shape batch_shape + (axes of one value), and defines `rsample` or
    `sample`, `log_prob` and what else it has.

    Args:
        batch_shape: sizes of the axes of independent distributions.
        event_shape: sizes of the axes of one value.
        validate_args: check parameters and values; None takes the setting of all.

    Raises:
        ValueError: a parameter is outside of its constraint.
    """

    has_rsample = False
    has_enumerate_support = False
    arg_constraints: ClassVar[Any] = {}
    support: Any = None
    _validate_args: ClassVar[bool] = True

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions that are not told otherwise check their arguments."""
        if value not in (True, False):
            raise ValueError
        Distribution._validate_args = value

    def __init__(
        self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None
    ):
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            vars(self)["_validate_args"] = validate_args
        if self._validate_args:
            self._check_parameters()

    def _given(self) -> dict[str, Any]:
        """The parameters that were given, or are not derived from others, by name."""
        lazy = _derived(type(self))
        return {
            name: getattr(self, name)
            for name in self.arg_constraints
            if name in vars(self) or name not in lazy
        }

    def _check_parameters(self) -> None:
        with unobserved(), no_grad():
            for name, value in self._given().items():
                constraint = self.arg_constraints[name]
                if constraints.is_dependent(constraint) or bool(constraint.check(value).all()):
                    continue
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape "
                    f"{tuple(value.shape)}) of distribution {self!r} to satisfy the constraint "
                    f"{constraint!r}, but found invalid values:\n{value}"
                )

    def _validate_sample(self, value: Any) -> None:
        """Raise ValueError for a value that is none of this distribution's."""
        if not self._validate_args:
            return
        if not isinstance(value, Base):
            raise ValueError("The value argument to log_prob must be a Tensor")
        with unobserved(), no_grad():
            sizes, event = Size(own(value).shape), self._event_shape
            if sizes[len(sizes) - len(event) :] != event:
                raise ValueError(
                    f"The right-most size of value must match event_shape: {sizes} vs {event}."
                )
            whole = self._batch_shape + event
            for given, wanted in zip(reversed(sizes), reversed(whole), strict=False):
                if given != 1 and wanted != 1 and given != wanted:
                    raise ValueError(
                        f"Value is not broadcastable with batch_shape+event_shape: {sizes} vs "
                        f"{whole}."
                    )
            if self.support is not None and not bool(self.support.check(value).all()):
                raise ValueError(
                    f"Expected value argument ({type(value).__name__} of shape {tuple(sizes)}) to "
                    f"be within the support ({self.support!r}) of the distribution {self!r}, but "
                    f"found invalid values:\n{value}"
                )

    # -- shapes ------------------------------------------------------------------------------

    @property
    def batch_shape(self) -> Size:
        """Sizes of the axes of independent distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """Sizes of the axes of one value."""
        return self._event_shape

    def _extended_shape(self, sample_shape: Any = ()) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The same distribution, repeated along new axes of the batch."""
        new = copy.copy(self)
        shape, old = Size(batch_shape), len(self._batch_shape)
        for name, value in self._given().items():
            vars(new)[name] = value.expand((*shape, *value.shape[old:]))
        for name in _derived(type(self)) - self._given().keys():
            vars(new).pop(name, None)
        new._batch_shape = shape
        return new

    # -- numbers: what a distribution does not define, it does not have -----------------------

    def _lacks(self, name: str) -> NotImplementedError:
        # PyTorch's words for `mode`, of the others it says nothing; and what can be done.
        return NotImplementedError(
            f"{type(self)} does not implement {name}: no formula for it is known here; define it "
            "in a subclass"
        )

    @property
    def mean(self) -> Any:
        """The mean."""
        raise self._lacks("mean")

    @property
    def mode(self) -> Any:
        """The most likely value."""
        raise self._lacks("mode")

    @property
    def variance(self) -> Any:
        """The variance."""
        raise self._lacks("variance")

    @property
    def stddev(self) -> Any:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Any = ()) -> Any:
        """Draw values, sample_shape + batch_shape + event_shape, without gradients."""
        with no_grad():
            return self.rsample(sample_shape)

    def sample_n(self, n: int) -> Any:
        """Draw n values: `sample((n,))`."""
        return self.sample((n,))

    def rsample(self, sample_shape: Any = ()) -> Any:
        """Draw values as functions of the parameters, which get gradients."""
        raise self._lacks("rsample")

    def log_prob(self, value: Any) -> Any:
        """The logarithm of the density, or of the probability, at a value."""
        raise self._lacks("log_prob")

    def cdf(self, value: Any) -> Any:
        """The probability of a value at or below `value`."""
        raise self._lacks("cdf")

    def icdf(self, value: Any) -> Any:
        """The value that `cdf` takes to `value`."""
        raise self._lacks("icdf")

    def entropy(self) -> Any:
        """The entropy in nats, batch_shape."""
        raise self._lacks("entropy")

    def perplexity(self) -> Any:
        """e to the entropy."""
        return self.entropy().exp()

    def enumerate_support(self, expand: bool = True) -> Any:
        """All values of a discrete distribution, along a new first axis."""
        raise self._lacks("enumerate_support")

    def __repr__(self) -> str:
        with unobserved():
            shown = [
                f"{name}: {value if value.numel() == 1 else value.size()}"
                for name, value in self._given().items()
                if name in vars(self)
            ]
        return f"{type(self).__name__}({', '.join(shown)})"
