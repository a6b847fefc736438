"""Rows of `dyn/ops/ctc.py`. The reference goes through every path of classes, one by one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from dyn.core.op import OPS
from tests.optable.case import OpCase, array

LABELS = [[1, 2], [1, 1], [2, 9], [-1, -1], [2, 1]]
"""Of five samples: two labels, a repeated one, one alone, none, and more than there are steps."""
COUNTS, STEPS = [2, 2, 1, 0, 2], [4, 4, 3, 4, 1]
BLANK = 0


def cut(values: Any, dtype: str = "int64") -> Any:
    """The first samples of a list, as many as there are."""

    def draw(rng: np.random.Generator, _: str, sizes: Any) -> np.ndarray:
        return np.array(values, dtype)[: sizes["n"]]

    return draw


def collapsed(path: Any) -> list[int]:
    """A path without repetitions, then without blanks."""
    return [c for c, _ in itertools.groupby(path) if c != BLANK]


def alignments(logits: np.ndarray, labels: Any, steps: int, count: int) -> Any:
    """Probability of the labels, and of passing through a class at a step with them."""
    e = np.exp(logits - logits.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    total, through = 0.0, np.zeros_like(p)
    for path in itertools.product(range(p.shape[1]), repeat=steps):
        if collapsed(path) == list(labels[:count]):
            own = np.prod([p[t, c] for t, c in enumerate(path)])
            total += own
            for t, c in enumerate(path):
                through[t, c] += own
    return p, total, through


def ref_ctc_loss(logits, labels, steps, counts, **attrs):
    found = [
        alignments(logits[:, n], labels[n], steps[n], counts[n])[1] for n in range(len(labels))
    ]
    return -np.log(np.array(found, np.float64))


def ref_ctc_loss_grad(g, logits, labels, steps, counts, *others, blank):
    gx = np.zeros_like(logits)
    for n in range(len(labels)):
        p, total, through = alignments(logits[:, n], labels[n], steps[n], counts[n])
        own = p - through / total if total else np.full_like(p, np.nan)
        gx[: steps[n], n] = (own * g[n])[: steps[n]] if g[n] else 0
    return gx


def kept(place: int) -> Any:
    """What the op keeps for its gradient, of the logits that `given` draws."""

    def draw(rng: np.random.Generator, dtype: str, sizes: Any) -> np.ndarray:
        inputs = [f(rng, dtype, sizes) for f in (given, *GIVEN)]
        made = OPS["ctc_loss"].kernel(*inputs, blank=BLANK, normalised=False)
        return made[place]

    return draw


def given(rng: np.random.Generator, dtype: str, sizes: Any) -> np.ndarray:
    """Logits that do not depend on what was drawn before."""
    own = np.random.default_rng(3)
    return own.uniform(-2, 2, (4, sizes["n"], 3)).astype(dtype)


GIVEN = [cut(LABELS), cut(STEPS), cut(COUNTS)]
POSSIBLE = [cut(LABELS[:4]), cut(STEPS[:4], "int32"), cut(COUNTS[:4])]
LOGITS = array(4, "n", 3)


def of_log_probs(*inputs: Any) -> Any:
    """The op on log probabilities, from logits."""
    logs = OPS["log_softmax"](inputs[0], axis=2)
    return OPS["ctc_loss"](logs, *inputs[1:], blank=BLANK, normalised=True)


ROWS = [
    OpCase(
        "ctc_loss",
        [LOGITS, *POSSIBLE],
        {"blank": BLANK, "normalised": False},
        ref_ctc_loss,
        sizes={"n": (3, 4)},
        onnx="Scan",
    ),
    OpCase(
        "ctc_loss",
        [LOGITS, *POSSIBLE],
        {},
        ref_ctc_loss,
        sizes={"n": (3, 4)},
        run=of_log_probs,
        onnx="Scan",
        note="normalised",
    ),
    OpCase(
        "ctc_loss",
        [LOGITS, *GIVEN],
        {"blank": BLANK, "normalised": False},
        ref_ctc_loss,
        sizes={"n": (5, 3)},
        order=0,
        note="impossible",
    ),
    OpCase(
        "ctc_loss_grad",
        [array("n"), given, *GIVEN, kept(0), kept(1), kept(2)],
        {"blank": BLANK},
        ref_ctc_loss_grad,
        sizes={"n": (5, 3)},
        order=0,
        onnx="Scan",
    ),
]
