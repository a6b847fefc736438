"""Calls of PyTorch code whose values and gradients are compared with recorded ones.

In them `torch`, `nn` and `F` are known and the tensors of `tensors_of`; every call is one line.
"""

from __future__ import annotations

from typing import Any

CALLS = r"""
torch.absolute(x) + torch.arctan(x) + torch.arcsinh(x) + torch.fix(x) + torch.negative(x) + x.sgn()
torch.arccos(p) + torch.arcsin(p) + torch.arctanh(p) + torch.arccosh(1 + p) + torch.arctan2(x, y)
torch.copysign(x, y), x.copysign(torch.tensor(-1.0))
torch.signbit(torch.tensor([-0.0, 0.0, -2.0, 3.0])), torch.signbit(i)
torch.erfc(x), x.exp2(), torch.exp2(i)
torch.float_power(p, 2), i.float_power(torch.tensor([0.5, 1, 2, 3]))
torch.ldexp(x, i)
torch.logaddexp2(x, y)
torch.sinc(x), torch.sinc(torch.tensor([0.0, 1.0, 0.5]))
torch.xlogy(x, p), torch.xlogy(torch.zeros(2), torch.tensor([0.0, -1.0])), torch.xlogy(i, p)
torch.celu(x, 0.7)
torch.clamp_min(x, 0.2), torch.clamp_max(x, y), x.clamp_min(y), x.clamp_max(0.1)
torch.rsub(x, y, alpha=2), torch.positive(x), torch.dist(x, y), x.dist(y, 1)
torch.isin(i, torch.tensor([1, 3])), torch.isin(i, 2, invert=True)
torch.isneginf(torch.tensor([1.0, -inf, inf])), torch.isposinf(torch.tensor([1.0, -inf, inf]))
torch.isreal(x), x.isreal(), i.isreal()
torch.greater(x, y), x.less(y), x.greater_equal(0), torch.less_equal(x, 0), x.not_equal(x)
torch.gcd(i * 6, 4 * i.t().flatten()[:4]), torch.lcm(i, torch.tensor(-4)), i.gcd_(i - 3)
torch.bitwise_left_shift(i, 2), torch.bitwise_right_shift(i, 1)
torch.hypot(x, y), torch.frac(x), torch.heaviside(x.detach(), p.detach())
torch.nan_to_num(x / 0.0), torch.rad2deg(x)
torch.addbmm(sq, batch, batch), torch.baddbmm(batch, batch, batch, beta=0.5, alpha=2)
torch.addmv(r, x, v, alpha=3), torch.addr(x, r, v, beta=0), torch.ger(r, v), torch.vdot(v, v * 2)
r.addmv(x, v, beta=2), x.addr(r, v)
torch.chain_matmul(x, x.t(), x), torch.trace(x), x.trace(), torch.inner(x, y), torch.outer(r, v)
torch.renorm(x, 2, 0, 1.0), x.renorm(1, 1, 0.5)
torch.block_diag(x, v, torch.tensor(2.0))
torch.cartesian_prod(r, v), torch.cartesian_prod(r)
torch.combinations(v), torch.combinations(v, 3), torch.combinations(v, 2, True)
torch.vander(v.detach()), torch.vander(v.detach(), 3, increasing=True)
torch.cov(x), torch.cov(v), torch.cov(x, correction=0), x.corrcoef()
torch.cov(x, fweights=torch.tensor([1, 2, 0, 3])), torch.cov(x, aweights=v.detach().abs())
torch.cov(x, correction=2, fweights=torch.tensor([1, 2, 2, 3]), aweights=v.detach().abs())
torch.trapezoid(x), torch.trapz(x, v), torch.trapezoid(x, dx=0.5, dim=0), torch.trapz(x, y)
torch.cumulative_trapezoid(x), torch.cumulative_trapezoid(x, v)
torch.diag_embed(x), torch.diag_embed(x, 1), torch.diag_embed(x, 0, 0, 2), torch.diagflat(x, -1)
torch.diagonal(x), x.diagonal(1), batch.diagonal(dim1=1, dim2=2)
torch.cdist(x, y), torch.pdist(x), torch.cdist(x, y, 1.0), F.pdist(x, 3)
torch.kron(sq, x), torch.tensordot(x, y, dims=([1], [1])), torch.cross(x[:, :3], y[:, :3])
torch.linalg.cross(x[:, :3], y[:, :3])
torch.swapaxes(batch, 0, 2), batch.swapdims(1, 2), torch.moveaxis(batch, 0, -1), batch.adjoint()
torch.fliplr(x), torch.flipud(x), torch.rot90(x), torch.rot90(batch, 2, (1, 2)), x.rot90(-1)
torch.ravel(x), torch.tile(x, (2, 1)), v.tile(2, 2), torch.diff(x), torch.diff(x, 2, 0)
torch.diff(x, prepend=x[:, :1], append=y[:, :2])
torch.argwhere(x > 0), i.argwhere()
torch.take_along_dim(x, i.argsort(1), 1), torch.take_along_dim(x, k), x.take(k)
torch.tensor_split(v, 3), torch.tensor_split(x, (1, 3), 1), torch.tensor_split(x, (-1,), 1)
torch.hsplit(x, 2), torch.vsplit(x, 3), torch.hsplit(v, [1]), torch.dsplit(batch, 3)
x.split_with_sizes([1, 3], 1)
x.unfold(1, 2, 1), v.unfold(0, 3, 1), batch.unfold(1, 2, 2)
torch.as_strided(x, (2, 3), (3, 2), 1), x.as_strided((2, 2), (1, 1))
batch.sum_to_size(1, 3, 3), x.sum_to_size(4), x.sum_to_size(3, 1)
torch.atleast_1d(torch.tensor(2.0)), torch.atleast_2d(v), torch.atleast_3d(v, x)
torch.dstack([x, y]), torch.dstack((v, v)), torch.column_stack([r, x]), torch.row_stack([v, x])
torch.concatenate([x, y], dim=1), torch.concat([x, y]), torch.concatenate((x, y), axis=1)
torch.broadcast_tensors(v, r.view(3, 1))
torch.tril_indices(3, 4), torch.triu_indices(3, 4, 1), torch.tril_indices(4, 3, -1)
torch.meshgrid(r, v, indexing="xy"), torch.hstack([v, r]), torch.vstack([v, v])
torch.roll(x, 1, 1), torch.narrow(x, 1, 1, 2), torch.select(x, 1, 2), x.repeat_interleave(2, 1)
torch.aminmax(x), torch.aminmax(x, dim=1), x.aminmax(dim=0, keepdim=True)
torch.var(i.float(), 0, correction=3), torch.std(x.detach(), 1, correction=7)
i.double().var(correction=99)
F.pixel_shuffle(img.reshape(-1)[:24].reshape(2, 1, 4, 3, 1), 2), F.pixel_shuffle(batch.mT[:, :1], 1)
F.pixel_unshuffle(batch.reshape(-1)[:8].reshape(1, 2, 1, 2, 2), 2), nn.PixelShuffle(1)(batch)
nn.PixelUnshuffle(1)(batch[None, None])
torch.var(x, 1, correction=0.5), x.std(0, correction=1.5), torch.std(x, correction=2.25)
torch.var_mean(x, 1, correction=0.25, keepdim=True), torch.var(x.detach(), 1, correction=4.5)
torch.std_mean(x), torch.var_mean(x, 1), torch.var_mean(x, dim=0, keepdim=True, correction=0)
torch.quantile(x, 0.3), torch.quantile(x, torch.tensor([0.1, 0.9]), 1), x.quantile(0.5, 0, True)
torch.nanmedian(g), torch.nanmedian(g, 1), g.nanmedian(0, keepdim=True)
torch.nansum(g, 1), torch.nanmean(g), torch.msort(x), torch.logcumsumexp(x, 1)
torch.logcumsumexp(100 * x, 0), v.logcumsumexp(0)
torch.special.expit(x), torch.special.logit(p), torch.special.erf(x), torch.special.erfc(i)
torch.lgamma(x), torch.lgamma(9 * x.detach()), torch.digamma(p), p.digamma(), torch.digamma(x)
torch.lgamma(torch.tensor([0.0, -1.0, 1.0, 2.0, inf, -inf, 1e-30, 3e5])), torch.lgamma(i + 1)
torch.digamma(torch.tensor([0.0, -0.0, -1.0, inf, 1e-3, 3e5])), torch.special.psi(p)
torch.polygamma(1, p), p.polygamma(2), torch.special.polygamma(0, p)
torch.mvlgamma(p + 2, 3), torch.special.multigammaln(p + 2, 2), torch.special.gammaln(p)
torch.erfinv(p), torch.special.erfinv(torch.tensor([1.0, -1.0, 2.0, 0.0, 0.9999])), p.erfinv()
torch.special.ndtri(p), torch.special.erfc(9 * p), torch.erfc(torch.tensor([9.0, -9.0, inf, 0.0]))
torch.special.ndtr(torch.tensor([-9.0, -3.0, 9.0])), torch.special.digamma(p), (p + 1).lgamma_()
torch.special.entr(p), torch.special.entr(torch.tensor([0.0, 1.0, -1.0])), torch.special.ndtr(x)
torch.special.xlogy(x, p), torch.special.xlog1py(x, p), torch.special.xlog1py(i, p)
torch.special.xlog1py(torch.zeros(2), torch.tensor([-1.0, inf])), torch.special.logsumexp(x, 1)
torch.special.softmax(x, 1), torch.special.log_softmax(x, 0), torch.special.round(x * 9)
torch.special.log1p(p), torch.special.expm1(x), torch.special.exp2(x), torch.special.sinc(x)
torch.histogram(x.detach(), 4), torch.histogram(y.detach(), 3, range=(-0.5, 0.7), density=True)
torch.histogram(v.detach(), s, weight=s.abs()), torch.histogram(s, s)
torch.searchsorted(s, v), torch.searchsorted(s, x, right=True)
torch.searchsorted(s, v, side="right")
torch.bucketize(x, s), torch.bucketize(x, s, right=True, out_int32=True)
torch.histc(x, 5, -1, 1), torch.histc(x, 4)
torch.unique_consecutive(k), k.unique_consecutive(return_inverse=True, return_counts=True)
torch.unique_consecutive(i.sort(0)[0] // 2, dim=0)
torch.fill(x, 2.5), torch.index_copy(x, 1, k[1:3], y[:, :2]), x.index_fill(0, k[:1], 7.0)
x.index_copy(0, torch.tensor([2, 0]), y[:2])
x.index_put((torch.tensor([0, 2]), torch.tensor([1, 3])), v[:2])
x.index_put((torch.tensor([0, 0]),), v, accumulate=True)
x.put(torch.tensor([1, 5]), v[:2]), x.put(torch.tensor([1, 1]), v[:2], accumulate=True)
torch.masked_scatter(x, x > 0, y), x.masked_scatter(torch.tensor([True, False, True, False]), y)
torch.select_scatter(x, v, 0, 1), torch.slice_scatter(x, y[:, :2], 1, 1, 4, 2)
torch.diagonal_scatter(x, r), x.diagonal_scatter(r, 1)
torch.scatter_reduce(x, 1, c, y, "sum"), x.scatter_reduce(1, c, y, "mean")
x.scatter_reduce(1, c, y, "amax")
x.scatter_reduce(1, c[:, :3], y[:, :3], "amin", include_self=False)
x.scatter_reduce(0, c[:2] % 3, y[:2], "mean", include_self=False)
v.scatter_reduce(0, k, y[0], "amax")
x.scatter_reduce(1, c, y, "prod"), x.scatter_reduce(1, c[:2], y[:2], "prod", include_self=False)
(x - x.detach() * (x > 0.3)).scatter_reduce(1, c, y - y.detach() * (y < 0.3), "prod")
i.scatter_reduce(1, c, i + 1, "prod"), i.scatter_reduce(0, c[2:], i[:1], "prod", include_self=False)
torch.index_reduce(x, 0, k[2:] % 3, y[:2], "prod"), x.index_reduce(1, k, y, "mean")
x.index_reduce(1, k[:2], y[:, :2], "amax", include_self=False), i.index_reduce(1, k, i, "amin")
x.detach().clone().index_reduce_(1, k, y.detach(), "prod", include_self=False)
x.scatter_reduce(1, c[:2], y[:2], "amax")
torch.asarray([1.0, 2.0]), torch.scalar_tensor(3), torch.logspace(0, 2, 3), torch.clone(x)
x.clone().abs_().add_(1).sqrt_(), x.clone().exp2_(), x.clone().cosh_().sinh_(), x.clone().erf_()
p.clone().acos_(), p.clone().log2_(), p.clone().logit_(), p.clone().xlogy_(p), p.clone().sinc_()
x.clone().addmm_(x, torch.ones(4, 4)), x.clone().lerp_(y, 0.3), x.clone().hypot_(y)
x.clone().clamp_min_(0), x.clone().copysign_(y), x.clone().cumsum_(1), x.clone().fmod_(0.3)
i.float().eq_(i), i.float().gt_(2.0), i.float().le_(3), i.float().logical_not_()
i.clone().bitwise_and_(3), i.clone().bitwise_xor_(i + 1), i.clone().floor_divide_(2)
x.clone().index_fill_(1, k[:1], -1.0), x.clone().put_(k[:1], v[:1])
x.clone().masked_scatter_(x > 0, y)
torch.zeros(3, 4).fill_diagonal_(2.0), torch.zeros(2, 3).swapaxes_(0, 1)
torch.relu_(x.clone()), torch.neg_(x.clone()), torch.exp_(x.clone()), F.elu_(x.clone())
torch.conv1d(seq, w1, padding=1), torch.conv2d(img, w2, stride=2)
F.fold(F.unfold(img, 2), (4, 5), 2)
torch.max_pool2d(img, 2), torch.avg_pool1d(seq, 2), torch.adaptive_avg_pool1d(seq, 4)
torch.layer_norm(x, (4,)), torch.group_norm(img, 2), torch.rms_norm(x, (4,)), F.instance_norm(img)
F.instance_norm(img, s[:2], s[:2] ** 2, v[:2], v[1:3], use_input_stats=False, eps=0.1)
[F.instance_norm(seq, *(kept := [r.detach().clone()[:2], p.detach()[0, :2]]), momentum=0.3), *kept]
torch.prelu(x, v[:1]), torch.selu(x), torch.hardshrink(x), torch.threshold(x, 0.1, 5.0)
torch.cosine_similarity(x, y), torch.pairwise_distance(x, y)
torch.pixel_shuffle(img[:, :1].repeat(1, 4, 1, 1), 2)
F.softmin(x, 1), F.dropout1d(seq, 0.5, False), F.relu_(x.clone()), F.leaky_relu_(x.clone(), 0.3)
F.grid_sample(img, grid), F.grid_sample(img, grid, align_corners=True, padding_mode="border")
F.grid_sample(img, grid, "nearest")
F.grid_sample(img, grid * 2, "bicubic"), F.grid_sample(img, grid * 3, "bicubic", "border")
F.grid_sample(img, grid * 4, "bicubic", "reflection", True)
F.affine_grid(theta, (1, 2, 3, 2)), F.affine_grid(theta, (1, 2, 3, 2), align_corners=True)
F.interpolate(img, (7, 3), mode="nearest-exact"), F.interpolate(img, None, 1.7, "nearest-exact")
nn.Upsample(scale_factor=(0.6, 2), mode="nearest-exact")(img)
F.interpolate(seq, 9, mode="nearest-exact"), F.interpolate(vol, (5, 2, 7), mode="nearest-exact")
F.interpolate(img, (2, 3), mode="bilinear", antialias=True)
F.interpolate(img, (2, 9), mode="bicubic", antialias=True)
F.interpolate(img, (3, 2), mode="bilinear", align_corners=True, antialias=True)
F.interpolate(img, None, (0.6, 0.4), "bicubic", True, antialias=True)
F.interpolate(img, None, (0.6, 0.5), "bicubic", antialias=True)
F.interpolate(img, None, 0.7, "bilinear", recompute_scale_factor=True, antialias=True)
F.upsample(img, scale_factor=2), F.upsample_nearest(img, (6, 7)), F.upsample_bilinear(img, (6, 7))
F.lp_pool1d(seq.abs(), 2, 3), F.lp_pool2d(img.abs(), 3, 2), F.lp_pool3d(vol.abs(), 2, 2, 1)
F.max_pool2d_with_indices(img, 2), F.adaptive_max_pool2d_with_indices(img, (2, 3))
F.max_unpool2d(*F.max_pool2d_with_indices(img, 2), 2, output_size=(4, 5))
F.max_unpool1d(*F.max_pool1d(seq, 2, return_indices=True), 2)
F.multi_margin_loss(x, k[:3]), F.multi_margin_loss(x, k[:3], p=2, margin=0.5, weight=p[0].detach())
F.multi_margin_loss(v, torch.tensor(1)), F.multi_margin_loss(x, k[:3], reduction="none")
F.multilabel_margin_loss(x, t), F.multilabel_margin_loss(v, t[0])
F.multilabel_margin_loss(x, t, reduction="none")
F.multilabel_soft_margin_loss(x, (y > 0).float()), F.multilabel_soft_margin_loss(x, p, p[0])
F.triplet_margin_with_distance_loss(x, y, p, margin=2.0, swap=True)
nn.MultiMarginLoss(p=2)(x, k[:3]), nn.MultiLabelMarginLoss()(x, t)
nn.MultiLabelSoftMarginLoss(weight=p[0].detach())(x, p), nn.TripletMarginWithDistanceLoss()(x, y, p)
nn.MaxUnpool1d(2)(*nn.MaxPool1d(2, return_indices=True)(seq))
nn.MaxUnpool3d(2, 1)(*nn.MaxPool3d(2, 1, return_indices=True)(vol))
F.embedding_bag(c, y4), F.embedding_bag(c, y4, mode="sum", per_sample_weights=p)
F.embedding_bag(k, y4, torch.tensor([0, 2, 2])), F.embedding_bag(c, y4, mode="max")
F.embedding_bag(k, y4, torch.tensor([0, 1]), mode="max")
F.embedding_bag(k, y4, torch.tensor([0, 3]), mode="sum")
F.embedding_bag(c, y4, padding_idx=1)
F.embedding_bag(k, y4, torch.tensor([0, 2, 4]), include_last_offset=True)
F.embedding(c, y4, scale_grad_by_freq=True), F.embedding(c, y4, 1, scale_grad_by_freq=True)
F.embedding(c[:1, :3], y4, max_norm=0.9), y4.detach()
F.embedding(k[:2], y4, None, 0.8, 1.0), F.embedding(k, y4, max_norm=0.5, norm_type=inf), y4.detach()
F.embedding(k[2], y4, max_norm=0.5, norm_type=3.5, scale_grad_by_freq=True), y4.detach()
F.embedding_bag(c[:2], y4, max_norm=0.7, mode="sum", per_sample_weights=p[:2]), y4.detach()
F.embedding_bag(k, y4, torch.tensor([0, 2, 2]), 0.7, 1, mode="max", padding_idx=3), y4.detach()
"""
"""One call a line."""

