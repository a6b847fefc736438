"""Snippets about Tensor: construction, printing, conversions, promotion, operators, indexing."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.peers.snippets import kind, ramp, snippet


def x34(paddle: Any) -> Any:
    """Twelve numbers in three rows."""
    return paddle.to_tensor(np.arange(12, dtype="float32").reshape(3, 4))


@snippet()
def inferred_dtypes(paddle):
    values = [1, 1.0, True, [1, 2], [1, 2.0], 1j, [[True]], np.float64(1), np.arange(3), []]
    return [paddle.to_tensor(value).numpy().dtype.name for value in values]


@snippet()
def default_dtype(paddle):
    paddle.set_default_dtype("float64")
    try:
        return [paddle.to_tensor(1.5), paddle.ones([1]), paddle.get_default_dtype()]
    finally:
        paddle.set_default_dtype("float32")


@snippet()
def to_tensor_copies(paddle):
    array = np.zeros(3, "float32")
    t = paddle.to_tensor(array)
    array[0] = 5
    return t


@snippet(differs="a dtype says whose it is: dyn.float32")
def dtype_text(paddle):
    print(paddle.float32, paddle.ones([1]).dtype, paddle.int64, paddle.bool)
    return paddle.ones([1]).dtype == paddle.float32


ASSERTION = "what a user does wrong is a ValueError, not an assertion that python -O removes"
PLACE = "a tensor says place=CPUPlace, as the first documents did, not place=Place(cpu)"


def shown(paddle: Any, *tensors: Any) -> None:
    """Print tensors with the one word that differs made equal."""
    for tensor in tensors:
        print(str(tensor).replace("Place(cpu)", "CPUPlace"))


@snippet(differs=PLACE)
def text_with_place(paddle):
    print(paddle.ones([2]))


@snippet()
def text_scalars(paddle):
    shown(paddle, *(paddle.to_tensor(v) for v in (1, 1.5, True, -0.25, 1e-10, 3 + 4j)))


@snippet()
def text_rows(paddle):
    shown(paddle, paddle.to_tensor([[1, 2], [3, 4]]), paddle.to_tensor([[1.0, 2.5], [3, -4]]))


@snippet()
def text_special(paddle):
    shown(paddle, paddle.to_tensor([float("nan"), float("inf"), -float("inf"), 1.0]))


@snippet()
def text_magnitudes(paddle):
    for values in ([1e-10, 1e10], [1e6, 1.5], [123456789.0, 0.1], [0.001, 100.0], [1e8, 1.0]):
        shown(paddle, paddle.to_tensor(values))


@snippet()
def text_empty(paddle):
    shown(paddle, paddle.zeros([0, 3]), paddle.to_tensor([]))


@snippet()
def text_long(paddle):
    shown(paddle, paddle.arange(2000), paddle.ones([40, 40]), paddle.ones([11, 11, 11]))


@snippet()
def text_medium(paddle):
    shown(paddle, paddle.to_tensor(ramp(40)), paddle.to_tensor(ramp(3, 12)))


@snippet()
def text_dtypes(paddle):
    for dtype in ("float16", "bfloat16", "float64", "int8", "uint8", "int32", "bool"):
        shown(paddle, paddle.ones([3], "float32").astype(dtype))


@snippet()
def text_three_axes(paddle):
    shown(paddle, paddle.arange(24).reshape([2, 3, 4]))


@snippet()
def text_gradient(paddle):
    x = paddle.to_tensor([1.0, 2.0], stop_gradient=False)
    shown(paddle, x, x * 2)


@snippet()
def print_options(paddle):
    paddle.set_printoptions(precision=3, threshold=10, edgeitems=2)
    try:
        shown(paddle, paddle.to_tensor(ramp(20)), paddle.to_tensor([1.23456, 2.0]))
    finally:
        paddle.set_printoptions(precision=8, threshold=1000, edgeitems=3, linewidth=80)


@snippet()
def format_spec(paddle):
    x = paddle.to_tensor(3.14159)
    return [f"{x:.2f}", f"{float(x):8.3f}", f"{paddle.to_tensor(7):d}"]


@snippet()
def python_numbers(paddle):
    x = paddle.to_tensor(2.5)
    return [float(x), int(x), bool(x), x.item(), x.tolist(), paddle.to_tensor(3).item()]


@snippet()
def python_index(paddle):
    return [[10, 20, 30][paddle.to_tensor(1)], list(range(paddle.to_tensor(3)))]


@snippet(differs=ASSERTION)
def bool_of_many(paddle):
    return [
        kind(lambda: bool(paddle.ones([2]))),
        kind(lambda: float(paddle.ones([2]))),
        kind(lambda: int(paddle.ones([2]))),
    ]


@snippet()
def len_and_iter(paddle):
    x = x34(paddle)
    return [len(x), [row for row in x]]


@snippet(differs=ASSERTION)
def len_of_a_number(paddle):
    return kind(lambda: len(paddle.to_tensor(1)))


@snippet()
def contains(paddle):
    return [2 in paddle.to_tensor([1, 2]), 5 in paddle.to_tensor([1, 2])]


@snippet()
def item_of(paddle):
    x = x34(paddle)
    return [x.item(5), x.item(1, 2), kind(lambda: x.item())]


@snippet()
def properties(paddle):
    x = x34(paddle)
    return [x.shape, x.ndim, x.size, x.dim(), x.stop_gradient, x.is_leaf, x.persistable]


@snippet()
def transposed(paddle):
    return [x34(paddle).T, x34(paddle).t()]


@snippet()
def numpy_protocol(paddle):
    x = x34(paddle)
    return [np.asarray(x), np.array(x).sum(), np.add(x.numpy(), 1)]


@snippet()
def hash_by_identity(paddle):
    a, b = paddle.ones([1]), paddle.ones([1])
    return [len({a, b, a}), a in {a: 1}]


@snippet()
def clone_and_detach(paddle):
    x = paddle.to_tensor([1.0, 2.0], stop_gradient=False)
    y = x.clone()
    (y * x.detach()).sum().backward()
    return [y, x.detach(), x.grad.numpy()]


@snippet()
def promotion(paddle):
    names = ["bool", "uint8", "int32", "int64", "float32", "float64"]
    out = []
    for a in names:
        for b in names:
            x, y = paddle.ones([1]).astype(a), paddle.ones([1]).astype(b)
            both = [a, b]
            if a != b and not all("float" in name for name in both):
                continue
            out.append([a, b, (x + y).numpy().dtype.name])
    return out


@snippet(differs="integers and floats promote as in numpy and PyTorch; Paddle refuses most pairs")
def promotion_of_integers_and_floats(paddle):
    x, y = paddle.ones([1], "int32"), paddle.ones([1])
    return kind(lambda: x + y)


@snippet()
def promotion_scalars(paddle):
    i, f = paddle.to_tensor([3, 4]), paddle.to_tensor([1.5, 2.5])
    return [i + 1, i + 1.5, i * 2, i / 2, f + 1, 2 - i, 1.0 / f, f**2, 2**f, i // 2, i % 2]


@snippet()
def division(paddle):
    a, b = paddle.to_tensor([7, -7]), paddle.to_tensor([2, 2])
    return [a / b, a // b, a % b, paddle.to_tensor([-5.0]) % 3.0, paddle.to_tensor([-5.0]) // 3.0]


@snippet()
def comparisons(paddle):
    x = paddle.to_tensor([1.0, 2.0, 3.0])
    return [x > 2, x >= 2, x < 2, x <= 2, x == 2, x != 2]


@snippet()
def logic(paddle):
    a, b = paddle.to_tensor([True, False]), paddle.to_tensor([True, True])
    i, j = paddle.to_tensor([6, 5]), paddle.to_tensor([3, 8])
    return [a & b, a | b, a ^ b, ~a, i & j, i | j, i ^ j, ~i]


@snippet()
def unary(paddle):
    x = paddle.to_tensor([-1.5, 2.0])
    return [-x, abs(x), x.abs(), x.square(), x.exp(), x.sign(), x.floor(), x.round(), x.tanh()]


@snippet()
def matmul_operator(paddle):
    x = x34(paddle)
    return [x @ x.T, x.matmul(x, transpose_y=True)]


@snippet(differs="x += 1 writes to x, as in PyTorch and numpy; in Paddle x becomes another tensor")
def augmented_assignment(paddle):
    x = paddle.to_tensor([1.0, 2.0])
    y = x
    x += 1
    return [x, y]


@snippet()
def in_place(paddle):
    x = paddle.to_tensor([1.0, 2.0])
    y = x
    x.add_(paddle.to_tensor([1.0, 1.0]))
    x.scale_(2.0)
    return [x, y]


@snippet()
def in_place_methods(paddle):
    x = paddle.to_tensor([[1.0, -2.0]])
    return [x.clone().zero_(), x.clone().fill_(3.0), x.clone().clip_(0, 1), x.clone().exp_()]


@snippet()
def basic_index(paddle):
    x = x34(paddle)
    return [x[0], x[-1, 1], x[:, 1], x[1:, ::2], x[..., 0], x[None, 0], x[0:0], x[::-1]]


@snippet()
def advanced_index(paddle):
    x = x34(paddle)
    rows = paddle.to_tensor([2, 0])
    return [x[rows], x[[0, 2]], x[:, rows], x[rows, rows], x[np.array([1, 1])], x[x > 5]]


@snippet()
def mask_index(paddle):
    x = x34(paddle)
    return [x[paddle.to_tensor([True, False, True])], x[x.sum(axis=1) > 10]]


@snippet()
def index_errors(paddle):
    x = x34(paddle)
    return [kind(lambda: x[0, 0, 0], IndexError, ValueError), kind(lambda: x[5])]


@snippet()
def assign_basic(paddle):
    x = x34(paddle)
    x[0] = 5
    x[1, 1:3] = paddle.to_tensor([7.0, 8.0])
    x[..., -1] = -1.0
    return x


@snippet()
def assign_mask(paddle):
    x = x34(paddle)
    x[x > 6] = 0
    x[paddle.to_tensor([0, 1])] = 9.0
    return x


@snippet()
def assign_row(paddle):
    x = paddle.zeros([2, 3])
    x[:, 0] = np.array([1, 2], "float32")
    x[1] = np.array([4, 5, 6], "float32")
    return x


@snippet()
def assign_differentiates(paddle):
    x = paddle.to_tensor([1.0, 2.0, 3.0], stop_gradient=False)
    y = x * 2
    y[1] = 0.0
    y.sum().backward()
    return [x.grad.numpy(), y]


@snippet(differs="the error is a RuntimeError, as in PyTorch")
def leaf_in_place(paddle):
    x = paddle.to_tensor([1.0, 2.0], stop_gradient=False)

    def write():
        x[0] = 5.0

    return kind(write)


@snippet()
def astype(paddle):
    x = paddle.to_tensor([1.7, -1.7])
    return [x.astype("int32"), x.cast("float64"), x.astype(paddle.bool), x.astype("int64")]


@snippet()
def view_writes_through(paddle):
    x = x34(paddle)
    y = x.reshape([4, 3])
    z = x[0]
    x.add_(paddle.ones([3, 4]))
    return [z.shape, y.shape]


@snippet()
def numel(paddle):
    return [paddle.numel(x34(paddle)), x34(paddle).numel(), paddle.shape(x34(paddle)).numpy()]


@snippet()
def set_value(paddle):
    x = paddle.zeros([2])
    x.set_value(np.array([1, 2], "float32"))
    return x


@snippet(differs=ASSERTION)
def set_value_of_another_shape(paddle):
    return kind(lambda: paddle.zeros([2]).set_value(np.zeros(3, "float32")))


@snippet()
def creation(paddle):
    return [
        paddle.zeros([2]),
        paddle.ones([1, 2], "int64"),
        paddle.full([2], 7),
        paddle.full([2], 1.5),
        paddle.arange(3),
        paddle.arange(1, 2, 0.5),
        paddle.linspace(0, 1, 3),
        paddle.eye(2),
        paddle.full_like(paddle.ones([2]), 3),
        paddle.zeros_like(paddle.ones([2], "int32")),
    ]


@snippet()
def questions(paddle):
    x = paddle.ones([2, 3])
    return {
        "tensor": (paddle.is_tensor(x), paddle.is_tensor(3)),
        "rank": paddle.rank(x),
        "mode": (paddle.in_dynamic_mode(), paddle.disable_static()),
        "device": (paddle.device.get_device(), paddle.is_compiled_with_cuda()),
    }
