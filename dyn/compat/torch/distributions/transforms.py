"""Transforms of values with the logarithms of their slopes, for `TransformedDistribution`.

A transform of one's own says its `domain` and `codomain` and defines `_call`, `_inverse` and
`log_abs_det_jacobian`.
"""

from __future__ import annotations

import math
from typing import Any

from dyn.compat.torch.distributions import constraints
from dyn.compat.torch.distributions.distribution import sum_rightmost
from dyn.compat.torch.nn import functional as F
from dyn.compat.torch.tensor import Base, own
from dyn.compat.torch.types import Size, finfo
from dyn.ops.creation import zeros_like
from dyn.ops.infer import broadcast_shapes


class Transform:
    """The base of transforms.

    Args:
        cache_size: 1 to give back the last value when its result, the very tensor, is inverted:
            exact where the inverse is not, as in the tails of `TanhTransform`.

    Attributes:
        domain, codomain: the sets between which it goes.
        bijective: whether every value has one inverse.
        sign: 1 if it rises everywhere, -1 if it falls.
    """

    bijective = False
    domain: Any
    codomain: Any

    def __init__(self, cache_size: int = 0):
        if cache_size not in (0, 1):
            raise ValueError("cache_size must be 0 or 1")
        self._cache_size = cache_size
        self._last: tuple[Any, Any] = (None, None)

    @property
    def event_dim(self) -> int:
        """How many axes make one value, before and behind the transform."""
        if self.domain.event_dim == self.codomain.event_dim:
            return self.domain.event_dim
        raise ValueError("Please use either .domain.event_dim or .codomain.event_dim")

    @property
    def sign(self) -> Any:
        """1 if the transform rises everywhere, -1 if it falls."""
        raise NotImplementedError(
            f"{type(self).__name__} has no sign: it neither rises nor falls everywhere, or does "
            "not say so; a class that does defines sign as 1 or -1"
        )

    @property
    def inv(self) -> Any:
        """The inverse."""
        return _Inverse(self)

    def with_cache(self, cache_size: int = 1) -> Any:
        """The same transform with another cache."""
        if cache_size == self._cache_size:
            return self
        new = object.__new__(type(self))
        vars(new).update(vars(self), _cache_size=cache_size, _last=(None, None))
        return new

    def __call__(self, x: Any) -> Any:
        if self._cache_size and x is self._last[0]:
            return self._last[1]
        y = own(self._call(x))
        if self._cache_size:
            self._last = x, y
        return y

    def _inv_call(self, y: Any) -> Any:
        if self._cache_size and y is self._last[1]:
            return self._last[0]
        x = own(self._inverse(y))
        if self._cache_size:
            self._last = x, y
        return x

    def _call(self, x: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no _call")

    def _inverse(self, y: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no _inverse")

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        """The logarithm of |dy / dx|, without the axes of a value."""
        raise NotImplementedError(f"{type(self).__name__} defines no log_abs_det_jacobian")

    def forward_shape(self, shape: Any) -> Any:
        """The shape of the result, of that of a value."""
        return shape

    def inverse_shape(self, shape: Any) -> Any:
        """The shape of a value, of that of the result."""
        return shape

    def _settings(self) -> tuple[Any, ...]:
        """What tells transforms of a class from each other."""
        return ()

    def __eq__(self, other: Any) -> bool:
        if type(self) is not type(other):
            return False
        pairs = zip(self._settings(), other._settings(), strict=True)
        return all(_same(a, b) for a, b in pairs)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _same(a: Any, b: Any) -> bool:
    same = a is b or a == b
    return bool(same.all()) if isinstance(same, Base) else bool(same)


class _Inverse(Transform):
    """A transform the other way round."""

    def __init__(self, transform: Any):
        super().__init__(transform._cache_size)
        self._inv = transform

    @property
    def domain(self) -> Any:
        return self._inv.codomain

    @property
    def codomain(self) -> Any:
        return self._inv.domain

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        return self._inv.bijective

    @property
    def sign(self) -> Any:
        return self._inv.sign

    @property
    def inv(self) -> Any:
        return self._inv

    def with_cache(self, cache_size: int = 1) -> Any:
        return self._inv.with_cache(cache_size).inv

    def __call__(self, x: Any) -> Any:
        return self._inv._inv_call(x)

    def _inv_call(self, y: Any) -> Any:
        return self._inv(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -self._inv.log_abs_det_jacobian(y, x)

    def forward_shape(self, shape: Any) -> Any:
        return self._inv.inverse_shape(shape)

    def inverse_shape(self, shape: Any) -> Any:
        return self._inv.forward_shape(shape)

    def _settings(self) -> tuple[Any, ...]:
        return (self._inv,)

    def __repr__(self) -> str:
        return f"_InverseTransform({self._inv!r})"


class _Rising(Transform):
    """Transforms of elements that rise everywhere."""

    bijective = True
    domain = constraints.real
    codomain = constraints.real

    @property
    def sign(self) -> Any:
        return 1


class ExpTransform(_Rising):
    """y = e**x."""

    codomain = constraints.positive

    def _call(self, x: Any) -> Any:
        return x.exp()

    def _inverse(self, y: Any) -> Any:
        return y.log()

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return x


class SigmoidTransform(_Rising):
    """y = 1 / (1 + e**-x), no nearer to 0 and 1 than the dtype tells."""

    codomain = constraints.unit_interval

    def _call(self, x: Any) -> Any:
        info = finfo(x.dtype)
        return x.sigmoid().clamp(info.tiny, 1.0 - info.eps)

    def _inverse(self, y: Any) -> Any:
        info = finfo(y.dtype)
        inside = y.clamp(info.tiny, 1.0 - info.eps)
        return inside.log() - (-inside).log1p()

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -F.softplus(-x) - F.softplus(x)


class TanhTransform(_Rising):
    """y = tanh(x); its inverse is exact in the tails with `cache_size=1` only."""

    codomain = constraints.interval(-1.0, 1.0)

    def _call(self, x: Any) -> Any:
        return x.tanh()

    def _inverse(self, y: Any) -> Any:
        return y.atanh()

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return 2.0 * (math.log(2.0) - x - F.softplus(-2.0 * x))


class SoftplusTransform(_Rising):
    """y = log(1 + e**x)."""

    codomain = constraints.positive

    def _call(self, x: Any) -> Any:
        return F.softplus(x)

    def _inverse(self, y: Any) -> Any:
        return (-y).expm1().neg().log() + y

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -F.softplus(-x)


class PowerTransform(_Rising):
    """y = x**exponent, of numbers above 0."""

    domain = constraints.positive
    codomain = constraints.positive

    def __init__(self, exponent: Any, cache_size: int = 0):
        super().__init__(cache_size)
        self.exponent = exponent

    @property
    def sign(self) -> Any:
        given = self.exponent
        return given.sign() if isinstance(given, Base) else math.copysign(1, given)

    def _call(self, x: Any) -> Any:
        return x**self.exponent

    def _inverse(self, y: Any) -> Any:
        return y ** (1 / self.exponent)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return (self.exponent * y / x).abs().log()

    def forward_shape(self, shape: Any) -> Any:
        return Size(broadcast_shapes(tuple(shape), tuple(getattr(self.exponent, "shape", ()))))

    inverse_shape = forward_shape

    def _settings(self) -> tuple[Any, ...]:
        return (self.exponent,)


class AbsTransform(Transform):
    """y = |x|, whose inverse is taken to be y itself."""

    domain = constraints.real
    codomain = constraints.positive

    def _call(self, x: Any) -> Any:
        return x.abs()

    def _inverse(self, y: Any) -> Any:
        return y


class AffineTransform(Transform):
    """y = loc + scale * x.

    Args:
        loc, scale: numbers or tensors.
        event_dim: how many of the last axes make one value.
        cache_size: see `Transform`.
    """

    bijective = True

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0):
        super().__init__(cache_size)
        self.loc, self.scale, self._event_dim = loc, scale, event_dim

    @property
    def event_dim(self) -> int:
        return self._event_dim

    @property
    def domain(self) -> Any:
        """Real numbers, or vectors of them."""
        count = self._event_dim
        return constraints.independent(constraints.real, count) if count else constraints.real

    codomain = domain

    @property
    def sign(self) -> Any:
        given = self.scale
        return given.sign() if isinstance(given, Base) else math.copysign(1, given)

    def _call(self, x: Any) -> Any:
        return self.loc + self.scale * x

    def _inverse(self, y: Any) -> Any:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        scale, whole = self.scale, own(zeros_like(x))
        found = whole + (scale.abs().log() if isinstance(scale, Base) else math.log(abs(scale)))
        return sum_rightmost(found, self._event_dim)

    def forward_shape(self, shape: Any) -> Any:
        given = (tuple(getattr(one, "shape", ())) for one in (self.loc, self.scale))
        return Size(broadcast_shapes(tuple(shape), *given))

    inverse_shape = forward_shape

    def _settings(self) -> tuple[Any, ...]:
        return self.loc, self.scale, self._event_dim


class SoftmaxTransform(Transform):
    """y = softmax(x) along the last axis, whose inverse is taken to be log(y)."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def _call(self, x: Any) -> Any:
        return x.softmax(-1)

    def _inverse(self, y: Any) -> Any:
        return y.log()


class StickBreakingTransform(Transform):
    """Vectors to shares of one more element, each of what the ones before have left."""

    bijective = True
    domain = constraints.real_vector
    codomain = constraints.simplex

    def _offset(self, x: Any) -> Any:
        count = x.shape[-1]
        return x.new_ones(count).cumsum(-1).neg() + (count + 1)

    def _call(self, x: Any) -> Any:
        z = SigmoidTransform()(x - self._offset(x).log())
        left = (1 - z).cumprod(-1)
        return F.pad(z, (0, 1), value=1.0) * F.pad(left, (1, 0), value=1.0)

    def _inverse(self, y: Any) -> Any:
        shares = y[..., :-1]
        left = (1 - shares.cumsum(-1)).clamp(min=finfo(y.dtype).tiny)
        return shares.log() - left.log() + self._offset(shares).log()

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        moved = x - self._offset(x).log()
        return (-moved + F.logsigmoid(moved) + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape: Any) -> Any:
        return Size((*shape[:-1], shape[-1] + 1))

    def inverse_shape(self, shape: Any) -> Any:
        return Size((*shape[:-1], shape[-1] - 1))
