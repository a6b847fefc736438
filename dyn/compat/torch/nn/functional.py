"""`torch.nn.functional`: dyn's functions under PyTorch's names and argument orders.

Losses are in `loss_functions.py`; what must not go in here is anything that computes.
"""

from __future__ import annotations

import math
from typing import Any

from dyn.compat.torch import absent, algebra, reduction
from dyn.compat.torch.nn import bag, image_functions, margin
from dyn.compat.torch.nn import loss_functions as losses
from dyn.compat.torch.nn.arguments import BEFORE_INPLACE, lenient, renamed
from dyn.compat.torch.nn.norm import need_several
from dyn.compat.torch.nn.settings import spacing_or
from dyn.compat.torch.nn.unbatched import function_of_many, function_of_single
from dyn.compat.torch.tensor import flavoured, write
from dyn.core.errors import ShapeError
from dyn.core.op import OPS
from dyn.nn import functional as F
from dyn.nn.functional.table import rows_of
from dyn.ops import attention as attentions
from dyn.ops import pool, shape
from dyn.ops.extremes import maximum
from dyn.ops.infer import show

_SAME = """celu elu hardsigmoid hardswish leaky_relu mish prelu relu6 rrelu selu
    silu softplus softsign tanh tanhshrink sigmoid bilinear
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool2d adaptive_max_pool3d conv1d conv2d conv3d pixel_shuffle pixel_unshuffle
    channel_shuffle local_response_norm hardshrink softshrink"""
"""Functions with the same arguments in both."""


def _glu(input: Any, dim: int = -1) -> Any:
    """The first half along an axis times the sigmoid of the second."""
    return F.glu(input, dim)


