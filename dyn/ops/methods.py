"""Binds ops to Tensor: operators, methods and their in-place variants. Nothing here computes.

In place means: the tensor is bound to the value that the ordinary op gives (`Tensor._write`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dyn.core import autograd, tape
from dyn.core.alias import layout
from dyn.core.dispatch import apply
from dyn.core.dtype import need_kind
from dyn.core.errors import GradError
from dyn.core.lift import cast_to, literal
from dyn.core.op import Op
from dyn.core.place import PLACES, CPUPlace, as_place
from dyn.core.tensor import Tensor
from dyn.ops import (
    activation,
    angles,
    bounds,
    compare,
    composed,
    creation,
    decompose,
    elementwise,
    extremes,
    gamma,
    gather,
    index,
    join,
    linalg,
    matrix,
    places,
    products,
    random,
    reduce,
    repeat,
    scan,
    search,
    shape,
    smooth,
    solutions,
    sort,
    unary,
    vector_norm,
)

METHODS: dict[Any, str] = {
    elementwise: """add atan2 divide floor_divide floor_mod fmod heaviside hypot lerp
        logaddexp mod multiply pow remainder subtract""",
    extremes: "fmax fmin maximum minimum",
    bounds: "clip logit nan_to_num",
    unary: """abs cast ceil deg2rad exp expm1 floor frac log log10 log1p log2 neg
        rad2deg reciprocal round rsqrt scale sign sqrt square trunc""",
    angles: "acos acosh asin asinh atan atanh cos cosh erf sin sinh tan tanh",
    gamma: "digamma erfinv lgamma polygamma",
    compare: """allclose bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift
        bitwise_xor equal equal_all greater_equal greater_than isclose isfinite isinf isnan
        less_equal less_than logical_and logical_not logical_or logical_xor not_equal""",
    composed: """diagflat dsplit hsplit isin logcumsumexp masked_scatter tensor_split
        unique_consecutive vsplit""",
    smooth: "sigmoid",
    activation: "relu",
    creation: "clone numel",
    matrix: "diag diag_embed diagonal trace tril triu",
    random: "bernoulli multinomial",
    reduce: """all amax amin any count_nonzero logsumexp max mean min nanmean nansum prod
        std sum var""",
    vector_norm: "dist norm",
    scan: "cummax cummin cumprod cumsum diff",
    search: "argmax argmin bincount bucketize nonzero unique",
    sort: "argsort kthvalue median mode quantile sort topk",
    shape: """flatten moveaxis reshape squeeze swapaxes t transpose unflatten unsqueeze""",
    join: "broadcast_to chunk expand expand_as flip roll rot90 split unbind",
    repeat: "repeat_interleave tile",
    gather: """gather gather_nd index_sample index_select put_along_axis
        scatter_nd_add take_along_axis""",
    places: "index_add index_put scatter take",
    index: "index_fill masked_fill masked_select slice strided_slice where",
    decompose: "cholesky",
    solutions: "inverse",
    linalg: "addmm bmm dot inner matmul mm mv outer",
    products: "bilinear cross kron tensordot",
}
"""Names of the functions that are methods as well, by the module they are in."""

INPLACE = """abs acos add asin atan cast ceil clip cos cosh digamma divide erf erfinv exp expm1
    flatten floor floor_divide index_add index_put lerp lgamma log log10 log1p log2 logit
    masked_fill maximum minimum mod multiply nan_to_num neg polygamma pow put_along_axis reciprocal
    relu remainder reshape round rsqrt scale scatter sigmoid sin sinh sqrt square squeeze subtract
    tan tanh tril triu trunc unsqueeze"""
"""Names that have a variant with an underscore, which writes its result to the tensor."""

OPERATORS = {
    "add": elementwise.add,
    "sub": elementwise.subtract,
    "mul": elementwise.multiply,
    "truediv": elementwise.divide,
    "floordiv": elementwise.floor_divide,
    "mod": elementwise.remainder,
    "pow": elementwise.pow,
    "matmul": linalg.matmul,
    "and": compare.bitwise_and,
    "or": compare.bitwise_or,
    "xor": compare.bitwise_xor,
    "lshift": compare.bitwise_left_shift,
    "rshift": compare.bitwise_right_shift,
}
"""Python's operators of two operands, each with its reflected and its in-place form."""

