"""Ways to prune: masks over weights, computed once and multiplied before every call.

A pruned module keeps the weight as `weight_orig` and the mask as the buffer `weight_mask`, under
PyTorch's names; the weight itself is a plain attribute.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any

from dyn.compat.torch import creation
from dyn.compat.torch.tensor import own
from dyn.core.modes import no_grad
from dyn.ops.vector_norm import norm


class BasePruningMethod:
    """A way to prune; one of one's own defines `PRUNING_TYPE` and `compute_mask`.

    It is a hook before the call of the module that it prunes.

    Attributes:
        PRUNING_TYPE: what a second pruning of the same tensor is shown: "unstructured" the
            elements that are left, "structured" the slices along `dim` that are left, "global" all.
    """

    PRUNING_TYPE: str
    _tensor_name: Any = None

    def __call__(self, module: Any, inputs: Any) -> None:
        """Compute the weight and set it as an attribute."""
        setattr(module, self._tensor_name, self.apply_mask(module))

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """Ones for what is kept, zeros for what is pruned; every way to prune defines it.

        Args:
            t: the weight, or how important its elements are.
            default_mask: what is kept so far.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no compute_mask")

    def apply_mask(self, module: Any) -> Any:
        """The weight that the module keeps, times its mask."""
        mask = getattr(module, f"{self._tensor_name}_mask")
        kept = getattr(module, f"{self._tensor_name}_orig")
        return own(mask.to(dtype=kept.dtype) * kept)

    @classmethod
    def apply(
        cls, module: Any, name: str, *args: Any, importance_scores: Any = None, **kwargs: Any
    ) -> Any:
        """Prune a parameter of a module, what an earlier pruning has left of it.

        Args:
            module: has the parameter.
            name: of it.
            args, kwargs: for the class.
            importance_scores: to go by instead of the values, of the shape of the parameter.

        Returns:
            The hook: a `PruningContainer` from the second pruning on.
        """
        method: Any = cls(*args, **kwargs)
        method._tensor_name = name
        before = hook_of(module, name)
        current = getattr(module, name)
        scores = current if importance_scores is None else importance_scores
        if tuple(scores.shape) != tuple(current.shape):
            raise AssertionError(
                "importance_scores should have the same shape as parameter "
                f"{name} of {module}, got {scores.shape} vs {current.shape}"
            )
        with no_grad():
            if before is None:
                mask = method.compute_mask(scores.detach(), creation.ones_like(current))
                delattr(module, name)
                module.register_parameter(f"{name}_orig", current)
            else:
                key, old = before
                if not isinstance(old, PruningContainer):
                    old = PruningContainer(old)
                old.add_pruning_method(method)
                method = old
                mask = method.compute_mask(scores.detach(), getattr(module, f"{name}_mask").clone())
                del module._forward_pre_hooks[key]
        module.register_buffer(f"{name}_mask", own(mask.detach()))
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Any, default_mask: Any = None, importance_scores: Any = None) -> Any:
        """A pruned tensor, without any module."""
        scores = t if importance_scores is None else importance_scores
        if tuple(scores.shape) != tuple(t.shape):
            raise AssertionError(
                "importance_scores should have the same shape as tensor t, "
                f"got {scores.shape} vs {t.shape}"
            )
        mask = creation.ones_like(t) if default_mask is None else default_mask
        return own(t * self.compute_mask(scores, mask))

    def remove(self, module: Any) -> None:
        """Make the pruned weight a parameter again; the hook is left to the function `remove`."""
        name = self._tensor_name
        with no_grad():
            pruned = self.apply_mask(module).detach()
        kept = getattr(module, f"{name}_orig")
        kept.set_value(pruned)
        for attribute in (name, f"{name}_orig", f"{name}_mask"):
            delattr(module, attribute)
        module.register_parameter(name, kept)


