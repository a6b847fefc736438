"""Which opsets are written, and the IR version that goes with each.

Both are pinned here and never taken from the installed `onnx`, whose defaults are newer than what
onnxruntime loads. Source of the pairs: the version table of the ONNX releases.
"""

from __future__ import annotations

from dyn.core.errors import AttributeValueError

DEFAULT_OPSET = 20

IR_VERSION = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12, 25: 13, 26: 13}
"""IR version of the ONNX release that introduced each opset."""

OLDEST_RUNTIME = {
    17: "1.16", 18: "1.16", 19: "1.16", 20: "1.17", 21: "1.18", 22: "1.21", 23: "1.23", 24: "1.24",
    25: "1.24", 26: "1.25",
}  # fmt: skip
"""The oldest onnxruntime that files of each opset were run in, every op of dyn included."""


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


def runnable(version: str) -> list[int]:
    """The opsets whose files an onnxruntime of this version runs."""
    return [n for n, oldest in OLDEST_RUNTIME.items() if _release(version) >= _release(oldest)]


def check_runtime(opset: int, version: str) -> None:
    """Make sure that onnxruntime can run what is about to be written.

    Raises:
        AttributeValueError: this version is older than what the opset needs.
    """
    found = runnable(version)
    if opset not in found:
        raise AttributeValueError(
            f"files of opset {opset} need onnxruntime {OLDEST_RUNTIME[opset]}, and {version} is "
            f"installed: the file could not be verified. Choose an opset up to {max(found)}, "
            "install a newer onnxruntime, or pass verify=False"
        )


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
