"""Linear algebra and small functions under Paddle's names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.peers.snippets import kind, ramp, snippet


def _matrices(paddle: Any) -> Any:
    half = ramp(3, 4) * np.cos(np.arange(12).reshape(3, 4) ** 2).astype("float32")
    square = half @ half.T + np.eye(3, dtype="float32")
    return paddle.to_tensor(half), paddle.to_tensor(square, stop_gradient=False)


@snippet()
def solved(paddle: Any) -> Any:
    la, (half, square) = paddle.linalg, _matrices(paddle)
    factor = la.cholesky(square)
    found = [
        la.inv(square), paddle.inverse(square), la.solve(square, half), la.det(square),
        la.slogdet(square), la.triangular_solve(square, half), factor, la.matrix_power(square, 3),
        la.triangular_solve(square, half, upper=False, transpose=True, unitriangular=True),
        la.cholesky_solve(half, factor, upper=False), la.cholesky(square, upper=True),
        la.matrix_power(square, -2), la.multi_dot([square, half, half.T]), square.inverse(),
        la.vecdot(half, half), la.qr(half, mode="r"),
    ]  # fmt: skip
    (la.inv(square).sum() + la.det(square) + la.cholesky(square).sum()).backward()
    return [f.numpy() for f in found], square.grad.numpy(), [f.numpy() for f in la.qr(half)]


@snippet()
def norms(paddle: Any) -> Any:
    la, (x, _) = paddle.linalg, _matrices(paddle)
    matrices = [la.matrix_norm(x, p) for p in ("fro", 1, -1, math.inf, -math.inf)]
    vectors = [la.vector_norm(x, p) for p in (1.0, 2.0, 3.0)]
    return matrices, vectors, la.vector_norm(x, 2.0, axis=1, keepdim=True), la.norm(x, 1, axis=1)


@snippet()
def small_functions(paddle: Any) -> Any:
    x, places = _matrices(paddle)[0], paddle.to_tensor([0, 2])
    count = paddle.ones([1])
    again = paddle.increment(count, 2.0)
    filled = paddle.index_fill(x, places, 0, -1.0), x.index_fill(places, 1, -1.0)
    x.stop_gradient = False
    loss = paddle.nn.functional.npair_loss(x, x.flip(0), paddle.to_tensor([0, 1, 1]), l2_reg=0.01)
    loss.backward()
    several = kind(lambda: paddle.increment(paddle.ones([2])), ValueError)
    return count, again is count, filled, loss.numpy(), x.grad.numpy(), several
