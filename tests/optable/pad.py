"""Rows of `dyn/ops/pad.py`."""

from __future__ import annotations

import numpy as np

from tests.optable.case import OpCase, array

X = array("n", 3, 4)


def padded(x, pads, mode, value):
    names = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    return np.pad(x, pads, mode=names[mode])


def folded(g, pads, mode, shape):
    places = padded(np.arange(np.prod(shape)).reshape(shape), pads, mode, 0)
    out = np.zeros(shape)
    np.add.at(out.reshape(-1), places.reshape(-1), g.reshape(-1))
    return out


ROWS = [
    OpCase(
        "pad",
        [X],
        attrs={"pads": ((0, 0), (1, 2), (3, 0)), "mode": "constant", "value": 0.5},
        reference=lambda x, pads, mode, value: np.pad(x, pads, constant_values=value),
        dtypes=("float32", "float64", "float16"),
        onnx="Pad",
    ),
    OpCase(
        "pad",
        [X],
        attrs={"pads": ((0, 0), (-1, 2), (0, -2)), "mode": "constant", "value": 0.0},
        reference=lambda x, pads, mode, value: np.pad(x[:, 1:, :2], ((0, 0), (0, 2), (0, 0))),
        note="negative",
    ),
    *(
        OpCase(
            "pad",
            [array("n", 4, "h")],
            attrs={"pads": ((0, 0), (1, 2), (2, 1)), "mode": mode, "value": 0.0},
            reference=padded,
            sizes={"h": (6, 9)},
            empty=False,
            single=mode == "replicate",
            note=mode,
        )
        for mode in ("reflect", "replicate", "circular")
    ),
    *(
        OpCase(
            "pad_grad",
            [array(3, 7, 8)],
            attrs={"pads": ((0, 0), (1, 2), (2, 1)), "mode": mode, "shape": (3, 4, 5)},
            reference=folded,
            empty=False,
            note=mode,
        )
        for mode in ("reflect", "replicate", "circular")
    ),
]