COMPARISONS = {
    "eq": compare.equal,
    "ne": compare.not_equal,
    "gt": compare.greater_than,
    "ge": compare.greater_equal,
    "lt": compare.less_than,
    "le": compare.less_equal,
}

SIGNS = {"neg": unary.neg, "abs": unary.abs, "invert": compare.bitwise_not}


def _named(method: Callable[..., Any], name: str, function: Any) -> None:
    """Make `method` the method `name` of Tensor, documented as `function` is."""
    method.__name__, method.__qualname__ = name, f"Tensor.{name}"
    method.__doc__ = function.__doc__
    setattr(Tensor, name, method)


def _method(name: str, function: Any) -> None:
    if not isinstance(function, Op):
        setattr(Tensor, name, function)
        return

    def of_one(self: Tensor) -> Any:
        return apply(function, (self,))

    def of_two(self: Tensor, y: Any) -> Any:
        return apply(function, (self, y))

    _named(of_one if len(function.inputs) == 1 else of_two, name, function)


def _inplace(name: str, function: Any) -> None:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return _rebind(self, function(self, *args, **kwargs))

    _named(method, name, function)


def _rebind(x: Tensor, value: Tensor) -> Tensor:
    """Write the result of an op to its first operand, in the operand's dtype."""
    own, found = x._read().dtype, value._read().dtype
    if own != found:
        need_kind(own, found)
        value = cast_to(value, own)
    return x._write(value)


def _operator(name: str, function: Any) -> None:
    def forward(self: Tensor, other: Any) -> Any:
        return apply(function, (self, other))

    def reflected(self: Tensor, other: Any) -> Any:
        if other.__class__ is float or other.__class__ is int:
            other = literal(other, self, function)
        return apply(function, (other, self))

    def forward_function(self: Tensor, other: Any) -> Any:
        return function(self, other)

    def reflected_function(self: Tensor, other: Any) -> Any:
        return function(other, self)

    if not isinstance(function, Op):
        forward, reflected = forward_function, reflected_function

    def inplace(self: Tensor, other: Any) -> Tensor:
        return _rebind(self, forward(self, other))

    for prefix, method in (("", forward), ("r", reflected), ("i", inplace)):
        # As in Paddle and PyTorch, x @= y makes another tensor: a product has a shape of its own.
        if name != "matmul" or prefix != "i":
            _named(method, f"__{prefix}{name}__", function)


def _comparison(name: str, op: Op) -> None:
    def method(self: Tensor, other: Any) -> Any:
        if other is None or isinstance(other, (str, type)):
            return NotImplemented
        return apply(op, (self, other))

    _named(method, f"__{name}__", op)


for _module, _names in METHODS.items():
    for _name in _names.split():
        _method(_name, getattr(_module, _name))
for _name in INPLACE.split():
    _module = next(module for module, names in METHODS.items() if _name in names.split())
    _inplace(f"{_name}_", getattr(_module, _name))
for _name, _function in OPERATORS.items():
    _operator(_name, _function)
for _name, _function in COMPARISONS.items():
    _comparison(_name, _function)
for _name, _function in SIGNS.items():
    _method(f"__{_name}__", _function)


# ---- methods that are no op --------------------------------------------------------------------


def backward(self: Tensor, grad_tensor: Any = None, retain_graph: bool = False) -> None:
    """Add the gradient of this tensor to `.grad` of every leaf it depends on.

    Args:
        grad_tensor: gradient of this tensor; ones if it is None.
        retain_graph: keep the graph so that it can be walked again.

    Raises:
        GradError: nothing here wants a gradient, or the graph was already walked and freed.
    """
    autograd.backward([self], [grad_tensor], retain_graph)


