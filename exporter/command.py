"""Where the command `dyn` starts: `dyn.cli`, or one line that says why it cannot run.

An image for serving has this package, numpy and onnxruntime, but not what dyn needs; there the
command must say so. No command is defined here, and nothing of dyn's is imported by importing this.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

_TOP = frozenset({"dyn", "tracer", "exporter"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `dyn` with `arguments` (those of the process by default).

    Returns:
        The exit status; 1 where a package is missing that dyn needs.
    """
    try:
        command = importlib.import_module("dyn.cli")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in _TOP:
            raise
        print(
            f"dyn: the command needs {missing}, which an installation without dependencies lacks; "
            "exported files are served without it, by exporter.Predictor",
            file=sys.stderr,
        )
        return 1
    return command.main(arguments)


__all__ = ["main"]
