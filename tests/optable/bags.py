"""Rows of `dyn/ops/bags.py`."""

from __future__ import annotations

import numpy as np

from tests.optable.case import OpCase, array, ints


def starts(rng, dtype, sizes):
    """Where four bags of n indices begin, of which the second and the last are empty."""
    n = sizes["n"]
    return np.array([0, n // 2, n // 2, n], np.int64)


def bounds(index, begin):
    """First and last place of each bag in the flat index."""
    if begin is None:
        n, each = index.shape
        return [(b * each, b * each + each) for b in range(n)]
    return list(zip(begin, [*begin[1:], index.size], strict=True))


def factors(index, begin, shares, mean):
    """What each index counts, and its bag."""
    out, bag = np.ones(index.size), np.zeros(index.size, int)
    for b, (first, last) in enumerate(bounds(index, begin)):
        bag[first:last] = b
        out[first:last] = 1 / (last - first) if mean and last > first else 1
    return out if shares is None else out * shares.reshape(-1), bag


def ref_sum(index, weight, begin=None, shares=None, *, mean):
    out = np.zeros((len(bounds(index, begin)), weight.shape[1]))
    factor, bag = factors(index, begin, shares, mean)
    np.add.at(out, bag, weight[index.reshape(-1)] * factor[:, None])
    return out


def ref_grad(g, index, begin=None, shares=None, *, shape, mean):
    out = np.zeros(shape)
    factor, bag = factors(index, begin, shares, mean)
    if index.size:
        np.add.at(out, index.reshape(-1), g[bag] * factor[:, None])
    return out


FLAT = ints("n", low=0, high=6)
TABLE = [ints("n", 3, low=0, high=6), array(6, 5)]
ROWS = [
    *(
        OpCase("sum_bags", [*TABLE, None, None], {"mean": mean}, ref_sum, onnx="ReduceSum",
               note=f"pairs-{mean}")
        for mean in (False, True)
    ),
    OpCase("sum_bags", [*TABLE, None, array("n", 3)], {"mean": False}, ref_sum, note="shares"),
    *(
        OpCase("sum_bags", [FLAT, array(6, 37), starts, None], {"mean": mean}, ref_sum,
               onnx="ScatterND", note=f"offsets-{mean}")
        for mean in (False, True)
    ),
    OpCase("sum_bags", [FLAT, array(6, 5), starts, array("n")], {"mean": False}, ref_sum,
           note="offsets-shares"),
    *(
        OpCase("sum_bags_grad", [array("n", 5), ints("n", 3, low=0, high=6), None, None],
               {"shape": (6, 5), "mean": mean}, ref_grad, onnx="ScatterND", note=f"pairs-{mean}")
        for mean in (False, True)
    ),
    *(
        OpCase("sum_bags_grad", [array(4, 5), FLAT, starts, None], {"shape": (6, 5), "mean": mean},
               ref_grad, onnx="ScatterND", note=f"offsets-{mean}")
        for mean in (False, True)
    ),
    OpCase("sum_bags_grad", [array(4, 5), FLAT, starts, array("n")],
           {"shape": (6, 5), "mean": False}, ref_grad, note="shares"),
]  # fmt: skip