def register_hook(self: Tensor, hook: Callable[[Tensor], Any]) -> tape.HookHandle:
    """Call `hook(gradient)` when the gradient of this tensor is known.

    Args:
        hook: returns None, or the gradient to go on with in its place.

    Returns:
        A handle whose `remove()` takes the hook away.

    Raises:
        GradError: the tensor has stop_gradient=True.
    """
    if self.stop_gradient:
        raise GradError(
            "Cannot register hook on a tensor that stop gradient. Set stop_gradient = False first"
        )
    node, position = tape.edge_of(self)
    if node.hooks is None:
        node.hooks = {}
    hooks = node.hooks.setdefault(position, tape.HookList())
    return tape.HookHandle(hooks, hook)


def fill_(self: Tensor, value: Any) -> Tensor:
    """Set every element to one number."""
    return self._write(creation.full_like(self, value))


def zero_(self: Tensor) -> Tensor:
    """Set every element to zero."""
    return self._write(creation.zeros_like(self))


def uniform_(self: Tensor, min: float = -1.0, max: float = 1.0) -> Tensor:
    """Set every element to a number drawn evenly from [min, max)."""
    return self._write(random.uniform(self.shape, self.dtype, min, max))


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Set every element to a number drawn from the normal distribution."""
    return self._write(random.gaussian(self.shape, mean, std, self.dtype))


def copy_(self: Tensor, other: Tensor) -> Tensor:
    """Take over the elements of a tensor that broadcasts to this shape."""
    return self._write(cast_to(join.expand(other, self.shape), self._array.dtype))


def _transposed(self: Tensor) -> Tensor:
    """The tensor with its axes in reverse order."""
    return apply(shape._transpose, (self,), ((*range(self.ndim - 1, -1, -1),),))


def _last_two_swapped(self: Tensor) -> Tensor:
    """The tensor with its last two axes exchanged."""
    return shape.swapaxes(self, -1, -2)


def is_contiguous(self: Tensor) -> bool:
    """Whether the elements stand one behind the other, row by row: not so in a transposed view."""
    return self._alias is None or bool(layout(self).flags.c_contiguous)


def contiguous(self: Tensor) -> Tensor:
    """The tensor itself, or a copy of a view that is not contiguous."""
    return self if self.is_contiguous() else self.clone()


def cpu(self: Tensor) -> Tensor:
    """The tensor itself: there is no other place."""
    return self


def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The tensor in another dtype, named by itself or by a tensor; the place is the CPU.

    Args:
        args: a place, a dtype or a tensor, in any order.
        kwargs: `device` and `dtype` by name; `blocking` has no effect.

    Raises:
        AttributeValueError: another place is named.
    """
    wanted = kwargs.get("dtype")
    as_place(kwargs.get("device"))
    for item in args:
        if isinstance(item, Tensor):
            wanted = item.dtype
        elif isinstance(item, CPUPlace) or (isinstance(item, str) and item in PLACES):
            as_place(item)
        elif not isinstance(item, bool):
            wanted = item
    return self if wanted is None else unary.cast(self, wanted)


for _function in (
    cpu, to, backward, register_hook, fill_, zero_, uniform_, normal_, copy_, contiguous,
    is_contiguous,
):  # fmt: skip
    setattr(Tensor, _function.__name__, _function)
for _name, _function in (
    ("astype", unary.cast),
    ("dim", lambda x: x.ndim),
    ("rank", lambda x: creation.full([], x.ndim, "int64")),
    ("__getitem__", index.getitem),
    ("__setitem__", index.setitem),
):
    setattr(Tensor, _name, _function)
setattr(Tensor, "T", property(_transposed))  # noqa: B010
setattr(Tensor, "mT", property(_last_two_swapped))  # noqa: B010
