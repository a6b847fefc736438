"""More cases of the sweep in dyn: systems of equations, factors, diagonals. See `dyn_ops`."""

import numpy as np
from dyn_ops import RNG, t, unary

import dyn


def regular(*shape):
    """Symmetric matrices with a heavy diagonal."""
    x = RNG.standard_normal(shape).astype("float32") / shape[-1] ** 0.5
    x = x + np.swapaxes(x, -1, -2) + 6 * np.eye(shape[-1], dtype="float32")
    return dyn.to_tensor(x, stop_gradient=False)


def on_regular(function):
    return lambda *shape: (function, [regular(*shape)])


OPS = {
    "inverse": on_regular(lambda x: dyn.linalg.inv(x)),
    "det": on_regular(lambda x: dyn.linalg.det(x)),
    "slogdet": on_regular(lambda x: dyn.linalg.slogdet(x)[1]),
    "solve": on_regular(lambda x: dyn.linalg.solve(x, x[..., :1])),
    "cholesky": on_regular(lambda x: dyn.linalg.cholesky(x)),
    "triangular_solve": on_regular(
        lambda x: dyn.linalg.triangular_solve(x, x[..., :1], upper=False)
    ),
    "qr": on_regular(lambda x: dyn.linalg.qr(x)[0]),
    "trace": unary(lambda x: dyn.trace(x)),
    "diagonal": unary(lambda x: dyn.diagonal(x)),
    "cross": lambda r, c: (lambda x, y: dyn.cross(x, y, 1), [t(r * c, 3), t(r * c, 3)]),
    "kron": lambda r, c: (dyn.kron, [t(r // 4, 2), t(4, c)]),
    "matrix_power": unary(lambda x: dyn.linalg.matrix_power(x, 3)),
}