def _gumbel_softmax(
    logits: Any, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Any:
    """Softmax of (logits + Gumbel noise) / tau; `eps` has no effect, as in PyTorch."""
    return F.gumbel_softmax(logits, tau, hard, dim)


def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """input @ weight.T + bias."""
    return F.linear(input, weight, bias, transpose_weight=True)


def _relu(input: Any, inplace: bool = False) -> Any:
    """max(input, 0)."""
    return F.relu(input)


def _conv_transpose(function: Any) -> Any:
    def call(
        input: Any,
        weight: Any,
        bias: Any = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Any:
        return function(
            input, weight, bias, stride, padding, output_padding, groups=groups, dilation=dilation
        )

    call.__doc__ = function.__doc__
    return flavoured(call)


def _max_pool(axes: int) -> Any:
    def call(
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        return pool.max_pool_nd(
            axes, input, kernel_size, stride, padding,
            return_mask=return_indices, ceil_mode=ceil_mode, dilation=dilation,
        )  # fmt: skip

    call.__doc__ = "Maximum over sliding windows."
    return flavoured(call)


def _avg_pool(axes: int) -> Any:
    def call(
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: Any = None,
    ) -> Any:
        return pool.avg_pool_nd(
            axes, input, kernel_size, stride, padding,
            exclusive=not count_include_pad, ceil_mode=ceil_mode, divisor=divisor_override,
        )  # fmt: skip

    call.__doc__ = "Mean over sliding windows, padding counted unless told not to."
    return flavoured(call)


def _softmax(input: Any, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """Exponentials that add up to one along `dim`."""
    axis = dim if dim is not None else (0 if input.ndim in (0, 1, 3) else 1)
    return F.softmax(input, axis, dtype)


def _log_softmax(input: Any, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """Logarithm of softmax."""
    axis = dim if dim is not None else (0 if input.ndim in (0, 1, 3) else 1)
    return F.log_softmax(input, axis, dtype)


def _gelu(input: Any, approximate: str = "none") -> Any:
    """input * Phi(input); `approximate="tanh"` for the formula with tanh."""
    return F.gelu(input, approximate == "tanh")


def _hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """input, but no less than min_val and no more than max_val."""
    return F.hardtanh(input, min_val, max_val)


def _threshold(input: Any, threshold: float, value: float) -> Any:
    """input where it is above the threshold, `value` elsewhere."""
    return F.thresholded_relu(input, threshold, value)


def _softmin(input: Any, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """Exponentials of -input that add up to one along `dim`."""
    return _softmax(-input, dim, _stacklevel, dtype)


def _dropout1d(input: Any, p: float = 0.5, training: bool = True) -> Any:
    """Whole channels of [N, C, L] or [C, L] set to zero with probability p."""
    return F.dropout(input, p, [0, 1][: input.ndim - 1], training=training)


def _dropout(function: Any) -> Any:
    def call(input: Any, p: float = 0.5, training: bool = True) -> Any:
        return function(input, p, training=training)

    call.__doc__ = function.__doc__
    return lenient(call, 3)


def _batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalised per channel; `momentum` is the share of the new statistics that is taken."""
    return F.batch_norm(
        input, running_mean, running_var, weight, bias, training, 1.0 - momentum, eps,
        unbiased=True,
    )  # fmt: skip


def _layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalised over the last axes."""
    return F.layer_norm(input, list(normalized_shape), weight, bias, eps)


def _group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalised over groups of channels of each sample."""
    return F.group_norm(input, num_groups, eps, weight, bias)


def _instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalised over each channel of each sample, or by running statistics.

    `momentum` is the share of the new statistics that is taken.
    """
    if use_input_stats:
        need_several(input)
    return F.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, 1.0 - momentum, eps
    )


def _rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: Any = None) -> Any:
    """Divided by the root of the mean square over the last axes."""
    epsilon = spacing_or(eps, input._read().dtype)
    return F.rms_norm(input, list(normalized_shape), weight, epsilon)


def _normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """Divided by the p-norm along an axis."""
    if abs(p) < math.inf:
        return F.normalize(input, p, dim, eps)
    # In PyTorch the largest ones share the gradient.
    return input / maximum(reduction.norm(input, p, dim, keepdim=True), eps)


def _embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """A row of the weight for every index; with `max_norm`, long ones are shortened in it."""
    return rows_of(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)


def _one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """Zeros with a one at each index, as integers; -1 for as many classes as occur."""
    if num_classes == -1 and not tensor.numel():
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    count = int(tensor.max()) + 1 if num_classes == -1 else num_classes
    return F.one_hot(tensor, count, "int64")


def _pad(input: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    """Elements added around the last axes: (last low, last high, second last low, ...)."""
    sides = list(pad)
    formats = {3: "NCL", 4: "NCHW", 5: "NCDHW"}
    if mode == "constant" and len(sides) != 2 * (input.ndim - 2):
        pairs = [sides[i : i + 2] for i in range(0, len(sides), 2)]
        pairs += [[0, 0]] * (input.ndim - len(pairs))
        return F.pad(input, [n for pair in reversed(pairs) for n in pair], mode, value or 0.0)
    return F.pad(input, sides, mode, value or 0.0, formats.get(input.ndim, "NCHW"))


def _interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """Another size in pixels."""
    return F.interpolate(
        input, size, scale_factor, mode, bool(align_corners),
        recompute_scale_factor=bool(recompute_scale_factor), antialias=antialias,
    )  # fmt: skip


def _attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Attention over (..., length, width), with any axes before these, or none.

    Raises:
        ShapeError: axes or sizes of query, key and value do not fit.
    """
    lead = tuple(query.shape[:-2])
    if query.ndim != 4:
        query, key, value = (_of_four_axes(x, query.ndim) for x in (query, key, value))
        if attn_mask is not None and attn_mask.ndim > 3:
            size = attn_mask.shape[-3:]
            wide = OPS["expand"](attn_mask, shape=(*lead[:-1], *size))
            attn_mask = shape.reshape(wide, [-1, *size])
    elif not enable_gqa and key.shape[1] not in (query.shape[1], 1):
        raise ShapeError(
            f"scaled_dot_product_attention: query has {query.shape[1]} heads, key "
            f"{key.shape[1]}; heads are shared with enable_gqa=True"
        )
    out = attentions.attention(
        query, key, value, attn_mask, dropout_p, is_causal, dropout_p > 0, scale
    )
    return out if len(lead) == 2 else shape.reshape(out, [*lead, *out.shape[-2:]])


def _of_four_axes(x: Any, axes: int) -> Any:
    """x as (batch, heads, length, width), of as many axes as the query has."""
    if x.ndim != axes or axes < 2:
        raise ShapeError(
            "scaled_dot_product_attention: query, key and value are (..., length, width) with "
            f"equal axes before; got {show(x.shape)} beside a query of {axes} axes"
        )
    if axes < 4:
        return shape.reshape(x, [*(1,) * (4 - axes), *x.shape])
    return shape.reshape(x, [-1, *x.shape[-3:]])


def _unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """Patches as columns."""
    return F.unfold(input, kernel_size, stride, padding, dilation)


for _name in _SAME.split():
    globals()[_name] = lenient(renamed(getattr(F, _name)), BEFORE_INPLACE.get(_name))
for _axes in (1, 2, 3):
    globals()[f"max_pool{_axes}d"] = _max_pool(_axes)
    globals()[f"avg_pool{_axes}d"] = _avg_pool(_axes)
    globals()[f"conv_transpose{_axes}d"] = _conv_transpose(getattr(F, f"conv{_axes}d_transpose"))
for _name in losses.NAMES:
    globals()[_name] = lenient(getattr(losses, _name))

linear, relu, gelu, softmax, log_softmax, glu, gumbel_softmax = map(
    lenient, (_linear, _relu, _gelu, _softmax, _log_softmax, _glu, _gumbel_softmax)
)
hardtanh, threshold = lenient(_hardtanh, 3), lenient(_threshold, 3)
logsigmoid = flavoured(F.log_sigmoid)
dropout, dropout2d, dropout3d, alpha_dropout = map(
    _dropout, (F.dropout, F.dropout2d, F.dropout3d, F.alpha_dropout)
)
batch_norm, layer_norm, group_norm, rms_norm, normalize = map(
    flavoured, (_batch_norm, _layer_norm, _group_norm, _rms_norm, _normalize)
)
embedding, one_hot, pad, interpolate, unfold = map(
    flavoured, (_embedding, _one_hot, _pad, _interpolate, _unfold)
)
scaled_dot_product_attention = flavoured(_attention)
softmin, dropout1d = lenient(_softmin), lenient(_dropout1d, 3)
instance_norm, pdist, embedding_bag = map(
    flavoured, (_instance_norm, algebra.pdist, bag.embedding_bag)
)
for _name, _function in image_functions.FUNCTIONS.items():
    globals()[_name] = flavoured(_function)
for _name in margin.NAMES:
    globals()[_name] = lenient(getattr(margin, _name))
for _axes in (1, 2, 3):
    for _name in (
        "conv", "conv_transpose", "max_pool", "avg_pool", "lp_pool", "adaptive_avg_pool",
        "adaptive_max_pool",
    ):  # fmt: skip
        _function = globals()[f"{_name}{_axes}d"]
        globals()[f"{_name}{_axes}d"] = function_of_single(_axes, _function)
    _function = globals()[f"max_unpool{_axes}d"]
    globals()[f"max_unpool{_axes}d"] = function_of_single(_axes, _function, 2)
for _name, _axes in (("unfold", 2), ("fold", 1)):
    globals()[_name] = function_of_single(_axes, globals()[_name])
for _name in ("pixel_shuffle", "pixel_unshuffle"):
    globals()[_name] = flavoured(function_of_many(globals()[_name]))


def _writing(function: Any) -> Any:
    def call(input: Any, *args: Any, **kwargs: Any) -> Any:
        return write(input, function(input, *args, **kwargs))

    call.__doc__ = f"`{function.__name__}`, written to the input."
    return call


for _name in ["relu", "elu", "celu", "selu", "leaky_relu", "hardtanh", "threshold", "rrelu"]:
    globals()[f"{_name}_"] = _writing(globals()[_name])


def __getattr__(name: str) -> Any:
    raise absent.error("torch.nn.functional", name)
