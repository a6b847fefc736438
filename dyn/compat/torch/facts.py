"""Facts about a tensor, tensors made after it and random numbers in place: methods alone.

What is also a function of the package is in the modules of functions; `vocabulary.py` binds both.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dyn.compat.torch import creation
from dyn.compat.torch.tensor import Base, Tensor, own
from dyn.compat.torch.types import INTEGERS, of_name
from dyn.core.lift import cast_to
from dyn.ops import creation as ops
from dyn.ops import random as draws
from dyn.ops import shape as shapes


def strides_of(sizes: Any) -> tuple[Any, ...]:
    """How many elements apart neighbours along each axis are, in order of rows."""
    found: list[Any] = []
    step: Any = 1
    for n in reversed(list(sizes)):
        found.append(step)
        step = step * max(n, 1) if isinstance(n, int) else step * n
    return tuple(reversed(found))


def stride(self: Tensor, dim: int | None = None) -> Any:
    """Strides of the logical order, whatever the layout in memory; or that of one axis."""
    found = strides_of(self.shape)
    return found if dim is None else found[dim]


def storage_offset(self: Tensor) -> int:
    """0: values do not lie in a storage that can be seen."""
    return 0


def is_complex(self: Tensor) -> bool:
    """Whether the elements are complex."""
    return self.dtype.is_complex


def is_signed(self: Tensor) -> bool:
    """Whether the elements have a sign."""
    return self.dtype.name not in ("bool", "uint8")


def is_nonzero(self: Tensor) -> bool:
    """Whether the only element is not zero."""
    if self.shape.numel() != 1:
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
    return bool(self)


def is_same_size(self: Tensor, other: Any) -> bool:
    """Whether the shapes are equal."""
    return tuple(self.shape) == tuple(other.shape)


def get_device(self: Tensor) -> int:
    """-1: the CPU."""
    return -1


def _never(self: Tensor) -> bool:
    """Always False."""
    return False


_KINDS = """meta sparse sparse_csr quantized mkldnn nested mps xpu xla ipu vulkan maia mtia"""

PROPERTIES: dict[str, Any] = {
    "is_cpu": lambda self: True,
    "itemsize": lambda self: self.dtype.itemsize,
    "nbytes": lambda self: self.shape.numel() * self.dtype.itemsize,
    "retains_grad": lambda self: self.requires_grad and not self.is_leaf,
    "layout": lambda self: strided,
    "real": lambda self: self,
    "mH": lambda self: own(shapes.swapaxes(self, -2, -1)),
    "H": lambda self: own(shapes.swapaxes(self, -2, -1)),
    **{f"is_{kind}": _never for kind in _KINDS.split()},
}
"""Properties by name, as functions of the tensor."""


class Layout:
    """How a tensor lies in memory, by name: `torch.strided`, `torch.channels_last` ..."""

    def __init__(self, name: str):
        self._name = name

    def __repr__(self) -> str:
        return f"torch.{self._name}"


strided = Layout("strided")
contiguous_format, preserve_format = Layout("contiguous_format"), Layout("preserve_format")
channels_last, channels_last_3d = Layout("channels_last"), Layout("channels_last_3d")


# ---- tensors made after this one ---------------------------------------------------------------


def new_empty(self: Tensor, *size: Any, dtype: Any = None, **named: Any) -> Any:
    """A tensor of zeros in this one's dtype."""
    kind = of_name(self._array.dtype.name) if dtype is None else dtype
    return creation.zeros(*size, dtype=kind, **named)


def new(self: Tensor, *data: Any) -> Any:
    """As the constructor of this tensor's type: of sizes, or of nested lists."""
    name = self._array.dtype.name
    if data and not all(isinstance(n, INTEGERS) for n in data):
        return creation.tensor(data[0], dtype=name)
    return own(ops.zeros(list(data) or [0], name))


def split_sizes(self: Tensor, sizes: Any, dim: int = 0) -> Any:
    """Pieces of the listed sizes."""
    return self.split(list(sizes), dim)


def apply_(self: Tensor, callable: Any) -> Any:
    """Write callable(element) to every element; slow."""
    values = [callable(v) for v in self.detach().reshape(-1).tolist()]
    made = Base(np.asarray(values, self._array.dtype).reshape(tuple(self.shape)))
    return self._write(made)


# ---- random numbers in place -------------------------------------------------------------------


def _uniform(self: Tensor) -> Any:
    """Numbers drawn evenly from (0, 1), in this tensor's shape."""
    return draws.uniform(list(self.shape), "float32", 2.0**-25, 1.0)


def _drawn(self: Tensor, value: Any) -> Any:
    return self._write(cast_to(value, self._array.dtype))


def bernoulli_(self: Tensor, p: Any = 0.5) -> Any:
    """Set every element to 1 with probability p, else to 0."""
    return _drawn(self, draws.rand(list(self.shape)) < p)


def exponential_(self: Tensor, lambd: float = 1.0) -> Any:
    """Set every element to a number with density lambd * exp(-lambd * x)."""
    return _drawn(self, _uniform(self).log() / -lambd)


def geometric_(self: Tensor, p: float) -> Any:
    """Set every element to how many trials it took to succeed, with probability p each."""
    return _drawn(self, (_uniform(self).log() / math.log1p(-p)).ceil())


def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0) -> Any:
    """Set every element to a number of the Cauchy distribution."""
    return _drawn(self, ((_uniform(self) - 0.5) * math.pi).tan() * sigma + median)


def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0) -> Any:
    """Set every element to exp of a normal number."""
    return _drawn(self, (draws.randn(list(self.shape)) * std + mean).exp())


METHODS = (
    stride, storage_offset, is_complex, is_signed, is_nonzero, is_same_size, get_device, new_empty,
    new, apply_, bernoulli_, exponential_, geometric_, cauchy_, log_normal_,
)  # fmt: skip
NEVER = "is_shared is_pinned is_inference is_distributed is_coalesced is_conj is_neg"
never = _never