FACTS = r"""
img.contiguous(memory_format=torch.channels_last).shape
x.clone(memory_format=torch.preserve_format).shape, x.is_contiguous()
x.stride(), batch.stride(1), x.storage_offset(), x.nbytes, x.itemsize, x.is_cpu, x.is_cuda
x.is_complex(), i.is_signed(), x.is_same_size(y), x.get_device(), torch.tensor([3]).is_nonzero()
x.is_sparse, x.is_quantized, x.is_meta, x.is_shared(), x.is_pinned(), torch.typename(i)
x.layout, torch.channels_last, torch.contiguous_format, torch.preserve_format, torch.strided
x.new_zeros(2).dtype, i.new_empty(2, 3).shape, i.new(2, 3).dtype, x.new([1.0, 2.0])
torch.result_type(i, 1.0), torch.promote_types(torch.int32, torch.float64), torch.is_complex(x)
torch.broadcast_shapes((2, 1), (3,)), torch.is_nonzero(torch.tensor(0)), torch.compile(len)("abc")
nn.CircularPad2d(1), nn.ZeroPad1d((1, 2)), nn.ConstantPad3d(1, 2.5), nn.ReflectionPad3d(1)
nn.LPPool2d(2, 3), nn.LPPool1d(1.5, 2, 1), nn.MaxUnpool2d(2), nn.MaxUnpool3d(2, 1, 0)
nn.Softmin(dim=1), nn.Softmax2d(), nn.Dropout1d(0.3), nn.MultiMarginLoss()
nn.Embedding(3, 4, 1, 2.0, 1.5, True, True), nn.Embedding(3, 4, max_norm=1)
nn.EmbeddingBag(3, 4, 2.0, 1.5, True, "sum", padding_idx=1)
nn.EmbeddingBag(4, 3, mode="sum"), nn.EmbeddingBag(4, 3, padding_idx=1)
"""
"""One expression a line; what it prints is compared."""

