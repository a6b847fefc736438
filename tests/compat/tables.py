"""Calls whose outcome is a rule: the dtype of a result, for all pairs of dtypes and ranks.

Written for either package, which is given as `torch`; `record_tables.py` records what PyTorch says.
"""

from __future__ import annotations

import itertools
from typing import Any

_KINDS = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64"
KINDS = _KINDS.split()
RANKS = (((2,), ()), ((), (2,)), ((2,), (2,)), ((), ()))
"""Shapes of the two operands."""

_NAMES = "maximum fmin pow floor_divide fmod bitwise_and logical_or atan2 copysign ldexp clamp"
OPERATIONS: dict[str, Any] = {
    "x + y": lambda torch, x, y: x + y,
    "x - y": lambda torch, x, y: x - y,
    "x * y": lambda torch, x, y: x * y,
    "x / y": lambda torch, x, y: x / y,
    "x > y": lambda torch, x, y: x > y,
    "x % y": lambda torch, x, y: x % y,
    "x += y": lambda torch, x, y: x.add_(y),
    "where": lambda torch, x, y: torch.where(torch.tensor([True, False]), x, y),
    "xlogy": lambda torch, x, y: torch.xlogy(x, y),
    "result_type": lambda torch, x, y: torch.full((), 0, dtype=torch.result_type(x, y)),
    **{name: lambda torch, x, y, name=name: getattr(torch, name)(x, y) for name in _NAMES.split()},
}


def dtypes_of(name: str, torch: Any) -> str:
    """The dtypes of an operation's results, a digit each in the order of KINDS; "-" if it fails."""
    found = []
    for (first, second), (rank, other) in itertools.product(itertools.product(KINDS, KINDS), RANKS):
        x = torch.ones(rank, dtype=getattr(torch, first))
        y = torch.ones(other, dtype=getattr(torch, second))
        try:
            out = OPERATIONS[name](torch, x, y)
        except (RuntimeError, TypeError, ValueError):
            found.append("-")
        else:
            found.append(str(KINDS.index(str(out.dtype).removeprefix("torch."))))
    return "".join(found)