class PruningContainer(BasePruningMethod):
    """Ways to prune the same tensor one after the other."""

    def __init__(self, *args: Any):
        self._pruning_methods: tuple[Any, ...] = ()
        if args:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: Any) -> None:
        """Add the way that the next mask is computed by."""
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if self._tensor_name != method._tensor_name:
            raise ValueError(
                "Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._pruning_methods)

    def __getitem__(self, index: int) -> Any:
        return self._pruning_methods[index]

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask of the last way, of what the earlier ones have left."""
        method = self._pruning_methods[-1]
        mask = default_mask.to(dtype=t.dtype)
        kind = method.PRUNING_TYPE
        part: Any
        if kind == "unstructured":
            part = mask == 1
        elif kind == "structured":
            dim = method.dim % t.ndim
            others = [axis for axis in range(t.ndim) if axis != dim]
            part = (*[slice(None)] * dim, mask.sum(others) != 0)
        elif kind == "global":
            part = slice(None)
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {kind}")
        mask[part] = method.compute_mask(t[part], mask[part]).to(dtype=mask.dtype)
        return mask


class Identity(BasePruningMethod):
    """Prunes nothing, and makes room for a mask."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        return default_mask


class _Counted(BasePruningMethod):
    """Ways that prune a number or a share of elements or slices."""

    amount: Any

    def __init__(self, amount: Any):
        if not isinstance(amount, Real):
            raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
        self.whole = isinstance(amount, Integral)
        if float(amount) < 0 or (not self.whole and float(amount) > 1):
            raise ValueError(
                f"amount={amount} should either be a float in the range [0, 1] or a non-negative "
                "integer"
            )
        self.amount = amount

    def _count(self, size: int) -> int:
        """How many of so many are pruned."""
        if not self.whole:
            return round(self.amount * size)
        if self.amount > size:
            raise ValueError(
                f"amount={self.amount} should be smaller than the number of parameters to "
                f"prune={size}"
            )
        return int(self.amount)


class _Elements(_Counted):
    """Ways that prune the elements of the lowest scores."""

    PRUNING_TYPE = "unstructured"

    def _scores(self, t: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no _scores")

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        count = self._count(t.numel())
        if not count:
            return default_mask.clone()
        flat = default_mask.reshape(-1).clone()
        flat[self._scores(t).reshape(-1).topk(count, largest=False).indices] = 0
        return flat.reshape(default_mask.shape)


class RandomUnstructured(_Elements):
    """Prunes elements at random."""

    def _scores(self, t: Any) -> Any:
        return creation.rand_like(t)


class L1Unstructured(_Elements):
    """Prunes the smallest elements."""

    def _scores(self, t: Any) -> Any:
        return t.abs()


class _Slices(_Counted):
    """Ways that prune the slices along an axis of the lowest scores."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, dim: int = -1):
        super().__init__(amount)
        self.dim = dim

    def _scores(self, t: Any, others: list[int]) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no _scores")

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        if t.ndim <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor "
                f"of shape {t.shape} with {t.ndim} dims"
            )
        if not -t.ndim <= self.dim < t.ndim:
            raise IndexError(f"Invalid index {self.dim} for tensor of size {t.shape}")
        dim = self.dim % t.ndim
        count = self._count(t.shape[dim])
        if not count:
            return default_mask
        mask = creation.ones_like(t)
        lowest = self._scores(t, [axis for axis in range(t.ndim) if axis != dim])
        mask[(*[slice(None)] * dim, lowest.topk(count, largest=False).indices)] = 0
        return mask * default_mask.to(dtype=mask.dtype)


class RandomStructured(_Slices):
    """Prunes slices along an axis at random."""

    def _scores(self, t: Any, others: list[int]) -> Any:
        return creation.rand(t.shape[self.dim])


class LnStructured(_Slices):
    """Prunes the slices along an axis of the smallest norm of order `n`."""

    def __init__(self, amount: Any, n: Any, dim: int = -1):
        super().__init__(amount, dim)
        self.n = n

    def _scores(self, t: Any, others: list[int]) -> Any:
        return own(norm(t, self.n, others))


class CustomFromMask(BasePruningMethod):
    """Prunes what a mask says."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Any):
        self.mask = mask

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        if tuple(default_mask.shape) != tuple(self.mask.shape):
            raise AssertionError(
                f"default_mask shape {default_mask.shape} must match self.mask shape "
                f"{self.mask.shape}"
            )
        return default_mask * self.mask.to(dtype=default_mask.dtype)


def hook_of(module: Any, name: str) -> Any:
    """The hook that prunes a parameter and its key, or None."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            return key, hook
    return None