LAYERS: dict[str, Any] = {
    **{
        f"{kind}Pad{n}d": (
            lambda nn, kind=kind, n=n: getattr(nn, f"{kind}Pad{n}d")(
                *(((1, 0, 1, 2, 1, 1)[: 2 * n], 0.5) if kind == "Constant" else (1,))
            ),
            ("seq", "img", "vol")[n - 1],
        )
        for kind in ("Circular", "Constant", "Reflection", "Replication", "Zero")
        for n in (1, 2, 3)
    },
    **{
        f"LPPool{n}d": (
            lambda nn, n=n: getattr(nn, f"LPPool{n}d")(2, 2, 1), ("seq", "img", "vol")[n - 1]
        )
        for n in (1, 2, 3)
    },
    "Softmin": (lambda nn: nn.Softmin(dim=1), "x"),
    "Softmax2d": (lambda nn: nn.Softmax2d(), "img"),
    "Dropout1d": (lambda nn: nn.Dropout1d(0.5), "seq"),
    "EmbeddingBag": (lambda nn: nn.EmbeddingBag(4, 3), "c"),
    "EmbeddingBag_max": (lambda nn: nn.EmbeddingBag(4, 3, mode="max", padding_idx=1), "c"),
}  # fmt: skip
"""How each layer is made, and the tensor that it is called with, in use."""


