"""The cases of the sweep: a name that both peers implement (`dyn_ops`, `torch_ops`) and numbers."""

from __future__ import annotations

import itertools
from typing import Any

Case = tuple[str, tuple[Any, ...]]


def convolutions() -> list[Case]:
    """(N, Ci, H, W, Co, window, stride, padding, dilation, groups)."""
    made: list[tuple[Any, ...]] = []
    for ci, co, side in [(1, 8, 28), (3, 16, 64), (7, 13, 31), (16, 32, 32), (64, 64, 28)]:
        for window, stride in itertools.product((1, 3, 5, 7), (1, 2)):
            made.append((4, ci, side, side, co, window, stride, window // 2, 1, 1))
    made += [(1, 128, 14, 14, 256, k, s, k // 2, 1, 1) for k, s in [(1, 1), (3, 1), (3, 2)]]
    made += [(1, 3, 96, 160, 24, 3, 2, 1, 1, 1), (2, 32, 17, 45, 48, 3, 1, 0, 1, 1)]
    made += [(4, 32, 28, 28, 32, 3, 1, d, d, 1) for d in (2, 3)]
    made += [
        (4, c, 28, 28, c, k, s, k // 2, 1, c) for c in (24, 96) for k in (3, 5) for s in (1, 2)
    ]
    made += [(4, 64, 28, 28, 64, 3, s, 1, 1, g) for g in (2, 8) for s in (1, 2)]
    made += [(1, 512, 7, 7, 512, 3, 1, 1, 1, 1), (32, 64, 8, 8, 128, 3, 1, 1, 1, 1)]
    made += [(2, 3, 33, 33, 6, 5, 1, 0, 1, 1), (64, 16, 8, 8, 32, 5, 1, 2, 1, 1)]
    cases: list[Case] = [("conv2d", shape) for shape in made]
    cases += [
        ("conv_transpose2d", shape)
        for shape in [
            (2, 64, 14, 14, 32, 2, 2, 0, 1, 1),
            (2, 64, 14, 14, 32, 4, 2, 1, 1, 1),
            (2, 16, 28, 28, 8, 3, 1, 1, 1, 1),
        ]
    ]
    cases += [
        ("conv1d", (4, c, n, c, k, 1, k // 2)) for c in (8, 64) for n in (128,) for k in (3, 7)
    ]
    return cases


def products() -> list[Case]:
    """linear (rows, in, out); matmul (batch, m, k, n), turned: the second is (batch, n, k)."""
    rows, widths = (1, 7, 64, 512), ((16, 16), (100, 37), (128, 512), (512, 128), (1024, 1024))
    cases: list[Case] = [("linear", (r, *w)) for r in rows for w in widths]
    cases += [("matmul", (b, m, k, n)) for b in (1, 8, 64) for m, k, n in [
        (4, 4, 4), (32, 64, 32), (65, 33, 17), (128, 128, 128)]]  # fmt: skip
    cases += [("matmul", (1, 1000, 1000, 1000)), ("matmul", (1, 2048, 16, 2048))]
    cases += [("matmul_turned", (1, m, 1024, 1024)) for m in (2, 8, 64)]
    return [*cases, ("matmul_turned", (4, 6, 2304, 6)), ("matmul", (100, 200, 1, 14))]


def rowwise() -> list[Case]:
    """Functions over the last axis of (rows, columns)."""
    sizes = [(1, 10), (64, 10), (64, 1000), (1024, 64), (512, 768), (4096, 1024)]
    names = ("softmax", "log_softmax", "layer_norm", "cross_entropy", "cumsum", "argmax", "topk",
             "sort", "sum", "max", "mean", "var", "sum0", "logsumexp")  # fmt: skip
    return [(name, size) for name in names for size in sizes]


def elementwise() -> list[Case]:
    """Functions of arrays of a number of elements, and of two whose shapes differ."""
    names = ("add", "multiply", "divide", "exp", "log", "sqrt", "tanh", "sigmoid", "gelu", "relu",
             "silu", "sin", "pow", "abs", "where", "cast", "maximum")  # fmt: skip
    cases: list[Case] = [(n, (size,)) for n in names for size in (16, 1000, 100_000, 2_000_000)]
    cases += [(n, shape) for n in ("add_row", "add_column", "add_transposed", "add_channel")
              for shape in ((64, 256), (1000, 1000))]  # fmt: skip
    return cases


def images() -> list[Case]:
    """Functions of (N, C, H, W)."""
    names = ("max_pool", "avg_pool", "adaptive_pool", "batch_norm", "batch_norm_infer",
             "group_norm", "upsample", "bilinear", "affine_grid", "grid_sample",
             "grid_sample_nearest", "pad", "transpose", "concat", "slice", "flip",
             "cross_entropy_image")  # fmt: skip
    sizes = [(1, 3, 32, 32), (8, 16, 28, 28), (32, 64, 14, 14), (4, 64, 56, 56), (2, 7, 61, 45)]
    return [(name, size) for name in names for size in sizes]


def sequences() -> list[Case]:
    """embedding (rows, width, indices), bags (rows, width, bags, indices of each), attention
    (N, heads, T, width), lstm and gru (T, N, in, hidden)."""
    cases: list[Case] = [("embedding", s) for s in [(100, 16, 32), (30000, 256, 512)]]
    cases += [(n, s) for n in ("bags", "bags_offsets")
              for s in [(100, 8, 32, 3), (10000, 64, 128, 20), (50000, 128, 512, 30)]]  # fmt: skip
    cases += [("attention", s) for s in [(1, 1, 16, 16), (4, 4, 64, 32), (2, 8, 256, 64),
                                         (1, 4, 1024, 64), (8, 2, 33, 17)]]  # fmt: skip
    recurrent = [(1, 1, 8, 8), (20, 4, 32, 32), (50, 32, 64, 128), (100, 1, 64, 256)]
    cases += [(n, s) for n in ("lstm", "gru") for s in recurrent]
    return cases


def moving() -> list[Case]:
    """Elements copied, repeated, joined, cut, by position: matrices, then images."""
    names = ("tril", "triu", "stack", "tile", "repeat_rows", "repeat_each", "expand", "roll",
             "flip0", "flip1", "turn", "clone_t", "pad_constant", "one_hot", "setitem", "strided",
             "where_row", "where_column", "masked_fill", "rot90", "meshgrid", "diag",
             "unbind")  # fmt: skip
    cases: list[Case] = [(name, size) for name in names for size in MATRICES]
    names = ("pad_reflect", "pad_replicate", "pad_circular", "slice_inner", "permute", "unfold",
             "pixel_shuffle", "flip", "crop_center")  # fmt: skip
    return cases + [(name, size) for name in names for size in IMAGES]


def indexing() -> list[Case]:
    """Reading and writing by index tensors and masks."""
    names = ("gather_rows", "gather_columns", "take_along0", "take_along1", "put_along0",
             "put_along1", "add_along1", "mask", "index_rows", "index_pairs", "index_put",
             "scatter_rows", "scatter_add", "masked_select", "take", "nonzero", "bincount",
             "index_add", "searchsorted")  # fmt: skip
    return [(name, size) for name in names for size in MATRICES]


def creating() -> list[Case]:
    """New tensors: constants, ranges, random numbers; casts between dtypes."""
    names = ("zeros", "ones", "full", "zeros_like", "arange", "linspace", "eye", "rand", "randn",
             "uniform", "gaussian", "randint", "bernoulli", "dropout", "randperm", "cast_int",
             "cast_int32", "cast_half", "cast_bool", "from_int", "from_bool",
             "from_int32")  # fmt: skip
    return [(name, size) for name in names for size in MATRICES]


def composing() -> list[Case]:
    """Losses, and functions made of several ops."""
    names = ("kl_div", "bce", "bce_logits", "cosine_similarity", "smooth_l1", "mse", "l1",
             "nll", "gaussian_nll", "poisson_nll", "hinge", "soft_margin", "triplet", "prod",
             "prod1", "norm", "normalize", "lerp", "addcmul", "clip", "glu", "soft_cross_entropy",
             "cdist", "outer", "softplus", "huber", "std", "margin_ranking")  # fmt: skip
    return [(name, size) for name in names for size in MATRICES]


def solving() -> list[Case]:
    """Systems of equations and factors of (batch, n, n); what is near a diagonal."""
    sizes = [(1, 3, 3), (1, 8, 8), (1, 32, 32), (1, 100, 100), (1, 300, 300), (1000, 4, 4),
             (64, 32, 32)]  # fmt: skip
    names = ("inverse", "det", "slogdet", "solve", "cholesky", "triangular_solve", "qr")
    cases: list[Case] = [(name, size) for name in names for size in sizes]
    names = ("trace", "diagonal", "cross", "kron", "matrix_power")
    return cases + [(name, (n, n)) for name in names for n in (8, 500)]


def stepping() -> list[Case]:
    """Steps of optimisers, and clipping, over (parameters, elements of each)."""
    names = ("sgd", "momentum", "adam", "adam_amsgrad", "adamw", "adagrad", "adadelta", "rmsprop",
             "rprop", "adamax", "nadam", "radam", "clip_norm", "clip_value")  # fmt: skip
    return [(name, size) for name in names for size in [(6, 1000), (60, 2000), (20, 200_000)]]


def dtypes() -> list[Case]:
    """What is simple, on other dtypes than float32."""
    both = ("where", "where_column", "equal", "logical_and", "any", "cast", "turn", "join")
    numbers = ("add", "add_column", "maximum", "less", "sum", "sum0", "prod", "max", "max0",
               "cumsum", "cumsum0", "argmax", "sort")  # fmt: skip
    names = [
        f"{name}_{dtype}" for dtype in ("float64", "int64", "int32") for name in both + numbers
    ]
    names += [f"{name}_bool" for name in both]
    return [(name, size) for name in names for size in [(64, 64), (1000, 206), (50_000, 7)]]


MATRICES = [(4, 10), (64, 1000), (1000, 2000)]
IMAGES = [(1, 3, 8, 8), (4, 16, 28, 28), (32, 64, 28, 28)]

GROUPS = {
    "convolutions": convolutions,
    "products": products,
    "rowwise": rowwise,
    "elementwise": elementwise,
    "images": images,
    "sequences": sequences,
    "moving": moving,
    "indexing": indexing,
    "creating": creating,
    "composing": composing,
    "solving": solving,
    "stepping": stepping,
    "dtypes": dtypes,
}
