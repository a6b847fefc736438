"""More cases of the sweep in dyn: simple ops on other dtypes than float32. See `dyn_ops`."""

from dyn_ops import RNG

import dyn

DTYPES = ("float64", "int64", "int32", "bool")
BOTH = {  # of all dtypes
    "where": lambda x, y, m: dyn.where(m, x, y),
    "where_column": lambda x, y, m: dyn.where(m[:, :1], x, y),
    "equal": lambda x, y, m: x == y,
    "logical_and": lambda x, y, m: dyn.logical_and(x, y),
    "any": lambda x, y, m: dyn.any(x, 1),
    "cast": lambda x, y, m: dyn.cast(x, "float32"),
    "turn": lambda x, y, m: dyn.reshape(x.T, [-1]),
    "join": lambda x, y, m: dyn.concat([x, y], 1),
}
NUMBERS = {
    "add": lambda x, y, m: x + y,
    "add_column": lambda x, y, m: x + y[:, :1],
    "maximum": lambda x, y, m: dyn.maximum(x, y),
    "less": lambda x, y, m: x < y,
    "sum": lambda x, y, m: dyn.sum(x, 1),
    "sum0": lambda x, y, m: dyn.sum(x, 0),
    "prod": lambda x, y, m: dyn.prod(x, 1),
    "max": lambda x, y, m: dyn.max(x, 1),
    "max0": lambda x, y, m: dyn.max(x, 0),
    "cumsum": lambda x, y, m: dyn.cumsum(x, 1),
    "cumsum0": lambda x, y, m: dyn.cumsum(x, 0),
    "argmax": lambda x, y, m: dyn.argmax(x, 1),
    "sort": lambda x, y, m: dyn.sort(x, 1),
}


def made(function, dtype):
    def make(r, c):
        x, y, m = (dyn.to_tensor(a) for a in arrays(dtype, r, c))
        return lambda: function(x, y, m), []

    return make


def arrays(dtype, r, c):
    """Two arrays of a dtype, and a mask."""
    x, y = (RNG.standard_normal((r, c)) * 9 for _ in range(2))
    if dtype == "bool":
        x, y = x > 0, y > 0
    return x.astype(dtype), y.astype(dtype), RNG.random((r, c)) < 0.5


OPS = {
    f"{name}_{dtype}": made(function, dtype)
    for dtype in DTYPES
    for name, function in (BOTH if dtype == "bool" else BOTH | NUMBERS).items()
}
