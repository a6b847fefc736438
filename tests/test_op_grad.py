"""Every row of the op table that has a gradient: its derivatives against differences."""

from __future__ import annotations

import pytest

from tests.gradcheck import check_gradients
from tests.optable import cases
from tests.optable.case import OpCase

CASES = cases()


@pytest.mark.parametrize("case", [c for c in CASES if c.order], ids=lambda c: c.id)
def test_gradient(case: OpCase) -> None:
    arrays = case.arrays(dtype="float64")
    check_gradients(
        case.call,
        arrays,
        case.differentiable(arrays),
        order=case.order,
        tol=case.gradient_tol or 1e-7,
    )
