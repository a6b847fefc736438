"""The three-touch rule: every op has table rows, a gradient or a mark, and a lowering."""

from __future__ import annotations

import pytest

import exporter.lower
from dyn.core.op import OPS
from exporter.registry import LOWERINGS
from tests.optable import cases

assert exporter.lower
ROWS = {case.op for case in cases()}


@pytest.mark.parametrize("name", sorted(OPS))
def test_op_is_complete(name: str) -> None:
    op = OPS[name]
    assert name in ROWS, f"{name} has no row in tests/optable/"
    assert name in LOWERINGS, f"{name} has no lowering in exporter/lower/"
    assert op.rules or not op.differentiable, (
        f"{name} has neither a gradient rule nor differentiable=False"
    )
    assert op.__doc__, f"{name} has no docstring"


def test_nothing_is_left_over() -> None:
    assert not set(LOWERINGS) - set(OPS), "lowerings of ops that do not exist"
    direct = {case.op for case in cases() if case.run is None}
    assert not direct - set(OPS), "rows of ops that do not exist"


def test_lowerings_mirror_the_ops_file_by_file() -> None:
    for name, function in LOWERINGS.items():
        module = getattr(function, "__module__", "")
        if module.startswith("exporter.lower."):
            assert module.rsplit(".", 1)[1] == OPS[name].module.rsplit(".", 1)[1], name
