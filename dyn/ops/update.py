"""Optimiser steps: new parameters and slots of a whole parameter group by one op.

Nothing is changed in place; the optimiser assigns what comes back. Learning rate and counters are
tensors, so that an exported training step can be fed them. Formulas are in `update_rules.py`; those
that follow means of the gradient, as Adam does, have their ops in `moments.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dyn.core.errors import DTypeError, ShapeError
from dyn.core.op import op
from dyn.kernels.update import update
from dyn.kernels.update_rules import RULES
from dyn.ops.infer import Type, need_float, same_size, show


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
    count = len(tensors) // kinds
    for i, p in enumerate(tensors[:count]):
        need_float(f"parameter {i}", p)
        for other in tensors[i + count :: count]:
            if (
                other.dtype != p.dtype
                or len(other.shape) != len(p.shape)
                or not all(same_size(a, b) for a, b in zip(other.shape, p.shape, strict=True))
            ):
                raise ShapeError(
                    f"parameter {i} is {p.dtype.name}{show(p.shape)}, but its gradient or slot is "
                    f"{other.dtype.name}{show(other.shape)}"
                )


def update_op(*scalars: str) -> Callable[[Callable[..., Any]], Any]:
    """Declare the op of a rule: its kernel takes `scalars`, of which all but the learning rate are
    counters, then n parameters, n gradients and n of each slot. It gives new parameters and slots
    and the next counters.
    """

    def declare(kernel: Callable[..., Any]) -> Any:
        rule = RULES[kernel.__name__]

        def infer(*types: Type, **attrs: Any) -> list[Type]:
            given, tensors = types[: len(scalars)], types[len(scalars) :]
            flags = {name: value for name, value in attrs.items() if isinstance(value, bool)}
            slots = rule.slots(**flags)
            _need_groups(dict(zip(scalars, given, strict=True)), tensors, 2 + slots)
            params = tensors[: len(tensors) // (2 + slots)]
            return [*params * (1 + slots), *given[1:]]

        outputs = ("params_and_slots",)
        return op(infer=infer, outputs=outputs, public=None, differentiable=False)(kernel)

    return declare


@update_op("lr")
def sgd_update(lr, *tensors, weight_decay=0.0, maximize=False):
    """p - lr * (g + weight_decay * p).

    Args:
        lr: learning rate, 0-d.
        tensors: n parameters, then their n gradients.
        weight_decay: L2 coefficient.
        maximize: go up the gradient: its sign is changed before anything else.

    Returns:
        n new parameters. ONNX: Mul, Sub.
    """
    return update("sgd_update", (lr,), tensors, weight_decay=weight_decay, maximize=maximize)


@update_op("lr")
def momentum_update(lr, *tensors, momentum=0.9, nesterov=False, weight_decay=0.0, maximize=False):
    """Gradient descent with momentum.

    v' = momentum * v + g; p' = p - lr * v', or with Nesterov p - lr * (g + momentum * v').

    Args:
        lr: learning rate, 0-d.
        tensors: n parameters, n gradients, n velocities.
        momentum: share of the old velocity.
        nesterov: look ahead along the velocity.
        weight_decay: L2 coefficient, added to the gradient as weight_decay * p.
        maximize: as in `sgd_update`.

    Returns:
        n new parameters, n new velocities.

    Source: Sutskever et al., ICML 2013. ONNX: Mul, Add, Sub.
    """
    return update(
        "momentum_update",
        (lr,),
        tensors,
        weight_decay=weight_decay,
        momentum=momentum,
        nesterov=nesterov,
        maximize=maximize,
    )


@update_op("lr", "steps")
def dampened_update(
    lr, steps, *tensors, momentum=0.9, dampening=0.0, nesterov=False, weight_decay=0.0,
    maximize=False,
):  # fmt: skip
    """`momentum_update` that takes less of new gradients: v' = momentum * v + (1 - dampening) * g.

    Args:
        lr: learning rate, 0-d.
        steps: how many steps were taken, 0-d; of the first one the whole gradient is taken.
        tensors: n parameters, n gradients, n velocities.
        dampening: share of the gradient that is left out.
        momentum, nesterov, weight_decay, maximize: as in `momentum_update`.

    Returns:
        n new parameters, n new velocities, the number of steps.

    Source: torch.optim.SGD. ONNX: Where, Mul, Add, Sub.
    """
    return update(
        "dampened_update",
        (lr, steps),
        tensors,
        weight_decay=weight_decay,
        momentum=momentum,
        dampening=dampening,
        nesterov=nesterov,
        maximize=maximize,
    )


@update_op("lr")
def adagrad_update(lr, *tensors, epsilon=1e-6, weight_decay=0.0, maximize=False):
    """s' = s + g * g; p' = p - lr * g / (sqrt(s') + epsilon).

    Args:
        lr: learning rate, 0-d.
        tensors: n parameters, n gradients, n sums of squares.
        epsilon: added to the root.
        weight_decay, maximize: as in `momentum_update`.

    Returns:
        n new parameters, n new sums.

    Source: Duchi et al., JMLR 2011. ONNX: Mul, Add, Sqrt, Div, Sub.
    """
    return update(
        "adagrad_update",
        (lr,),
        tensors,
        weight_decay=weight_decay,
        epsilon=epsilon,
        maximize=maximize,
    )


@update_op("lr", "steps")
def decaying_adagrad_update(
    lr, steps, *tensors, lr_decay=0.0, epsilon=1e-6, weight_decay=0.0, maximize=False
):
    """`adagrad_update` with a learning rate of lr / (1 + steps * lr_decay).

    Args:
        lr: learning rate of the first step, 0-d.
        steps: how many steps were taken, 0-d.
        tensors, epsilon, weight_decay, maximize: as in `adagrad_update`.
        lr_decay: how fast the learning rate falls.

    Returns:
        n new parameters, n new sums, the number of steps.

    Source: torch.optim.Adagrad. ONNX: Mul, Add, Sqrt, Div, Sub.
    """
    return update(
        "decaying_adagrad_update",
        (lr, steps),
        tensors,
        weight_decay=weight_decay,
        lr_decay=lr_decay,
        epsilon=epsilon,
        maximize=maximize,
    )


@update_op("lr", "steps", "step", "share")
def averaged_update(
    lr, steps, step, share, *tensors, lambd=1e-4, alpha=0.75, start=1e6, weight_decay=0.0,
    maximize=False,
):  # fmt: skip
    """Gradient descent with the mean of the parameters beside it.

    p' = (1 - lambd * step) * p - step * g; average' = average + share * (p' - average). The next
    step is lr / (1 + lambd * lr * t)**alpha, the next share 1 / max(1, t - start), for t steps.

    Args:
        lr: learning rate, 0-d.
        steps: how many steps were taken, 0-d.
        step, share: those of this step, 0-d.
        tensors: n parameters, n gradients, n averages.
        lambd, alpha: how fast steps get shorter.
        start: after how many steps the mean begins.
        weight_decay, maximize: as in `momentum_update`.

    Returns:
        n new parameters, n new averages, and the next steps, step and share.

    Source: Polyak & Juditsky, SIAM J. Control 1992; torch.optim.ASGD. ONNX: Pow, Mul, Where.
    """
    return update(
        "averaged_update",
        (lr, steps, step, share),
        tensors,
        weight_decay=weight_decay,
        lambd=lambd,
        alpha=alpha,
        start=start,
        maximize=maximize,
    )


@update_op("lr")
def adadelta_update(lr, *tensors, rho=0.95, epsilon=1e-6, weight_decay=0.0, maximize=False):
    """Steps whose units are those of the parameter.

    a' = rho * a + (1 - rho) * g * g; d = g * sqrt((u + epsilon) / (a' + epsilon));
    u' = rho * u + (1 - rho) * d * d; p' = p - lr * d.

    Args:
        lr: learning rate, 0-d.
        tensors: n parameters, n gradients, n means of squared gradients, n of squared steps.
        rho: share of the old means.
        epsilon: added below and above the line.
        weight_decay, maximize: as in `momentum_update`.

    Returns:
        n new parameters, n and n new means.

    Source: Zeiler, arXiv 1212.5701. ONNX: Mul, Add, Sqrt, Div, Sub.
    """
    return update(
        "adadelta_update",
        (lr,),
        tensors,
        weight_decay=weight_decay,
        rho=rho,
        epsilon=epsilon,
        maximize=maximize,
    )


@update_op("lr")
def rmsprop_update(
    lr,
    *tensors,
    rho=0.95,
    epsilon=1e-6,
    momentum=0.0,
    heavy=True,
    centered=False,
    outside=False,
    weight_decay=0.0,
    maximize=False,
):
    """Steps by the gradient over the root of its mean square.

    s' = rho * s + (1 - rho) * g * g; v' = momentum * v + lr * g / sqrt(s' + epsilon); p' = p - v'.

    Args:
        lr: learning rate, 0-d.
        tensors: n parameters, n gradients, n velocities if `heavy`, n mean squares, n mean
            gradients if `centered`.
        rho: share of the old means.
        epsilon: added to the mean square.
        momentum: share of the old velocity.
        heavy: whether there are velocities.
        centered: take the square of the mean gradient off the mean square.
        outside: add epsilon to the root, and lr to the velocity, from outside (PyTorch):
            v' = momentum * v + g / (sqrt(s') + epsilon); p' = p - lr * v'.
        weight_decay, maximize: as in `momentum_update`.

    Returns:
        n new parameters, n of each new slot.

    Source: Hinton, lecture 6e of "Neural Networks for Machine Learning", 2012. ONNX: Mul, Add,
    Sqrt, Div, Sub.
    """
    return update(
        "rmsprop_update",
        (lr,),
        tensors,
        weight_decay=weight_decay,
        rho=rho,
        epsilon=epsilon,
        momentum=momentum,
        heavy=heavy,
        centered=centered,
        outside=outside,
        maximize=maximize,
    )


@update_op()
def rprop_update(
    *tensors, less=0.5, more=1.2, least=1e-5, most=50.0, weight_decay=0.0, maximize=False
):
    """Steps of a size per element, by the sign of the gradient.

    The size is multiplied by `less` where the sign has changed, which skips the step, and by `more`
    where it stays, and brought into [least, most].

    Args:
        tensors: n parameters, n gradients, n gradients of the step before, n sizes.
        less, more: factors on the size.
        least, most: its range.
        weight_decay, maximize: as in `momentum_update`.

    Returns:
        n new parameters, n gradients that were followed, n new sizes.

    Source: Riedmiller & Braun, ICNN 1993. ONNX: Mul, Less, Greater, Where, Sub.
    """
    return update(
        "rprop_update",
        (),
        tensors,
        weight_decay=weight_decay,
        less=less,
        more=more,
        least=least,
        most=most,
        maximize=maximize,
    )


__all__ = [
    "adadelta_update",
    "adagrad_update",
    "momentum_update",
    "rmsprop_update",
    "rprop_update",
    "sgd_update",
]
