"""Binds the ops to Tensor: operators, methods, in-place variants. Nothing here computes."""

from __future__ import annotations

import sys
from typing import Any

from dyn.core import autograd
from dyn.core.op import OPS
from dyn.core.tensor import Tensor

_METHODS = {
    "abs": "elementwise", "add": "elementwise", "cast": "elementwise", "divide": "elementwise",
    "exp": "elementwise", "log": "elementwise", "maximum": "elementwise", "minimum": "elementwise",
    "multiply": "elementwise", "neg": "elementwise", "pow": "elementwise", "sqrt": "elementwise",
    "square": "elementwise", "subtract": "elementwise", "tanh": "elementwise",
    "relu": "activation", "sigmoid": "activation",
    "equal": "compare", "not_equal": "compare", "greater_than": "compare",
    "greater_equal": "compare", "less_than": "compare", "less_equal": "compare",
    "sum": "reduce", "mean": "reduce", "max": "reduce",
    "reshape": "shape", "flatten": "shape", "transpose": "shape", "squeeze": "shape",
    "unsqueeze": "shape", "t": "shape", "expand": "shape", "tile": "shape",
    "matmul": "linalg",
}  # fmt: skip


def _method(function: Any) -> Any:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__name__ = function.__name__
    method.__doc__ = function.__doc__
    return method


for _name, _family in _METHODS.items():
    _function = getattr(sys.modules.get(f"dyn.ops.{_family}"), _name, None)
    if _function is not None:
        setattr(Tensor, _name, _method(_function))

_OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "pow",
    "matmul": "matmul",
}  # fmt: skip


def _bind(symbol: str, name: str) -> None:
    def forward(self: Tensor, other: Any) -> Any:
        return OPS[name](self, other)

    def reflected(self: Tensor, other: Any) -> Any:
        return OPS[name](other, self)

    def inplace(self: Tensor, other: Any) -> Any:
        return self._write(OPS[name](self, other))

    setattr(Tensor, f"__{symbol}__", forward)
    setattr(Tensor, f"__r{symbol}__", reflected)
    setattr(Tensor, f"__i{symbol}__", inplace)


for _symbol, _name in _OPERATORS.items():
    _bind(_symbol, _name)


def _compare(symbol: str, name: str) -> None:
    def compare(self: Tensor, other: Any) -> Any:
        return OPS[name](self, other)

    setattr(Tensor, f"__{symbol}__", compare)


for _symbol, _name in {
    "eq": "equal", "ne": "not_equal", "gt": "greater_than", "ge": "greater_equal",
    "lt": "less_than", "le": "less_equal",
}.items():  # fmt: skip
    _compare(_symbol, _name)


def _neg(self: Tensor) -> Tensor:
    return OPS["neg"](self)


def _abs(self: Tensor) -> Tensor:
    return OPS["abs"](self)


def _backward(self: Tensor, grad_tensor: Any = None, retain_graph: bool = False) -> None:
    autograd.backward([self], [grad_tensor], retain_graph)


setattr(Tensor, "__neg__", _neg)  # noqa: B010
setattr(Tensor, "__abs__", _abs)  # noqa: B010
Tensor.backward = _backward
Tensor.astype = Tensor.cast
_index = sys.modules.get("dyn.ops.index")
if _index is not None:
    Tensor.__getitem__ = _index.getitem
    setattr(Tensor, "__setitem__", _index.setitem)  # noqa: B010
