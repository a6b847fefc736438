"""Rows of `dyn/ops/activation.py` and `dyn/ops/smooth.py`."""

from __future__ import annotations

import math

import numpy as np

from dyn.ops import activation as ops
from dyn.ops import smooth
from tests.optable.case import SPECIAL, OpCase, Spec, array

FLOATS = ("float32", "float64", "float16", "bfloat16")
G, X = array("n", 3), array("n", 3, low=-4, high=4)
OFF_ZERO = array("n", 3, low=-4, high=4, away=(0.0,))
PLANE = array(2, 3, "n", 4, away=(0.0,))


def one(op: str, reference, spec: Spec = X, onnx: str | None = None, **fields) -> OpCase:
    """A function of one tensor."""
    fields.setdefault("points", SPECIAL)
    return OpCase(op, [spec], reference=reference, dtypes=FLOATS, onnx=onnx, **fields)


def slope(op: str, reference, spec: Spec = X, **fields) -> OpCase:
    """The fused gradient of a function: of the output's gradient, and of x or the output."""
    return OpCase(op, [G, spec], reference=reference, **fields)


def sigmoid(x):
    return np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def phi(x):
    return 0.5 * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2)))


def density(x):
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def inner(x):
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def elu(x, alpha, scale, rate):
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) * rate))


def leaky(x, slope):
    return np.where(x > 0, x, slope * x)


def shrink(x, threshold, bias):
    return np.where(x > threshold, x - bias, np.where(x < -threshold, x + bias, 0 * x))


def mish_slope(g, x):
    t = np.tanh(softplus(x))
    return g * (t + x * sigmoid(x) * (1 - t * t))


def gelu_tanh_slope(g, x):
    t = np.tanh(inner(x))
    bend = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * bend)


def soft_threshold(x, beta, threshold):
    return np.where(beta * x > threshold, x, softplus(beta * x) / beta)


ELU = {"alpha": 1.5, "scale": 1.0, "rate": 1.0}
SELU = {"alpha": smooth.SELU_ALPHA, "scale": smooth.SELU_SCALE, "rate": 1.0}
CELU = {"alpha": 2.0, "scale": 1.0, "rate": 0.5}
SHRINK = array("n", 3, away=(-0.5, 0.5))

