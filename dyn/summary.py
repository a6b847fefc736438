"""`dyn.summary`: the table of a model's layers; `dyn.flops`: how much it computes.

Both run the model once, without gradients and in eval mode, on numbers of the given size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from dyn.core import dtype as dtypes
from dyn.core import observe
from dyn.core.errors import AttributeValueError, DTypeError
from dyn.core.modes import no_grad
from dyn.core.tensor import Tensor
from dyn.nn.container import LayerList, Sequential
from dyn.nn.layer import Layer

_WIDTH = 75
_COLUMNS = ("Layer (type)", "Input Shape", "Output Shape", "Param #")
_WIDTHS = (15, 20, 20, 15)
_MB = 1024.0**2


@dataclass
class _Row:
    """One layer that was called: its name, shapes, and the state that hangs on it itself."""

    name: str
    inputs: Any
    outputs: Any
    state: list[Tensor]


def summary(
    net: Layer, input_size: Any = None, dtypes: Any = None, input: Any = None
) -> dict[str, int]:
    """Print a table of the layers that a model calls, and how much memory it takes.

    Layers that are not called do not appear. The number behind a layer's type counts the layers of
    that type in the process and stays with the object.

    Args:
        net: the model.
        input_size: sizes of the input: an int, a tuple, an `InputSpec`, or a list of these for
            several inputs. None or -1 among the sizes counts as 1.
        dtypes: element type of each input; float32 by default.
        input: tensors to run on instead.

    Returns:
        {"total_params", "trainable_params"}: numbers of elements in parameters and persistable
        buffers of the layers called, and in those of them that are trained.
    """
    inputs = _inputs(input_size, dtypes, input)
    rows = _run(net, inputs)
    text, counts = _table(rows, inputs)
    print(text)
    for line in _unregistered(net):
        print(line)
    return counts


def _inputs(sizes: Any, kinds: Any, given: Any) -> list[Any]:
    """The tensors to run on."""
    if given is not None:
        return list(given) if isinstance(given, (list, tuple)) else [given]
    if sizes is None:
        raise AttributeValueError("pass input_size or input")
    listed: list[Any] = [sizes]
    if not _is_int(sizes) and not hasattr(sizes, "shape") and any(_is_size(s) for s in sizes):
        listed = list(sizes)
    if kinds is None or isinstance(kinds, (str, dtypes.DType)):
        kinds = [kinds] * len(listed)
    if len(kinds) != len(listed):
        raise AttributeValueError(f"{len(listed)} inputs were given with {len(kinds)} dtypes")
    # Numbers of its own: describing a model must not change what it draws afterwards.
    draw = np.random.default_rng(0)
    out = []
    for size, kind in zip(listed, kinds, strict=True):
        kind = kind or getattr(size, "dtype", None) or "float32"
        shape = tuple(_size(n) for n in getattr(size, "shape", [size] if _is_int(size) else size))
        out.append(Tensor(draw.random(shape).astype(dtypes.as_numpy(kind))))
    return out


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer))


def _is_size(value: Any) -> bool:
    """Whether one entry of `input_size` is an input of its own rather than a size."""
    return isinstance(value, (list, tuple)) or hasattr(value, "shape")


def _size(value: Any) -> int:
    if value is None or value == -1 or isinstance(value, str):
        return 1
    if not _is_int(value) or value < 1:
        raise AttributeValueError(f"an input size is a positive integer or None, got {value!r}")
    return int(value)


@contextmanager
def _in_use(net: Layer) -> Iterator[None]:
    """Eval mode for all layers, and each one's own mode afterwards."""
    if not isinstance(net, Layer):
        raise DTypeError(f"a Layer is wanted, got {type(net).__name__}")
    modes = [(layer, layer.training) for layer in net.sublayers(include_self=True)]
    try:
        for layer, _ in modes:
            layer.training = False
        with no_grad():
            yield
    finally:
        for layer, training in modes:
            layer.training = training


