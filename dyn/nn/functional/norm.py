"""Batch normalisation with running statistics, which is state and therefore no op."""

from __future__ import annotations

from typing import Any

from dyn.core.dispatch import apply
from dyn.core.modes import no_grad
from dyn.core.op import OPS
from dyn.core.tensor import Tensor
from dyn.ops import norm as ops
from dyn.ops.elementwise import lerp
from dyn.ops.infer import product


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor = 0.9,
    epsilon: float = 1e-5,
    use_global_stats: bool | None = None,
    unbiased: bool = False,
) -> Tensor:
    """x normalised per channel: by its own statistics in training, by the running ones otherwise.

    In training the running statistics are assigned momentum * old + (1 - momentum) * batch, with
    the biased variance, as ONNX does.

    Args:
        x: [N, C, ...], floating point.
        running_mean, running_var: [C]; without them the statistics of the batch are used always.
        weight, bias: [C] or None.
        training: whether to use and note the statistics of the batch.
        momentum: share of the old statistics that stays.
        epsilon: added to the variance.
        use_global_stats: use the running statistics also in training; `not training` if None.
        unbiased: note the variance with n - 1 in the place of n, as PyTorch does.

    Returns:
        The shape of x. Source: Ioffe & Szegedy, arXiv 1502.03167. ONNX: BatchNormalization.
    """
    if running_mean is None or running_var is None:
        return ops.batch_norm(x, weight, bias, epsilon=epsilon)[0]
    if use_global_stats or not training:
        return ops.batch_norm_infer(x, weight, bias, running_mean, running_var, epsilon=epsilon)
    out, mean, var = apply(ops.batch_norm, (x, weight, bias, None), (float(epsilon), None))
    _note(x, running_mean, running_var, mean, var, 1.0 - momentum, unbiased)
    return out


def _note(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    mean: Tensor,
    var: Tensor,
    take: Any,
    unbiased: bool,
) -> None:
    """Assign the running statistics, with a share `take` of those of the batch."""
    more: Any = 1.0
    if unbiased:
        count = product(x.shape) // x.shape[1]
        more = count / (count - 1)
    with no_grad():
        if take.__class__ is float and more.__class__ is float:
            given = (running_mean, running_var, mean, var)
            mean, var = apply(OPS["running_statistics"], given, (take, more))
        else:
            # A share or a number of elements that is known only when a file runs.
            mean, var = lerp(running_mean, mean, take), lerp(running_var, var * more, take)
        running_mean._assign(mean)
        running_var._assign(var)
