"""Where tensors live. There is one place, the CPU; other names are refused with a clear error."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from dyn.core.errors import AttributeValueError


class CPUPlace:
    """Main memory. Prints as `CPUPlace`, all instances are equal."""

    def __repr__(self) -> str:
        return "CPUPlace"

    def is_cpu_place(self) -> bool:
        """Always True."""
        return True

    def is_gpu_place(self) -> bool:
        """Always False."""
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CPUPlace)

    def __hash__(self) -> int:
        return hash("cpu")


CPU = CPUPlace()
PLACES = ("cpu", "gpu", "cuda", "xpu", "npu")
"""Words for places in Paddle; the first alone is there."""


def as_place(place: Any) -> CPUPlace:
    """The place meant by None, "cpu", a CPUPlace or anything that prints as "cpu"."""
    if place is None or isinstance(place, CPUPlace) or str(place).lower() in ("cpu", "place(cpu)"):
        return CPU
    raise AttributeValueError(f"dyn runs on the CPU; place {place!r} is not available, pass 'cpu'")


def get_device() -> str:
    """The current device: always "cpu"."""
    return "cpu"


def set_device(device: str) -> CPUPlace:
    """Accept "cpu"; any other device is an AttributeValueError."""
    return as_place(device)


def is_compiled_with_cuda() -> bool:
    """Whether a GPU could be used: always False."""
    return False


device = SimpleNamespace(
    get_device=get_device, set_device=set_device, is_compiled_with_cuda=is_compiled_with_cuda
)
"""The names of `paddle.device`."""
