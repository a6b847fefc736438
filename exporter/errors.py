"""What an export refuses, in the user's terms. An export that raises leaves no new file."""

from __future__ import annotations

from collections.abc import Sequence

from dyn.core.errors import DynError


class ExportError(DynError, RuntimeError):
    """The model cannot be written as an ONNX file that computes what the model computes."""


class UnsupportedOpError(ExportError):
    """Some ops of the graph have no form in the target opset.

    Attributes:
        problems: one text for each of them: op, layer path, line.
    """

    def __init__(self, problems: Sequence[str]):
        count = len(problems)
        nodes = "one node has" if count == 1 else f"{count} nodes have"
        super().__init__(f"{nodes} no ONNX form:\n  " + "\n  ".join(problems))
        self.problems = list(problems)


class VerificationError(ExportError):
    """onnxruntime computed something else from the file than the live model did."""
