"""Rows of `dyn/ops/update.py` and `moments.py`: formulas of papers and of PyTorch, in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.optable.case import OpCase, Spec, array

SHAPES = ((3, 4), (5,))
"""Shapes of the parameters in a group."""
FREE, POSITIVE = {}, {"low": 0.1}


def group(*kinds: dict[str, Any]) -> list[Any]:
    """Parameters, gradients, and each kind of slots with the range of its numbers."""
    return [array(*shape, **fields) for fields in (FREE, FREE, *kinds) for shape in SHAPES]


def rowwise(scalars: int, runs: int, decay: str = "gradient") -> Callable[..., Any]:
    """A reference for groups from a function of one parameter, its gradient and slots.

    Args:
        scalars: how many inputs stand before the group.
        runs: kinds of tensors.
        decay: whether decay joins the "gradient", or is an affair of the "rule".
    """

    def wrap(step: Callable[..., Any]) -> Callable[..., Any]:
        def reference(
            *inputs: Any, weight_decay: float = 0.0, maximize: bool = False, **attrs: Any
        ):
            given, tensors = inputs[:scalars], inputs[scalars:]
            count = len(tensors) // runs
            made: list[list[Any]] = [[] for _ in range(runs - 1)]
            after: tuple[Any, ...] = ()
            for i in range(count):
                p, g, *slots = tensors[i::count]
                g = -g if maximize else g
                if decay == "gradient":
                    g = g + weight_decay * p
                else:
                    attrs["weight_decay"] = weight_decay
                values, after = step(given, p, g, *slots, **attrs)
                for kind, value in zip(made, values, strict=True):
                    kind.append(value)
            return [*[value for values in made for value in values], *after]

        return reference

    return wrap


@rowwise(1, 2)
def ref_sgd(given, p, g):
    return (p - given[0] * g,), ()


@rowwise(1, 3)
def ref_momentum(given, p, g, v, *, momentum, nesterov):
    v = momentum * v + g
    return (p - given[0] * (g + momentum * v if nesterov else v), v), ()


@rowwise(1, 3)
def ref_adagrad(given, p, g, total, *, epsilon):
    total = total + g**2
    return (p - given[0] * g / (np.sqrt(total) + epsilon), total), ()


@rowwise(2, 3)
def ref_dampened(given, p, g, v, *, momentum, dampening, nesterov):
    lr, steps = given
    v = momentum * v + (g * (1 - dampening) if steps else g)
    return (p - lr * (g + momentum * v if nesterov else v), v), (steps + 1,)


@rowwise(2, 3)
def ref_decaying_adagrad(given, p, g, total, *, lr_decay, epsilon):
    lr, steps = given
    total = total + g**2
    lr = lr / (1 + steps * lr_decay)
    return (p - lr * g / (np.sqrt(total) + epsilon), total), (steps + 1,)


@rowwise(4, 3)
def ref_averaged(given, p, g, average, *, lambd, alpha, start):
    lr, steps, step, share = given
    p = p * (1 - lambd * step) - step * g
    average = p if share == 1 else average + share * (p - average)
    t = steps + 1
    after = (t, lr / (1 + lambd * lr * t) ** alpha, 1 / max(1, t - start))
    return (p, average), after


@rowwise(1, 4)
def ref_adadelta(given, p, g, square, update, *, rho, epsilon):
    square = rho * square + (1 - rho) * g**2
    step = np.sqrt(update + epsilon) / np.sqrt(square + epsilon) * g
    update = rho * update + (1 - rho) * step**2
    return (p - given[0] * step, square, update), ()


def rmsprop_step(given, p, g, *slots, rho, epsilon, momentum, heavy, centered, outside):
    slots = list(slots)
    velocity = slots.pop(0) if heavy else None
    square = rho * slots[0] + (1 - rho) * g**2
    mean = rho * slots[1] + (1 - rho) * g if centered else 0.0
    spread = square - np.square(mean)
    below = np.sqrt(spread) + epsilon if outside else np.sqrt(spread + epsilon)
    step = g / below if outside else given[0] * g / below
    if heavy:
        step = velocity = momentum * velocity + step
    kept = [velocity] * heavy + [square] + [mean] * centered
    return (p - (given[0] * step if outside else step), *kept), ()


@rowwise(0, 4)
def ref_rprop(given, p, g, before, size, *, less, more, least, most):
    sign = np.sign(g * before)
    size = np.clip(size * np.select([sign > 0, sign < 0], [more, less], 1.0), least, most)
    g = np.where(sign < 0, 0.0, g)
    return (p - np.sign(g) * size, g, size.astype(p.dtype)), ()


def ref_adam(decoupled: bool, amsgrad: bool) -> Callable[..., Any]:
    """Adam as in the paper: corrected moments, then the step."""

    @rowwise(3, 4 + amsgrad, "rule")
    def reference(given, p, g, m, v, *largest, beta1, beta2, epsilon, weight_decay, amsgrad):
        lr, pow1, pow2 = given
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        largest = [np.maximum(old, v) for old in largest]
        second = largest[0] if amsgrad else v
        p = p - lr * (m / (1 - pow1)) / (np.sqrt(second / (1 - pow2)) + epsilon)
        return (p, m, v, *largest), (pow1 * beta1, pow2 * beta2)

    return reference


@rowwise(2, 4)
def ref_adamax(given, p, g, m, u, *, beta1, beta2, epsilon, beside):
    lr, pow1 = given
    m = beta1 * m + (1 - beta1) * g
    u = (
        np.maximum(beta2 * u, np.abs(g) + epsilon)
        if beside
        else np.maximum(beta2 * u + epsilon, np.abs(g))
    )
    return (p - lr / (1 - pow1) * m / u, m, u), (pow1 * beta1,)


@rowwise(3, 4, "rule")
def ref_lamb(given, p, g, m, v, *, beta1, beta2, epsilon, weight_decay):
    lr, pow1, pow2 = given
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    r = m / (1 - pow1) / (np.sqrt(v / (1 - pow2)) + epsilon) + weight_decay * p
    ratio = np.linalg.norm(p) / np.linalg.norm(r)
    return (p - lr * ratio * r, m, v), (pow1 * beta1, pow2 * beta2)


@rowwise(4, 4)
def ref_nadam(given, p, g, m, v, *, beta1, beta2, epsilon, momentum_decay):
    lr, fade, pow2, product = given
    later = fade * 0.96**momentum_decay
    mu, mu_next = beta1 * (1 - 0.5 * fade), beta1 * (1 - 0.5 * later)
    product = product * mu
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    below = np.sqrt(v / (1 - pow2)) + epsilon
    p = p - lr * (1 - mu) / (1 - product) * g / below
    p = p - lr * mu_next / (1 - product * mu_next) * m / below
    return (p, m, v), (later, pow2 * beta2, product)


@rowwise(4, 4)
def ref_radam(given, p, g, m, v, *, beta1, beta2, epsilon):
    lr, pow1, pow2, t = given
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    limit = 2 / (1 - beta2) - 1
    length = limit - 2 * t * pow2 / (1 - pow2)
    step = m / (1 - pow1)
    if length > 5:
        grown = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
        step = step * np.sqrt(grown * (1 - pow2)) / (np.sqrt(v) + epsilon)
    return (p - lr * step, m, v), (pow1 * beta1, pow2 * beta2, t + 1)


LR = array(low=0.01, high=0.1)
POW1, POW2 = array(low=0.5, high=0.9), array(low=0.9, high=0.99)
ADAM = {"beta1": 0.9, "beta2": 0.99, "epsilon": 1e-3}
UP = {"weight_decay": 0.1, "maximize": True}
"""Decay of a gradient that is gone up."""


def number(value: float) -> Spec:
    """A 0-d input of a certain value."""
    return array(low=value, high=value)


def row(
    op: str, scalars: list[Any], kinds: tuple[Any, ...], reference: Any, note: str, **attrs: Any
):
    """A row of an update op."""
    attrs = {"weight_decay": 0.0, "maximize": False, **attrs}
    return OpCase(op, [*scalars, *group(*kinds)], attrs, reference, order=0, note=note)


def both(op: str, scalars: list[Any], kinds: tuple[Any, ...], reference: Any, **attrs: Any):
    """Rows without and with weight decay and the other direction."""
    return [
        row(op, scalars, kinds, reference, "plain", **attrs),
        row(op, scalars, kinds, reference, "decay-up", **attrs, **UP),
    ]


STEPS, NO_STEPS = number(4.0), number(0.0)
"""How many steps were taken."""
RPROP = {"less": 0.5, "more": 1.2, "least": 0.2, "most": 1.0}
RMSPROP = {"rho": 0.9, "epsilon": 1e-2, "momentum": 0.8}
ABOVE = {"low": 4.0, "high": 5.0}
"""Mean squares that no squares of means exceed."""


def rmsprop(heavy: int, centered: int, outside: int) -> OpCase:
    """A row of one of the variants."""
    flags = {"heavy": bool(heavy), "centered": bool(centered), "outside": bool(outside)}
    kinds = (*[FREE] * heavy, ABOVE, *[FREE] * centered)
    reference = rowwise(1, 3 + heavy + centered)(rmsprop_step)
    note = "-".join([name for name, flag in flags.items() if flag])
    decay = 0.1 * centered
    return row(
        "rmsprop_update", [LR], kinds, reference, note, weight_decay=decay, **RMSPROP, **flags
    )


ROWS = [
    *both("sgd_update", [LR], (), ref_sgd),
    *both("momentum_update", [LR], (FREE,), ref_momentum, momentum=0.8, nesterov=False),
    row("momentum_update", [LR], (FREE,), ref_momentum, "nesterov", momentum=0.8, nesterov=True),
    *both(
        "dampened_update", [LR, STEPS], (FREE,), ref_dampened,
        momentum=0.8, dampening=0.3, nesterov=False,
    ),
    row(
        "dampened_update", [LR, NO_STEPS], (FREE,), ref_dampened, "first",
        momentum=0.8, dampening=0.3, nesterov=True,
    ),
    *both("adagrad_update", [LR], (POSITIVE,), ref_adagrad, epsilon=1e-3),
    *both(
        "decaying_adagrad_update", [LR, STEPS], (POSITIVE,), ref_decaying_adagrad,
        lr_decay=0.2, epsilon=1e-3,
    ),
    *both(
        "averaged_update", [LR, STEPS, LR, number(0.25)], (FREE,), ref_averaged,
        lambd=0.1, alpha=0.75, start=2.0,
    ),
    row(
        "averaged_update", [LR, NO_STEPS, LR, number(1.0)], (FREE,), ref_averaged, "early",
        lambd=0.1, alpha=0.75, start=2.0,
    ),
    *both("adadelta_update", [LR], (POSITIVE,) * 2, ref_adadelta, rho=0.9, epsilon=1e-2),
    *(rmsprop(*flags) for flags in ((1, 0, 0), (1, 1, 0), (0, 0, 1), (1, 1, 1))),
    row("rprop_update", [], (FREE, POSITIVE), ref_rprop, "plain", **RPROP),
    row("rprop_update", [], (FREE, POSITIVE), ref_rprop, "decay-up", **RPROP, **UP),
    *(
        row(
            op,
            [LR, POW1, POW2],
            (FREE, POSITIVE, POSITIVE) if amsgrad else (FREE, POSITIVE),
            ref_adam(op == "adamw_update", amsgrad),
            f"decay-{decay}" + "-amsgrad" * amsgrad + "-up" * up,
            **ADAM,
            weight_decay=decay,
            amsgrad=amsgrad,
            maximize=up,
        )
        for op in ("adam_update", "adamw_update")
        for decay, amsgrad, up in ((0.0, False, False), (0.1, False, False), (0.1, True, True))
    ),
    *both("adamax_update", [LR, POW1], (FREE, POSITIVE), ref_adamax, **ADAM, beside=False),
    row("adamax_update", [LR, POW1], (FREE, POSITIVE), ref_adamax, "beside", **ADAM, beside=True),
    *both("lamb_update", [LR, POW1, POW2], (FREE, POSITIVE), ref_lamb, **ADAM),
    *both(
        "nadam_update",
        [LR, POW2, POW2, POW1],
        (FREE, POSITIVE),
        ref_nadam,
        **ADAM,
        momentum_decay=0.004,
    ),
    *(
        row("radam_update", [LR, POW1, POW2, number(t)], (FREE, POSITIVE), ref_radam, note, **ADAM)
        for note, t in (("trusted", 1.0), ("untrusted", 40.0))
    ),
]  # fmt: skip
