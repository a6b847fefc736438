"""Tells of variables that hold a buffer when it is bound to a new value, and are read afterwards.

`layer.state = new` binds the buffer itself, so that all who know it as state go on with it. PyTorch
and Paddle put another tensor in its place, and `old = layer.state` keeps the old value: a program
that counts on this would compute something else here, silently.
"""

from __future__ import annotations

import dis
import sys
import warnings
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

from dyn.core.errors import is_ours, user_level
from dyn.core.tensor import Tensor

_FORWARD_JUMPS = {"FOR_ITER", "SEND"}
"""Instructions that may jump forward, beside those with JUMP in their names."""
_VARIABLES = ("FAST", "NAME", "GLOBAL", "DEREF", "CLOSURE")
"""What the names of instructions on variables go on with, after LOAD, STORE or DELETE."""


def warn_of_readers(name: str, buffer: Tensor) -> None:
    """Warn if the user's code that assigns a buffer has it, or a view of it, in another variable.

    Args:
        name: attribute that is assigned.
        buffer: what it holds and goes on to hold, bound to the new value.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return
    for variable, value in frame.f_locals.items():
        if value is buffer:
            what = "is that buffer"
        elif _is_view(value, buffer):
            what = "is a view of that buffer"
        else:
            continue
        if _is_read_after(frame.f_code, frame.f_lasti, variable):
            warnings.warn(
                f"the buffer {name!r} is bound to a new value, and {variable!r}, which {what}, has "
                "that value, too, when it is read below; PyTorch and Paddle keep the old one there."
                f" Write {variable}.clone() where it is taken if the old value is meant",
                stacklevel=user_level(),
            )
            return


def _is_view(value: Any, buffer: Tensor) -> bool:
    """Whether a value follows the buffer wherever this is bound."""
    alias = value._alias if isinstance(value, Tensor) else None
    if alias is None or alias.deferred:
        return False
    return alias.base is buffer or _is_view(alias.base, buffer)


@lru_cache(4096)
def _is_read_after(code: CodeType, place: int, name: str) -> bool:
    """Whether code reads a variable behind a place, before it binds it anew or ends.

    In the order of the instructions: what a loop reads when it begins again is not found.
    """
    reach = place
    for line in dis.get_instructions(code):
        if line.offset <= place:
            continue
        if "JUMP" in line.opname or line.opname in _FORWARD_JUMPS:
            reach = max(reach, line.argval)
        elif line.opname == "RETURN_VALUE" and line.offset >= reach:
            return False
        elif line.argval == name:
            what, _, where = line.opname.partition("_")
            if where.startswith(_VARIABLES):
                return what == "LOAD"
    return False