_SIZES = {"dropout": 0.0, "dim_feedforward": 8}

TRANSFORMERS: dict[str, Any] = {
    "encoder_bool_mask": (
        lambda nn: nn.TransformerEncoderLayer(6, 2, batch_first=True, **_SIZES),
        lambda net, t: net(t["src"], src_mask=t["later"]),
    ),
    "encoder_padding_first": (
        lambda nn: nn.TransformerEncoderLayer(6, 2, norm_first=True, activation="gelu", **_SIZES),
        lambda net, t: net(t["src"], src_key_padding_mask=t["pad3"]),
    ),
    "encoder_causal": (
        lambda nn: nn.TransformerEncoderLayer(6, 2, batch_first=True, bias=False, **_SIZES),
        lambda net, t: net(t["src"], t["added"], is_causal=True),
    ),
    "encoder_stack": (
        lambda nn: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(6, 3, batch_first=True, **_SIZES), 2, nn.LayerNorm(6),
            enable_nested_tensor=False,
        ),
        lambda net, t: net(t["src"], t["later"], t["pad"]),
    ),
    "decoder_layer": (
        lambda nn: nn.TransformerDecoderLayer(6, 2, batch_first=True, **_SIZES),
        lambda net, t: net(
            t["tgt"], t["src"], t["later"][:2, :2], memory_key_padding_mask=t["pad"]
        ),
    ),
    "decoder_stack": (
        lambda nn: nn.TransformerDecoder(
            nn.TransformerDecoderLayer(6, 2, batch_first=True, norm_first=True, **_SIZES), 2
        ),
        lambda net, t: net(t["tgt"], t["src"], t["added"][:2, :2], t["later"][:2] & t["some"]),
    ),
    "transformer": (
        lambda nn: nn.Transformer(6, 2, 1, 1, batch_first=True, **_SIZES),
        lambda net, t: net(
            t["src"], t["tgt"], t["added"], t["added"][:2, :2], src_key_padding_mask=t["fpad"],
            memory_key_padding_mask=t["fpad"], tgt_is_causal=True,
        ),
    ),
    "attention_heads": (
        lambda nn: nn.MultiheadAttention(6, 2, batch_first=True),
        lambda net, t: net(
            t["tgt"], t["src"], t["src"], key_padding_mask=t["pad"], average_attn_weights=False
        ),
    ),
    "attention_unbatched": (
        lambda nn: nn.MultiheadAttention(6, 2),
        lambda net, t: net(t["tgt"][0], t["src"][0], t["src"][0], t["pad"][0]),
    ),
    "encoder_unbatched": (
        lambda nn: nn.TransformerEncoderLayer(6, 2, **_SIZES),
        lambda net, t: net(t["src"][0], t["later"]),
    ),
    "attention_learned_position": (
        lambda nn: nn.MultiheadAttention(6, 2, add_bias_kv=True, batch_first=True),
        lambda net, t: net(t["tgt"], t["src"], t["src"], key_padding_mask=t["fpad"]),
    ),
    "attention_zero_position": (
        lambda nn: nn.MultiheadAttention(6, 3, add_zero_attn=True, batch_first=True),
        lambda net, t: net(t["src"], t["tgt"], t["tgt"], need_weights=False),
    ),
    "attention_both_positions": (
        lambda nn: nn.MultiheadAttention(
            6, 2, add_bias_kv=True, add_zero_attn=True, kdim=6, vdim=3, batch_first=True
        ),
        lambda net, t: net(
            t["src"], t["src"], t["src"][..., :3], attn_mask=t["heads"],
            average_attn_weights=False,
        ),
    ),
    "attention_positions_unbatched": (
        lambda nn: nn.MultiheadAttention(6, 2, add_bias_kv=True, add_zero_attn=True),
        lambda net, t: net(
            t["src"][0], t["src"][0], t["src"][0], t["pad"][0], attn_mask=t["later"],
            need_weights=False, is_causal=True,
        ),
    ),
    "attention_three_masks": (
        lambda nn: nn.MultiheadAttention(6, 2, bias=False, batch_first=True),
        lambda net, t: net(t["src"], t["src"], t["src"], attn_mask=t["heads"], need_weights=False),
    ),
}  # fmt: skip
"""How each is made and called."""


