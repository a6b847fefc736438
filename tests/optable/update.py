"""Rows of `dyn/ops/update.py`, `embedding.py` and `dropout.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.optable.case import OpCase, array, bools, ints

SHAPES = ((3, 4), (5,))
"""Shapes of the parameters in a group."""


def group(kinds: int, **last: Any) -> list[Any]:
    """Parameters, gradients, slots ...; fields of the last kind may differ."""
    found = []
    for kind in range(kinds):
        fields = last if kind == kinds - 1 else {}
        found += [array(*shape, **fields) for shape in SHAPES]
    return found


def cut(tensors: Any, kinds: int) -> list[Any]:
    count = len(tensors) // kinds
    return [tensors[i * count : (i + 1) * count] for i in range(kinds)]


def ref_sgd(lr, *tensors, weight_decay):
    return [p - lr * (g + weight_decay * p) for p, g in zip(*cut(tensors, 2), strict=True)]


def ref_momentum(lr, *tensors, momentum, nesterov, weight_decay):
    new_p, new_v = [], []
    for p, g, v in zip(*cut(tensors, 3), strict=True):
        g = g + weight_decay * p
        v = momentum * v + g
        new_v.append(v)
        new_p.append(p - lr * (g + momentum * v if nesterov else v))
    return [*new_p, *new_v]


def ref_adam(decoupled):
    """Adam as in the paper: corrected moments, then the step."""

    def reference(lr, pow1, pow2, *tensors, beta1, beta2, epsilon, weight_decay):
        new: list[list[Any]] = [[], [], []]
        for p, g, m, v in zip(*cut(tensors, 4), strict=True):
            if decoupled:
                p = p - lr * weight_decay * p
            else:
                g = g + weight_decay * p
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            step = lr * (m / (1 - pow1)) / (np.sqrt(v / (1 - pow2)) + epsilon)
            for kind, value in zip(new, (p - step, m, v), strict=True):
                kind.append(value)
        return [*new[0], *new[1], *new[2], pow1 * beta1, pow2 * beta2]

    return reference


ADAM = {"beta1": 0.9, "beta2": 0.99, "epsilon": 1e-3}
SCALARS = [array(low=0.01, high=0.1), array(low=0.5, high=0.9), array(low=0.9, high=0.99)]

STEPS = [
    *(
        OpCase("sgd_update", [SCALARS[0], *group(2)], {"weight_decay": decay}, ref_sgd, order=0,
               note=f"decay-{decay}")
        for decay in (0.0, 0.1)
    ),
    *(
        OpCase(
            "momentum_update",
            [SCALARS[0], *group(3)],
            {"momentum": 0.8, "nesterov": nesterov, "weight_decay": decay},
            ref_momentum,
            order=0,
            note=note,
        )
        for note, nesterov, decay in (("plain", False, 0.0), ("nesterov", True, 0.1))
    ),
    *(
        OpCase(
            op,
            [*SCALARS, *group(4, low=0.0)],
            {**ADAM, "weight_decay": decay},
            ref_adam(op == "adamw_update"),
            order=0,
            note=f"decay-{decay}",
        )
        for op in ("adam_update", "adamw_update")
        for decay in (0.0, 0.1)
    ),
]  # fmt: skip


def ref_embedding_grad(g, x, *, shape, padding_idx):
    out = np.zeros(shape)
    for at in np.ndindex(*x.shape):
        if x[at] != padding_idx:
            out[x[at]] += g[at]
    return out


TABLE = [
    OpCase(
        "embedding",
        [ints("n", 3, low=0, high=6), array(6, 4)],
        {"padding_idx": None},
        lambda x, w, padding_idx: w[x],
        onnx="Gather",
    ),
    OpCase(
        "embedding",
        [ints("n", low=0, high=6, dtype="int32"), array(6, 4)],
        {"padding_idx": 2},
        lambda x, w, padding_idx: w[x],
        note="padded",
        order=0,
        wrt=(),
    ),
    *(
        OpCase(
            "embedding_grad",
            [array("n", 3, 4), ints("n", 3, low=0, high=6)],
            {"shape": (6, 4), "padding_idx": padding},
            ref_embedding_grad,
            onnx="ScatterND",
            note=f"padding-{padding}",
        )
        for padding in (None, 2)
    ),
]


def ref_dropout_grad(g, mask, *, p, mode):
    scale = 1 / (1 - p) if mode == "upscale_in_train" and p < 1 else 1
    return np.where(mask, g * scale, 0)


def nothing_kept(x, *, p, mode):
    return np.zeros_like(x)


DROPPED = [
    *(
        OpCase("dropout", [array("n", 6)], {"p": 0.4, "mode": mode}, order=0, wrt=(),
               onnx="Dropout", note=mode)
        for mode in ("upscale_in_train", "downscale_in_infer")
    ),
    OpCase(
        "dropout",
        [array("n", 6)],
        {"p": 1.0, "mode": "upscale_in_train"},
        nothing_kept,
        note="all",
    ),
    *(
        OpCase(
            "dropout_grad",
            [array("n", 6), bools("n", 6)],
            {"p": 0.4, "mode": mode},
            ref_dropout_grad,
            note=mode,
        )
        for mode in ("upscale_in_train", "downscale_in_infer")
    ),
]  # fmt: skip

ROWS = [*STEPS, *TABLE, *DROPPED]
