"""InputSpec: shape, dtype and name of one input, and a sample to run the model with.

Which of the sizes are symbols, what they are called and which sample sizes they get is decided
here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dyn.core.dtype import as_numpy, is_float, of_numpy, rank
from dyn.core.errors import AttributeValueError, DTypeError, ShapeError
from dyn.core.expr import Expr
from dyn.core.op import Type
from dyn.core.tensor import Tensor
from dyn.nn.state import Buffer, Parameter
from tracer.sizes import to_int

SMALL = (3, 5, 7, 11, 13, 17, 19, 23)
"""Sample sizes for batches, sequences and features: never 1, and told apart from static sizes."""
FEW = (2, 3, 5, 7)
"""Sample sizes for batches of images: networks of images are slow, and seldom count them."""
LARGE = (64, 96, 128, 160, 192, 224)
"""Sample sizes of spatial axes: multiples of 32, as networks that halve five times need."""


class InputSpec:
    """What an input of a traced model looks like.

    Args:
        shape: one entry an axis. An int is a fixed size; a name is a dynamic size, and the same
            name is the same size wherever it occurs; None (or -1) is a dynamic size of its own.
        dtype: element type.
        name: name of the input in graph and file; the parameter's name in `forward` by default.
        example: an array to run the model with; the model gets Tensors of the example's class
            (those of `dyn.compat.torch`, say), or else of the class that its parameters have. By
            default numbers are drawn: floats from a normal distribution, integers 0 or 1, which
            are valid as indices and labels of any table.
        stop_gradient: False if the forward itself differentiates with respect to this input.

    A dynamic size is dynamic whatever the example's size, and counts as at least 1. It is never
    taken for 1 where shapes broadcast.
    """

    def __init__(
        self,
        shape: Sequence[int | str | None],
        dtype: Any = "float32",
        name: str | None = None,
        *,
        example: Any = None,
        stop_gradient: bool = True,
    ):
        if isinstance(shape, (str, int)) or not hasattr(shape, "__iter__"):
            raise AttributeValueError(
                f"shape is a list with one entry for each axis, such as [None, 3], not {shape!r}"
            )
        self.shape = tuple(_size(size) for size in shape)
        self.dtype = of_numpy(as_numpy(dtype)).name
        self.name = name
        self.stop_gradient = stop_gradient
        self.example = None if example is None else self._fit(example)
        self.tensor_class = None if example is None else tensor_class(example)

    @staticmethod
    def from_tensor(tensor: Any, name: str | None = None) -> InputSpec:
        """A spec of fixed sizes with the tensor (or array) as its example."""
        array = _array(tensor)
        gradient = getattr(tensor, "stop_gradient", True)
        return InputSpec(array.shape, array.dtype, name, example=tensor, stop_gradient=gradient)

    from_numpy = from_tensor

    def _fit(self, example: Any) -> np.ndarray:
        array = _array(example)
        if array.dtype != as_numpy(self.dtype):
            raise DTypeError(
                f"the example of input {self.name or '?'} has dtype {array.dtype.name}, "
                f"its spec says {self.dtype}"
            )
        fixed = zip(self.shape, array.shape, strict=False)
        if array.ndim != len(self.shape) or any(isinstance(a, int) and a != b for a, b in fixed):
            raise ShapeError(
                f"the example of input {self.name or '?'} has shape {list(array.shape)}, its spec "
                f"says {list(self.shape)}"
            )
        return array

    def __repr__(self) -> str:
        name = f", name={self.name!r}" if self.name else ""
        return f"InputSpec({list(self.shape)}, {self.dtype!r}{name})"


def _size(size: Any) -> int | str | None:
    if size is None or (isinstance(size, (int, np.integer)) and size == -1):
        return None
    if isinstance(size, str):
        if not size.isidentifier() or size.startswith("_"):
            raise AttributeValueError(
                f"{size!r} cannot name a size; use a word of letters, digits and _ that does not "
                "start with _ or a digit"
            )
        return size
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 0:
        raise AttributeValueError(f"a size is a number, a name or None, not {size!r}")
    return int(size)


def _array(value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        return value._read()
    return np.asarray(value)


def tensor_class(example: Any) -> type[Tensor]:
    """The class of an example, without what makes it state of a layer."""
    return next(
        (
            kind
            for kind in type(example).__mro__
            if issubclass(kind, Tensor) and not issubclass(kind, (Parameter, Buffer))
        ),
        Tensor,
    )


def class_beside(tensors: Iterable[Tensor]) -> type[Tensor]:
    """The class of tensors that goes with the parameters among some: theirs, if all have one."""
    kinds = {tensor_class(tensor) for tensor in tensors if isinstance(tensor, Parameter)}
    return kinds.pop() if len(kinds) == 1 else Tensor


def as_spec(value: Any) -> InputSpec | None:
    """A spec from a spec, a Tensor or a numpy array; None for anything else."""
    if isinstance(value, InputSpec):
        return value
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return InputSpec.from_tensor(value)
    return None


@dataclass(frozen=True)
class BoundInput:
    """An input with everything decided: name, type over symbols, sample array."""

    name: str
    type: Type
    sample: np.ndarray
    stop_gradient: bool


def bind(
    named: Sequence[tuple[str, InputSpec]], sizes: Mapping[str, int] | None = None
) -> tuple[list[BoundInput], dict[str, int]]:
    """Decide types and samples of all inputs together.

    Args:
        named: name and spec of each input, in order. A None size of axis i becomes the symbol
            `<name>_<i>`.
        sizes: sample sizes the user wants, by symbol.

    Returns:
        The inputs, and the sample size of every symbol.

    Raises:
        ShapeError: two examples disagree about the size called by one name.
        AttributeValueError: `sizes` names a size that no input has.
    """
    wanted = dict(sizes or {})
    shapes = {name: _symbols(name, spec) for name, spec in named}
    chosen: dict[str, int] = {}
    for name, spec in named:
        if spec.example is None:
            continue
        for size, n in zip(shapes[name], spec.example.shape, strict=True):
            if isinstance(size, str) and chosen.setdefault(size, n) != n:
                raise ShapeError(
                    f"the size {size!r} is {chosen[size]} in one example and {n} in that of input "
                    f"{name}; one name is one size"
                )
    taken = {s for shape in shapes.values() for s in shape if isinstance(s, int)}
    taken |= {*chosen.values(), *wanted.values()}
    for name, _ in named:
        for axis, size in enumerate(shapes[name]):
            if isinstance(size, str) and size not in chosen:
                chosen[size] = wanted.get(size) or _sample_size(shapes[name], axis, taken)
                taken.add(chosen[size])
    unknown = [name for name in wanted if name not in chosen]
    if unknown:
        names = ", ".join(chosen) or "none"
        raise AttributeValueError(
            f"no input has a size called {unknown[0]!r}; the sizes are {names}"
        )
    bound = []
    for name, spec in named:
        shape = tuple(Expr.symbol(s) if isinstance(s, str) else s for s in shapes[name])
        sample = spec.example
        if sample is None:
            sample = draw(to_int(shape, chosen), as_numpy(spec.dtype))
        bound.append(
            BoundInput(name, Type(shape, as_numpy(spec.dtype)), sample, spec.stop_gradient)
        )
    return bound, chosen


def drawn_sizes(
    named: Sequence[tuple[str, InputSpec]], given: Iterable[str], chosen: Mapping[str, int]
) -> dict[str, int]:
    """The sample sizes, by symbol, that neither `given` nor an example decided."""
    decided = {*given}
    for name, spec in named:
        if spec.example is not None:
            decided.update(s for s in _symbols(name, spec) if isinstance(s, str))
    return {name: size for name, size in chosen.items() if name not in decided}


def _symbols(name: str, spec: InputSpec) -> list[int | str]:
    stem = name.replace(".", "_")
    return [f"{stem}_{i}" if size is None else size for i, size in enumerate(spec.shape)]


def _sample_size(shape: Sequence[int | str], axis: int, taken: set[int]) -> int:
    spatial = len(shape) >= 3 and axis >= 2
    images = len(shape) >= 4 and axis == 0
    for size in LARGE if spatial else FEW if images else SMALL:
        if size not in taken:
            return size
    return max(taken) + 32 - max(taken) % 32


def draw(
    shape: Sequence[int], dtype: np.dtype, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Plausible numbers: normally distributed floats, integers 0 or 1, booleans.

    Always the same ones unless a generator is given.
    """
    rng = rng or np.random.default_rng(0)
    if rank(dtype) == 0:
        return rng.random(tuple(shape)) < 0.5
    if rank(dtype) == 1:
        return rng.integers(0, 2, tuple(shape)).astype(dtype)
    if dtype == np.float32:
        return rng.standard_normal(tuple(shape), np.float32)
    numbers = rng.standard_normal(tuple(shape))
    if is_float(dtype):
        return numbers.astype(dtype)
    return (numbers + 1j * rng.standard_normal(tuple(shape))).astype(dtype)
