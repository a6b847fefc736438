"""What becomes of operands that are no tensors, or of differing dtypes, before an op runs on them.

Numbers, lists of numbers and arrays become constant tensors. What ops do with tensors is
`dispatch.py`.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from dyn.core.dim import Dim
from dyn.core.dtype import common_dtype, default_float, name_of, scalar_dtype
from dyn.core.errors import AttributeValueError, DTypeError, StateError
from dyn.core.op import OPS, Op, Type
from dyn.core.tensor import Tensor, to_array


def lift(op: Op, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Turn Python numbers, lists and arrays among the operands into Tensors."""
    beside = [x._array for x in inputs if isinstance(x, Tensor) and x._array is not None]
    common = (
        common_dtype([Type(a.shape, a.dtype) for a in beside]) if beside and op.promote else None
    )
    return tuple(_lift_one(op, i, x, common) for i, x in enumerate(inputs))


def _lift_one(op: Op, position: int, x: Any, beside: np.dtype | None) -> Any:
    if isinstance(x, Tensor):
        if x._array is None:
            raise StateError(
                f"{op.input_name(position)} is a tensor that was created but never given a value; "
                "write to it with dyn.assign(value, tensor) before reading it",
                op=op.name,
            )
        return x
    if x is None:
        return None
    if isinstance(x, Dim):
        x = x.scope.lift(x)
        return x if beside is None else cast_to(x, scalar_dtype(1, beside))
    if isinstance(x, (bool, int, float, complex)):
        return scalar(x, default_float() if beside is None else scalar_dtype(x, beside))
    if isinstance(x, (list, tuple)) and _holds_tensors(x):
        # Joined they would be a constant, through which no gradient goes back.
        raise DTypeError(
            f"{op.input_name(position)} is a {type(x).__name__} of tensors; pass one of them, or "
            "join them by stack or concat",
            op=op.name,
        )
    if isinstance(x, (np.ndarray, np.generic, list, tuple)):
        return Tensor._of(to_array(x))
    raise DTypeError(
        f"{op.input_name(position)} is {type(x).__name__} {x!r:.60}; pass a Tensor, a number or an "
        "array",
        op=op.name,
    )


def _holds_tensors(data: Any) -> bool:
    if isinstance(data, (list, tuple)):
        return any(map(_holds_tensors, data))
    return isinstance(data, Tensor)


@functools.lru_cache(maxsize=512, typed=True)
def _scalar_array(value: Any, sign: float, dtype: np.dtype) -> np.ndarray:
    array = np.array(value, dtype)
    array.flags.writeable = False
    return array


def literal(number: float | int, beside: Tensor, op: Op) -> Any:
    """A number as an operand: beside floating point at once as a tensor of that dtype.

    An exception and the look at every operand that `lift` takes would cost as much again as a tiny
    op. Other numbers are left to it.
    """
    array = beside._array
    if array is None or array.dtype.kind != "f" or not op.promote:
        return number
    return scalar(number, array.dtype)


def scalar(value: bool | int | float | complex, dtype: np.dtype) -> Tensor:
    """A 0-d constant tensor. Equal literals share one array, so a graph stores them once."""
    out = Tensor.__new__(Tensor)
    # 0.0 and -0.0 are equal as dictionary keys; the sign tells them apart.
    sign = math.copysign(1.0, value) if value == 0 and isinstance(value, float) else 1.0
    try:
        out._array = _scalar_array(value, sign, dtype)
    except OverflowError:
        raise AttributeValueError(f"the number {value} does not fit into {dtype.name}") from None
    return out


def cast_to(x: Tensor, dtype: np.dtype) -> Tensor:
    """`x` in `dtype`, by a recorded op; `x` itself when it has it already."""
    return x if x._array.dtype == dtype else OPS["cast"](x, dtype=name_of(dtype))


def cast_all(inputs: tuple[Any, ...], dtype: np.dtype) -> tuple[Any, ...]:
    """Bring all operands to their common dtype."""
    return tuple(None if x is None else cast_to(x, dtype) for x in inputs)


def rank_of(x: Any) -> int:
    """Number of axes of an operand.

    Raises:
        DTypeError: it is no Tensor.
    """
    try:
        return x.ndim
    except AttributeError:
        raise _no_tensor(x) from None


def shape_of(x: Any) -> Any:
    """Sizes of an operand; like `rank_of`."""
    try:
        return x.shape
    except AttributeError:
        raise _no_tensor(x) from None


def _no_tensor(x: Any) -> DTypeError:
    if _holds_tensors(x):
        advice = "pass one of its tensors, or join them by stack or concat"
    else:
        advice = "to_tensor makes one of numbers and arrays"
    return DTypeError(f"a Tensor is wanted, got {type(x).__name__} {x!r:.60}; {advice}")