def _run(net: Layer, inputs: Sequence[Any]) -> list[_Row]:
    """Rows of the layers called, in the order in which they finish."""
    rows: dict[int, _Row] = {}
    handles = []

    def note(layer: Layer, given: Any, output: Any) -> None:
        number = int(layer.full_name().rsplit("_", 1)[-1])
        state: list[Any] = [p for _, p in layer.named_parameters(include_sublayers=False)]
        state += [
            b for _, b in layer.named_buffers(include_sublayers=False) if b._array is not None
        ]
        name = f"{type(layer).__name__}-{number + 1}"
        rows[id(layer)] = _Row(name, _shapes(given), _shapes(output), state)

    with _in_use(net):
        try:
            for layer in net.sublayers(include_self=True):
                whole = layer is net and any(True for _ in net.children())
                own = any(True for _ in layer.named_parameters(include_sublayers=False))
                if own or not (whole or isinstance(layer, (Sequential, LayerList))):
                    handles.append(layer.register_forward_post_hook(note))
            net(*inputs)
        finally:
            for handle in handles:
                handle.remove()
    return list(rows.values())


def _shapes(value: Any) -> Any:
    if isinstance(value, Tensor):
        return list(value._read().shape)
    if isinstance(value, dict):
        return [_shapes(item) for item in value.values()]
    if isinstance(value, (list, tuple)):
        return [_shapes(item) for item in value]
    return []


def _elements(shapes: Any) -> int:
    """Number of elements in all tensors of nested lists of shapes."""
    if all(_is_int(n) for n in shapes):
        return math.prod(shapes)
    return sum(_elements(shape) for shape in shapes)


def _table(rows: list[_Row], inputs: Sequence[Any]) -> tuple[str, dict[str, int]]:
    cells = [
        (row.name, str(row.inputs), str(row.outputs), f"{sum(t._array.size for t in row.state):,}")
        for row in rows
    ]
    widths = [max([least, *(len(line[i]) for line in cells)]) for i, least in enumerate(_WIDTHS)]
    width = max(_WIDTH, sum(widths) + 5)
    state = {id(t): t for row in rows for t in row.state}.values()
    total = sum(int(t._array.size) for t in state)
    trained = sum(int(t._array.size) for t in state if not t.stop_gradient)
    size_in = sum(t._read().size for t in inputs if isinstance(t, Tensor)) * 4.0 / _MB
    size_out = sum(_elements(row.outputs) for row in rows) * 2.0 * 4.0 / _MB
    size_state = total * 4.0 / _MB
    lines = [
        "-" * width,
        _line(_COLUMNS, widths),
        "=" * width,
        *(_line(line, widths) for line in cells),
        "=" * width,
        f"Total params: {total:,}",
        f"Trainable params: {trained:,}",
        f"Non-trainable params: {total - trained:,}",
        "-" * width,
        f"Input size (MB): {size_in:0.2f}",
        f"Forward/backward pass size (MB): {size_out:0.2f}",
        f"Params size (MB): {size_state:0.2f}",
        f"Estimated Total Size (MB): {size_in + size_out + size_state:0.2f}",
        "-" * width + "\n",
    ]
    return "\n".join(lines), {"total_params": total, "trainable_params": trained}


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return " ".join(f"{cell:^{width}}" for cell, width in zip(cells, widths, strict=True))


def _unregistered(net: Layer) -> Iterator[str]:
    """Remarks on layers that hang on the model in plain containers only."""
    layers = list(net.named_sublayers(include_self=True))
    known = {id(layer) for _, layer in layers}
    for path, layer in layers:
        for name, value in layer.__dict__.items():
            items = value.values() if isinstance(value, dict) else value
            if not isinstance(value, (dict, list, tuple)):
                continue
            if any(isinstance(item, Layer) and id(item) not in known for item in items):
                where = ".".join(part for part in (path, name) if part)
                kind = "LayerDict" if isinstance(value, dict) else "LayerList"
                yield (
                    f"Not counted: {where} is a plain {type(value).__name__}, its layers are "
                    f"neither trained nor saved; use {kind}"
                )


# ---- flops -------------------------------------------------------------------------------------


def _count(tensor: Any) -> Any:
    return math.prod(tensor.shape)


def _of_convolution(inputs: Sequence[Any], out: Any, attrs: Any) -> int:
    w = inputs[1].shape
    return _count(out) * (math.prod(w[1:]) + (inputs[2] is not None if len(inputs) > 2 else 0))


