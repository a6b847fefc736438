"""What a convolution in use does in one pass: itself, the batch norm and the activation after it.

Only without gradients and inside a layer's forward (`dyn/core/deferred.py`). The scale of the batch
norm is multiplied into the weights once per version of them; the numbers differ from those of
separate passes by rounding alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.deferred import Deferred
from dyn.kernels.runtime.derived import derived
from dyn.ops import activation, conv, norm

Call = tuple[tuple[Any, ...], tuple[Any, ...]]
"""Arrays and attributes of a call."""

_CONV = conv._conv
_ACTIVATION = _CONV.names.index("activation")


def _is_plain_convolution(source: Deferred) -> bool:
    return source.op is _CONV and source.attrs[_ACTIVATION] is None


def _batch_norm(source: Deferred, inputs: tuple[Any, ...], attrs: dict[str, Any]) -> Call | None:
    """The convolution whose weights and bias do what the batch norm does."""
    x, w, b = source.arrays
    statistics = tuple(None if t is None else t._read() for t in inputs[1:])
    channels = w.shape[:1]
    if not _is_plain_convolution(source) or any(
        s is not None and (s.shape != channels or s.dtype != w.dtype) for s in statistics
    ):
        return None
    made_of = (b, *statistics, attrs["epsilon"])
    kept = derived(w, "batch norm", _Folded)
    if not kept.is_made_of(made_of):
        kept.make(w, *made_of)
    return (x, kept.weight, kept.bias), source.attrs


class _Folded:
    """Weights with a batch norm in them.

    Attributes:
        made_of: bias, scale, shift, mean, variance and epsilon that are in them.
        weight, bias: of the convolution that does both.
    """

    made_of: tuple[Any, ...] | None = None
    weight: np.ndarray
    bias: np.ndarray

    def is_made_of(self, parts: tuple[Any, ...]) -> bool:
        """Whether these very arrays are in the weights; arrays are never written to."""
        return self.made_of is not None and all(
            a is b or (isinstance(a, float) and a == b)
            for a, b in zip(self.made_of, parts, strict=True)
        )

    def make(
        self,
        w: np.ndarray,
        b: np.ndarray | None,
        scale: np.ndarray | None,
        shift: np.ndarray | None,
        mean: np.ndarray,
        var: np.ndarray,
        epsilon: float,
    ) -> None:
        """Fold a batch norm into the weights w [Co, ...]; in float64, rounded once."""
        factor = 1 / np.sqrt(var.astype(np.float64) + epsilon)
        if scale is not None:
            factor = factor * scale
        moved = -mean if b is None else b.astype(np.float64) - mean
        bias = moved * factor
        self.bias = (bias if shift is None else bias + shift).astype(w.dtype)
        self.weight = (w * factor.reshape(-1, *[1] * (w.ndim - 1))).astype(w.dtype)
        self.made_of = (b, scale, shift, mean, var, epsilon)


def _relu(source: Deferred, inputs: tuple[Any, ...], attrs: dict[str, Any]) -> Call | None:
    """The convolution with the activation in it."""
    if not _is_plain_convolution(source):
        return None
    changed = list(source.attrs)
    changed[_ACTIVATION] = "relu"
    return source.arrays, tuple(changed)


_CONV.deferrable = True
norm.batch_norm_infer.absorb = _batch_norm
activation.relu.absorb = _relu
