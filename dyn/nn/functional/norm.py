"""Batch and instance normalisation with running statistics, which are state: these are no ops."""

from __future__ import annotations

from typing import Any

from dyn.core.dispatch import apply
from dyn.core.errors import AttributeValueError
from dyn.core.modes import no_grad
from dyn.core.op import OPS
from dyn.core.tensor import Tensor
from dyn.ops import group_norm, reduce
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


def instance_norm(
    x: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float | Tensor = 0.9,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of each sample normalised by its own statistics, or all by the running ones.

    Running statistics are assigned momentum * old + (1 - momentum) * new, where new ones are the
    means over the samples of their means and of their variances with n - 1.

    Args:
        x: [N, C, ...] with at least one further axis, floating point.
        running_mean, running_var: [C], or None for none.
        weight, bias: [C] or None.
        use_input_stats: normalise by the statistics of x, and note them.
        momentum: share of the old running statistics that stays.
        eps: added to the variance.

    Returns:
        The shape of x.

    Raises:
        AttributeValueError: one running statistic is given without the other, or none is where
            those of x are not used.

    Source: Ulyanov et al., arXiv 1607.08022. ONNX: InstanceNormalization, BatchNormalization.
    """
    if (running_mean is None) != (running_var is None):
        raise AttributeValueError(
            "running_mean and running_var must either both be None or neither be None",
            op="instance_norm",
        )
    if not use_input_stats:
        if running_mean is None:
            raise AttributeValueError(
                "Expected running_mean and running_var to be defined when use_input_stats is "
                "false: give both, or use_input_stats=True",
                op="instance_norm",
            )
        return ops.batch_norm_infer(x, weight, bias, running_mean, running_var, epsilon=eps)
    out = group_norm.instance_norm(x, weight, bias, eps)
    if running_mean is not None and running_var is not None:
        inner = list(range(2, x.ndim))
        with no_grad():
            mean, var = reduce.mean(x, [0, *inner]), reduce.mean(reduce.var(x, inner), 0)
        _note(x, running_mean, running_var, mean, var, 1.0 - momentum, False)
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