def transformer_of(name: str, torch: Any) -> tuple[Any, dict[str, Any]]:
    """A transformer with parameters that are no random numbers, and tensors to call it with."""
    net = TRANSFORMERS[name][0](torch.nn)
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_((torch.arange(p.numel()).float() * 0.9 + i).cos().reshape(p.shape) * 0.5)
    later = torch.ones(3, 3).triu(1) > 0
    added = torch.zeros(3, 3).masked_fill(later, float("-inf"))
    pad = torch.tensor([[False, False, True], [False, False, False]])
    return net, {
        "src": (torch.arange(36).float() * 1.7).sin().reshape(2, 3, 6),
        "tgt": (torch.arange(24).float() * 1.3).sin().reshape(2, 2, 6),
        "later": later, "added": added, "pad": pad,
        "pad3": torch.tensor([[False, True]] * 3), "some": torch.tensor([True, False, True]),
        "fpad": torch.zeros(2, 3).masked_fill(pad, float("-inf")),
        "heads": torch.stack([added, torch.zeros(3, 3)] * 2),
    }  # fmt: skip


def transformer_results(name: str, torch: Any) -> list[tuple[str, Any]]:
    """The output in training, gradients of its squares, and the output in use."""
    net, tensors = transformer_of(name, torch)
    out = flat(TRANSFORMERS[name][1](net, tensors))
    (out[0] * out[0]).sum().backward()
    used = flat(TRANSFORMERS[name][1](net.eval(), tensors))
    return [
        *((f"out {i}", value) for i, value in enumerate(out) if value is not None),
        *((f"eval {i}", value) for i, value in enumerate(used) if value is not None),
        *((f"gradient of {key}", p.grad) for key, p in net.named_parameters()),
    ]


