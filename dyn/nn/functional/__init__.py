"""Layers as functions: state is passed in. Most are ops under their own names."""

from dyn.absent import lookup
from dyn.nn.functional.layout import of_any_layout
from dyn.nn.functional.norm import batch_norm, instance_norm
from dyn.nn.functional.table import embedding
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
from dyn.ops.attention import scaled_dot_product_attention
from dyn.ops.convolutions import (
    conv1d,
    conv1d_transpose,
    conv2d,
    conv2d_transpose,
    conv3d,
    conv3d_transpose,
)
from dyn.ops.creation import one_hot, sequence_mask
from dyn.ops.ctc import ctc_loss
from dyn.ops.distance import cosine_similarity, pairwise_distance
from dyn.ops.dropout import alpha_dropout, dropout, dropout2d, dropout3d
from dyn.ops.grid import affine_grid, grid_sample
from dyn.ops.group_norm import group_norm, local_response_norm, rms_norm
from dyn.ops.likelihood import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    dice_loss,
    gaussian_nll_loss,
    kl_div,
    label_smooth,
    log_loss,
    poisson_nll_loss,
    sigmoid_focal_loss,
)
from dyn.ops.linalg import linear
from dyn.ops.loss import (
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
    softmax_with_cross_entropy,
    square_error_cost,
)
from dyn.ops.matrix import diag_embed
from dyn.ops.multi_margin import multi_margin_loss
from dyn.ops.norm import layer_norm
from dyn.ops.pad import pad, zeropad2d
from dyn.ops.pool import avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool2d, max_pool3d
from dyn.ops.products import bilinear
from dyn.ops.ranking import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    multi_label_soft_margin_loss,
    npair_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from dyn.ops.rearrange import (
    channel_shuffle,
    fold,
    pixel_shuffle,
    pixel_unshuffle,
    temporal_shift,
    unfold,
)
from dyn.ops.resample import interpolate, upsample
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
from dyn.ops.vector_norm import normalize

adaptive_avg_pool2d = of_any_layout(adaptive_avg_pool2d)
adaptive_avg_pool3d = of_any_layout(adaptive_avg_pool3d)
avg_pool2d = of_any_layout(avg_pool2d)
avg_pool3d = of_any_layout(avg_pool3d)
batch_norm = of_any_layout(batch_norm, 8)
channel_shuffle = of_any_layout(channel_shuffle)
dropout2d = of_any_layout(dropout2d)
dropout3d = of_any_layout(dropout3d)
group_norm = of_any_layout(group_norm)
instance_norm = of_any_layout(instance_norm)
interpolate = of_any_layout(interpolate, 6)
local_response_norm = of_any_layout(local_response_norm)
max_pool2d = of_any_layout(max_pool2d)
max_pool3d = of_any_layout(max_pool3d)
pixel_shuffle = of_any_layout(pixel_shuffle)
pixel_unshuffle = of_any_layout(pixel_unshuffle)
temporal_shift = of_any_layout(temporal_shift)
upsample = of_any_layout(upsample, 6)

__getattr__ = lookup("dyn.nn.functional")

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "affine_grid",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "channel_shuffle",
    "conv1d",
    "conv1d_transpose",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "conv3d_transpose",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "diag_embed",
    "dice_loss",
    "dropout",
    "dropout2d",
    "dropout3d",
    "elu",
    "embedding",
    "fold",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "grid_sample",
    "group_norm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "label_smooth",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_loss",
    "log_sigmoid",
    "log_softmax",
    "lp_pool1d",
    "lp_pool2d",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "maxout",
    "mish",
    "mse_loss",
    "multi_label_soft_margin_loss",
    "multi_margin_loss",
    "nll_loss",
    "normalize",
    "npair_loss",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "rrelu",
    "scaled_dot_product_attention",
    "selu",
    "sequence_mask",
    "sigmoid",
    "sigmoid_focal_loss",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmax_with_cross_entropy",
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
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "unfold",
    "upsample",
    "zeropad2d",
]
