"""The cases of `dyn_dtypes` in torch eager."""

import numpy as np
import torch

RNG = np.random.default_rng(0)
DTYPES = ("float64", "int64", "int32", "bool")
BOTH = {
    "where": lambda x, y, m: torch.where(m, x, y),
    "where_column": lambda x, y, m: torch.where(m[:, :1], x, y),
    "equal": lambda x, y, m: x == y,
    "logical_and": lambda x, y, m: torch.logical_and(x, y),
    "any": lambda x, y, m: torch.any(x, 1),
    "cast": lambda x, y, m: x.to(torch.float32),
    "turn": lambda x, y, m: x.T.reshape(-1),
    "join": lambda x, y, m: torch.cat([x, y], 1),
}
NUMBERS = {
    "add": lambda x, y, m: x + y,
    "add_column": lambda x, y, m: x + y[:, :1],
    "maximum": lambda x, y, m: torch.maximum(x, y),
    "less": lambda x, y, m: x < y,
    "sum": lambda x, y, m: torch.sum(x, 1),
    "sum0": lambda x, y, m: torch.sum(x, 0),
    "prod": lambda x, y, m: torch.prod(x, 1),
    "max": lambda x, y, m: torch.amax(x, 1),
    "max0": lambda x, y, m: torch.amax(x, 0),
    "cumsum": lambda x, y, m: torch.cumsum(x, 1),
    "cumsum0": lambda x, y, m: torch.cumsum(x, 0),
    "argmax": lambda x, y, m: torch.argmax(x, 1),
    "sort": lambda x, y, m: torch.sort(x, 1)[0],
}


def made(function, dtype):
    def make(r, c):
        x, y = (RNG.standard_normal((r, c)) * 9 for _ in range(2))
        if dtype == "bool":
            x, y = x > 0, y > 0
        mask = RNG.random((r, c)) < 0.5
        x, y, m = (torch.from_numpy(a) for a in (x.astype(dtype), y.astype(dtype), mask))
        return lambda: function(x, y, m), []

    return make


OPS = {
    f"{name}_{dtype}": made(function, dtype)
    for dtype in DTYPES
    for name, function in (BOTH if dtype == "bool" else BOTH | NUMBERS).items()
}
