"""Weights computed from others before every call: `weight_norm`, `spectral_norm`, `SpectralNorm`.

A layer whose weight is normalised keeps what it is made from under names of its own, as in Paddle
and PyTorch, so that files with such state load; the weight itself is a plain attribute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dyn.core.errors import AttributeValueError, ShapeError, StateError
from dyn.core.modes import no_grad
from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn.common import Linear
from dyn.nn.conv import Conv1DTranspose, Conv2DTranspose, Conv3DTranspose
from dyn.nn.layer import Layer
from dyn.nn.state import Parameter
from dyn.ops.infer import need_whole
from dyn.ops.linalg import dot, mv
from dyn.ops.random import randn
from dyn.ops.shape import moveaxis, reshape, t
from dyn.ops.vector_norm import norm


class Normed:
    """A hook before the call of a layer that computes its weight `name`.

    Args:
        name: of the weight.
        own: makes tensors those of the flavour that the layer is written in.
    """

    def __init__(self, name: str, own: Any = None):
        self.name = name
        self.own = own
        self.handle: Any = None

    def __call__(self, layer: Any, inputs: Any) -> None:
        """Compute the weight and set it as an attribute."""
        self._set(layer, self.weight_of(layer, training=layer.training))

    def _set(self, layer: Any, weight: Any) -> None:
        setattr(layer, self.name, weight if self.own is None else self.own(weight))

    def _keep(self, layer: Any, suffix: str, value: Any) -> None:
        """Register a parameter of the layer."""
        parameter = value if isinstance(value, Parameter) else Parameter(value.detach())
        layer.add_parameter(
            self.name + suffix, parameter if self.own is None else self.own(parameter)
        )

    def weight_of(self, layer: Any, training: bool) -> Any:
        """The weight, from what the layer keeps; each normalisation has its own."""
        raise NotImplementedError(f"{type(self).__name__} defines no weight_of")

    def attach(self, layer: Any) -> Any:
        """Replace the parameter by what it is made from; returns the layer."""
        known = [hook.name for hook in layer._forward_pre_hooks.values() if _is_hook(hook)]
        if self.name in known:
            raise StateError(
                f"Cannot register two hooks of normalisation on the same parameter {self.name}"
            )
        weight = getattr(layer, self.name, None)
        if not isinstance(weight, Parameter):
            names = ", ".join(name for name, _ in layer.named_parameters(include_sublayers=False))
            raise StateError(
                f"{type(layer).__name__} has no parameter {self.name!r} to normalise; it has: "
                f"{names or 'none'}"
            )
        self.check(layer, weight)
        delattr(layer, self.name)
        self.split(layer, weight)
        self._set(layer, self.weight_of(layer, training=False).detach())
        self.handle = layer.register_forward_pre_hook(self)
        return layer

    def check(self, layer: Any, weight: Any) -> None:
        """Raise if a weight cannot be normalised so; the layer is as it was."""

    def split(self, layer: Any, weight: Any) -> None:
        """Register what a weight is made from; likewise."""
        raise NotImplementedError(f"{type(self).__name__} defines no split")

    def detach(self, layer: Any, kept: tuple[str, ...]) -> Any:
        """Make the weight a parameter again; returns the layer."""
        with no_grad():
            weight = self.weight_of(layer, training=False)
        for suffix in kept:
            delattr(layer, self.name + suffix)
        delattr(layer, self.name)
        self._keep(layer, "", weight)
        self.handle.remove()
        return layer


def _is_hook(hook: Any) -> bool:
    return isinstance(hook, Normed)


def hook_of(layer: Any, kind: type, name: str) -> Any:
    """The hook of a kind that computes a weight.

    Raises:
        AttributeValueError: there is none.
    """
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, kind) and hook.name == name:  # type: ignore[attr-defined]
            return hook
    raise AttributeValueError(f"{name} of {type(layer).__name__} is not normalised so")


def norm_but(weight: Any, dim: int | None) -> Any:
    """The norm over all axes but one, which stay as axes of 1; or over all of them, 0-d."""
    if dim is None:
        return norm(weight)
    axes = [axis for axis in range(weight.ndim) if axis != dim % weight.ndim]
    return norm(weight, 2.0, axes, keepdim=True)


def matrix_of(weight: Any, dim: int) -> Any:
    """A weight as a matrix, with a row for each place along an axis."""
    moved = moveaxis(weight, dim, 0) if dim else weight
    return reshape(moved, [moved.shape[0], -1])


def need_axis(layer: Any, weight: Any, dim: int | None) -> None:
    """Raise AttributeValueError unless a weight has an axis."""
    if dim is not None and not -weight.ndim <= dim < weight.ndim:
        raise AttributeValueError(
            f"the weight of {type(layer).__name__} has {weight.ndim} axes {weight.shape}, so dim "
            f"must be from {-weight.ndim} to {weight.ndim - 1}, got {dim}"
        )


class WeightNormed(Normed):
    """weight = g * v / |v|, with the norm of all axes but `dim`.

    Args:
        name: of the weight.
        dim: the axis along which lengths differ; None for one length.
        keepdim: whether g has the axes of the weight, as in PyTorch, instead of one.
        own: see `Normed`.
    """

    def __init__(self, name: str, dim: int | None, keepdim: bool = False, own: Any = None):
        super().__init__(name, own)
        self.dim, self.keepdim = dim, keepdim

    def check(self, layer: Any, weight: Any) -> None:
        need_axis(layer, weight, self.dim)

    def split(self, layer: Any, weight: Any) -> None:
        g = norm_but(weight, self.dim)
        self._keep(layer, "_g", g if self.keepdim or self.dim is None else reshape(g, [-1]))
        self._keep(layer, "_v", weight)

    def weight_of(self, layer: Any, training: bool) -> Any:
        g, v = getattr(layer, f"{self.name}_g"), getattr(layer, f"{self.name}_v")
        length = norm_but(v, self.dim)
        return v * ((g if self.keepdim else reshape(g, length.shape)) / length)


class SpectralNormed(Normed):
    """weight / its largest singular value, approached by power iterations in training.

    Args:
        name: of the weight.
        iterations: of each call in training.
        eps: smallest length of a vector.
        dim: the axis of the rows of the matrix that the weight is taken for.
        own: see `Normed`.
    """

    def __init__(self, name: str, iterations: int, eps: float, dim: int, own: Any = None):
        super().__init__(name, own)
        self.iterations, self.eps, self.dim = iterations, eps, dim

    def check(self, layer: Any, weight: Any) -> None:
        need_axis(layer, weight, self.dim)

    def split(self, layer: Any, weight: Any) -> None:
        self._keep(layer, "_orig", weight)
        for suffix, size in zip(("_u", "_v"), matrix_of(weight, self.dim).shape, strict=True):
            vector = F.normalize(randn([size], weight.dtype), axis=0, epsilon=self.eps)
            layer.register_buffer(
                self.name + suffix, vector if self.own is None else self.own(vector)
            )

    def weight_of(self, layer: Any, training: bool) -> Any:
        weight = getattr(layer, f"{self.name}_orig")
        u, v = (getattr(layer, self.name + suffix) for suffix in ("_u", "_v"))
        matrix = matrix_of(weight, self.dim)
        if training:
            u, v = iterated(matrix, u, v, self.iterations, self.eps)
            setattr(layer, f"{self.name}_u", u)
            setattr(layer, f"{self.name}_v", v)
        return weight / dot(u, mv(matrix, v))


def iterated(matrix: Any, u: Any, v: Any, count: int, eps: float) -> tuple[Any, Any]:
    """Singular vectors that are closer to those of the largest value; constants."""
    with no_grad():
        for _ in range(count):
            v = F.normalize(mv(t(matrix), u), axis=0, epsilon=eps)
            u = F.normalize(mv(matrix, v), axis=0, epsilon=eps)
    return u, v


def weight_norm(layer: Layer, name: str = "weight", dim: int | None = 0) -> Any:
    """Split a weight into length and direction: weight = g * v / |v|.

    Args:
        layer: gets parameters `name`_g [size of the axis `dim`], or 0-d, and `name`_v.
        name: of the weight, which is computed before every call.
        dim: the axis along which lengths differ; None for one length.

    Returns:
        The layer.

    Raises:
        StateError: there is no such parameter, or it is normalised already.
        AttributeValueError: the weight has no such axis.

    Source: Salimans & Kingma, arXiv 1602.07868.
    """
    return WeightNormed(name, dim).attach(layer)


def remove_weight_norm(layer: Layer, name: str = "weight") -> Any:
    """Make the weight of `weight_norm` a parameter again; returns the layer."""
    return hook_of(layer, WeightNormed, name).detach(layer, ("_g", "_v"))


def spectral_norm(
    layer: Layer,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Any:
    """Divide a weight by its largest singular value.

    Args:
        layer: gets the parameter `name`_orig and the buffers `name`_u and `name`_v.
        name: of the weight, which is computed before every call.
        n_power_iterations: how often a call in training improves u and v.
        eps: smallest length of a vector.
        dim: the axis of the rows of the matrix that the weight is taken for; by default 1 for
            linear layers and transposed convolutions, 0 for others.

    Returns:
        The layer.

    Raises:
        StateError: there is no such parameter, or it is normalised already.
        AttributeValueError: there are no iterations, or the weight has no such axis.

    Source: Miyato et al., arXiv 1802.05957.
    """
    need_whole(n_power_iterations=n_power_iterations)
    if n_power_iterations < 1:
        raise AttributeValueError(
            f"n_power_iterations must be at least 1, got {n_power_iterations}"
        )
    if dim is None:
        turned = (Conv1DTranspose, Conv2DTranspose, Conv3DTranspose, Linear)
        dim = 1 if isinstance(layer, turned) else 0
    return SpectralNormed(name, n_power_iterations, eps, dim).attach(layer)


class SpectralNorm(Layer):
    """Divides a weight that it is given by its largest singular value.

    Every call begins anew with the buffers weight_u and weight_v, which stay as they were drawn;
    `utils.spectral_norm` keeps what it has found.

    Args:
        weight_shape: sizes of the weight.
        dim: the axis of the rows of the matrix that the weight is taken for.
        power_iters: power iterations of a call.
        epsilon: smallest length of a vector.
        dtype: of the weight.

    Source: Miyato et al., arXiv 1802.05957.
    """

    def __init__(
        self,
        weight_shape: Sequence[int],
        dim: int = 0,
        power_iters: int = 1,
        epsilon: float = 1e-12,
        dtype: Any = "float32",
    ):
        super().__init__(dtype=dtype)
        self._shape = [int(size) for size in weight_shape]
        if not -len(self._shape) <= dim < len(self._shape):
            raise AttributeValueError(f"dim {dim} is no axis of a weight of shape {self._shape}")
        need_whole(power_iters=power_iters)
        self._dim, self._power_iters, self._epsilon = dim, power_iters, epsilon
        rows = self._shape[dim]
        columns = math.prod(self._shape) // rows if rows else 0
        self.weight_u: Any
        self.weight_v: Any
        self.register_buffer("weight_u", randn([rows], dtype))
        self.register_buffer("weight_v", randn([columns], dtype))

    def forward(self, x: Tensor) -> Tensor:
        """The weight x, divided by its norm.

        Raises:
            ShapeError: x has another shape than `weight_shape`.
        """
        if list(x.shape) != self._shape:
            raise ShapeError(f"the weight must have shape {self._shape}, got {x.shape}")
        matrix = matrix_of(x, self._dim)
        u, v = iterated(matrix, self.weight_u, self.weight_v, self._power_iters, self._epsilon)
        return x / dot(u, mv(matrix, v))
