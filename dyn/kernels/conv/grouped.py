"""Convolution whose groups are done one by one.

Alone, a group is a convolution without groups, for which there is one more algorithm (`scatter`).
What a group computes is copied to its channels of the result; that pays where the padding that
would be multiplied is worth more than the calls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dyn.kernels.conv.scatter_plan import ScatterPlan
from dyn.kernels.conv.shapes import Channels, View
from dyn.kernels.copy import place
from dyn.kernels.runtime.memory import maker

CALL = 1 << 16
"""Sums of a vector that take as long as a call for one more group."""
LONG = 64
"""Numbers added up for one of the result from which on groups alone are worth their copies."""


def group_of(view: View, groups: int) -> View:
    """The view of the channels of one group."""
    n, c, h, w = view.shape
    return View.of((n, c // groups, h, w), view.strides, view.dtype)


def pays(channels: Channels, taps: int, steps: float, dtype: np.dtype) -> bool:
    """Whether groups may be better done one by one than together, in `steps` sums of a vector.

    Args:
        taps: sizes of the window, multiplied.
    """
    if channels.groups == 1 or channels.lanewise or dtype != np.float32:
        return False
    return taps * channels.inner >= LONG and steps > CALL * channels.groups


class GroupsPlan:
    """A plan that runs one of a single group for each.

    Args:
        plan: for the first group; the others lie alike. It computes every number of its result.
        groups: how many.
        target: the result of a group.

    Attributes:
        packing: what `pack` makes of a weight depends on besides the weight.
    """

    def __init__(self, plan: ScatterPlan, groups: int, target: View) -> None:
        self.plan, self.groups, self.channels = plan, groups, target.shape[1]
        self.packing = ("groups", groups, *plan.packing)
        self.make = maker(target.shape, target.dtype, "channels_last")

    def covers(self, size: Sequence[int]) -> bool:
        """Whether every number of the target is computed: True."""
        return True

    def pack(self, w: np.ndarray) -> list[np.ndarray]:
        """What the plan packs of the weights of each group."""
        return [self.plan.pack(part) for part in np.split(w, self.groups)]

    def run(
        self,
        source: np.ndarray,
        packed: Sequence[np.ndarray],
        bias: np.ndarray | None,
        target: np.ndarray,
    ) -> bool:
        """Compute the target; `packed` is what `pack` returned for the weight. Returns True."""
        inner, outer = source.shape[1] // self.groups, self.channels
        for i, weights in enumerate(packed):
            channels = slice(i * outer, (i + 1) * outer)
            made = self.make()
            shift = None if bias is None else bias[channels]
            self.plan.run(source[:, i * inner : (i + 1) * inner], weights, shift, made)
            place(target[:, channels], made)
        return True
