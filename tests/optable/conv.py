"""Rows of `dyn/ops/conv.py`. References are sums over the taps of the window."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.op import OPS
from tests.convolutions import (
    reference_conv,
    reference_conv_grad_w,
    reference_conv_transpose,
)
from tests.optable.case import OpCase, array


def attrs(
    stride: Any = (1, 1), padding: Any = (0, 0, 0, 0), dilation: Any = (1, 1), groups: int = 1
) -> dict[str, Any]:
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


SHAPES: dict[str, tuple[int, int, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    # note: input channels, output channels, spatial sizes, window, attributes
    "plain": (3, 4, (6, 7), (3, 3), attrs()),
    "padded": (2, 5, (5, 6), (3, 2), attrs(padding=(1, 1, 1, 0))),
    "strided": (3, 2, (8, 7), (3, 3), attrs((2, 2), (1, 1, 1, 1))),
    "uneven": (2, 3, (9, 8), (2, 3), attrs((3, 2), (0, 2, 1, 0))),
    "dilated": (2, 3, (8, 9), (3, 2), attrs((1, 2), (2, 1, 0, 1), (2, 3))),
    "pointwise": (4, 3, (3, 4), (1, 1), attrs((2, 2))),
    "grouped": (4, 6, (6, 5), (3, 3), attrs((2, 1), (1, 1, 1, 1), groups=2)),
    "depthwise": (5, 5, (6, 7), (3, 3), attrs((2, 1), (1, 1, 1, 1), groups=5)),
    "1d": (3, 4, (9,), (3,), attrs((2,), (1, 1), (2,))),
    "3d": (2, 3, (4, 5, 4), (2, 3, 2), attrs((2, 1, 1), (1, 0, 1, 1, 0, 1), (1, 1, 2))),
}
NAMES = ("h", "w", "d")


def out_sizes(sizes: Any, window: Any, attributes: dict[str, Any]) -> tuple[int, ...]:
    pads, gaps = attributes["padding"], attributes["dilation"]
    return tuple(
        (n + pads[2 * i] + pads[2 * i + 1] - gaps[i] * (window[i] - 1) - 1)
        // attributes["stride"][i]
        + 1
        for i, n in enumerate(sizes)
    )


def relu_conv(x, w, b, *, activation, **attributes):
    return np.maximum(reference_conv(x, w, b, **attributes), 0)


def rows() -> list[OpCase]:
    made = []
    for note, (ci, co, sizes, window, attributes) in SHAPES.items():
        names = NAMES[: len(sizes)]
        weight = array(co, ci // attributes["groups"], *window)
        later = tuple(n + 3 for n in sizes)
        spread = dict(zip(names, zip(sizes, later, strict=True), strict=True))
        row: dict[str, Any] = {"note": note, "sizes": spread, "single": False, "empty": False}
        made.append(
            OpCase(
                "conv",
                [array("n", ci, *names), weight, array(co)],
                attributes,
                reference_conv,
                onnx="Conv",
                **row,
            )
        )
        out = [out_sizes(s, window, attributes) for s in (sizes, later)]
        row["sizes"] = dict(zip(names, zip(*out, strict=True), strict=True))

        def least(g: Any, window: Any = window, attributes: Any = attributes) -> tuple[Any, ...]:
            pads, gaps = attributes["padding"], attributes["dilation"]
            steps = attributes["stride"]
            return tuple(
                (n - 1) * steps[i] + gaps[i] * (window[i] - 1) + 1 - pads[2 * i] - pads[2 * i + 1]
                for i, n in enumerate(g.shape[2:])
            )

        for more in (0, 1):
            if more >= min(attributes["stride"]):
                continue

            def spread_out(
                g: Any, w: Any, b: Any, least: Any = least, more: int = more, a: Any = attributes
            ) -> Any:
                size = tuple(n + more for n in least(g))
                return OPS["conv_transpose"](g, w, b, size=size, **a)

            def reference(
                g: Any, w: Any, b: Any, least: Any = least, more: int = more, a: Any = attributes
            ) -> Any:
                y = reference_conv_transpose(g, w, tuple(n + more for n in least(g)), **a)
                return y + b.reshape(-1, *[1] * len(least(g)))

            made.append(
                OpCase(
                    "conv_transpose",
                    [array("n", co, *names), weight, array(ci)],
                    reference=reference,
                    run=spread_out,
                    onnx="ConvTranspose",
                    **{**row, "note": f"{note}-{more}"},
                )
            )
        result = tuple(f"out_{name}" for name in names)
        made.append(
            OpCase(
                "conv_grad_w",
                [array("n", co, *result), array("n", ci, *names)],
                {"window": window, **attributes},
                reference_conv_grad_w,
                onnx="Conv",
                **{
                    **row,
                    "sizes": {
                        **spread,
                        **dict(zip(result, zip(*out, strict=True), strict=True)),
                    },
                },
            )
        )
    made.append(
        OpCase(
            "conv",
            [array("n", 3, 5, 6), array(4, 3, 3, 3), array(4)],
            {**attrs(padding=(1, 1, 1, 1)), "activation": "relu"},
            relu_conv,
            note="relu",
            order=0,
        )
    )
    made.append(
        OpCase(
            "conv",
            [array("n", 3, 5, 6), array(4, 3, 3, 3), None],
            attrs(),
            reference_conv,
            dtypes=("float32", "float64", "float16"),
            note="no-bias",
        )
    )
    return made


ROWS = rows()
