"""Lowerings of `dyn/ops/update.py`: a chain of element-wise operators per parameter.

The rules of `update_rules.py` are run over ONNX values instead of numbers. What is the same for all
elements is computed in double, as the kernels do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.core.op import OPS
from dyn.kernels.update_rules import RULES, trust_ratio
from exporter.numbers import MATHS, Number
from exporter.registry import NodeView, lowers


def _length(x: Number) -> Number:
    total = Number(x.b, x.b.op("ReduceSumSquare", x.value, keepdims=0), x.dtype)
    return MATHS.sqrt(total)


@lowers("sgd_update", "momentum_update", "dampened_update", "adagrad_update",
        "decaying_adagrad_update", "averaged_update", "adadelta_update", "rmsprop_update",
        "rprop_update")  # fmt: skip
def update(b: Any, node: NodeView) -> Any:
    """The rule of an op, parameter by parameter."""
    rule = RULES[node.op]
    flags = {name: x for name, x in node.attrs.items() if isinstance(x, bool)}
    settings = {name: x for name, x in node.attrs.items() if name not in flags}
    given = [Number(b, x, t.dtype) for x, t in zip(node.inputs, node.input_types, strict=True) if t]
    first = len(OPS[node.op].inputs) - 1
    scalars, tensors = given[:first], given[first:]
    runs = 2 + rule.slots(**flags)
    wide = [x.to(np.dtype(np.float64)) for x in scalars]
    numbers, after = rule.settled(MATHS, wide, settings.pop("weight_decay", 0.0), settings)
    rate = numbers.pop("lr") if rule.measured else None
    made: list[list[Any]] = [[] for _ in range(runs - 1)]
    count = len(tensors) // runs
    for i in range(count):
        row = tensors[i::count]
        dtype = row[0].dtype
        own = {k: x.to(dtype) if isinstance(x, Number) else x for k, x in numbers.items()}
        fresh = list(rule.new_values(MATHS, row, own, flags))
        if rate is not None:
            p, step = row[0], fresh[0]
            ratio = trust_ratio(MATHS, _length(p), _length(step))
            fresh[0] = p - rate.to(dtype) * ratio * step
        for values, value in zip(made, fresh, strict=True):
            values.append(value.value)
    counters = [x.to(old.dtype).value for x, old in zip(after, scalars[1:], strict=True)]
    return (*[value for values in made for value in values], *counters)
