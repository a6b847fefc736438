"""Weight decay: what is added to gradients to keep parameters small."""

from __future__ import annotations

from typing import Any

from dyn.core.errors import AttributeValueError, DTypeError


class WeightDecay:
    """Base of the decays.

    Attributes:
        coeff: how strong the decay is.
    """

    def __init__(self, coeff: float = 0.0):
        if coeff < 0:
            raise AttributeValueError(f"a weight decay must not be negative, got {coeff}")
        self.coeff = float(coeff)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(coeff={self.coeff})"


class L1Decay(WeightDecay):
    """Adds coeff * sign(p) to the gradient of p."""


class L2Decay(WeightDecay):
    """Adds coeff * p to the gradient of p."""


def as_decay(given: Any) -> WeightDecay | None:
    """The decay meant by a number (L2), a decay, or None."""
    if given is None or isinstance(given, WeightDecay):
        return given
    if isinstance(given, (int, float)):
        return L2Decay(given) if given else None
    raise DTypeError(f"a weight decay is a number, L1Decay, L2Decay or None, not {given!r:.60}")
