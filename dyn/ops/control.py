"""Branches and loops made of functions: cond, while_loop, scan.

Run eagerly they are plain Python, so gradients flow through what ran. Python's own `if` and `for`
do the same; these exist because a traced model keeps them as branches and loops, whose course
depends on values or on dynamic sizes, where Python's would be unrolled or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dyn.core import observe
from dyn.core.dim import Dim
from dyn.core.errors import AttributeValueError, DTypeError, ShapeError
from dyn.core.op import OPS
from dyn.core.tensor import Tensor
from dyn.core.tree import flatten, rebuild


def _watched(kind: str, functions: dict[str, Any], operands: Sequence[Any]) -> Any:
    """What an observer makes of it, or NotImplemented."""
    for observer in observe.current():
        answer = observer.on_control(kind, functions, operands)
        if answer is not NotImplemented:
            return answer
    return NotImplemented


def _need_functions(**functions: Any) -> None:
    for name, function in functions.items():
        if not callable(function):
            raise DTypeError(f"{name} must be a function, got {type(function).__name__}")


def _tensors(values: Any) -> Any:
    """Numbers and arrays in nested containers as tensors."""
    structure, leaves = flatten(values, lambda v: isinstance(v, _LEAVES))
    return rebuild(structure, [v if isinstance(v, Tensor) else _tensor(v) for _, v in leaves])


def _tensor(value: Any) -> Tensor:
    return value.scope.lift(value) if isinstance(value, Dim) else Tensor(value)


_LEAVES = (Tensor, Dim, bool, int, float, np.ndarray, np.generic)


def cond(
    pred: Any,
    true_fn: Callable[..., Any] | None = None,
    false_fn: Callable[..., Any] | None = None,
    operands: Sequence[Any] = (),
) -> Any:
    """Run one of two functions, as a condition says.

    Args:
        pred: a bool or a tensor of one element.
        true_fn, false_fn: called with `operands`. They may use any tensor around them. Traced, both
            are recorded and must return the same structure of tensors of the same shapes and
            dtypes. None returns None.
        operands: arguments for the functions.

    Returns:
        What the function that ran returns.

    ONNX: If.
    """
    functions = {"then": true_fn, "else": false_fn}
    _need_functions(**{name: f for name, f in functions.items() if f is not None})
    if isinstance(pred, Tensor):
        answer = _watched("cond", functions, (pred, *operands))
        if answer is not NotImplemented:
            return answer
    chosen = true_fn if pred else false_fn
    return None if chosen is None else chosen(*operands)


def while_loop(
    cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Sequence[Any]
) -> list[Any]:
    """Run `body` on the loop variables as long as `cond` of them holds.

    Args:
        cond: `cond(*loop_vars)` gives a bool or a tensor of one element.
        body: `body(*loop_vars)` gives the next loop variables, in the same structure. Traced, each
            must keep its shape and dtype.
        loop_vars: tensors, or tuples, lists and dicts of them; numbers become tensors.

    Returns:
        The loop variables for which `cond` does not hold, as a list.

    Raises:
        AttributeValueError: `body` returns another number of values.

    ONNX: Loop.
    """
    _need_functions(cond=cond, body=body)
    values = _tensors(list(loop_vars))
    if not values:
        raise AttributeValueError("while_loop needs at least one loop variable")
    answer = _watched("while_loop", {"cond": cond, "body": body}, values)
    if answer is not NotImplemented:
        return answer
    while cond(*values):
        values = next_values(body(*values), len(values))
    return values


def next_values(result: Any, count: int) -> list[Any]:
    """What the body of a while_loop returned, as a list of `count` loop variables."""
    listed = list(result) if isinstance(result, (list, tuple)) else [result]
    if len(listed) != count:
        raise AttributeValueError(
            f"the body of a while_loop must return as many values as it takes: it takes {count} "
            f"and returned {len(listed)}"
        )
    return _tensors(listed)


def scan(f: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any) -> tuple[Any, Any]:
    """Walk along the first axis of `xs`, carrying a value: (carry, y) = f(carry, x) at each step.

    Args:
        f: gives the next carry and a result. Traced, the carry must keep its shapes and dtypes.
        init: the first carry: a tensor, or tuples, lists and dicts of them.
        xs: tensors [T, ...] whose slices `f` gets, in any structure.

    Returns:
        The last carry, and the results stacked along a new first axis of size T.

    Raises:
        ShapeError: `xs` has no tensor with an axis, or their first sizes differ.

    ONNX: Scan.
    """
    _need_functions(f=f)
    init, xs = _tensors(init), _tensors(xs)
    structure, leaves = flatten(xs, lambda v: isinstance(v, Tensor))
    tensors = [tensor for _, tensor in leaves]
    length = scan_length(tensors)
    answer = _watched("scan", {"body": f}, (init, xs))
    if answer is not NotImplemented:
        return answer
    carry = init
    rows: list[Any] = []
    for i in range(length):
        carry, y = step_values(f(carry, rebuild(structure, [t[i] for t in tensors])))
        rows.append(y)
    return carry, _stacked(rows)


def scan_length(tensors: Sequence[Tensor]) -> Any:
    """The common first size of what a scan walks along."""
    if not tensors or any(t.ndim == 0 for t in tensors):
        raise ShapeError("scan walks along the first axis of xs; it needs tensors that have one")
    length = tensors[0].shape[0]
    for t in tensors[1:]:
        if t.shape[0] != length:
            raise ShapeError(
                f"the first sizes of xs differ: {length} and {t.shape[0]}; they must be equal"
            )
    if tensors[0]._read().shape[0] == 0:
        raise ShapeError("scan needs at least one step; the first size of xs is 0")
    return length


def step_values(result: Any) -> tuple[Any, Any]:
    """What the function of a scan returned: carry and result, numbers as tensors."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise AttributeValueError("the function of a scan must return a pair: (carry, result)")
    return _tensors(result[0]), _tensors(result[1])


def _stacked(rows: list[Any]) -> Any:
    structure, first = flatten(rows[0], lambda v: isinstance(v, Tensor))
    columns: list[list[Tensor]] = [[] for _ in first]
    for row in rows:
        for column, (_, tensor) in zip(
            columns, flatten(row, lambda v: isinstance(v, Tensor))[1], strict=True
        ):
            column.append(OPS["unsqueeze"](tensor, axes=(0,)))
    return rebuild(structure, [OPS["concat"](*column, axis=0) for column in columns])


__all__ = ["cond", "scan", "while_loop"]
