"""Where values may lie: what parameters and samples of distributions are checked against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dyn.compat.torch.tensor import Base
from dyn.ops import compare


class Constraint:
    """A set of values; a class of one's own says in `check` which ones are in it.

    Attributes:
        is_discrete: whether the set is discrete.
        event_dim: how many of the last axes make one value together.
    """

    is_discrete = False
    event_dim = 0

    def check(self, value: Any) -> Any:
        """Which values are in the set: a bool tensor without the axes of a value.

        Raises:
            NotImplementedError: the class does not say; here every class has to.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what is in it: define check")

    def __repr__(self) -> str:
        return f"{type(self).__name__.removeprefix('_')}()"


class _Dependent(Constraint):
    """A set that depends on other parameters, so that the class alone cannot say it."""

    def check(self, value: Any) -> Any:
        raise ValueError("Cannot determine validity of dependent constraint")


class dependent_property(property, _Dependent):
    """A property of a distribution that is a constraint, such as its support."""

    def __init__(self, fn: Any = None, *, is_discrete: bool = False, event_dim: int = 0):
        super().__init__(fn)
        self.is_discrete, self.event_dim = is_discrete, event_dim

    def __call__(self, fn: Any) -> dependent_property:
        """The property of a method, if this was made with words alone."""
        return dependent_property(fn, is_discrete=self.is_discrete, event_dim=self.event_dim)


class _Elements(Constraint):
    """Elements that pass a test, with the bounds it is given."""

    def __init__(
        self, kind: str, test: Callable[..., Any], is_discrete: bool = False, **bounds: Any
    ):
        self.kind, self.test, self.is_discrete, self.bounds = kind, test, is_discrete, bounds
        vars(self).update(bounds)

    def check(self, value: Any) -> Any:
        return self.test(value, *self.bounds.values())

    def __repr__(self) -> str:
        return f"{self.kind}({', '.join(f'{k}={v}' for k, v in self.bounds.items())})"


class _IndependentConstraint(Constraint):
    """Values whose elements along the last axes are all in another set."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int):
        self.base_constraint = base_constraint
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        self.is_discrete = base_constraint.is_discrete
        self.event_dim = base_constraint.event_dim + reinterpreted_batch_ndims

    def check(self, value: Any) -> Any:
        found = self.base_constraint.check(value)
        if found.ndim < self.reinterpreted_batch_ndims:
            raise ValueError(f"Expected value.dim() >= {self.event_dim} but got {value.dim()}")
        return found.all(list(range(-self.reinterpreted_batch_ndims, 0)))

    def __repr__(self) -> str:
        return f"IndependentConstraint({self.base_constraint}, {self.reinterpreted_batch_ndims})"


class _Simplex(Constraint):
    """Vectors of numbers that are not negative and sum to 1."""

    event_dim = 1

    def check(self, value: Any) -> Any:
        sums = (value.sum(-1) - 1).abs() < 1e-6
        return compare.logical_and((value >= 0).all(-1), sums)


class _OneHot(Constraint):
    """Vectors of zeros and a single one."""

    is_discrete = True
    event_dim = 1

    def check(self, value: Any) -> Any:
        return compare.logical_and(boolean.check(value).all(-1), value.sum(-1) == 1)


class _LowerCholesky(Constraint):
    """Lower triangular matrices with a positive diagonal."""

    event_dim = 2

    def check(self, value: Any) -> Any:
        lower = (value.tril() == value).all([-2, -1])
        return compare.logical_and(lower, (value.diagonal(0, -2, -1) > 0).all(-1))


class _PositiveDefinite(Constraint):
    """Symmetric matrices whose eigenvalues are positive."""

    event_dim = 2

    def check(self, value: Any) -> Any:
        symmetric = ((value - value.mT).abs() <= 1e-6).all([-2, -1])
        lowest = np.linalg.eigvalsh(value._read())[..., 0]
        return compare.logical_and(symmetric, Base(lowest) > 0)


def _whole(x: Any) -> Any:
    return x % 1 == 0


def interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """From one bound to another, both included."""

    def test(x: Any, low: Any, high: Any) -> Any:
        return compare.logical_and(x >= low, x <= high)

    return _Elements("Interval", test, lower_bound=lower_bound, upper_bound=upper_bound)


def integer_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """Whole numbers from one bound to another, both included."""

    def test(x: Any, low: Any, high: Any) -> Any:
        return compare.logical_and(_whole(x), compare.logical_and(x >= low, x <= high))

    bounds = {"lower_bound": lower_bound, "upper_bound": upper_bound}
    return _Elements("IntegerInterval", test, is_discrete=True, **bounds)


def greater_than(lower_bound: Any) -> Constraint:
    """Above a bound."""
    return _Elements("GreaterThan", lambda x, low: x > low, lower_bound=lower_bound)


def greater_than_eq(lower_bound: Any) -> Constraint:
    """At or above a bound."""
    return _Elements("GreaterThanEq", lambda x, low: x >= low, lower_bound=lower_bound)


def less_than(upper_bound: Any) -> Constraint:
    """Below a bound."""
    return _Elements("LessThan", lambda x, high: x < high, upper_bound=upper_bound)


def is_dependent(constraint: Any) -> bool:
    """Whether only an instance can say what the constraint is."""
    return isinstance(constraint, _Dependent)


dependent = _Dependent()
independent = _IndependentConstraint
real = _Elements("Real", lambda x: x == x)
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
unit_interval = interval(0.0, 1.0)
boolean = _Elements("Boolean", lambda x: compare.logical_or(x == 0, x == 1), is_discrete=True)
nonnegative_integer = _Elements(
    "IntegerGreaterThan",
    lambda x, low: compare.logical_and(_whole(x), x >= low),
    is_discrete=True,
    lower_bound=0,
)
real_vector = independent(real, 1)
simplex = _Simplex()
one_hot = _OneHot()
lower_cholesky = _LowerCholesky()
positive_definite = _PositiveDefinite()
