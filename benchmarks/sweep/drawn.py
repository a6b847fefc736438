"""Cases of shapes drawn at random: odd sizes, few channels, long rows, what no grid thinks of."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from benchmarks.sweep.grid import Case

WORK, NUMBERS = 1.2e9, 6e6
"""Multiplications and numbers of a case, at most."""
ROWS = ("softmax", "log_softmax", "layer_norm", "cross_entropy", "cumsum", "argmax", "sort", "sum",
        "max", "mean", "var", "sum0", "logsumexp")  # fmt: skip
IMAGES = ("max_pool", "avg_pool", "adaptive_pool", "batch_norm", "batch_norm_infer", "group_norm",
          "bilinear", "grid_sample", "pad", "concat", "flip", "upsample",
          "cross_entropy_image")  # fmt: skip
MATRICES = ("add_row", "add_column", "add_transposed", "where_row", "masked_fill",
            "cosine_similarity", "cdist", "prod", "norm", "normalize", "glu", "std", "gather_rows",
            "take_along1", "scatter_add", "index_add", "unbind", "stack", "tile", "roll",
            "bce_logits", "kl_div", "smooth_l1")  # fmt: skip


class _Draw:
    """Draws sizes; equal seeds draw equal cases."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.choice = self.random.choice

    def size(self, low: int, high: int) -> int:
        """A size; as many lie between 1 and 10 as between 10 and 100."""
        return round(math.exp(self.random.uniform(math.log(low), math.log(high))))

    def until(self, draw: Callable[[], Any], fits: Callable[..., bool]) -> Any:
        """The first of what is drawn that fits."""
        while not fits(*(drawn := draw())):
            pass
        return drawn

    def convolution(self) -> tuple[int, ...]:
        """(N, Ci, H, W, Co, window, stride, padding, dilation, groups)."""
        groups = self.choice([1, 1, 1, 1, 1, 2, 3, 4, 8])
        ci, co = (max(1, self.size(1, 256) // groups) * groups for _ in range(2))
        if self.random.random() < 0.15:  # a channel of its own for every group
            groups, co = ci, ci * self.choice([1, 1, 2])
        h = self.size(4, 160)
        w = h if self.random.random() < 0.5 else self.size(4, 160)
        window = self.choice([1, 1, 2, 3, 3, 3, 3, 4, 5, 5, 7, 9, 11])
        padding = self.choice([0, window // 2, window // 2, 1])
        return (
            self.choice([1, 1, 2, 3, 4, 8, 16, 32, 64]), ci, h, w, co, window,
            self.choice([1, 1, 1, 2, 2, 3, 4]), padding, self.choice([1, 1, 1, 1, 2, 3]), groups,
        )  # fmt: skip


def _convolves(n, ci, h, w, co, window, stride, padding, dilation, groups) -> bool:
    reach = (window - 1) * dilation
    work = 2 * n * (h // stride) * (w // stride) * co * (ci // groups) * window**2
    inside = padding <= reach < min(h, w) + 2 * padding
    return inside and work < WORK and n * h * w * max(ci, co) < NUMBERS


def _transposes(n, ci, h, w, co, window, stride, padding, dilation, groups) -> bool:
    work = 2 * n * h * w * co * (ci // groups) * window**2
    inside = dilation == 1 and padding < window and (min(h, w) - 1) * stride + window > 2 * padding
    return inside and work < WORK and n * h * w * max(ci, co * stride**2) < NUMBERS


def cases(seed: int) -> list[Case]:
    """Some hundred cases."""
    draw = _Draw(seed)
    size, choice = draw.size, draw.choice
    made: list[Case] = []
    made += [("conv2d", draw.until(draw.convolution, _convolves)) for _ in range(100)]
    made += [("conv_transpose2d", draw.until(draw.convolution, _transposes)) for _ in range(25)]
    for _ in range(12):
        window = choice([1, 3, 5, 9, 31])
        shape = (choice([1, 4, 16]), size(1, 256), size(64, 2000), size(1, 256))
        made.append(("conv1d", (*shape, window, choice([1, 1, 2]), window // 2)))
    made += [("linear", (size(1, 2000), size(1, 1500), size(1, 1500))) for _ in range(30)]
    for name in ("matmul", "matmul_turned"):
        made += [
            (
                name,
                draw.until(
                    lambda: (size(1, 200), size(1, 300), size(1, 300), size(1, 300)),
                    lambda *sizes: 2 * math.prod(sizes) < WORK,
                ),
            )
            for _ in range(20)
        ]
    for name in ROWS:
        made += [(name, (size(1, 20000), size(2, 300))) for _ in range(2)]
        made += [(name, (size(1, 300), size(2, 30000))) for _ in range(2)]
    for _ in range(10):
        width = choice([8, 16, 24, 32, 40, 64, 80, 128])
        made.append(("attention", (size(1, 16), size(1, 12), size(4, 600), width)))
    for name in ("lstm", "gru"):
        made += [(name, (size(1, 100), size(1, 64), size(1, 200), size(4, 300))) for _ in range(6)]
    for names, sizes, most in (
        (IMAGES, lambda: (size(1, 64), size(2, 256), size(3, 120), size(3, 120)), NUMBERS / 3),
        (MATRICES, lambda: (size(1, 3000), 2 * size(1, 500)), NUMBERS / 8),
    ):
        for name in names:
            fits = lambda *shape, most=most: math.prod(shape) < most  # noqa: E731
            made += [(name, draw.until(sizes, fits)) for _ in range(4)]
    return made
