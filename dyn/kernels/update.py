"""Optimiser steps over a whole parameter group in one call.

Arrays in, new arrays out: the old parameters and slots stay as they were, because tensors that
users hold may still refer to them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Arrays = Sequence[np.ndarray]


def sgd(lr: np.ndarray, params: Arrays, grads: Arrays, *, weight_decay: float) -> list[np.ndarray]:
    """p - lr * (g + weight_decay * p)."""
    out = []
    for p, g in zip(params, grads, strict=True):
        step = g + p.dtype.type(weight_decay) * p if weight_decay else g
        out.append(p - lr.astype(p.dtype) * step)
    return out


def momentum(
    lr: np.ndarray,
    params: Arrays,
    grads: Arrays,
    velocities: Arrays,
    *,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """v' = momentum * v + g; p' = p - lr * v' (Nesterov: p - lr * (g + momentum * v'))."""
    new_p, new_v = [], []
    for p, g, v in zip(params, grads, velocities, strict=True):
        mu = p.dtype.type(momentum)
        step = g + p.dtype.type(weight_decay) * p if weight_decay else g
        velocity = mu * v + step
        new_v.append(velocity)
        new_p.append(p - lr.astype(p.dtype) * (step + mu * velocity if nesterov else velocity))
    return new_p, new_v


def adam(
    lr: np.ndarray,
    beta1_pow: np.ndarray,
    beta2_pow: np.ndarray,
    params: Arrays,
    grads: Arrays,
    first: Arrays,
    second: Arrays,
    *,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
    decoupled: bool,
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Adam, or AdamW when `decoupled`; the powers are those that belong to this step."""
    new_p, new_m, new_v = [], [], []
    for p, g, m, v in zip(params, grads, first, second, strict=True):
        kind = p.dtype.type
        rate = kind(lr)
        start = p
        if weight_decay and decoupled:
            start = p * (1 - rate * kind(weight_decay))
        elif weight_decay:
            g = g + kind(weight_decay) * p
        m_next = kind(beta1) * m + kind(1 - beta1) * g
        v_next = kind(beta2) * v + kind(1 - beta2) * g * g
        root = np.sqrt(1 - kind(beta2_pow))
        step = rate * root / (1 - kind(beta1_pow))
        new_m.append(m_next)
        new_v.append(v_next)
        new_p.append(start - step * m_next / (np.sqrt(v_next) + kind(epsilon) * root))
    return new_p, new_m, new_v
