"""`paddle.amp` where there is the CPU alone: training loops that ask for it run, in full precision.

Paddle itself computes in float32 on a CPU unless bfloat16 is asked for; here that is so always.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dyn.core.tensor import Tensor


@contextmanager
def auto_cast(
    enable: bool = True,
    custom_white_list: Any = None,
    custom_black_list: Any = None,
    level: str = "O1",
    dtype: str = "float16",
    use_promote: bool = True,
) -> Iterator[None]:
    """Nothing: ops keep the precision of their inputs. The arguments are accepted."""
    yield


def decorate(
    models: Any, optimizers: Any = None, level: str = "O1", dtype: str = "float16", **settings: Any
) -> Any:
    """The models, or models and optimisers, as they are."""
    return models if optimizers is None else (models, optimizers)


class GradScaler:
    """A scaler that is not enabled: losses and gradients stay as they are.

    Args:
        enable, settings: accepted.
    """

    def __init__(self, enable: bool = True, **settings: Any):
        self._enable = False

    def scale(self, var: Tensor) -> Tensor:
        """The loss itself."""
        return var

    def unscale_(self, optimizer: Any) -> None:
        """Nothing: gradients are not scaled."""

    def step(self, optimizer: Any) -> None:
        """`optimizer.step`."""
        optimizer.step()

    def minimize(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """`optimizer.step`, after the gradients were computed."""
        optimizer.step()

    def update(self) -> None:
        """Nothing: there is no scale."""

    def is_enable(self) -> bool:
        """False."""
        return self._enable

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Nothing."""


__all__ = ["GradScaler", "auto_cast", "decorate"]
