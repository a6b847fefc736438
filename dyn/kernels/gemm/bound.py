"""Products bound to shapes: a call makes the result and runs the launch for the strides it meets.

What `matmul.py` and `product.py` choose for every call (which loops, which memory, one tall matrix
or a batch) is chosen once for operands of known shapes. For small matrices choosing takes longer
than multiplying. Empty products, and columns times rows in batches, go the general way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dyn.kernels.elementwise import bound_pair, kernel_size
from dyn.kernels.gemm.product import NONE, Layout, Ready, ready_batch, ready_matrices
from dyn.kernels.gemm.thin import ready_vector
from dyn.kernels.gemm.weights import panels_of, ready_kept
from dyn.kernels.runtime import memory

MAX_LAYOUTS = 16
"""Strides remembered per product; a program meets one or two."""

Run = Callable[..., np.ndarray]
Shape = tuple[int, ...]


class _Case(NamedTuple):
    """A product of operands of certain shapes.

    Attributes:
        transpose_a, transpose_b: whether the last two axes of an operand are exchanged first.
        shape: of the result.
        tall: there is one matrix b, so that the rows of all matrices of a are those of one.
        dtype: of all operands.
        biased: whether a bias is added to the rows.
    """

    transpose_a: bool
    transpose_b: bool
    shape: Shape
    tall: bool
    dtype: np.dtype
    biased: bool

    @property
    def step(self) -> tuple[int]:
        """Strides of a bias that lies together."""
        return (self.dtype.itemsize,)

    def matrices(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The operands as the loops take them: transposed, and two matrices if they are `tall`."""
        if self.transpose_a:
            a = a.swapaxes(-1, -2)
        if self.transpose_b:
            b = b.swapaxes(-1, -2)
        if self.tall and a.ndim > 2:
            a = a.reshape(-1, a.shape[-1])
        if self.tall and b.ndim > 2:
            b = b.reshape(b.shape[-2:])
        return a, b

    def prepare(self, a: np.ndarray, b: np.ndarray) -> Ready | None:
        """What runs for operands with the strides of these; None if they must be copied first."""
        layouts = self.layouts(a, b)
        if layouts is None:
            return None
        if self.tall:
            found = ready_matrices(*layouts, self.biased, 0, self.dtype)
        else:
            steps = np.empty(self.shape, self.dtype).strides
            found = ready_batch(*layouts, (self.shape, steps))
        return None if found.launch is None else found

    def prepare_kept(self, a: np.ndarray, b: np.ndarray) -> Ready | None:
        """What runs with the panels of b, a weight; None if they are not worth to be kept."""
        layouts = self.layouts(a, b)
        return None if layouts is None else ready_kept(*layouts, self.biased, self.dtype)

    def layouts(self, a: np.ndarray, b: np.ndarray) -> tuple[Layout, Layout] | None:
        """Shapes and strides of `matrices`; None if the rows of a do not follow one another."""
        left, right = self.matrices(a, b)
        if not np.may_share_memory(left, a):
            return None
        return (left.shape, left.strides), (right.shape, right.strides)


def bound(
    a: Shape,
    b: Shape,
    dtype: np.dtype,
    otherwise: Run,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    biased: bool = False,
    weight: bool = False,
) -> Run | None:
    """A product of arrays of these shapes, to be called with both and the bias, if there is one.

    Args:
        a, b: (..., m, k) or (k,), and (..., k, n) or (k,), as in `matmul`.
        dtype: of all operands.
        otherwise: what does the same for operands of any strides.
        transpose_a, transpose_b: the operand is (..., k, m), or (..., n, k).
        biased: a bias (n,) is added; b is a matrix then.
        weight: b is a matrix that may be asked for again; its panels are kept then.

    Returns:
        None for products that are left to `otherwise` whatever their strides.
    """
    if dtype not in (np.float32, np.float64) or not a or not b or 0 in a or 0 in b:
        return None
    transpose_a, transpose_b = transpose_a and len(a) > 1, transpose_b and len(b) > 1
    rows = () if len(a) == 1 else a[-1:] if transpose_a else a[-2:-1]
    columns = () if len(b) == 1 else b[-2:-1] if transpose_b else b[-1:]
    shape = (*np.broadcast_shapes(a[:-2], b[:-2]), *rows, *columns)
    # One matrix for the whole batch: the rows of all of a are one tall matrix.
    tall = math.prod(b[:-2]) == 1
    case = _Case(transpose_a, transpose_b, shape, tall, dtype, biased)
    if (a[-2] if transpose_a else a[-1]) == 1 and not biased and len(a) == len(b) == 2:
        return _times_one(case, otherwise)
    if tall and transpose_a and math.prod(a[:-2]) > 1:
        return None
    if columns in ((), (1,)):
        return _times_column(case, otherwise) if len(b) < 3 else None
    if math.prod(shape[:-1]) == 1:
        return _times_row(case, otherwise)
    if not tall and rows in ((), (1,)):
        return None
    return _times_matrix(case, len(a) == len(b) == 2, weight, otherwise)


