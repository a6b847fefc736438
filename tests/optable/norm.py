"""Rows of `dyn/ops/norm.py` and `dyn/ops/group_norm.py`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.optable.case import OpCase, array

EPSILON = {"epsilon": 1e-3}


def column(v: Any, x: np.ndarray) -> Any:
    """[C] beside [N, C, ...]; a missing vector is left out by its neutral number."""
    return v.reshape(1, -1, *[1] * (x.ndim - 2))


def statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    axes = (0, *range(2, x.ndim))
    return x.mean(axis=axes), x.var(axis=axes)


def ref_batch_norm(x, scale, bias, residual=None, *, epsilon, activation=None):
    mean, var = statistics(x)
    out = ref_batch_norm_infer(x, scale, bias, mean, var, epsilon=epsilon)
    out = out if residual is None else out + residual
    return np.maximum(out, 0) if activation == "relu" else out, mean, var


def ref_batch_norm_infer(x, scale, bias, mean, var, *, epsilon):
    out = (x - column(mean, x)) / np.sqrt(column(var, x) + epsilon)
    if scale is not None:
        out = out * column(scale, x)
    return out if bias is None else out + column(bias, x)


def ref_batch_norm_grad(
    g, x, scale, bias, residual, mean, var, g_mean, g_var, *, epsilon, activation
):
    """The chain rule step by step: through the output to variance and mean, then to x."""
    if activation == "relu":
        before = ref_batch_norm_infer(x, scale, bias, mean, var, epsilon=epsilon)
        g = np.where(before + (0 if residual is None else residual) > 0, g, 0)
    count = x.size / x.shape[1]
    axes = (0, *range(2, x.ndim))
    deviation = np.sqrt(var + epsilon)
    centred = x - column(mean, x)
    gbias = g.sum(axis=axes)
    gscale = (g * centred / column(deviation, x)).sum(axis=axes)
    g_normal = g if scale is None else g * column(scale, x)
    to_var = (g_normal * centred).sum(axis=axes) * -0.5 / deviation**3 + g_var
    to_mean = -g_normal.sum(axis=axes) / deviation + g_mean
    gx = g_normal / column(deviation, x)
    gx = gx + column(to_var, x) * 2 * centred / count + column(to_mean, x) / count
    return (gx, gscale, gbias) if residual is None else (gx, gscale, gbias, g)


def ref_batch_norm_infer_grad(g, x, scale, mean, var, *, epsilon):
    axes = (0, *range(2, x.ndim))
    deviation = np.sqrt(var + epsilon)
    g_normal = g if scale is None else g * column(scale, x)
    centred = x - column(mean, x)
    return (
        g_normal / column(deviation, x),
        (g * centred).sum(axis=axes) / deviation,
        g.sum(axis=axes),
        -g_normal.sum(axis=axes) / deviation,
        (g_normal * centred).sum(axis=axes) * -0.5 / deviation**3,
    )


X = array("n", 3, "h", 4)


def ref_layer_norm(x, scale, bias, *, axes_count, epsilon):
    lead = x.shape[: x.ndim - axes_count]
    rows = x.reshape(*lead, math.prod(x.shape[x.ndim - axes_count :]))
    out = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + epsilon)
    out = out.reshape(x.shape)
    out = out if scale is None else out * scale
    return out if bias is None else out + bias


def ref_layer_norm_grad(g, x, scale, mean, rstd, *, axes_count, epsilon):
    """With statistics that are given, not those of x: the kernel must use them as they are."""
    lead = tuple(range(x.ndim - axes_count))
    last = tuple(range(x.ndim - axes_count, x.ndim))
    normal = (x - mean) * rstd
    scaled = g if scale is None else g * scale
    inner = scaled - scaled.mean(last, keepdims=True)
    inner = inner - normal * (scaled * normal).mean(last, keepdims=True)
    return rstd * inner, (g * normal).sum(lead), g.sum(lead)


def ref_group_norm(x, scale, bias, *, groups, epsilon):
    rows = x.reshape(x.shape[0], groups, math.prod(x.shape[1:]) // groups)
    out = (rows - rows.mean(2, keepdims=True)) / np.sqrt(rows.var(2, keepdims=True) + epsilon)
    out = out.reshape(x.shape)
    out = out if scale is None else out * column(scale, x)
    return out if bias is None else out + column(bias, x)


def ref_group_norm_grad(g, x, scale, mean, rstd, *, groups, epsilon):
    axes = (0, *range(2, x.ndim))
    rows = x.reshape(x.shape[0], groups, math.prod(x.shape[1:]) // groups)
    normal = (rows - mean[:, :, None]) * rstd[:, :, None]
    scaled = (g if scale is None else g * column(scale, x)).reshape(rows.shape)
    inner = scaled - scaled.mean(2, keepdims=True)
    inner = inner - normal * (scaled * normal).mean(2, keepdims=True)
    gx = (rstd[:, :, None] * inner).reshape(x.shape)
    return gx, (g * normal.reshape(x.shape)).sum(axes), g.sum(axes)


def ref_rms_norm(x, scale, *, axes_count, epsilon):
    last = tuple(range(x.ndim - axes_count, x.ndim))
    out = x / np.sqrt((x**2).mean(last, keepdims=True) + epsilon)
    return out if scale is None else out * scale


def ref_rms_norm_grad(g, x, scale, rstd, *, axes_count, epsilon):
    last = tuple(range(x.ndim - axes_count, x.ndim))
    normal = x * rstd
    scaled = g if scale is None else g * scale
    gx = rstd * (scaled - normal * (scaled * normal).mean(last, keepdims=True))
    return gx, (g * normal).sum(tuple(range(x.ndim - axes_count)))


def ref_window_sum(x, *, low, high):
    out = np.zeros_like(x)
    for c in range(x.shape[1]):
        out[:, c] = x[:, max(0, c - low) : c + high + 1].sum(axis=1)
    return out


def ref_local_response_norm(x, *, size, alpha, beta, k):
    squares = ref_window_sum(x**2, low=size // 2, high=(size - 1) // 2)
    return x / (k + alpha / size * squares) ** beta


POSITIVE = {"low": 0.3, "high": 2.0}

BATCH = [
    OpCase(
        "batch_norm",
        [X, array(3), array(3)],
        EPSILON,
        ref_batch_norm,
        onnx="BatchNormalization",
        empty=False,
        gradient_tol=1e-6,
    ),
    OpCase("batch_norm", [X, None, None], EPSILON, ref_batch_norm, note="plain", empty=False),
    OpCase("batch_norm", [array("n", 4), array(4), array(4)], EPSILON, ref_batch_norm,
           note="flat", empty=False, single=False),
    OpCase(
        "running_statistics",
        [array("n"), array("n"), array("n"), array("n")],
        {"take": 0.25, "more": 1.5},
        lambda old_mean, old_var, mean, var, take, more: (
            old_mean + take * (mean - old_mean),
            old_var + take * (more * var - old_var),
        ),
        dtypes=("float32", "float64", "float16", "bfloat16"),
        order=0,
        onnx="Mul",
    ),
    OpCase(
        "batch_norm_infer",
        [X, array(3), array(3), array(3), array(3, **POSITIVE)],
        EPSILON,
        ref_batch_norm_infer,
        onnx="BatchNormalization",
    ),
    OpCase(
        "batch_norm_infer",
        [array("n", 3, 5), None, None, array(3), array(3, **POSITIVE)],
        EPSILON,
        ref_batch_norm_infer,
        note="plain",
    ),
    *(
        OpCase(
            "batch_norm_infer_grad",
            [x, x, scale, array(3), array(3, **POSITIVE)],
            EPSILON,
            ref_batch_norm_infer_grad,
            note=note,
        )
        for note, x, scale in (("scaled", X, array(3)), ("plain", array("n", 3), None))
    ),
    OpCase(
        "batch_norm",
        [X, array(3), array(3), X],
        {**EPSILON, "activation": "relu"},
        ref_batch_norm,
        note="relu-residual",
        empty=False,
        single=False,
        gradient_tol=1e-5,
    ),
    # Their mean and var are not those of x: the second order of batch_norm tells the gradients.
    *(
        OpCase(
            "batch_norm_grad",
            [X, X, array(3), array(3), residual, array(3), array(3, **POSITIVE), array(3),
             array(3)],
            {**EPSILON, "activation": activation},
            ref_batch_norm_grad,
            empty=False,
            order=0,
            wrt=(),
            note=note,
        )
        for note, residual, activation in (
            ("plain", None, None), ("relu", None, "relu"), ("residual", X, "relu"),
        )
    ),
]  # fmt: skip


LAYER = [
    OpCase(
        "layer_norm",
        [array("n", "t", 6), array(6), array(6)],
        {"axes_count": 1, **EPSILON},
        ref_layer_norm,
        onnx="LayerNormalization",
    ),
    OpCase(
        "layer_norm",
        [array("n", 3, 4), array(3, 4), array(3, 4)],
        {"axes_count": 2, **EPSILON},
        ref_layer_norm,
        note="two-axes",
    ),
    OpCase(
        "layer_norm",
        [array(2, "n", "c"), None, None],
        {"axes_count": 1, **EPSILON},
        ref_layer_norm,
        note="plain",
        empty=False,
    ),
    OpCase(
        "layer_norm_grad",
        [array("n", "t", 6), array("n", "t", 6), array(6), array("n", "t", 1),
         array("n", "t", 1, **POSITIVE)],
        {"axes_count": 1, **EPSILON},
        ref_layer_norm_grad,
        order=0,
        wrt=(),
    ),
    OpCase(
        "layer_norm_grad",
        [array("n", 3, 4), array("n", 3, 4), None, array("n", 1, 1),
         array("n", 1, 1, **POSITIVE)],
        {"axes_count": 2, **EPSILON},
        ref_layer_norm_grad,
        note="plain",
        order=0,
        wrt=(),
    ),
]  # fmt: skip


GROUP = [
    *(
        OpCase(
            "group_norm",
            [array("n", 6, "h", 4), array(6), array(6)],
            {"groups": groups, **EPSILON},
            ref_group_norm,
            note=f"{groups}-groups",
            empty=False,
            gradient_tol=1e-6,
        )
        for groups in (1, 3, 6)
    ),
    OpCase(
        "group_norm",
        [array("n", 4, 5), None, None],
        {"groups": 2, **EPSILON},
        ref_group_norm,
        note="plain",
    ),
    OpCase(
        "group_norm_grad",
        [array("n", 6, 3, 4), array("n", 6, 3, 4), array(6), array("n", 3),
         array("n", 3, **POSITIVE)],
        {"groups": 3, **EPSILON},
        ref_group_norm_grad,
        order=0,
        wrt=(),
    ),
    OpCase(
        "rms_norm",
        [array("n", "t", 6), array(6)],
        {"axes_count": 1, **EPSILON},
        ref_rms_norm,
    ),
    OpCase(
        "rms_norm",
        [array("n", 3, 4), None],
        {"axes_count": 2, **EPSILON},
        ref_rms_norm,
        note="plain",
    ),
    OpCase(
        "rms_norm_grad",
        [array("n", "t", 6), array("n", "t", 6), array(6), array("n", "t", 1, **POSITIVE)],
        {"axes_count": 1, **EPSILON},
        ref_rms_norm_grad,
        order=0,
        wrt=(),
    ),
    *(
        OpCase(
            "channel_window_sum",
            [array("n", channels, "h")],
            {"low": 2, "high": 1},
            ref_window_sum,
            note=f"{channels}-channels",
        )
        for channels in (2, 6)
    ),
    *(
        OpCase(
            "local_response_norm",
            [array("n", 6, "h", 4)],
            {"size": size, "alpha": 0.5, "beta": 0.75, "k": 1.0},
            ref_local_response_norm,
            onnx="LRN" if size % 2 else None,
            note=f"size-{size}",
        )
        for size in (3, 4)
    ),
]  # fmt: skip

ROWS = [*BATCH, *LAYER, *GROUP]
