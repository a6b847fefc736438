"""What the installed onnxruntime can run: older Pythons have only older ones."""

import onnxruntime

from exporter.opset import runnable

RUNNABLE = runnable(onnxruntime.__version__)
"""Opsets whose files it loads."""


def among(*opsets: int) -> list[int]:
    """Those of some opsets that it runs."""
    return [opset for opset in opsets if opset in RUNNABLE]