NORMED: dict[str, Any] = {
    "weight_norm": lambda nn: nn.utils.weight_norm(nn.Linear(4, 3)),
    "weight_norm_all": lambda nn: nn.utils.weight_norm(nn.Linear(4, 3), dim=None),
    "weight_norm_conv": lambda nn: nn.utils.weight_norm(nn.Conv2d(2, 3, 2), dim=1),
    "spectral_norm": lambda nn: nn.utils.spectral_norm(nn.Linear(4, 3)),
    "spectral_norm_conv": lambda nn: nn.utils.spectral_norm(nn.Conv2d(2, 3, 2)),
    "spectral_norm_transposed": lambda nn: nn.utils.spectral_norm(nn.ConvTranspose2d(2, 3, 2)),
}
"""Modules whose weight is normalised."""


def normed_of(name: str, torch: Any) -> tuple[Any, Any]:
    """Such a module with state that is no random numbers, and its input."""
    module = NORMED[name](torch.nn)
    with torch.no_grad():
        for i, tensor in enumerate(module.state_dict(keep_vars=True).values()):
            wave = (torch.arange(tensor.numel()).float() * 0.9 + i).cos().reshape(tensor.shape)
            unit = tensor.dim() == 1 and i > 1
            tensor.copy_(wave / wave.norm() if unit else wave)
    return module, tensors_of(torch)["x" if module.weight.dim() == 2 else "img"].detach()


