"""What programs ask about devices: `torch.cuda`, `torch.backends`, `torch.accelerator`.

There is the CPU alone, so every answer is no, and what would act on another device does nothing.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

from dyn.compat.torch.environment import GradScaler, autocast


def _no() -> bool:
    """Always False."""
    return False


def _zero() -> int:
    """Always 0."""
    return 0


def _nothing(*args: Any, **kwargs: Any) -> None:
    """There is no such device to act on."""


cuda = SimpleNamespace(
    is_available=_no,
    device_count=_zero,
    manual_seed=_nothing,
    manual_seed_all=_nothing,
    empty_cache=_nothing,
    synchronize=_nothing,
    amp=SimpleNamespace(autocast=partial(autocast, "cuda"), GradScaler=GradScaler),
)
"""CUDA: none."""

accelerator = SimpleNamespace(
    is_available=_no, device_count=_zero, current_accelerator=_nothing, synchronize=_nothing
)
"""Accelerators of any kind: none."""

mps = SimpleNamespace(is_available=_no, device_count=_zero)
xpu = SimpleNamespace(is_available=_no, device_count=_zero)
"""Apple's and Intel's devices: none."""

backends = SimpleNamespace(
    cudnn=SimpleNamespace(
        is_available=_no, enabled=False, benchmark=False, deterministic=False, allow_tf32=False
    ),
    mps=SimpleNamespace(is_available=_no, is_built=_no),
    cuda=SimpleNamespace(is_built=_no, matmul=SimpleNamespace(allow_tf32=False)),
)
"""Libraries of devices: settings may be written, and have no effect."""
