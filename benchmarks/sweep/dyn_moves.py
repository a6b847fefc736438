"""More cases of the sweep in dyn: elements moved, indexed, created; losses. See `dyn_ops`."""

import numpy as np
from dyn_ops import RNG, binary, given, ids, t, unary

import dyn
import dyn.nn.functional as F
from dyn.ops.combined import addcmul


def share(*shape):
    """Numbers in (0, 1)."""
    return dyn.to_tensor(RNG.random(shape, np.float32))


def mask(*shape):
    """True for half of the elements."""
    return share(*shape) > 0.5


def signs(*shape):
    """1 or -1."""
    return dyn.where(mask(*shape), 1.0, -1.0)


def put(x, index, value):
    x = x * 1.0
    x[index] = value
    return x


def assigned(x, value):
    x = x * 1.0
    x[:, : value.shape[1]] = value
    return x


OPS = {
    "tril": unary(lambda x: dyn.tril(x)),
    "triu": unary(lambda x: dyn.triu(x)),
    "stack": binary(lambda x, y: dyn.stack([x, y], 0)),
    "tile": unary(lambda x: dyn.tile(x, [2, 2])),
    "repeat_rows": unary(lambda x: dyn.repeat_interleave(x, 2, 0)),
    "repeat_each": unary(lambda x: dyn.repeat_interleave(x, 2, 1)),
    "expand": lambda r, c: (lambda x: dyn.expand(x, [r, c]) * 1.0, [t(1, c)]),
    "roll": unary(lambda x: dyn.roll(x, 3, 1)),
    "flip0": unary(lambda x: dyn.flip(x, [0])),
    "flip1": unary(lambda x: dyn.flip(x, [1])),
    "turn": unary(lambda x: x.T * 1.0),
    "clone_t": unary(lambda x: dyn.reshape(x.T, [-1])),
    "pad_constant": unary(lambda x: F.pad(x, [1, 1, 1, 1])),
    "one_hot": lambda r, c: (given(lambda i: F.one_hot(i, c), ids(c, r)), []),
    "setitem": lambda r, c: (assigned, [t(r, c), t(r, c // 2)]),
    "strided": unary(lambda x: x[:, ::2] * 1.0),
    "where_row": lambda r, c: (
        given(lambda x, y, m: dyn.where(m, x, y), mask(c)),
        [t(r, c), t(r, c)],
    ),
    "where_column": lambda r, c: (
        given(lambda x, y, m: dyn.where(m, x, y), mask(r, 1)),
        [t(r, c), t(r, c)],
    ),
    "masked_fill": lambda r, c: (
        given(lambda x, i: dyn.masked_fill(x, i, 0.5), mask(r, c)),
        [t(r, c)],
    ),
    "rot90": unary(lambda x: dyn.rot90(x) * 1.0),
    "meshgrid": lambda r, c: (lambda x, y: dyn.add(*dyn.meshgrid(x, y)), [t(r), t(c)]),
    "diag": lambda r, c: (dyn.diag, [t(r)]),
    "unbind": lambda r, c: (lambda x: dyn.add_n(dyn.unbind(x, 0)), [t(4, r * c // 4)]),
    "pad_reflect": unary(lambda x: F.pad(x, [2, 2, 2, 2], mode="reflect")),
    "pad_replicate": unary(lambda x: F.pad(x, [2, 2, 2, 2], mode="replicate")),
    "pad_circular": unary(lambda x: F.pad(x, [2, 2, 2, 2], mode="circular")),
    "slice_inner": unary(lambda x: x[:, :, 1:-1, 1:-1] + 0.0),
    "permute": unary(lambda x: dyn.reshape(dyn.transpose(x, [0, 2, 3, 1]), [-1])),
    "unfold": unary(lambda x: F.unfold(x, 3, 1, 1)),
    "pixel_shuffle": lambda n, c, h, w: (lambda x: F.pixel_shuffle(x, 2), [t(n, c * 4, h, w)]),
    "crop_center": unary(lambda x: F.pad(x, [-1, -1, -1, -1])),
    "gather_rows": lambda r, c: (
        given(lambda x, i: dyn.index_select(x, i, 0), ids(r, r)),
        [t(r, c)],
    ),
    "gather_columns": lambda r, c: (
        given(lambda x, i: dyn.index_select(x, i, 1), ids(c, c)),
        [t(r, c)],
    ),
    "take_along0": lambda r, c: (
        given(lambda x, i: dyn.take_along_axis(x, i, 0), ids(r, r, c)),
        [t(r, c)],
    ),
    "take_along1": lambda r, c: (
        given(lambda x, i: dyn.take_along_axis(x, i, 1), ids(c, r, c)),
        [t(r, c)],
    ),
    "put_along0": lambda r, c: (
        given(lambda x, y, i: dyn.put_along_axis(x, i, y, 0, "assign"), ids(r, r, c)),
        [t(r, c), t(r, c)],
    ),
    "put_along1": lambda r, c: (
        given(lambda x, y, i: dyn.put_along_axis(x, i, y, 1, "assign"), ids(c, r, c)),
        [t(r, c), t(r, c)],
    ),
    "add_along1": lambda r, c: (
        given(lambda x, y, i: dyn.put_along_axis(x, i, y, 1, "add"), ids(c, r, c)),
        [t(r, c), t(r, c)],
    ),
    "mask": lambda r, c: (given(lambda x, i: x[i], mask(r, c)), [t(r, c)]),
    "index_rows": lambda r, c: (given(lambda x, i: x[i], ids(r, r)), [t(r, c)]),
    "index_pairs": lambda r, c: (
        given(lambda x, i, j: x[i, j], ids(r, r * c), ids(c, r * c)),
        [t(r, c)],
    ),
    "index_put": lambda r, c: (given(lambda x, y, i: put(x, i, y), ids(r, r)), [t(r, c), t(r, c)]),
    "scatter_rows": lambda r, c: (
        given(lambda x, y, i: dyn.scatter(x, i, y), ids(r, r)),
        [t(r, c), t(r, c)],
    ),
    "scatter_add": lambda r, c: (
        given(lambda x, y, i: dyn.scatter_nd_add(x, dyn.unsqueeze(i, 1), y), ids(r, r)),
        [t(r, c), t(r, c)],
    ),
    "masked_select": lambda r, c: (
        given(lambda x, i: dyn.masked_select(x, i), mask(r, c)),
        [t(r, c)],
    ),
    "take": lambda r, c: (given(lambda x, i: dyn.take(x, i), ids(r * c, r * c)), [t(r, c)]),
    "nonzero": lambda r, c: (given(lambda m: dyn.nonzero(m), mask(r, c)), []),
    "bincount": lambda r, c: (given(lambda i: dyn.bincount(i), ids(c, r * c)), []),
    "index_add": lambda r, c: (
        given(lambda x, y, i: dyn.index_add(x, i, 1, y), ids(c, c)),
        [t(r, c), t(r, c)],
    ),
    "searchsorted": lambda r, c: (
        given(lambda e, x: dyn.searchsorted(e, x), dyn.linspace(-2.0, 2.0, c), t(r, c).detach()),
        [],
    ),
    "zeros": lambda *s: (lambda: dyn.zeros(s), []),
    "ones": lambda *s: (lambda: dyn.ones(s), []),
    "full": lambda *s: (lambda: dyn.full(s, 0.5), []),
    "zeros_like": unary(lambda x: dyn.zeros_like(x)),
    "arange": lambda r, c: (lambda: dyn.arange(r * c), []),
    "linspace": lambda r, c: (lambda: dyn.linspace(0.0, 1.0, r * c), []),
    "eye": lambda r, c: (lambda: dyn.eye(r), []),
    "rand": lambda *s: (lambda: dyn.rand(s), []),
    "randn": lambda *s: (lambda: dyn.randn(s), []),
    "uniform": lambda *s: (lambda: dyn.uniform(s, min=-2.0, max=3.0), []),
    "gaussian": lambda *s: (lambda: dyn.gaussian(s, 1.0, 2.0), []),
    "randint": lambda *s: (lambda: dyn.randint(0, 1000, s), []),
    "bernoulli": unary(lambda x: dyn.bernoulli(F.sigmoid(x).detach())),
    "dropout": unary(lambda x: F.dropout(x, 0.5)),
    "randperm": lambda r, c: (lambda: dyn.randperm(r * c), []),
    "cast_int": unary(lambda x: dyn.cast(x, "int64")),
    "cast_int32": unary(lambda x: dyn.cast(x, "int32")),
    "cast_half": unary(lambda x: dyn.cast(x, "float16")),
    "cast_bool": unary(lambda x: dyn.cast(x, "bool")),
    "from_int": lambda r, c: (given(lambda i: dyn.cast(i, "float32"), ids(c, r, c)), []),
    "from_int32": lambda r, c: (
        given(lambda i: dyn.cast(i, "float32"), dyn.cast(ids(c, r, c), "int32")),
        [],
    ),
    "from_bool": lambda r, c: (given(lambda m: dyn.cast(m, "float32"), mask(r, c)), []),
    "kl_div": binary(lambda x, y: F.kl_div(x, y, "mean"), positive=True),
    "bce": lambda r, c: (
        given(lambda x, y: F.binary_cross_entropy(x * 0.1, y), share(r, c)),
        [t(r, c, positive=True)],
    ),
    "bce_logits": lambda r, c: (
        given(lambda x, y: F.binary_cross_entropy_with_logits(x, y), share(r, c)),
        [t(r, c)],
    ),
    "cosine_similarity": binary(lambda x, y: F.cosine_similarity(x, y, 1)),
    "smooth_l1": binary(lambda x, y: F.smooth_l1_loss(x, y)),
    "mse": binary(lambda x, y: F.mse_loss(x, y)),
    "l1": binary(lambda x, y: F.l1_loss(x, y)),
    "huber": binary(lambda x, y: F.smooth_l1_loss(x, y, delta=0.5)),
    "nll": lambda r, c: (given(lambda x, y: F.nll_loss(x, y), ids(c, r)), [t(r, c)]),
    "gaussian_nll": lambda r, c: (
        given(lambda x, y: F.gaussian_nll_loss(x, y, y), share(r, c)),
        [t(r, c)],
    ),
    "poisson_nll": lambda r, c: (
        given(lambda x, y: F.poisson_nll_loss(x, y), share(r, c)),
        [t(r, c)],
    ),
    "hinge": lambda r, c: (
        given(lambda x, y: F.hinge_embedding_loss(x, y), signs(r, c)),
        [t(r, c)],
    ),
    "soft_margin": lambda r, c: (
        given(lambda x, y: F.soft_margin_loss(x, y), signs(r, c)),
        [t(r, c)],
    ),
    "margin_ranking": lambda r, c: (
        given(lambda x, y: F.margin_ranking_loss(x, y, y), signs(r, c)),
        [t(r, c)],
    ),
    "triplet": lambda r, c: (
        lambda x, y, z: F.triplet_margin_loss(x, y, z),
        [t(r, c), t(r, c), t(r, c)],
    ),
    "prod": unary(lambda x: dyn.prod(x), positive=True),
    "prod1": unary(lambda x: dyn.prod(x, 1), positive=True),
    "norm": unary(lambda x: dyn.norm(x)),
    "std": unary(lambda x: dyn.std(x, 1)),
    "normalize": unary(lambda x: F.normalize(x, axis=1)),
    "lerp": binary(lambda x, y: dyn.lerp(x, y, 0.3)),
    "addcmul": lambda r, c: (
        lambda x, y, z: addcmul(x, y, z, value=1.0),
        [t(r, c), t(r, c), t(r, c)],
    ),
    "clip": unary(lambda x: dyn.clip(x, -0.5, 0.5)),
    "glu": unary(lambda x: F.glu(x, -1)),
    "soft_cross_entropy": lambda r, c: (
        given(lambda x, y: F.cross_entropy(x, y, soft_label=True), share(r, c)),
        [t(r, c)],
    ),
    "cdist": lambda r, c: (dyn.cdist, [t(r, 16), t(64, 16)]),
    "outer": lambda r, c: (dyn.outer, [t(r), t(c)]),
    "softplus": unary(lambda x: F.softplus(x)),
}