def normed_results(name: str, torch: Any) -> list[tuple[str, Any]]:
    """Two calls in training with gradients, one in use, and the state afterwards."""
    module, x = normed_of(name, torch)
    first = module(x)
    second = module(x)
    (second * second).sum().backward()
    return [
        ("first", first), ("second", second), ("eval", module.eval()(x)),
        *((f"gradient of {key}", p.grad) for key, p in module.named_parameters()),
        *module.state_dict().items(),
    ]  # fmt: skip


SCHEDULES: dict[str, Any] = {
    "multiplicative": lambda S, o: S.MultiplicativeLR(o, lambda t: 0.9 + 0.01 * t),
    "multiplicative_groups": lambda S, o: S.MultiplicativeLR(
        o, [lambda t: 0.9, lambda t: 1 / (1 + t)]
    ),
    "lambda_groups": lambda S, o: S.LambdaLR(o, [lambda t: 0.9**t, lambda t: 1 / (1 + t)]),
    "cyclic": lambda S, o: S.CyclicLR(o, 0.1, 0.5, 3, 2),
    "cyclic_halved": lambda S, o: S.CyclicLR(
        o, [0.1, 0.2], [0.5, 0.6], 2, mode="triangular2", base_momentum=0.7, max_momentum=0.95
    ),
    "cyclic_plain": lambda S, o: S.CyclicLR(
        o, 0.1, 0.5, 2, mode="exp_range", gamma=0.9, cycle_momentum=False
    ),
    "sequential": lambda S, o: S.SequentialLR(
        o, [S.LinearLR(o, 0.1, 1.0, 4), S.CosineAnnealingLR(o, 5), S.ConstantLR(o, 0.5, 2)], [4, 9]
    ),
    "sequential_steps": lambda S, o: S.SequentialLR(
        o, [S.ConstantLR(o, 0.1, 3), S.ExponentialLR(o, 0.8)], milestones=[3]
    ),
    "chained": lambda S, o: S.ChainedScheduler(
        [S.ConstantLR(o, 0.1, 2), S.ExponentialLR(o, 0.9), S.StepLR(o, 4, 0.5)]
    ),
}
"""How each schedule is made from `lr_scheduler` and an optimiser of two groups."""


