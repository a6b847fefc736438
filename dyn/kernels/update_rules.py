"""Update rules of the optimisers, each written once: for registers and for exported graphs alike.

A rule has two parts. `numbers` computes what is the same for all elements, once a step and in
double precision, and the counters of the next step. The formula gives the new values of an element
from parameter, gradient and slots; `m` is a namespace of the functions that are no operators.
What a rule does with a gradient before (weight decay, the sign) is the same for all: `new_values`.
Sources stand at the ops of the same names (`dyn/ops/update.py`, `dyn/ops/moments.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Numbers = tuple[dict[str, Any], tuple[Any, ...]]
"""Numbers by name, and the counters of the next step."""


class Rule(NamedTuple):
    """How an optimiser moves.

    Attributes:
        formula: `(m, p, g, *slots, **numbers, **flags)` gives (new p, *new slots).
        numbers: `(m, *scalars, **settings)` gives `Numbers`; scalars are the learning rate and the
            counters.
        slots: how many slots there are with these flags.
        decoupled: whether weight decay is a setting of the rule instead of joining the gradient.
        measured: whether the first result is a step, whose length is brought to that of the
            parameter before it is taken.
    """

    formula: Callable[..., tuple[Any, ...]]
    numbers: Callable[..., Numbers]
    slots: Callable[..., int]
    decoupled: bool = False
    measured: bool = False

    def settled(
        self, m: Any, scalars: Sequence[Any], weight_decay: float, settings: Mapping[str, Any]
    ) -> Numbers:
        """The numbers of a step, those of `new_values` included, and the next counters."""
        if self.decoupled:
            return self.numbers(m, *scalars, weight_decay=weight_decay, **settings)
        numbers, after = self.numbers(m, *scalars, **settings)
        return ({**numbers, "decay": weight_decay} if weight_decay else numbers), after

    def new_values(
        self, m: Any, tensors: Sequence[Any], numbers: Mapping[str, Any], flags: Mapping[str, bool]
    ) -> tuple[Any, ...]:
        """New parameter and slots from parameter, gradient and slots."""
        p, g, *slots = tensors
        rest = dict(numbers)
        decay = rest.pop("decay", None)
        others = dict(flags)
        if others.pop("maximize", False):
            g = -g
        if decay is not None:
            g = decay * p + g
        return self.formula(m, p, g, *slots, **rest, **others)


# ---- gradient descent, and sizes of steps by element -------------------------------------------


def _sgd(m, p, g, *, lr):
    return (p - lr * g,)


def _momentum(m, p, g, velocity, *, lr, momentum, nesterov, fresh=None):
    velocity = momentum * velocity + (g if fresh is None else fresh * g)
    return p - lr * (momentum * velocity + g if nesterov else velocity), velocity


def _adagrad(m, p, g, moment, *, lr, epsilon):
    moment = moment + g * g
    return p - lr * (g / (m.sqrt(moment) + epsilon)), moment


def _adadelta(m, p, g, squared, update, *, lr, rho, rest, epsilon):
    squared = rho * squared + rest * (g * g)
    step = g * m.sqrt((update + epsilon) / (squared + epsilon))
    return p - lr * step, squared, rho * update + rest * (step * step)


def _rmsprop(m, p, g, *slots, lr, rho, rest, epsilon, momentum, heavy, centered, outside):
    before = dict(zip(_rmsprop_slots(heavy, centered), slots, strict=True))
    after = {"square": rho * before["square"] + rest * (g * g)}
    spread = after["square"]
    if centered:
        mean = after["mean"] = rho * before["mean"] + rest * g
        spread = spread - mean * mean
    step = g / (m.sqrt(spread) + epsilon) if outside else lr * (g / m.sqrt(spread + epsilon))
    if heavy:
        step = after["velocity"] = momentum * before["velocity"] + step
    p = p - lr * step if outside else p - step
    return p, *(after[name] for name in before)


def _rmsprop_slots(heavy: bool, centered: bool) -> list[str]:
    return ["velocity"] * heavy + ["square"] + ["mean"] * centered


def _averaged(m, p, g, average, *, step, share, shrink):
    p = shrink * p - step * g
    return p, m.where(share < 1, average + share * (p - average), p)


def _rprop(m, p, g, previous, size, *, less, more, least, most):
    agreement = g * previous
    turned = agreement < 0
    factor = m.where(turned, less, m.where(agreement > 0, more, 1.0))
    size = m.minimum(m.maximum(size * factor, least), most)
    g = m.where(turned, 0.0, g)
    return p - m.where(g > 0, size, m.where(g < 0, -size, g * size)), g, size


# ---- Adam and its relatives --------------------------------------------------------------------


def _adam(m, p, g, first, second, *largest, step, floor, beta1, beta2, rest1, rest2, amsgrad,
          shrink=None):  # fmt: skip
    first = beta1 * first + rest1 * g
    second = beta2 * second + rest2 * (g * g)
    tops = (m.maximum(largest[0], second),) if amsgrad else ()
    if shrink is not None:
        p = p * shrink
    p = p - step * first / (m.sqrt(tops[0] if amsgrad else second) + floor)
    return p, first, second, *tops


def _adamax(m, p, g, moment, largest, *, step, beta1, beta2, rest1, epsilon, beside):
    moment = beta1 * moment + rest1 * g
    faded, size = beta2 * largest, m.abs(g)
    largest = m.maximum(faded, size + epsilon) if beside else m.maximum(faded + epsilon, size)
    return p - step * (moment / largest), moment, largest


def _lamb(m, p, g, first, second, *, beta1, beta2, rest1, rest2, first_scale, second_scale, epsilon,
          shrink=None):  # fmt: skip
    first = beta1 * first + rest1 * g
    second = beta2 * second + rest2 * (g * g)
    step = first * first_scale / (m.sqrt(second * second_scale) + epsilon)
    if shrink is not None:
        step = step + shrink * p
    return step, first, second


def _nadam(m, p, g, first, second, *, beta1, beta2, rest1, rest2, of_gradient, of_moment, scale,
           epsilon):  # fmt: skip
    first = beta1 * first + rest1 * g
    second = beta2 * second + rest2 * (g * g)
    ahead = of_gradient * g + of_moment * first
    return p - ahead / (m.sqrt(second * scale) + epsilon), first, second


def _radam(m, p, g, first, second, *, step, trusted, rectified, beta1, beta2, rest1, rest2,
           epsilon):  # fmt: skip
    first = beta1 * first + rest1 * g
    second = beta2 * second + rest2 * (g * g)
    scaled = m.where(trusted > 0, rectified / (m.sqrt(second) + epsilon), 1.0)
    return p - step * first * scaled, first, second


# ---- what is the same for all elements ---------------------------------------------------------


def _plain(m: Any, lr: Any, **settings: Any) -> Numbers:
    return {"lr": lr, **settings}, ()


def _dampened_numbers(m, lr, steps, *, momentum, dampening):
    # The first gradient counts as a whole.
    fresh = m.where(steps > 0, 1 - dampening, 1.0)
    return {"lr": lr, "momentum": momentum, "fresh": fresh}, (steps + 1,)


def _decaying_numbers(m, lr, steps, *, lr_decay, epsilon):
    return {"lr": lr / (1 + steps * lr_decay), "epsilon": epsilon}, (steps + 1,)


def _averaged_numbers(m, lr, steps, step, share, *, lambd, alpha, start):
    steps = steps + 1
    later = lr / m.power(1 + lambd * lr * steps, alpha)
    beyond = steps - start
    shares = 1 / m.where(beyond > 1, beyond, 1.0)
    numbers = {"step": step, "share": share, "shrink": 1 - lambd * step}
    return numbers, (steps, later, shares)


def _with_rest(m: Any, lr: Any, *, rho: float, **settings: Any) -> Numbers:
    # 1 - rho in double: in single precision 1 - 0.999 has lost three of its seven digits.
    return {"lr": lr, "rho": rho, "rest": 1 - rho, **settings}, ()


def _sizes(m: Any, **settings: Any) -> Numbers:
    return settings, ()


def _betas(beta1: float, beta2: float) -> dict[str, float]:
    return {"beta1": beta1, "beta2": beta2, "rest1": 1 - beta1, "rest2": 1 - beta2}


def _adam_numbers(m, lr, power1, power2, *, beta1, beta2, epsilon, weight_decay=None):
    root = m.sqrt(1 - power2)
    numbers = {
        "step": lr * root / (1 - power1), "floor": epsilon * root, **_betas(beta1, beta2),
    }  # fmt: skip
    if weight_decay:
        numbers["shrink"] = 1 - lr * weight_decay
    return numbers, (power1 * beta1, power2 * beta2)


def _adamax_numbers(m, lr, power, *, beta1, beta2, epsilon):
    betas = {"beta1": beta1, "beta2": beta2, "rest1": 1 - beta1}
    return {"step": lr / (1 - power), "epsilon": epsilon, **betas}, (power * beta1,)


def _lamb_numbers(m, lr, power1, power2, *, beta1, beta2, epsilon, weight_decay):
    numbers = {
        "lr": lr, "first_scale": 1 / (1 - power1), "second_scale": 1 / (1 - power2),
        "epsilon": epsilon, **_betas(beta1, beta2),
    }  # fmt: skip
    if weight_decay:
        numbers["shrink"] = weight_decay
    return numbers, (power1 * beta1, power2 * beta2)


def _nadam_numbers(m, lr, fade, power2, product, *, beta1, beta2, epsilon, momentum_decay):
    later = fade * 0.96**momentum_decay
    mu, mu_next = beta1 * (1 - 0.5 * fade), beta1 * (1 - 0.5 * later)
    product = product * mu
    numbers = {
        "of_gradient": lr * (1 - mu) / (1 - product),
        "of_moment": lr * mu_next / (1 - product * mu_next),
        "scale": 1 / (1 - power2), "epsilon": epsilon, **_betas(beta1, beta2),
    }  # fmt: skip
    return numbers, (later, power2 * beta2, product)


def _radam_numbers(m, lr, power1, power2, step, *, beta1, beta2, epsilon):
    limit = 2 / (1 - beta2) - 1
    length = limit - 2 * step * power2 / (1 - power2)
    # The length never exceeds the limit: below 5 nothing is ever trusted, and 5 divides by no zero.
    limit = max(limit, 5.0)
    held = m.where(length > 5, length, 6.0)
    grown = (held - 4) * (held - 2) * limit / ((limit - 4) * (limit - 2) * held)
    numbers = {
        "step": lr / (1 - power1), "trusted": m.where(length > 5, 1.0, 0.0),
        "rectified": m.sqrt(grown * (1 - power2)), "epsilon": epsilon, **_betas(beta1, beta2),
    }  # fmt: skip
    return numbers, (power1 * beta1, power2 * beta2, step + 1)


def trust_ratio(m: Any, long: Any, short: Any) -> Any:
    """Length of a parameter over that of its step; 1 where either is zero."""
    known = long * short > 0
    return m.where(known, long / m.where(known, short, 1.0), 1.0)


def _count(slots: int) -> Callable[..., int]:
    return lambda **flags: slots


def _adam_slots(*, amsgrad: bool, **flags: bool) -> int:
    return 2 + amsgrad


def _rmsprop_count(*, heavy: bool, centered: bool, **flags: bool) -> int:
    return len(_rmsprop_slots(heavy, centered))


RULES = {
    "sgd_update": Rule(_sgd, _plain, _count(0)),
    "momentum_update": Rule(_momentum, _plain, _count(1)),
    "dampened_update": Rule(_momentum, _dampened_numbers, _count(1)),
    "adagrad_update": Rule(_adagrad, _plain, _count(1)),
    "decaying_adagrad_update": Rule(_adagrad, _decaying_numbers, _count(1)),
    "averaged_update": Rule(_averaged, _averaged_numbers, _count(1)),
    "adadelta_update": Rule(_adadelta, _with_rest, _count(2)),
    "rmsprop_update": Rule(_rmsprop, _with_rest, _rmsprop_count),
    "rprop_update": Rule(_rprop, _sizes, _count(2)),
    "adam_update": Rule(_adam, _adam_numbers, _adam_slots),
    "adamw_update": Rule(_adam, _adam_numbers, _adam_slots, decoupled=True),
    "adamax_update": Rule(_adamax, _adamax_numbers, _count(2)),
    "lamb_update": Rule(_lamb, _lamb_numbers, _count(2), decoupled=True, measured=True),
    "nadam_update": Rule(_nadam, _nadam_numbers, _count(2)),
    "radam_update": Rule(_radam, _radam_numbers, _count(2)),
}
"""Every rule by the name of its op."""
