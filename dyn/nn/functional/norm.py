"""Batch normalisation with running statistics, which is state and therefore no op."""

from __future__ import annotations

from dyn.core.dispatch import scalar
from dyn.core.modes import no_grad
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
    out, mean, var = ops.batch_norm(x, weight, bias, epsilon=epsilon)
    with no_grad():
        take = 1.0 - momentum
        if unbiased:
            count = product(x.shape) // x.shape[1]
            more = count / (count - 1)
            # A number that is a tensor already need not be lifted.
            var = var * (scalar(more, var._read().dtype) if more.__class__ is float else more)
        running_mean._assign(lerp(running_mean, mean, take))
        running_var._assign(lerp(running_var, var, take))
    return out
