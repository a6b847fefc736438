"""Lowerings of `dyn/ops/update.py`: one chain of element-wise operators per parameter."""

from __future__ import annotations

from typing import Any

from exporter.registry import NodeView, lowers


class _Maths:
    """Arithmetic on values of one dtype, numbers made constants."""

    def __init__(self, b: Any, dtype: Any):
        self.b = b
        self.dtype = dtype

    def __call__(self, op_type: str, *operands: Any) -> Any:
        values = [
            self.b.const(x, self.dtype) if isinstance(x, (int, float)) else x for x in operands
        ]
        return self.b.op(op_type, *values)


def _groups(values: Any, kinds: int) -> list[Any]:
    count = len(values) // kinds
    return [values[i * count : (i + 1) * count] for i in range(kinds)]


def _scalar(b: Any, value: Any, given: Any, dtype: Any) -> Any:
    return value if given.dtype == dtype else b.cast(value, dtype)


def _decayed(f: _Maths, g: Any, p: Any, coefficient: float) -> Any:
    """The gradient with L2 decay."""
    return f("Add", g, f("Mul", p, coefficient)) if coefficient else g


@lowers("sgd_update")
def _(b: Any, node: NodeView) -> Any:
    lr, *tensors = node.inputs
    out = []
    for p, g, type_ in zip(*_groups(tensors, 2), node.output_types, strict=True):
        f = _Maths(b, type_.dtype)
        rate = _scalar(b, lr, node.input_types[0], type_.dtype)
        out.append(f("Sub", p, f("Mul", rate, _decayed(f, g, p, node.attrs["weight_decay"]))))
    return tuple(out)


@lowers("momentum_update")
def _(b: Any, node: NodeView) -> Any:
    lr, *tensors = node.inputs
    attrs = node.attrs
    new_p, new_v = [], []
    types = _groups(node.output_types, 2)[0]
    for p, g, v, type_ in zip(*_groups(tensors, 3), types, strict=True):
        f = _Maths(b, type_.dtype)
        rate = _scalar(b, lr, node.input_types[0], type_.dtype)
        g = _decayed(f, g, p, attrs["weight_decay"])
        velocity = f("Add", f("Mul", v, attrs["momentum"]), g)
        step = velocity
        if attrs["nesterov"]:
            step = f("Add", g, f("Mul", velocity, attrs["momentum"]))
        new_v.append(velocity)
        new_p.append(f("Sub", p, f("Mul", rate, step)))
    return (*new_p, *new_v)


@lowers("adam_update", "adamw_update")
def _(b: Any, node: NodeView) -> Any:
    scalars, tensors = node.inputs[:3], node.inputs[3:]
    attrs = node.attrs
    beta1, beta2, decay = attrs["beta1"], attrs["beta2"], attrs["weight_decay"]
    new_p, new_m, new_v = [], [], []
    types = _groups(node.output_types[:-2], 3)[0]
    for p, g, m, v, type_ in zip(*_groups(tensors, 4), types, strict=True):
        f = _Maths(b, type_.dtype)
        lr, pow1, pow2 = (
            _scalar(b, s, t, type_.dtype)
            for s, t in zip(scalars, node.input_types[:3], strict=True)
        )
        if node.op == "adam_update":
            g = _decayed(f, g, p, decay)
        elif decay:
            p = f("Mul", p, f("Sub", 1, f("Mul", lr, decay)))
        first = f("Add", f("Mul", m, beta1), f("Mul", g, 1 - beta1))
        second = f("Add", f("Mul", v, beta2), f("Mul", f("Mul", g, g), 1 - beta2))
        root = f("Sqrt", f("Sub", 1, pow2))
        rate = f("Div", f("Mul", lr, root), f("Sub", 1, pow1))
        below = f("Add", f("Sqrt", second), f("Mul", root, attrs["epsilon"]))
        new_p.append(f("Sub", p, f("Div", f("Mul", rate, first), below)))
        new_m.append(first)
        new_v.append(second)
    powers = [
        _Maths(b, t.dtype)("Mul", s, beta)
        for s, t, beta in zip(scalars[1:], node.input_types[1:3], (beta1, beta2), strict=True)
        if t is not None
    ]
    return (*new_p, *new_m, *new_v, *powers)