def rates_of(name: str, torch: Any) -> list[list[float]]:
    """Rate and momentum of both groups in the epochs of a schedule."""
    groups = [
        {"params": [torch.nn.Parameter(torch.ones(2))], "lr": rate, "momentum": 0.9}
        for rate in (0.5, 0.2)
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    schedule = SCHEDULES[name](torch.optim.lr_scheduler, optimizer)
    seen = []
    for _ in range(13):
        seen.append([group[key] for group in optimizer.param_groups for key in ("lr", "momentum")])
        optimizer.step()
        schedule.step()
    return seen


def tensors_of(torch: Any) -> dict[str, Any]:
    """The tensors that calls are made with; those of floats want gradients."""

    def wave(*shape: int, start: float = 0.0) -> Any:
        count = 1
        for n in shape:
            count *= n
        return (torch.arange(count).float() * 1.7 + start).sin().reshape(shape)

    floats = {
        "x": wave(3, 4), "y": wave(3, 4, start=0.9), "p": wave(3, 4, start=2.0) * 0.4 + 0.5,
        "v": wave(4, start=1.3), "r": wave(3, start=0.4), "sq": wave(3, 3, start=2.2),
        "batch": wave(2, 3, 3, start=0.6), "seq": wave(2, 2, 6), "img": wave(1, 2, 4, 5),
        "vol": wave(1, 1, 3, 3, 4), "w1": wave(3, 2, 3), "w2": wave(3, 2, 2, 2),
        "grid": wave(1, 3, 2, 2, start=0.7) * 1.1, "theta": wave(1, 2, 3), "y4": wave(4, 3),
    }  # fmt: skip
    for tensor in floats.values():
        tensor.requires_grad_()
    gaps = wave(3, 4)
    gaps[0, 1] = gaps[2, 0] = gaps[1, 2] = float("nan")
    return {
        **floats,
        "g": gaps,
        "i": torch.tensor([[0, 3, 1, 2], [5, 1, 1, 4], [2, 0, 6, 3]]),
        "k": torch.tensor([1, 1, 3, 0]),
        "c": torch.tensor([[0, 3, 1, 2], [1, 1, 0, 3], [2, 2, 2, 0]]),
        "t": torch.tensor([[1, 3, -1, 2], [0, -1, 1, 1], [2, 1, 0, -1]]),
        "s": torch.tensor([-0.8, -0.2, 0.3, 0.9]),
        "inf": float("inf"),
    }


def lines_of(text: str) -> list[str]:
    """The expressions of a text, one a line."""
    return [line for line in text.strip().splitlines() if line]


def flat(value: Any) -> list[Any]:
    """The tensors of what a call returns, in order."""
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in flat(item)]
    return [value]


def evaluated(line: str, torch: Any) -> tuple[list[Any], dict[str, Any]]:
    """What a call returns, and the gradients of a weighted sum of it."""
    space = tensors_of(torch)
    found = flat(eval(line, {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, **space}))
    total = None
    for number, out in enumerate(found):
        if out.requires_grad and out.numel():
            weight = (torch.arange(out.numel()).float() * 0.7 + number).cos().reshape(out.shape)
            part = (out * weight.to(out.dtype)).sum().double()
            total = part if total is None else total + part
    if total is not None:
        total.backward()
    grads = {
        name: tensor.grad
        for name, tensor in space.items()
        if getattr(tensor, "grad", None) is not None
    }
    return found, grads


def layer_of(name: str, torch: Any) -> tuple[Any, Any]:
    """A layer with parameters that are no random numbers, and its input."""
    make, what = LAYERS[name]
    layer = make(torch.nn).eval()
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_((torch.arange(p.numel()).float() * 0.9).cos().reshape(p.shape))
    return layer, tensors_of(torch)[what].detach()