def _of_transposed(inputs: Sequence[Any], out: Any, attrs: Any) -> int:
    bias = _count(out) if len(inputs) > 2 and inputs[2] is not None else 0
    return _count(inputs[0]) * math.prod(inputs[1].shape[1:]) + bias


def _of_product(inputs: Sequence[Any], out: Any, attrs: Any) -> int:
    return _count(out) * inputs[0].shape[-1]


def _of_attention(inputs: Sequence[Any], out: Any, attrs: Any) -> int:
    query, key, value = inputs[:3]
    pairs = math.prod(query.shape[:-1]) * key.shape[2 if attrs["heads_first"] else 1]
    return pairs * (query.shape[-1] + value.shape[-1])


_WORK: dict[str, Any] = {
    "conv": _of_convolution,
    "conv_transpose": _of_transposed,
    "linear": _of_product,
    "matmul": _of_product,
    "attention": _of_attention,
    "batch_norm": lambda inputs, out, attrs: 2 * _count(out),
    "batch_norm_infer": lambda inputs, out, attrs: 2 * _count(out),
    "layer_norm": lambda inputs, out, attrs: 2 * _count(out),
    "group_norm": lambda inputs, out, attrs: 2 * _count(out),
    "rms_norm": lambda inputs, out, attrs: 2 * _count(out),
    "avg_pool": lambda inputs, out, attrs: _count(out),
    "adaptive_avg_pool": lambda inputs, out, attrs: _count(inputs[0]) + _count(out),
}
"""Multiply-adds by op; element-wise functions, maxima and copies count nothing, as in Paddle."""


class _Counter(observe.Observer):
    """Adds up the work of ops, for the innermost layer that runs."""

    def __init__(self, custom: dict[Any, Any]):
        self.custom = custom
        self.work: dict[int, int] = {}
        self.layers: list[Any] = []

    def on_layer(self, layer: Any, phase: str) -> None:
        if phase == "enter":
            self.layers.append(layer)
        else:
            self.layers.pop()

    def on_op(self, op: Any, inputs: Any, attrs: Any, outputs: Any) -> None:
        if op.name in _WORK and not any(type(layer) in self.custom for layer in self.layers):
            arrays = [None if x is None else x._array for x in inputs]
            owner = id(self.layers[-1]) if self.layers else 0
            work = int(_WORK[op.name](arrays, outputs[0]._array, attrs))
            self.work[owner] = self.work.get(owner, 0) + work


def flops(
    net: Layer,
    input_size: Any = None,
    custom_ops: dict[Any, Any] | None = None,
    print_detail: bool = False,
    inputs: Any = None,
) -> int:
    """Count the multiply-adds of one run of a model, and print them with its parameters.

    Args:
        net: the model.
        input_size: sizes of the input, as in `summary`.
        custom_ops: for classes of layers, a function (layer, inputs, output) that adds what it
            counts to `layer.total_ops`; the ops inside such a layer do not count.
        print_detail: also print a table of the layers.
        inputs: tensors to run on instead.

    Returns:
        Multiply-adds of convolutions and products, two per element of normalisations, one per
        element that a mean is taken of.
    """
    custom = custom_ops or {}
    given = _inputs(input_size, None, inputs)
    counter = _Counter(custom)
    handles = []

    def count(layer: Any, given: Any, output: Any) -> None:
        layer.__dict__["total_ops"] = 0
        custom[type(layer)](layer, given, output)
        work = int(layer.__dict__.pop("total_ops"))
        counter.work[id(layer)] = counter.work.get(id(layer), 0) + work

    with _in_use(net), observe.observing(counter):
        try:
            for layer in net.sublayers(include_self=True):
                if type(layer) in custom:
                    handles.append(layer.register_forward_post_hook(count))
            net(*given)
        finally:
            for handle in handles:
                handle.remove()
    total = sum(counter.work.values())
    state = [p for p in [*net.parameters(), *net.buffers()] if p._array is not None]
    if print_detail:
        for path, layer in net.named_sublayers(include_self=True):
            if id(layer) in counter.work:
                print(f"{path or type(layer).__name__}: {counter.work[id(layer)]}")
    print(f"Total Flops: {total}     Total Params: {sum(int(p._array.size) for p in state)}")
    return total


__all__ = ["flops", "summary"]
