"""The names beyond the common ones: which of them are functions, methods and in-place methods.

Tables, and what binds them to the package and the tensor class; functions are in other modules, the
common names in `methods.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dyn.compat.torch import (
    algebra,
    arranging,
    creation,
    differences,
    elements,
    facts,
    methods,
    shape,
    statistics,
    writing,
)
from dyn.compat.torch.nn import functional as F
from dyn.compat.torch.tensor import Base, Tensor, flavoured, own, write
from dyn.core.lift import cast_to
from dyn.ops import compare, gamma
from dyn.ops import creation as creation_ops
from dyn.ops import random as draws

MODULES: dict[Any, str] = {
    elements: """clamp_max clamp_min conj copysign dist exp2 float_power gcd isin isneginf
        isposinf isreal lcm ldexp logaddexp2 mvlgamma polygamma positive rsub signbit sinc xlogy""",
    algebra: """addbmm addmv addr baddbmm block_diag cartesian_prod chain_matmul combinations
        corrcoef cov cumulative_trapezoid diag_embed diagflat renorm trace trapezoid vander""",
    arranging: """adjoint argwhere as_strided atleast_1d atleast_2d atleast_3d broadcast_tensors
        column_stack concatenate diff dsplit dstack fliplr flipud hsplit ravel rot90
        split_with_sizes sum_to_size swapaxes swapdims take_along_dim tensor_split tile tril_indices
        triu_indices unfold vsplit""",
    differences: "gradient",
    statistics: """aminmax bucketize histc histogram logcumsumexp msort nanmedian nanquantile
        quantile searchsorted std_mean unique_consecutive var_mean""",
    writing: """diagonal_scatter fill index_copy index_fill index_put index_reduce masked_scatter
        put scatter_reduce select_scatter slice_scatter""",
    compare: "bitwise_left_shift bitwise_right_shift",
}
"""Functions by the module they are in."""

ALIASES = """absolute=abs arccos=acos arccosh=acosh arcsin=asin arcsinh=asinh arctan=atan
    arctan2=atan2 arctanh=atanh fix=trunc negative=neg sgn=sign greater=gt greater_equal=ge less=lt
    less_equal=le not_equal=ne moveaxis=movedim ger=outer vdot=dot trapz=trapezoid
    conj_physical=conj resolve_conj=conj resolve_neg=conj unsafe_chunk=chunk unsafe_split=split
    concat=cat row_stack=vstack"""
"""Second names of functions, also of those that are bound in `methods.py`."""

_PACKAGE_ONLY = """atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors cartesian_prod
    chain_matmul column_stack combinations concat concatenate cumulative_trapezoid dstack gradient
    isin polygamma row_stack rsub searchsorted std_mean trapezoid trapz tril_indices triu_indices
    vander var_mean fill"""
_METHOD_ONLY = "sum_to_size unfold"

_INPLACE = """acos acosh add addbmm addcdiv addcmul addmm addmv addr absolute arccos arccosh arcsin
    arcsinh arctan arctan2 arctanh asin asinh atan atan2 atanh baddbmm bitwise_and
    bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor clamp_max clamp_min
    copysign cosh cumprod cumsum deg2rad digamma eq erf erfc erfinv exp2 expm1 fix float_power
    floor_divide fmod frac gcd ge greater greater_equal gt heaviside hypot index_copy index_fill
    index_put index_reduce lcm ldexp le lerp less less_equal lgamma log10 log1p log2 logical_and
    logical_not logical_or logical_xor logit lt masked_scatter nan_to_num ne negative not_equal put
    rad2deg remainder renorm scatter_reduce sgn sinc sinh square swapaxes swapdims tan true_divide
    xlogy"""
_UNARY = """abs acos acosh asin asinh atan atanh ceil clamp cos cosh deg2rad digamma erf erfc erfinv
    exp exp2 expm1 fix floor frac log log10 log1p log2 neg negative rad2deg reciprocal round rsqrt
    sigmoid sin sinc sinh sqrt square tan tanh trunc"""
"""In-place methods that are functions of the package too."""

_FUNCTIONAL = """adaptive_avg_pool1d alpha_dropout avg_pool1d bilinear channel_shuffle conv1d conv2d
    conv3d conv_transpose1d conv_transpose2d conv_transpose3d cosine_similarity dropout group_norm
    hardshrink instance_norm layer_norm max_pool1d max_pool2d max_pool3d pairwise_distance pdist
    pixel_shuffle pixel_unshuffle prelu rms_norm rrelu selu threshold relu_ selu_ celu_ celu rrelu_
    threshold_"""
"""Functions of `nn.functional` that the package has under the same name and arguments."""


def asarray(obj: Any, *, dtype: Any = None, copy: Any = None, device: Any = None) -> Any:
    """The tensor itself where `obj` is one of the dtype already, else a new one."""
    made = creation.as_tensor(obj, dtype, device)
    return own(made.clone()) if copy else made


def scalar_tensor(s: Any, *, dtype: Any = None, **named: Any) -> Any:
    """A 0-d tensor of a number, of the default dtype unless told."""
    return creation.tensor(s, dtype=dtype or creation.get_default_dtype(), **named)


def logspace(
    start: float, end: float, steps: int, base: float = 10.0, *, dtype: Any = None, **named: Any
) -> Any:
    """base ** n for `steps` numbers n evenly from `start` to `end`, both included."""
    values = base ** np.linspace(start, end, steps)
    return creation.tensor(values, dtype=dtype or creation.get_default_dtype(), **named)


def randint_like(input: Any, low: int, high: int | None = None, *, dtype: Any = None) -> Any:
    """Integers drawn as by `randint`, in the shape and dtype of a tensor."""
    first, last = (0, low) if high is None else (low, high)
    drawn = draws.randint(first, last, list(input.shape))
    return own(cast_to(drawn, input._array.dtype if dtype is None else dtype.numpy))


def result_type(tensor1: Any, tensor2: Any) -> Any:
    """The dtype of a sum of the two, tensors or numbers."""
    return own(tensor1 + tensor2).dtype


def promote_types(type1: Any, type2: Any) -> Any:
    """The dtype of a sum of elements of two dtypes."""
    first, second = (creation_ops.ones([1], kind.name) for kind in (type1, type2))
    return own(first + second).dtype


def is_complex(input: Any) -> bool:
    """Whether the elements are complex."""
    return facts.is_complex(own(input))


def is_nonzero(input: Any) -> bool:
    """Whether the only element is not zero."""
    return facts.is_nonzero(own(input))


def typename(obj: Any) -> str:
    """The name of a type, such as "torch.FloatTensor"."""
    return own(obj).type() if isinstance(obj, Base) else type(obj).__name__


_clone: Any = vars(Base)["clone"]


def clone(input: Any, *, memory_format: Any = None) -> Any:
    """A copy that gradients pass through."""
    return own(_clone(input))


def detach(input: Any) -> Any:
    """The value without history."""
    return own(input.detach())


_PLAIN: tuple[Callable[..., Any], ...] = (
    asarray, scalar_tensor, logspace, randint_like, result_type, promote_types, is_complex,
    is_nonzero, typename, clone, detach,
)  # fmt: skip


def _shared() -> dict[str, Callable[..., Any]]:
    """Functions of the package and methods alike, by name."""
    known = methods.functions()
    known.update(cat=flavoured(shape.cat), vstack=flavoured(shape.one_column))
    found: dict[str, Callable[..., Any]] = {
        name: flavoured(getattr(module, name))
        for module, names in MODULES.items()
        for name in names.split()
    }
    for pair in ALIASES.split():
        alias, name = pair.split("=")
        found[alias] = found[name] if name in found else known[name]
    return found


def _inplace(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def call(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return write(self, function(self, *args, **kwargs))

    call.__name__ = f"{name}_"
    call.__doc__ = f"`{name}`, written to the tensor itself."
    return call


def _bind_all(shared: dict[str, Callable[..., Any]]) -> None:
    known = {**methods.functions(), **shared}
    for name in shared.keys() - set(_PACKAGE_ONLY.split()):
        setattr(Tensor, name, shared[name])
    for name in _INPLACE.split():
        setattr(Tensor, f"{name}_", _inplace(known[name], name))
    for method in facts.METHODS:
        setattr(Tensor, method.__name__, method)
    for name, getter in facts.PROPERTIES.items():
        setattr(Tensor, name, property(getter))
    for name in facts.NEVER.split():
        setattr(Tensor, name, facts.never)
    own_order = {"polygamma": gamma.polygamma, "fill_diagonal_": writing.fill_diagonal_}
    for name, function in {"clone": clone, **own_order}.items():
        setattr(Tensor, name, flavoured(function))
    for name in ("prelu", "hardshrink"):
        setattr(Tensor, name, getattr(F, name))


SHARED = _shared()
_bind_all(SHARED)


def functions() -> dict[str, Callable[..., Any]]:
    """All functions that these tables add to the package, by name."""
    methods_only = _METHOD_ONLY.split()
    found = {name: made for name, made in SHARED.items() if name not in methods_only}
    found.update({f"{name}_": getattr(Tensor, f"{name}_") for name in _UNARY.split()})
    found.update({name: getattr(F, name) for name in _FUNCTIONAL.split()})
    found.update({made.__name__: made for made in _PLAIN})
    found["broadcast_shapes"] = arranging.broadcast_shapes
    return found
