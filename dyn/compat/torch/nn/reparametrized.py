"""Weights computed from others before every call: `weight_norm` and `spectral_norm`.

A module whose weight is normalised keeps what it is made from under names of its own, as in
PyTorch, so that files with such state load; the weight itself is a plain attribute.
"""

from __future__ import annotations

from typing import Any

from dyn.compat.torch.nn.module import Module
from dyn.compat.torch.tensor import Parameter, own
from dyn.core.modes import no_grad
from dyn.nn import functional as F
from dyn.ops.linalg import dot, mv
from dyn.ops.random import randn
from dyn.ops.shape import moveaxis, reshape, t
from dyn.ops.vector_norm import norm


class _Normed:
    """A hook before the call of a module that computes its weight `name`."""

    def __init__(self, name: str):
        self.name = name
        self.handle: Any = None

    def __call__(self, module: Any, inputs: Any) -> None:
        """Compute the weight and set it as an attribute."""
        setattr(module, self.name, own(self.weight_of(module, training=module.training)))

    def weight_of(self, module: Any, training: bool) -> Any:
        """The weight, from what the module keeps; each normalisation has its own."""
        raise NotImplementedError(f"{type(self).__name__} defines no weight_of")

    def attach(self, module: Any) -> Any:
        """Replace the parameter by what it is made from."""
        known = [hook.name for hook in module._forward_pre_hooks.values() if _is_hook(hook)]
        if self.name in known:
            raise RuntimeError(
                f"Cannot register two hooks of normalisation on the same parameter {self.name}"
            )
        weight = getattr(module, self.name)
        delattr(module, self.name)
        self.split(module, weight)
        setattr(module, self.name, own(self.weight_of(module, training=False).detach()))
        self.handle = module.register_forward_pre_hook(self)
        return module

    def split(self, module: Any, weight: Any) -> None:
        """Register what a weight is made from; likewise."""
        raise NotImplementedError(f"{type(self).__name__} defines no split")

    def detach(self, module: Any, kept: tuple[str, ...]) -> Any:
        """Make the weight a parameter again."""
        with no_grad():
            weight = self.weight_of(module, training=False)
        for suffix in kept:
            delattr(module, self.name + suffix)
        delattr(module, self.name)
        module.register_parameter(self.name, Parameter(weight.detach()))
        self.handle.remove()
        return module


def _is_hook(hook: Any) -> bool:
    return isinstance(hook, _Normed)


def _hook_of(module: Any, kind: type, name: str) -> Any:
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, kind) and hook.name == name:  # type: ignore[attr-defined]
            return hook
    raise ValueError(f"{name} of {type(module).__name__} is not normalised so")


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


class _WeightNorm(_Normed):
    """weight = g * v / |v|, with the norm of all axes but `dim`."""

    def __init__(self, name: str, dim: int | None):
        super().__init__(name)
        self.dim = dim

    def split(self, module: Any, weight: Any) -> None:
        module.register_parameter(f"{self.name}_g", Parameter(norm_but(weight, self.dim).detach()))
        module.register_parameter(f"{self.name}_v", Parameter(weight.detach()))

    def weight_of(self, module: Any, training: bool) -> Any:
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return v * (g / norm_but(v, self.dim))


class _SpectralNorm(_Normed):
    """weight / its largest singular value, approached by one power iteration a call in training."""

    def __init__(self, name: str, iterations: int, eps: float, dim: int):
        super().__init__(name)
        self.iterations, self.eps, self.dim = iterations, eps, dim

    def _unit(self, vector: Any) -> Any:
        return F.normalize(vector, 2, 0, self.eps)

    def split(self, module: Any, weight: Any) -> None:
        module.register_parameter(f"{self.name}_orig", Parameter(weight.detach()))
        rows, columns = matrix_of(weight, self.dim).shape
        for suffix, size in (("_u", rows), ("_v", columns)):
            module.register_buffer(self.name + suffix, own(self._unit(randn([size]))))

    def weight_of(self, module: Any, training: bool) -> Any:
        weight = getattr(module, f"{self.name}_orig")
        u, v = (getattr(module, self.name + suffix) for suffix in ("_u", "_v"))
        matrix = matrix_of(weight, self.dim)
        if training:
            with no_grad():
                for _ in range(self.iterations):
                    v = self._unit(mv(t(matrix), u))
                    u = self._unit(mv(matrix, v))
                setattr(module, f"{self.name}_u", u)
                setattr(module, f"{self.name}_v", v)
        return weight / dot(u, mv(matrix, v))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Any:
    """Split a weight into length and direction, `name`_g and `name`_v. Source: arXiv 1602.07868."""
    return _WeightNorm(name, dim).attach(module)


def remove_weight_norm(module: Module, name: str = "weight") -> Any:
    """Make the weight of `weight_norm` a parameter again."""
    return _hook_of(module, _WeightNorm, name).detach(module, ("_g", "_v"))


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Any:
    """Divide a weight, kept as `name`_orig, by its spectral norm. Source: arXiv 1802.05957."""
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    return _SpectralNorm(name, n_power_iterations, eps, dim).attach(module)


def remove_spectral_norm(module: Module, name: str = "weight") -> Any:
    """Make the weight of `spectral_norm` a parameter again."""
    return _hook_of(module, _SpectralNorm, name).detach(module, ("_orig", "_u", "_v"))
