"""Layers as functions: state is passed in. Most are ops under their own names."""

from dyn.nn.functional.norm import batch_norm
from dyn.ops.activation import (
    glu,
    gumbel_softmax,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    maxout,
    prelu,
    relu,
    relu6,
    rrelu,
    softshrink,
    swiglu,
    tanhshrink,
    thresholded_relu,
)
from dyn.ops.adaptive import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
)
from dyn.ops.angles import tanh
from dyn.ops.attention import attention, scaled_dot_product_attention
from dyn.ops.conv import (
    conv1d,
    conv1d_transpose,
    conv2d,
    conv2d_transpose,
    conv3d,
    conv3d_transpose,
)
from dyn.ops.creation import one_hot
from dyn.ops.ctc import ctc_loss
from dyn.ops.dropout import alpha_dropout, dropout, dropout2d, dropout3d
from dyn.ops.embedding import embedding
from dyn.ops.grid import affine_grid, grid_sample
from dyn.ops.group_norm import group_norm, instance_norm, local_response_norm, normalize, rms_norm
from dyn.ops.join import 
from dyn.ops.linalg import linear
from dyn.ops.loss import (
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
    square_error_cost,
)
from dyn.ops.matrix import diag_embed
from dyn.ops.norm import layer_norm
from dyn.ops.pad import pad
from dyn.ops.pool import avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool2d, max_pool3d
from dyn.ops.products import bilinear
from dyn.ops.rearrange import (
    channel_shuffle,
    fold,
    pixel_shuffle,
    pixel_unshuffle,
    temporal_shift,
    unfold,
)
from dyn.ops.resample import interpolate, upsample
from dyn.ops.rnn import gru, lstm, simple_rnn
from dyn.ops.smooth import (
    celu,
    elu,
    gelu,
    log_sigmoid,
    mish,
    selu,
    sigmoid,
    silu,
    softplus,
    softsign,
    swish,
)
from dyn.ops.softmax import log_softmax, softmax
from dyn.ops.unpool import lp_pool1d, lp_pool2d, max_unpool1d, max_unpool2d, max_unpool3d

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "affine_grid",
    "alpha_dropout",
    "attention",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "celu",
    "channel_shuffle",
    "conv1d",
    "conv1d_transpose",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "conv3d_transpose",
    "cross_entropy",
    "ctc_loss",
    "diag_embed",
    "dropout",
    "dropout2d",
    "dropout3d",
    "elu",
    "embedding",
    "fold",
    "gelu",
    "glu",
    "grid_sample",
    "group_norm",
    "gru",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_sigmoid",
    "log_softmax",
    "lp_pool1d",
    "lp_pool2d",
    "lstm",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "maxout",
    "mish",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "rrelu",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "simple_rnn",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "softshrink",
    "softsign",
    "square_error_cost",
    "swiglu",
    "swish",
    "tanh",
    "tanhshrink",
    "temporal_shift",
    "thresholded_relu",
    "unfold",
    "upsample",
]