def _times_matrix(case: _Case, flat: bool, weight: bool, otherwise: Run) -> Run:
    """The product of matrices or of batches of them."""
    plain = flat and not (case.transpose_a or case.transpose_b)
    deep = case.tall and len(case.shape) > 2
    make, wide, step = memory.maker(case.shape, case.dtype), (-1, case.shape[-1]), case.step
    known: dict[Any, tuple[Any, Run | None, np.ndarray, Any]] = {}

    def with_memory(found: Ready) -> tuple[Any, Run | None]:
        bytes_ = found.scratch
        return found.launch, memory.maker((bytes_,), np.dtype(np.uint8)) if bytes_ else None

    def prepared(x: np.ndarray, y: np.ndarray) -> Any:
        found = case.prepare(x, y) if len(known) < MAX_LAYOUTS else None
        if found is None:
            return None, None, NONE, None
        again = case.prepare_kept(x, y) if weight else None
        later = None if again is None else with_memory(again)
        known[x.strides, y.strides] = ready = *with_memory(found), found.table, later
        return ready

    def run(x: np.ndarray, y: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
        launch, scratch, table, later = known.get((x.strides, y.strides)) or prepared(x, y)
        if later is not None and (panels := panels_of(y, case.transpose_b)) is not None:
            launch, scratch = later
            table = panels
        if launch is None or (bias is not None and bias.strides != step):
            return otherwise(x, y) if bias is None else otherwise(x, y, bias)
        out = make()
        if not plain:
            x, y = case.matrices(x, y)
        launch(
            x,
            y,
            out.reshape(wide) if deep else out,
            NONE if bias is None else bias,
            NONE if scratch is None else scratch(),
            table,
        )
        return out

    return run


def _times_one(case: _Case, otherwise: Run) -> Run | None:
    """A column times a row."""
    m, n = case.shape
    multiply: Run | None = None
    if m * n < kernel_size("multiply"):
        multiply = np.multiply
    elif case.dtype == np.float32:
        multiply = bound_pair("multiply", (m, 1), (1, n), np.multiply)
    if multiply is None:
        return None

    def run(x: np.ndarray, y: np.ndarray, bias: None = None) -> np.ndarray:
        return multiply(*case.matrices(x, y))

    return run


def _times_column(case: _Case, otherwise: Run) -> Run:
    """Rows times one column."""

    def prepare(x: np.ndarray, y: np.ndarray) -> Any:
        if x.ndim > 2 and not x.flags.c_contiguous:
            return None
        rows, _ = case.matrices(np.atleast_2d(x), y)
        return ready_vector(rows, y.reshape(-1))

    return _vectors(case, prepare, otherwise, first=True)


def _times_row(case: _Case, otherwise: Run) -> Run:
    """One row times a matrix."""

    def prepare(x: np.ndarray, y: np.ndarray) -> Any:
        y = y.reshape(y.shape[-2:])
        return ready_vector(y if case.transpose_b else y.T, x.reshape(-1))

    return _vectors(case, prepare, otherwise, first=False)


def _vectors(case: _Case, prepare: Run, otherwise: Run, first: bool) -> Run:
    """A product with a vector; `first`: the matrix is the first operand."""
    make = memory.maker(case.shape, case.dtype)
    known: dict[Any, Any] = {}

    def run(x: np.ndarray, y: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
        launch = known.get((x.strides, y.strides))
        if launch is None:
            launch = prepare(x, y) if len(known) < MAX_LAYOUTS else None
            if launch is None:
                return otherwise(x, y) if bias is None else otherwise(x, y, bias)
            known[x.strides, y.strides] = launch
        out = make()
        launch(*((x, y) if first else (y, x)), out)
        if bias is not None:
            np.add(out, bias, out=out)
        return out

    return run
