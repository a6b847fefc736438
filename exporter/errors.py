"""What an export refuses, in the user's terms. An export that raises leaves no new file."""

from __future__ import annotations

from dyn.core.errors import DynError


class ExportError(DynError, RuntimeError):
    """The model cannot be written as an ONNX file that computes what the model computes."""


class UnsupportedOpError(ExportError):
    """Some ops of the graph have no lowering to the target opset; all of them are listed."""


class VerificationError(ExportError):
    """onnxruntime computed something else from the file than the live model did."""
