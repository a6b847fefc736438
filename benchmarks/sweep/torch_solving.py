"""The cases of `dyn_solving` in torch eager."""

import numpy as np
import torch
from torch_ops import t, unary

RNG = np.random.default_rng(0)


def regular(*shape):
    """Symmetric matrices with a heavy diagonal."""
    x = RNG.standard_normal(shape).astype("float32") / shape[-1] ** 0.5
    x = x + np.swapaxes(x, -1, -2) + 6 * np.eye(shape[-1], dtype="float32")
    return torch.from_numpy(x).requires_grad_()


def on_regular(function):
    return lambda *shape: (function, [regular(*shape)])


OPS = {
    "inverse": on_regular(lambda x: torch.linalg.inv(x)),
    "det": on_regular(lambda x: torch.linalg.det(x)),
    "slogdet": on_regular(lambda x: torch.linalg.slogdet(x)[1]),
    "solve": on_regular(lambda x: torch.linalg.solve(x, x[..., :1])),
    "cholesky": on_regular(lambda x: torch.linalg.cholesky(x)),
    "triangular_solve": on_regular(
        lambda x: torch.linalg.solve_triangular(x, x[..., :1], upper=False)
    ),
    "qr": on_regular(lambda x: torch.linalg.qr(x)[0]),
    "trace": unary(lambda x: torch.trace(x)),
    "diagonal": unary(lambda x: torch.diagonal(x)),
    "cross": lambda r, c: (
        lambda x, y: torch.linalg.cross(x, y, dim=1),
        [t(r * c, 3), t(r * c, 3)],
    ),
    "kron": lambda r, c: (torch.kron, [t(r // 4, 2), t(4, c)]),
    "matrix_power": unary(lambda x: torch.linalg.matrix_power(x, 3)),
}
