"""Which opsets are written, and the IR version that goes with each.

Both are pinned here and never taken from the installed `onnx`, whose defaults are newer than what
onnxruntime loads. Source of the pairs: the version table of the ONNX releases.
"""

from __future__ import annotations

from dyn.core.errors import AttributeValueError

DEFAULT_OPSET = 20

IR_VERSION = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12, 25: 13, 26: 13}
"""IR version of the ONNX release that introduced each opset."""


def check_opset(opset: int) -> int:
    """The opset itself if it can be written.

    Raises:
        AttributeValueError: it lies outside the range of `IR_VERSION`.
    """
    if isinstance(opset, bool) or not isinstance(opset, int) or opset not in IR_VERSION:
        raise AttributeValueError(
            f"opset {opset!r} is not supported; opsets {min(IR_VERSION)} to {max(IR_VERSION)} are"
        )
    return opset
