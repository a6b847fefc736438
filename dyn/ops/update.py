"""Optimiser steps: new parameters and slots of a whole parameter group by one op.

Nothing is changed in place; the optimiser assigns what comes back. Learning rate and step powers
are tensors, so that an exported training step can be fed them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.errors import DTypeError, ShapeError
from dyn.core.op import op
from dyn.kernels import update as kernels
from dyn.ops.infer import Type, need_float, same_size, show


def _groups(tensors: tuple[Any, ...], kinds: int) -> list[tuple[Any, ...]]:
    """`tensors` cut into `kinds` runs of equal length: parameters, gradients, slots ..."""
    count = len(tensors) // kinds
    return [tensors[i * count : (i + 1) * count] for i in range(kinds)]


def _need_groups(scalars: dict[str, Type], tensors: tuple[Type, ...], kinds: int) -> None:
    """Raise unless scalars are 0-d and every run of tensors has the parameters' types."""
    for name, scalar in scalars.items():
        need_float(name, scalar)
        if scalar.shape:
            raise ShapeError(f"{name} must be 0-d, got shape {show(scalar.shape)}")
    if not tensors or len(tensors) % kinds:
        raise DTypeError(
            f"needs as many of each of {kinds} kinds of tensors, was given {len(tensors)} in all"
        )
    params, *others = _groups(tensors, kinds)
    for i, p in enumerate(params):
        need_float(f"parameter {i}", p)
        for run in others:
            if (
                run[i].dtype != p.dtype
                or len(run[i].shape) != len(p.shape)
                or not all(same_size(a, b) for a, b in zip(run[i].shape, p.shape, strict=True))
            ):
                raise ShapeError(
                    f"parameter {i} is {p.dtype.name}{show(p.shape)}, but its gradient or slot is "
                    f"{run[i].dtype.name}{show(run[i].shape)}"
                )


def _infer_sgd(lr: Type, *tensors: Type, weight_decay: float) -> list[Type]:
    _need_groups({"lr": lr}, tensors, 2)
    return list(_groups(tensors, 2)[0])


@op(infer=_infer_sgd, outputs=("params",), public=None, differentiable=False)
def sgd_update(lr, *tensors, weight_decay=0.0):
    """p - lr * (g + weight_decay * p).

    Args:
        lr: learning rate, 0-d.
        tensors: n parameters, then their n gradients.
        weight_decay: L2 coefficient.

    Returns:
        n new parameters. ONNX: Mul, Sub.
    """
    params, grads = _groups(tensors, 2)
    return tuple(kernels.sgd(lr, params, grads, weight_decay=weight_decay))


def _infer_momentum(lr: Type, *tensors: Type, **attrs: Any) -> list[Type]:
    _need_groups({"lr": lr}, tensors, 3)
    params = _groups(tensors, 3)[0]
    return [*params, *params]


@op(infer=_infer_momentum, outputs=("params_and_slots",), public=None, differentiable=False)
def momentum_update(lr, *tensors, momentum=0.9, nesterov=False, weight_decay=0.0):
    """Gradient descent with momentum.

    v' = momentum * v + g; p' = p - lr * v', or with Nesterov p - lr * (g + momentum * v').

    Args:
        lr: learning rate, 0-d.
        tensors: n parameters, n gradients, n velocities.
        momentum: share of the old velocity.
        nesterov: look ahead along the velocity.
        weight_decay: L2 coefficient, added to the gradient as weight_decay * p.

    Returns:
        n new parameters, n new velocities.

    Source: Sutskever et al., ICML 2013. ONNX: Mul, Add, Sub.
    """
    new_p, new_v = kernels.momentum(
        lr,
        *_groups(tensors, 3),
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
    )
    return (*new_p, *new_v)


def _infer_adam(
    lr: Type, beta1_pow: Type, beta2_pow: Type, *tensors: Type, **attrs: Any
) -> list[Type]:
    _need_groups({"lr": lr, "beta1_pow": beta1_pow, "beta2_pow": beta2_pow}, tensors, 4)
    params = _groups(tensors, 4)[0]
    return [*params, *params, *params, beta1_pow, beta2_pow]


def _adam(
    decoupled: bool, scalars: tuple[Any, ...], tensors: tuple[Any, ...], **attrs: Any
) -> tuple[Any, ...]:
    """Kernel call of both variants."""
    _, beta1_pow, beta2_pow = scalars
    new = kernels.adam(*scalars, *_groups(tensors, 4), decoupled=decoupled, **attrs)
    next1 = np.asarray(beta1_pow * beta1_pow.dtype.type(attrs["beta1"]))
    next2 = np.asarray(beta2_pow * beta2_pow.dtype.type(attrs["beta2"]))
    return (*new[0], *new[1], *new[2], next1, next2)


@op(infer=_infer_adam, outputs=("params_and_slots",), public=None, differentiable=False)
def adam_update(
    lr, beta1_pow, beta2_pow, *tensors, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0
):
    """Adam with bias correction.

    m' = beta1 * m + (1 - beta1) * g; v' = beta2 * v + (1 - beta2) * g * g;
    p' = p - lr / (1 - beta1**t) * m' / (sqrt(v' / (1 - beta2**t)) + epsilon).

    Args:
        lr: learning rate, 0-d.
        beta1_pow, beta2_pow: beta1 ** t and beta2 ** t in step t, 0-d: beta itself in the first.
        tensors: n parameters, n gradients, n first moments, n second moments.
        weight_decay: L2 coefficient, added to the gradient as weight_decay * p.

    Returns:
        n new parameters, n new first moments, n new second moments, and the powers for the
        next step.

    Source: Kingma & Ba, arXiv 1412.6980. ONNX: Mul, Add, Sub, Sqrt, Div.
    """
    return _adam(
        False,
        (lr, beta1_pow, beta2_pow),
        tensors,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )


@op(infer=_infer_adam, outputs=("params_and_slots",), public=None, differentiable=False)
def adamw_update(
    lr, beta1_pow, beta2_pow, *tensors, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.01
):
    """Adam with decoupled weight decay: p is multiplied by 1 - lr * weight_decay first.

    Arguments and results are those of `adam_update`. Source: Loshchilov & Hutter, arXiv 1711.05101.
    """
    return _adam(
        True,
        (lr, beta1_pow, beta2_pow),
        tensors,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )


__all__ = ["adam_update", "adamw_update", "momentum_update", "sgd_update"]
