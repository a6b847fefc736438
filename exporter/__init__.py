"""From graphs to verified ONNX files, and from files to answers.

Importing this package imports nothing: a public name loads its module when it is first used, so a
server that wants `exporter.Predictor` alone needs numpy and onnxruntime alone.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exporter.check import Problem, check
    from exporter.diff import Difference, diff
    from exporter.errors import ExportError, UnsupportedOpError, VerificationError
    from exporter.export import export
    from exporter.report import Report
    from exporter.serving import Predictor, PredictorError, TensorInfo
    from exporter.training import export_training
    from tracer import InputSpec

__all__ = [
    "Difference",
    "ExportError",
    "InputSpec",
    "Predictor",
    "PredictorError",
    "Problem",
    "Report",
    "TensorInfo",
    "UnsupportedOpError",
    "VerificationError",
    "check",
    "diff",
    "export",
    "export_training",
]

_MODULES = {
    "Difference": "exporter.diff",
    "ExportError": "exporter.errors",
    "InputSpec": "tracer",
    "Predictor": "exporter.serving",
    "PredictorError": "exporter.serving",
    "Problem": "exporter.check",
    "Report": "exporter.report",
    "TensorInfo": "exporter.serving",
    "UnsupportedOpError": "exporter.errors",
    "VerificationError": "exporter.errors",
    "check": "exporter.check",
    "diff": "exporter.diff",
    "export": "exporter.export",
    "export_training": "exporter.training",
}


# onnxruntime 1.29 and later report usage to their maker from a thread of their own, because of
# which a forked child hangs when it exits. The variable is read once, when onnxruntime is
# imported; whoever wants the reports sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class _Package(ModuleType):
    """A package whose public functions are not hidden by submodules of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Python sets `exporter.export` to the module `exporter/export.py` once that is imported.
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'exporter' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


sys.modules[__name__].__class__ = _Package
