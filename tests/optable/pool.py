"""Rows of `dyn/ops/pool.py` and `dyn/ops/adaptive.py`. References look at one window at a time."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from dyn.core.op import OPS
from tests.optable.case import OpCase, array, ints


def windows(spatial: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> Any:
    """Per output position the places it sees, also those in the padding; and how many positions."""
    axes = []
    for i, n in enumerate(spatial):
        low, high, k, s, d = padding[2 * i], padding[2 * i + 1], kernel[i], stride[i], dilation[i]
        reach = d * (k - 1) + 1
        starts = list(range(-low, n + high - reach + 1, s))
        if ceil and starts[-1] + reach < n + high and starts[-1] + s < n:
            starts.append(starts[-1] + s)
        axes.append([[start + d * t for t in range(k)] for start in starts])
    return itertools.product(*map(enumerate, axes)), tuple(map(len, axes))


def ref_max_pool(x, *, kernel, stride, padding, dilation, ceil_mode, index=False):
    seen, sizes = windows(x.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    out = np.empty((*x.shape[:2], *sizes))
    where = np.empty(out.shape, np.int64)
    place = np.arange(np.prod(x.shape[2:])).reshape(x.shape[2:])
    for boxes in seen:
        at = tuple(i for i, _ in boxes)
        inner = [
            [p for p in box if 0 <= p < n] for (_, box), n in zip(boxes, x.shape[2:], strict=True)
        ]
        flat = x[(slice(None), slice(None), *np.ix_(*inner))].reshape(
            *x.shape[:2], math.prod(map(len, inner))
        )
        out[(slice(None), slice(None), *at)] = flat.max(axis=2)
        best = flat.argmax(axis=2)
        where[(slice(None), slice(None), *at)] = place[np.ix_(*inner)].reshape(-1)[best]
    return where if index else out


def ref_max_pool_grad(g, index, *, x_shape):
    out = np.zeros(x_shape)
    flat = out.reshape(*x_shape[:2], math.prod(x_shape[2:]))
    for n, c in np.ndindex(*x_shape[:2]):
        for value, at in zip(g[n, c].ravel(), index[n, c].ravel(), strict=True):
            flat[n, c, at] += value
    return out


def shares(spatial, *, kernel, stride, padding, ceil_mode, exclusive, divisor):
    """Per output position: what it sees inside, and what its sum is divided by."""
    ones = (1,) * len(kernel)
    seen, sizes = windows(spatial, kernel, stride, padding, ones, ceil_mode)
    found = []
    for boxes in seen:
        inner, count = [], 1
        for i, ((_, box), n) in enumerate(zip(boxes, spatial, strict=True)):
            inside = [p for p in box if 0 <= p < n]
            padded = [p for p in box if p < n + padding[2 * i + 1]]
            inner.append(inside)
            count *= len(inside) if exclusive else len(padded)
        found.append((tuple(i for i, _ in boxes), np.ix_(*inner), divisor or count))
    return found, sizes


def ref_avg_pool(x, **attrs):
    found, sizes = shares(x.shape[2:], **attrs)
    out = np.empty((*x.shape[:2], *sizes))
    axes = tuple(range(2, x.ndim))
    for at, box, count in found:
        total = x[(slice(None), slice(None), *box)].sum(axis=axes)
        out[(slice(None), slice(None), *at)] = total / count
    return out


def ref_avg_pool_grad(g, *, x_shape, **attrs):
    found, _ = shares(x_shape[2:], **attrs)
    out = np.zeros(x_shape)
    for at, box, count in found:
        value = g[(slice(None), slice(None), *at)] / count
        out[(slice(None), slice(None), *box)] += value.reshape(*value.shape, *[1] * (g.ndim - 2))
    return out


def boxes(spatial, sizes):
    """The bins of adaptive pooling: output position, and the places it sees."""
    edges = [
        [(i, range(i * n // o, -(-(i + 1) * n // o))) for i in range(o)]
        for n, o in zip(spatial, sizes, strict=True)
    ]
    for cut in itertools.product(*edges):
        yield tuple(i for i, _ in cut), np.ix_(*(places for _, places in cut))


def ref_adaptive(x, *, sizes, how="mean"):
    place = np.arange(np.prod(x.shape[2:])).reshape(x.shape[2:])
    out = np.empty((*x.shape[:2], *sizes), np.int64 if how == "index" else np.float64)
    for at, box in boxes(x.shape[2:], sizes):
        flat = x[(slice(None), slice(None), *box)]
        flat = flat.reshape(*x.shape[:2], math.prod(flat.shape[2:]))
        if how == "index":
            value = place[box].reshape(-1)[flat.argmax(axis=2)]
        else:
            value = flat.mean(axis=2) if how == "mean" else flat.max(axis=2)
        out[(slice(None), slice(None), *at)] = value
    return out


def ref_adaptive_grad(g, *, x_shape):
    out = np.zeros(x_shape)
    for at, box in boxes(x_shape[2:], g.shape[2:]):
        value = g[(slice(None), slice(None), *at)] / box[0].size
        for further in box[1:]:
            value = value / further.size
        out[(slice(None), slice(None), *box)] += value.reshape(*value.shape, *[1] * (g.ndim - 2))
    return out


def max_attrs(kernel, stride, padding, dilation=None, ceil_mode=False):
    return {
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation or (1,) * len(kernel),
        "ceil_mode": ceil_mode,
    }


def avg_attrs(kernel, stride, padding, ceil_mode=False, exclusive=True, divisor=None):
    return {
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil_mode,
        "exclusive": exclusive,
        "divisor": divisor,
    }


def distinct(*shape: int | str) -> Any:
    """Numbers apart from each other, so that a maximum stays one under small steps."""
    return array(*shape, distinct=True)


SQUARE = max_attrs((2, 2), (2, 2), (0, 0, 0, 0))
OVERLAP = max_attrs((3, 3), (2, 2), (1, 1, 1, 1))
ODD = max_attrs((2, 3), (2, 1), (0, 1, 1, 1), dilation=(2, 1))
CEIL = max_attrs((3, 3), (2, 2), (1, 1, 1, 1), ceil_mode=True)
LINE = max_attrs((3,), (2,), (1, 1))
CUBE = max_attrs((2, 2, 2), (2, 2, 2), (0, 0, 0, 0, 0, 0))

MEAN = avg_attrs((2, 2), (2, 2), (0, 0, 0, 0))
MEAN_EDGE = avg_attrs((3, 3), (2, 2), (1, 1, 1, 1))
MEAN_ALL = avg_attrs((3, 2), (2, 1), (1, 1, 1, 1), exclusive=False)
MEAN_UNEVEN = avg_attrs((3, 2), (2, 1), (1, 1, 0, 1), exclusive=False)
MEAN_CEIL = avg_attrs((3, 3), (2, 2), (1, 0, 1, 1), ceil_mode=True, exclusive=False)
MEAN_CEIL_EDGE = avg_attrs((3, 3), (2, 2), (0, 1, 1, 1), ceil_mode=True)
MEAN_DIVISOR = avg_attrs((2, 2), (1, 1), (0, 0, 0, 0), divisor=3)
MEAN_LINE = avg_attrs((3,), (2,), (1, 1))
MEAN_CUBE = avg_attrs((2, 2, 2), (2, 2, 2), (0, 0, 0, 0, 0, 0))

SPREAD = {"h": (8, 9), "w": (7, 6)}
"""Spatial sizes when traced, and later."""


def max_rows() -> list[OpCase]:
    rows = []
    for note, attrs in (("", SQUARE), ("overlap", OVERLAP), ("odd", ODD), ("ceil", CEIL)):
        row = {"attrs": attrs, "sizes": SPREAD, "note": note, "single": False, "empty": False}
        x = distinct("n", 3, "h", "w")
        rows.append(OpCase("max_pool", [x], reference=ref_max_pool, onnx="MaxPool", **row))
        rows.append(
            OpCase(
                "max_pool_index",
                [x],
                reference=lambda x, **attrs: ref_max_pool(x, index=True, **attrs),
                order=0,
                **row,
            )
        )
    large = ints("n", 2, 4, 5, low=2**24, high=2**25, dtype="int32")  # not all are float32 numbers

    def ref_integers(x: np.ndarray, **attrs: Any) -> np.ndarray:
        return ref_max_pool(x, **attrs).astype(x.dtype)

    row = {"order": 0, "note": "integers", "single": False, "empty": False}
    rows.append(OpCase("max_pool", [large], SQUARE, ref_integers, **row))
    rows.append(OpCase("max_pool", [distinct("n", 2, 9)], LINE, ref_max_pool, note="1d"))
    rows.append(OpCase("max_pool", [distinct("n", 2, 4, 5, 6)], CUBE, ref_max_pool, note="3d"))
    rows.append(
        OpCase(
            "max_pool_grad",
            [array("n", 2, 4, 4), ints("n", 2, 4, 4, low=0, high=42, dtype="int32")],
            reference=lambda g, index: ref_max_pool_grad(g, index, x_shape=(*g.shape[:2], 6, 7)),
            run=lambda g, index: OPS["max_pool_grad"](
                g, index, x_shape=(g.shape[0], g.shape[1], 6, 7)
            ),
        )
    )
    return rows


def avg_rows() -> list[OpCase]:
    rows = []
    for note, attrs in (
        ("", MEAN),
        ("edge", MEAN_EDGE),
        ("all", MEAN_ALL),
        ("uneven", MEAN_UNEVEN),
        ("ceil", MEAN_CEIL),
        ("ceil-edge", MEAN_CEIL_EDGE),
        ("divisor", MEAN_DIVISOR),
    ):
        rows.append(
            OpCase(
                "avg_pool",
                [array("n", 3, "h", "w")],
                attrs,
                ref_avg_pool,
                sizes=SPREAD,
                single=False,
                empty=False,
                onnx="AveragePool",
                note=note,
            )
        )
        _, out = shares((8, 7), **attrs)
        rows.append(
            OpCase(
                "avg_pool_grad",
                [array("n", 3, *out)],
                reference=lambda g, attrs=attrs: ref_avg_pool_grad(
                    g, x_shape=(g.shape[0], 3, 8, 7), **attrs
                ),
                run=lambda g, attrs=attrs: OPS["avg_pool_grad"](
                    g, x_shape=(g.shape[0], 3, 8, 7), **attrs
                ),
                note=note,
            )
        )
    rows.append(OpCase("avg_pool", [array("n", 2, 9)], MEAN_LINE, ref_avg_pool, note="1d"))
    rows.append(OpCase("avg_pool", [array("n", 2, 4, 5, 6)], MEAN_CUBE, ref_avg_pool, note="3d"))
    return rows


def adaptive_rows() -> list[OpCase]:
    rows = []
    for note, sizes in (("one", (1, 1)), ("even", (4, 2)), ("uneven", (3, 5)), ("more", (9, 7))):
        attrs = {"sizes": sizes}
        row: dict[str, Any] = {"sizes": {"h": (8, 9), "w": (6, 7)}, "empty": False, "note": note}
        for how, op in (("max", "adaptive_max_pool"), ("index", "adaptive_max_pool_index")):
            rows.append(
                OpCase(
                    op,
                    [distinct("n", 3, "h", "w")],
                    attrs,
                    lambda x, sizes, how=how: ref_adaptive(x, sizes=sizes, how=how),
                    order=0 if how == "index" else 2,
                    **row,
                )
            )
        rows.append(
            OpCase("adaptive_avg_pool", [array("n", 3, "h", "w")], attrs, ref_adaptive, **row)
        )
        rows.append(
            OpCase(
                "adaptive_avg_pool_grad",
                [array("n", 3, *sizes)],
                reference=lambda g: ref_adaptive_grad(g, x_shape=(g.shape[0], 3, 8, 6)),
                run=lambda g: OPS["adaptive_avg_pool_grad"](g, x_shape=(g.shape[0], 3, 8, 6)),
                note=note,
            )
        )
    for note, shape, sizes in (("1d", (7,), (3,)), ("3d", (4, 5, 6), (2, 2, 4))):
        attrs = {"sizes": sizes}
        rows.append(
            OpCase("adaptive_avg_pool", [array("n", 2, *shape)], attrs, ref_adaptive, note=note)
        )
        rows.append(
            OpCase(
                "adaptive_max_pool",
                [distinct("n", 2, *shape)],
                attrs,
                lambda x, sizes: ref_adaptive(x, sizes=sizes, how="max"),
                note=note,
            )
        )
    return rows


ROWS = [*max_rows(), *avg_rows(), *adaptive_rows()]
