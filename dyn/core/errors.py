"""The errors of dyn, and the user's own line that every one of them names.

One class per kind of mistake. An error is raised with a plain sentence (what was given, what was
wanted, what to do); dispatch adds the op, layers add their path, and `str()` puts it together.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
from dataclasses import dataclass
from types import FrameType

_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# A context manager of ours is entered through contextlib's frame, which is not the user's either.
_OURS = (
    *(os.path.join(_PARENT, name) + os.sep for name in ("dyn", "tracer", "exporter")),
    contextlib.__file__,
)


@dataclass(frozen=True)
class SourceLine:
    """A line of the user's code: absolute file, 1-based line number, function name."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def short(self) -> str:
        """`file.py:12`, without the folders."""
        return f"{os.path.basename(self.file)}:{self.line}"

    @property
    def text(self) -> str:
        """The source text of the line, stripped; empty when the file cannot be read."""
        return linecache.getline(self.file, self.line).strip()


def is_ours(filename: str) -> bool:
    """Whether a code file belongs to dyn, tracer or exporter rather than to the user."""
    return filename.startswith(_OURS) or filename.startswith("<")


def user_line(frame: FrameType | None = None) -> SourceLine | None:
    """The innermost line of the call stack that is the user's, or None."""
    frame = frame or sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if not is_ours(code.co_filename):
            return SourceLine(code.co_filename, frame.f_lineno, code.co_name)
        frame = frame.f_back
    return None


def user_level() -> int:
    """`stacklevel` of a warning that the caller gives, to show the innermost line of the user's."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and is_ours(frame.f_code.co_filename):
        level, frame = level + 1, frame.f_back
    return level


class DynError(Exception):
    """Base of all errors raised on purpose by dyn, tracer and exporter.

    Attributes:
        message: what was given, what was wanted, what to do.
        op: name of the op that refused, or None.
        layers: attribute names from the outermost layer inwards, filled in as the error passes.
        where: the user's line.
    """

    def __init__(self, message: str, *, op: str | None = None, where: SourceLine | None = None):
        super().__init__(message)
        self.message = message
        self.op = op
        self.layers: list[str] = []
        self.where = where or user_line(sys._getframe(1))

    def __str__(self) -> str:
        text = f"{self.op}: {self.message}" if self.op else self.message
        if self.layers:
            text += f"\n  in layer {' > '.join(self.layers)}"
        if self.where is not None:
            code = self.where.text
            text += f"\n  at {self.where}" + (f": {code}" if code else "")
        return text


class ShapeError(DynError, ValueError):
    """Sizes or ranks do not fit together."""


class DTypeError(DynError, TypeError):
    """A dtype does not fit, or an argument is not of the kind that is wanted."""


class AttributeValueError(DynError, ValueError):
    """An attribute (keyword argument) of an op or layer has a value that it cannot have."""


class DivisionError(DynError, ZeroDivisionError, RuntimeError):
    """An integer is divided by zero."""


class IndexRangeError(DynError, IndexError):
    """An index or label lies outside the range that it selects from."""


class GradError(DynError, RuntimeError):
    """A gradient was asked for that does not exist, or was asked for twice."""


class StateError(DynError, RuntimeError):
    """A parameter, buffer or saved state is used in a way that would lose or corrupt it."""
