"""PyTorch's dtypes, devices and sizes: what describes a tensor without being one.

A dtype here is the one of `dyn.core.dtype` with another printed name; nothing is computed.
"""

from __future__ import annotations

from typing import Any

from dyn.core import dtype as dtypes
from dyn.core.dim import Dim
from dyn.core.errors import DynError

INTEGERS = (int, Dim)
"""What may stand for a size: while a model is traced, dynamic sizes are Dims."""


class dtype(dtypes.DType):
    """An element type such as `torch.float32`; equal to dyn's of the same name."""

    __slots__ = ()

    def __init__(self, name: str):
        # Not registered: looking names up gives dyn's own types.
        self.name = name

    @property
    def is_complex(self) -> bool:
        """Whether it is complex64 or complex128."""
        return self.name.startswith("complex")

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.numpy.itemsize

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, dtypes.DType):
            return self.name == other.name
        return super().__eq__(other)

    def __hash__(self) -> int:
        return super().__hash__()

    def __reduce__(self) -> Any:
        return (of_name, (self.name,))


_NAMES = """float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 bool complex64
    complex128"""
_KNOWN = {name: dtype(name) for name in _NAMES.split()}


def of_name(name: str) -> dtype:
    """The dtype called `name`, such as "float32"."""
    return _KNOWN[name]


def finfo(type: Any = "float32") -> Any:
    """The limits of a floating-point dtype: `eps`, `max`, `min`, `tiny`, `bits`."""
    return dtypes.finfo(type)


def iinfo(type: Any) -> Any:
    """The limits of an integer dtype: `max`, `min`, `bits`."""
    return dtypes.iinfo(type)


class DeviceError(DynError, RuntimeError, ValueError):
    """A device was asked for that does not exist here."""


class device:
    """Where tensors live: `device("cpu")`. Other devices can be named, but nothing put there."""

    def __init__(self, type: Any = "cpu", index: int | None = None):
        text = str(type)
        kind, _, number = text.partition(":")
        if kind not in ("cpu", "cuda", "mps", "xpu", "meta"):
            raise DeviceError(
                "Expected one of cpu, cuda, mps, xpu, meta device type at start of device string: "
                f"{kind}"
            )
        self.type = kind
        self.index = int(number) if number else index

    def __repr__(self) -> str:
        where = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{where})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def need_cpu(place: Any) -> None:
    """Raise DeviceError unless `place` is None or the CPU."""
    if place is not None and device(place).type != "cpu":
        raise DeviceError(
            f"device '{place}' is not available: dyn runs on the CPU; use torch.device('cpu'), or "
            "map_location='cpu' while loading"
        )


class Size(tuple[Any, ...]):
    """Sizes of a tensor: a tuple that prints as `torch.Size([2, 3])`."""

    __slots__ = ()

    def numel(self) -> Any:
        """The product of the sizes."""
        total: Any = 1
        for n in self:
            total = total * n
        return total

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return Size(found) if isinstance(index, slice) else found

    def __add__(self, other: Any) -> Size:
        return Size((*self, *other))
