"""What a convolution in use does in one pass: itself, the batch norm and the activation after it.

Only without gradients and inside a layer's forward (`dyn/core/deferred.py`). The scale of the batch
norm is multiplied into the weights once per version of them; the numbers differ from those of
separate passes by rounding alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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
    folded = derived(w, "batch norm", _Folded).by(w, b, *statistics, attrs["epsilon"])
    return (x, folded.weight, folded.bias), source.attrs


class _Fold(NamedTuple):
    """A convolution with a batch norm in it.

    Attributes:
        made_of: bias, scale, shift, mean, variance and epsilon that are in it.
        weight, bias: of the convolution that does both.
    """

    made_of: tuple[Any, ...]
    weight: np.ndarray
    bias: np.ndarray

    def is_made_of(self, parts: tuple[Any, ...]) -> bool:
        """Whether these very arrays are in the weights; arrays are never written to."""
        return all(
            a is b or (isinstance(a, float) and a == b)
            for a, b in zip(self.made_of, parts, strict=True)
        )


class _Folded:
    """The latest fold of a weight.

    It is replaced as a whole, so that threads that run layers with one weight and batch norms of
    their own never see the weight of one fold and the bias of another.
    """

    latest: _Fold | None = None

    def by(self, w: np.ndarray, *parts: Any) -> _Fold:
        """The fold of w [Co, ...] by bias, scale, shift, mean, variance and epsilon."""
        fold = self.latest
        if fold is None or not fold.is_made_of(parts):
            fold = self.latest = _fold(w, *parts)
        return fold


def _fold(
    w: np.ndarray,
    b: np.ndarray | None,
    scale: np.ndarray | None,
    shift: np.ndarray | None,
    mean: np.ndarray,
    var: np.ndarray,
    epsilon: float,
) -> _Fold:
    """Fold a batch norm into a convolution; in float64, rounded once."""
    factor = 1 / np.sqrt(var.astype(np.float64) + epsilon)
    if scale is not None:
        factor = factor * scale
    centred = -mean if b is None else b.astype(np.float64) - mean
    bias = centred * factor
    return _Fold(
        (b, scale, shift, mean, var, epsilon),
        (w * factor.reshape(-1, *[1] * (w.ndim - 1))).astype(w.dtype),
        (bias if shift is None else bias + shift).astype(w.dtype),
    )


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
