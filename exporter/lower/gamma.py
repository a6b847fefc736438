"""Lowerings of `dyn/ops/gamma.py`: the formulas of the kernels, in double whatever the dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.kernels.elementwise.gamma import WIDE
from exporter.numbers import MATHS, Number
from exporter.registry import NodeView, lowers


@lowers("digamma", "digamma_derivative", "erfc", "erfinv", "lgamma")
def in_double(b: Any, node: NodeView) -> Any:
    """The formula of an op; errors are those of the kernels, and one rounding."""
    x = Number(b, node.x, node.dtype).to(np.dtype(np.float64))
    return WIDE[node.op](MATHS, x, **node.attrs).to(node.dtype).value
