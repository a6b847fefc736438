"""One row of the table that drives the generic tests of ops.

A row says how to draw inputs, how to call the op and what numpy gives for it. What is done with a
row is said in the tests (`test_op_forward.py`, `test_op_grad.py` ...), never here.

Sizes of inputs are numbers, or names of sizes that may vary: `array("n", 3)`. Every test runs at
the first size of each name; the tests of dynamic shapes and of the sizes 0 and 1 put in others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dyn.core.dtype import as_numpy
from dyn.core.op import OPS
from dyn.core.tensor import Tensor

SIZES = (3, 5)
"""Sizes that a named axis takes when the row does not say others: when traced, and later."""

SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1e-30, 30.0, -30.0, 1e30, -1e30)
SPECIAL += (math.inf, -math.inf, math.nan)
"""Points at which functions of real numbers go wrong."""


@dataclass(frozen=True)
class Spec:
    """An input to draw: evenly from [low, high), in the dtype of the run unless it has its own.

    Attributes:
        shape: sizes, or names of sizes.
        low, high: range of the numbers.
        dtype: its own dtype (indices, masks), or None.
        distinct: no two elements nearer than a hundredth (for maxima and sorting).
        away: numbers that no element comes nearer to than a hundredth (kinks).
    """

    shape: tuple[int | str, ...]
    low: float = -2.0
    high: float = 2.0
    dtype: str | None = None
    distinct: bool = False
    away: tuple[float, ...] = ()

    def draw(self, rng: np.random.Generator, dtype: str, sizes: Mapping[str, int]) -> np.ndarray:
        """An array of the given sizes."""
        shape = tuple(sizes[n] if isinstance(n, str) else n for n in self.shape)
        kind = as_numpy(self.dtype or dtype)
        if kind == np.bool_:
            return rng.random(shape) < 0.5
        if kind.kind in "iu":
            low = max(math.ceil(self.low), 0 if kind.kind == "u" else -(2**31))
            return rng.integers(low, max(math.ceil(self.high), low + 1), shape).astype(kind)
        count = int(np.prod(shape))
        if self.distinct:
            spread = rng.permutation(count) + rng.uniform(0.25, 0.75, count)
            values = self.low + (self.high - self.low) * spread.reshape(shape) / max(count, 1)
        else:
            values = rng.uniform(self.low, self.high, shape)
        for kink in self.away:
            values = np.where(np.abs(values - kink) < 0.01, kink + 0.02, values)
        if kind.kind == "c":
            values = values + 1j * rng.uniform(self.low, self.high, shape)
        return np.asarray(values).astype(kind)


def array(*shape: int | str, **fields: Any) -> Spec:
    """Numbers of the dtype of the run: `array("n", 3, low=0.1, high=2)`."""
    return Spec(shape, **fields)


def ints(*shape: int | str, low: int, high: int, dtype: str = "int64") -> Spec:
    """Integers from low to high - 1."""
    return Spec(shape, low, high, dtype)


def bools(*shape: int | str) -> Spec:
    """Booleans, half of them True."""
    return Spec(shape, dtype="bool")


@dataclass
class OpCase:
    """One row.

    Attributes:
        op: name of the op that the row is for; with `run`, of a function made of ops, too.
        inputs: what to draw; a function `(rng, dtype, sizes) -> array`; or None for an absent one.
        attrs: attribute values.
        reference: numpy function of the arrays and attributes: an array, or a tuple of them. None
            where the value is random or is checked elsewhere; then `shapes` are given.
        shapes: of the outputs, with names of sizes as in the inputs.
        order: how often the gradient is differentiated and checked; 0 if there is none.
        tol, gradient_tol: largest error relative to 1 + |expected|; by default that of the dtype.
        dtypes: dtypes of the run; the first one is what gradients and export use, as float64 and
            float32, if it is a floating-point dtype.
        points: for element-wise ops, values at which the op is compared with the reference, all
            combinations for several inputs.
        sizes: for names of sizes: the size when traced, and another.
        empty: whether size 0 is allowed.
        single: whether size 1 is allowed.
        run: how to call, given the Tensors; by default the op on the inputs with the attributes.
        onnx: an operator that must occur in the exported file, or None.
        wrt: positions of the inputs whose gradient is checked; by default all floating ones.
        note: tells rows of one op apart.
    """

    op: str
    inputs: Sequence[Spec | Callable[..., np.ndarray] | None]
    attrs: dict[str, Any] = field(default_factory=dict)
    reference: Callable[..., Any] | None = None
    shapes: tuple[tuple[int | str, ...], ...] | None = None
    order: int = 2
    tol: float | None = None
    gradient_tol: float | None = None
    dtypes: tuple[str, ...] = ("float32", "float64")
    points: tuple[float, ...] = ()
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    empty: bool = True
    single: bool = True
    run: Callable[..., Any] | None = None
    onnx: str | None = None
    wrt: tuple[int, ...] | None = None
    note: str = ""

    @property
    def id(self) -> str:
        """Name of the row in test reports."""
        return f"{self.op}-{self.note}" if self.note else self.op

    @property
    def names(self) -> list[str]:
        """Names of sizes, in the order in which they occur."""
        shapes = [s.shape for s in self.inputs if isinstance(s, Spec)]
        return list(dict.fromkeys(n for shape in shapes for n in shape if isinstance(n, str)))

    def at(self, which: int) -> dict[str, int]:
        """Sizes when traced (0) or later (1)."""
        return {name: self.sizes.get(name, SIZES)[which] for name in self.names}

    def arrays(
        self,
        rng: np.random.Generator | None = None,
        dtype: str | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> list[Any]:
        """Inputs: arrays, or None where one is absent. Equal for equal rng states."""
        rng = rng or np.random.default_rng(7)
        dtype = dtype or self.dtypes[0]
        sizes = {**self.at(0), **(sizes or {})}
        drawn: list[Any] = []
        for spec in self.inputs:
            if spec is None:
                drawn.append(None)
            elif isinstance(spec, Spec):
                drawn.append(spec.draw(rng, dtype, sizes))
            else:
                drawn.append(np.asarray(spec(rng, dtype, sizes)))
        return drawn

    def specs(self) -> list[tuple[int | str, ...] | None]:
        """Per input its sizes and names of sizes; None if it is absent or drawn by a function."""
        return [s.shape if isinstance(s, Spec) else None for s in self.inputs]

    def call(self, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        """The outputs for the given inputs."""
        out = self.run(*tensors) if self.run else OPS[self.op](*tensors, **self.attrs)
        return tuple(out) if isinstance(out, (tuple, list)) else (out,)

    def expected(self, arrays: Sequence[Any]) -> tuple[np.ndarray, ...]:
        """What the reference gives, computed in float64 (or the integers of the inputs)."""
        assert self.reference is not None
        wide = [a.astype(np.float64) if a is not None and is_real(a.dtype) else a for a in arrays]
        with np.errstate(all="ignore"):
            out = self.reference(*wide, **self.attrs)
        return tuple(map(np.asarray, out if isinstance(out, (tuple, list)) else (out,)))

    def differentiable(self, arrays: Sequence[Any]) -> tuple[int, ...]:
        """Positions of the inputs whose gradient is checked."""
        if self.wrt is not None:
            return self.wrt
        return tuple(i for i, a in enumerate(arrays) if a is not None and a.dtype.kind == "f")


def is_real(dtype: np.dtype) -> bool:
    """Whether a dtype is floating point (bfloat16 included)."""
    return dtype.kind == "f" or dtype.name == "bfloat16"