ROWS = [
    one("relu", lambda x: np.maximum(x, 0), OFF_ZERO, "Relu"),
    OpCase(
        "relu",
        [X],
        reference=lambda x: np.maximum(x, 0),
        dtypes=("int64", "int32"),
        order=0,
        note="int",
    ),
    slope("relu_grad", lambda g, out: np.where(out > 0, g, 0), OFF_ZERO, order=1),
    one("leaky_relu", leaky, OFF_ZERO, "LeakyRelu", attrs={"slope": 0.1}),
    slope(
        "leaky_relu_grad",
        lambda g, x, slope: np.where(x > 0, g, slope * g),
        OFF_ZERO,
        attrs={"slope": 0.1},
        order=1,
    ),
    OpCase(
        "relu6",
        [array("n", 3, low=-4, high=9, away=(0.0, 6.0))],
        reference=lambda x: np.clip(x, 0, 6),
        run=ops.relu6,
        onnx="Clip",
    ),
    OpCase(
        "hardtanh",
        [array("n", 3, away=(-1.0, 1.0))],
        reference=lambda x: np.clip(x, -1, 1),
        run=ops.hardtanh,
    ),
    OpCase(
        "thresholded_relu",
        [array("n", 3, away=(1.0,))],
        reference=lambda x: np.where(x > 1, x, 0.5),
        run=lambda x: ops.thresholded_relu(x, 1.0, 0.5),
    ),
    OpCase("prelu", [OFF_ZERO, array(3)], reference=lambda x, w: np.where(x > 0, x, w * x)),
    OpCase(
        "prelu_grad",
        [array("n", 3), OFF_ZERO, array(3)],
        {"axis": None},
        reference=lambda g, x, w, axis: np.where(x > 0, g, w * g),
        wrt=(0, 2),
    ),
    OpCase(
        "prelu_grad",
        [PLANE, PLANE, array(3)],
        {"axis": 1},
        reference=lambda g, x, w, axis: np.where(x > 0, g, w[:, None, None] * g),
        wrt=(0, 2),
        note="channels",
    ),
    OpCase(
        "prelu",
        [PLANE, array(3)],
        reference=lambda x, w: np.where(x > 0, x, w[:, None, None] * x),
        run=ops.prelu,
        onnx="PRelu",
        note="channels",
    ),
    OpCase(
        "prelu",
        [PLANE, array(4)],
        reference=lambda x, w: np.where(x > 0, x, w * x),
        run=lambda x, w: ops.prelu(x, w, data_format="NHWC"),
        note="channels_last",
    ),
    OpCase(
        "prelu",
        [PLANE, array(1)],
        reference=lambda x, w: np.where(x > 0, x, w * x),
        run=ops.prelu,
        note="single",
    ),
    OpCase(
        "rrelu",
        [OFF_ZERO],
        reference=lambda x: leaky(x, (1 / 8 + 1 / 3) / 2),
        run=ops.rrelu,
    ),
    one("elu", elu, OFF_ZERO, "Elu", attrs=ELU),
    one("elu", elu, OFF_ZERO, "Selu", attrs=SELU, note="selu"),
    one("elu", elu, OFF_ZERO, "Celu", attrs=CELU, note="celu"),
    slope(
        "elu_grad",
        lambda g, x, alpha, scale, rate: (
            g * np.where(x > 0, scale, scale * alpha * rate * np.exp(np.minimum(x, 0) * rate))
        ),
        OFF_ZERO,
        attrs=CELU,
    ),
    one("sigmoid", sigmoid, onnx="Sigmoid"),
    slope("sigmoid_grad", lambda g, out: g * out * (1 - out)),
    one("log_sigmoid", lambda x: -softplus(-x)),
    one("silu", lambda x: x * sigmoid(x)),
    slope("silu_grad", lambda g, x: g * sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    one(
        "hardsigmoid",
        lambda x, slope, offset: np.clip(slope * x + offset, 0, 1),
        array("n", 3, low=-4, high=4, away=(-2.0, 3.0)),
        "HardSigmoid",
        attrs={"slope": 0.2, "offset": 0.4},
    ),
    slope(
        "hardsigmoid_grad",
        lambda g, out, slope: np.where((out > 0) & (out < 1), slope * g, 0),
        array("n", 3, away=(0.0, 1.0)),
        attrs={"slope": 0.2},
        order=1,
    ),
    one(
        "hardswish",
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        array("n", 3, low=-5, high=5, away=(-3.0, 3.0)),
        "HardSwish",
    ),
    slope(
        "hardswish_grad",
        lambda g, x: g * np.where(x <= -3, 0, np.where(x >= 3, 1, x / 3 + 0.5)),
        array("n", 3, low=-5, high=5, away=(-3.0, 3.0)),
    ),
    one("gelu", lambda x, approximate: x * phi(x), onnx="Gelu", attrs={"approximate": False}),
    one(
        "gelu",
        lambda x, approximate: 0.5 * x * (1 + np.tanh(inner(x))),
        attrs={"approximate": True},
        note="tanh",
    ),
    slope(
        "gelu_grad",
        lambda g, x, approximate: g * (phi(x) + x * density(x)),
        attrs={"approximate": False},
    ),
    slope(
        "gelu_grad",
        lambda g, x, approximate: gelu_tanh_slope(g, x),
        attrs={"approximate": True},
        note="tanh",
    ),
    one("mish", lambda x: x * np.tanh(softplus(x))),
    slope("mish_grad", mish_slope),
    one("softplus", soft_threshold, attrs={"beta": 1.0, "threshold": 20.0}),
    one(
        "softplus",
        soft_threshold,
        array("n", 3, low=-4, high=4, away=(1.0,)),
        attrs={"beta": 2.0, "threshold": 2.0},
        note="threshold",
    ),
    slope(
        "softplus_grad",
        lambda g, x, beta, threshold: g * np.where(beta * x > threshold, 1, sigmoid(beta * x)),
        array("n", 3, low=-4, high=4, away=(1.0,)),
        attrs={"beta": 2.0, "threshold": 2.0},
    ),
    one("softsign", lambda x: x / (1 + np.abs(x)), OFF_ZERO, "Softsign"),
    one("shrink", shrink, SHRINK, "Shrink", attrs={"threshold": 0.5, "bias": 0.0}),
    one("shrink", shrink, SHRINK, "Shrink", attrs={"threshold": 0.5, "bias": 0.5}, note="soft"),
    OpCase("tanhshrink", [X], reference=lambda x: x - np.tanh(x), run=ops.tanhshrink, tol=1e-6),
    OpCase(
        "glu",
        [array("n", 6)],
        {"axis": 1},
        lambda x, axis: x[:, :3] * sigmoid(x[:, 3:]),
        dtypes=FLOATS,
        onnx="Sigmoid",
    ),
    OpCase(
        "glu",
        [array(4, "n", 3)],
        {"axis": 0},
        lambda x, axis: x[:2] * sigmoid(x[2:]),
        note="first",
    ),
    OpCase(
        "glu_grad",
        [array("n", 3), array("n", 6)],
        {"axis": 1},
        lambda g, x, axis: np.concatenate(
            [
                g * sigmoid(x[:, 3:]),
                g * x[:, :3] * sigmoid(x[:, 3:]) * (1 - sigmoid(x[:, 3:])),
            ],
            1,
        ),
        onnx="Concat",
    ),
    OpCase(
        "swiglu",
        [array("n", 6)],
        reference=lambda x: x[:, :3] * sigmoid(x[:, :3]) * x[:, 3:],
        run=ops.swiglu,
    ),
    OpCase(
        "maxout",
        [array(2, 6, "n", distinct=True)],
        reference=lambda x: x.reshape(2, 3, 2, -1).max(2),
        run=lambda x: ops.maxout(x, 2),
    ),
    OpCase(
        "uniform",
        [array("n", 4)],
        run=ops.gumbel_softmax,
        shapes=(("n", 4),),
        order=0,
        note="gumbel_softmax",
    ),
    OpCase(
        "uniform",
        [array("n", 4)],
        run=lambda x: ops.gumbel_softmax(x, hard=True),
        shapes=(("n", 4),),
        order=0,
        note="gumbel_softmax_hard",
    ),
    OpCase(
        "uniform",
        [X],
        run=lambda x: ops.rrelu(x, training=True),
        shapes=(X.shape,),
        order=0,
        note="rrelu",
    ),
]
