"""Optimiser steps that follow means of the gradient and of its square: Adam and its relatives.

Arguments that all of them have:
    lr: learning rate, 0-d.
    beta1_pow, beta2_pow: beta1 ** t and beta2 ** t in step t, 0-d: beta itself in the first.
    tensors: n parameters, n gradients, n of each slot.
    beta1, beta2: shares of the old means.
    weight_decay: L2 coefficient, added to the gradient as weight_decay * p where nothing else is
        said.
    maximize: go up the gradient: its sign is changed before anything else.
They give n new parameters, n of each new slot, and the counters of the next step. What is written
for the first of them is not repeated.
"""

from __future__ import annotations

from dyn.kernels.update import update
from dyn.ops.update import update_op


@update_op("lr", "beta1_pow", "beta2_pow")
def adam_update(
    lr,
    beta1_pow,
    beta2_pow,
    *tensors,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    amsgrad=False,
    weight_decay=0.0,
    maximize=False,
):
    """Adam with bias correction.

    m' = beta1 * m + (1 - beta1) * g; v' = beta2 * v + (1 - beta2) * g * g;
    p' = p - lr / (1 - beta1**t) * m' / (sqrt(v' / (1 - beta2**t)) + epsilon).

    Args:
        lr: learning rate, 0-d.
        beta1_pow, beta2_pow: beta1 ** t and beta2 ** t in step t, 0-d: beta itself in the first.
        tensors: n parameters, n gradients, n first moments, n second moments, and with `amsgrad` n
            largest second moments.
        amsgrad: divide by the root of the largest second moment so far (Reddi et al., arXiv
            1904.09237).
        weight_decay: L2 coefficient, added to the gradient as weight_decay * p.
        maximize: go up the gradient.

    Returns:
        n new parameters, n of each new slot, and the powers for the next step.

    Source: Kingma & Ba, arXiv 1412.6980. ONNX: Mul, Add, Sub, Sqrt, Div, Max.
    """
    return update(
        "adam_update",
        (lr, beta1_pow, beta2_pow),
        tensors,
        weight_decay=weight_decay,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        amsgrad=amsgrad,
        maximize=maximize,
    )


@update_op("lr", "beta1_pow", "beta2_pow")
def adamw_update(
    lr,
    beta1_pow,
    beta2_pow,
    *tensors,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    amsgrad=False,
    weight_decay=0.01,
    maximize=False,
):
    """Adam with decoupled weight decay: p is multiplied by 1 - lr * weight_decay first.

    Arguments and results are those of `adam_update`. Source: Loshchilov & Hutter, arXiv 1711.05101.
    """
    return update(
        "adamw_update",
        (lr, beta1_pow, beta2_pow),
        tensors,
        weight_decay=weight_decay,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        amsgrad=amsgrad,
        maximize=maximize,
    )


@update_op("lr", "beta1_pow")
def adamax_update(
    lr,
    beta1_pow,
    *tensors,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    beside=False,
    weight_decay=0.0,
    maximize=False,
):
    """Adam with the largest recent gradient in the place of the root mean square.

    m' = beta1 * m + (1 - beta1) * g; u' = max(beta2 * u + epsilon, |g|);
    p' = p - lr / (1 - beta1**t) * m' / u'.

    Args:
        tensors: n parameters, n gradients, n means, n largest gradients.
        beside: add epsilon to the gradient instead, as PyTorch does: max(beta2 * u, |g| + epsilon).

    Source: Kingma & Ba, arXiv 1412.6980, section 7. ONNX: Mul, Add, Abs, Max, Div, Sub.
    """
    return update(
        "adamax_update",
        (lr, beta1_pow),
        tensors,
        weight_decay=weight_decay,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        beside=beside,
        maximize=maximize,
    )


@update_op("lr", "beta1_pow", "beta2_pow")
def lamb_update(
    lr,
    beta1_pow,
    beta2_pow,
    *tensors,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-6,
    weight_decay=0.01,
    maximize=False,
):
    """Adam whose step has, for each parameter, the length of the parameter.

    r = m' / (1 - beta1**t) / (sqrt(v' / (1 - beta2**t)) + epsilon) + weight_decay * p;
    p' = p - lr * |p| / |r| * r, without the fraction where it is 0 above or below the line.

    Args:
        tensors: n parameters, n gradients, n first moments, n second moments.
        weight_decay: decay that joins the step.

    Source: You et al., arXiv 1904.00962. ONNX: Mul, Add, Sqrt, Div, ReduceSumSquare, Where, Sub.
    """
    return update(
        "lamb_update",
        (lr, beta1_pow, beta2_pow),
        tensors,
        weight_decay=weight_decay,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        maximize=maximize,
    )


@update_op("lr", "fade", "beta2_pow", "product")
def nadam_update(
    lr,
    fade,
    beta2_pow,
    product,
    *tensors,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    momentum_decay=0.004,
    weight_decay=0.0,
    maximize=False,
):
    """Adam with Nesterov's look ahead. The momentum of step t is
    beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay)).

    Args:
        fade: 0.96 ** (t * momentum_decay) in step t, 0-d.
        product: of the momenta of the steps before, 0-d; 1 in the first step.
        tensors: n parameters, n gradients, n first moments, n second moments.

    Source: Dozat, ICLR workshop 2016. ONNX: Mul, Add, Sqrt, Div, Sub.
    """
    return update(
        "nadam_update",
        (lr, fade, beta2_pow, product),
        tensors,
        weight_decay=weight_decay,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        momentum_decay=momentum_decay,
        maximize=maximize,
    )


@update_op("lr", "beta1_pow", "beta2_pow", "step")
def radam_update(
    lr,
    beta1_pow,
    beta2_pow,
    step,
    *tensors,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-8,
    weight_decay=0.0,
    maximize=False,
):
    """Adam that does without the root until its estimate can be trusted.

    With n = 2 / (1 - beta2) - 1 and l = n - 2 * t * beta2**t / (1 - beta2**t), which is the length
    of the average: p' = p - lr / (1 - beta1**t) * m', times sqrt(1 - beta2**t) / (sqrt(v') +
    epsilon) * sqrt((l - 4) * (l - 2) * n / ((n - 4) * (n - 2) * l)) where l > 5.

    Args:
        step: t, the number of the step, 0-d; 1 in the first.
        tensors: n parameters, n gradients, n first moments, n second moments.

    Source: Liu et al., arXiv 1908.03265. ONNX: Mul, Add, Sqrt, Div, Greater, Where, Sub.
    """
    return update(
        "radam_update",
        (lr, beta1_pow, beta2_pow, step),
        tensors,
        weight_decay=weight_decay,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        maximize=maximize,
    )


__all__ = [
    "adam_update",
    "adamax_update",
    "adamw_update",
    "lamb_update",
    "nadam_update",
    "radam_update",
]
