"""Lowerings of `dyn/ops/moments.py`: rules like those of `update.py`."""

from __future__ import annotations

from typing import Any

from exporter.lower.update import update
from exporter.registry import NodeView, lowers


@lowers("adam_update", "adamw_update", "adamax_update", "lamb_update", "nadam_update",
        "radam_update")  # fmt: skip
def _(b: Any, node: NodeView) -> Any:
    return update(b, node)
