"""What programs say to the framework about how to run: compilation, precision, determinism.

Kernels are compiled and results are the same on every run anyway, so most of it has no effect;
what would change results is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from dyn.compat.torch.generator import default_generator, manual_seed


def compile(model: Any = None, **settings: Any) -> Any:
    """The function or module itself, whose kernels are compiled already; also as a decorator."""
    if model is None:
        return functools.partial(compile, **settings)
    return model


class autocast:
    """Nothing, as in PyTorch where there is no such device: results keep their precision.

    Args:
        device_type, dtype, enabled, cache_enabled: accepted.
    """

    def __init__(
        self,
        device_type: str = "cuda",
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ):
        self.device_type = device_type

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *error: Any) -> None:
        return None

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself."""
        return function


class GradScaler:
    """A scaler that is not enabled, as in PyTorch without CUDA: losses stay as they are."""

    def __init__(self, device: str = "cuda", **settings: Any):
        self._device = device

    def scale(self, outputs: Any) -> Any:
        """The loss itself."""
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Nothing: gradients are not scaled."""

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step`."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: Any = None) -> None:
        """Nothing: there is no scale."""

    def get_scale(self) -> float:
        """1.0."""
        return 1.0

    def is_enabled(self) -> bool:
        """False."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state_dict: Any) -> None:
        """Nothing."""


amp = SimpleNamespace(autocast=autocast, GradScaler=GradScaler)
"""`torch.amp`."""


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Nothing: results do not depend on threads or time."""


def are_deterministic_algorithms_enabled() -> bool:
    """True."""
    return True


def get_float32_matmul_precision() -> str:
    """ "highest"."""
    return "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Nothing: products of float32 keep all digits.

    Raises:
        ValueError: there is no such precision.
    """
    if precision not in ("highest", "high", "medium"):
        raise ValueError(f"{precision!r} is none of 'highest', 'high', 'medium'")


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def _no() -> bool:
    """Always False."""
    return False


distributed = SimpleNamespace(is_available=_no, is_initialized=_no)
"""`torch.distributed`: there is one process."""

random = SimpleNamespace(manual_seed=manual_seed, initial_seed=initial_seed)
"""`torch.random`."""
