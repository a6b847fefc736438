"""What a program is told when it asks for a name of PyTorch's that is not offered.

Names that are offered are nowhere here; `docs/compat-torch.md` lists them.
"""

from __future__ import annotations

_COMPLEX = "dyn has no complex arithmetic"
_LAPACK = "use numpy.linalg on tensor.numpy()"
_LAZY = "LazyLinear, LazyConv and lazy norms make their parameters at the first call"
_SCRIPT = "exporter.export writes the model to an ONNX file"
_SPARSE = "tensors are dense"
_ALGEBRA = """eig eigh eigvals eigvalsh geqrf lobpcg lstsq lu lu_factor lu_solve
    matrix_rank orgqr ormqr pinv pinverse svd svdvals svd_lowrank pca_lowrank triangular_solve"""
_SPECIAL = """bessel_j0 bessel_j1 bessel_y0 bessel_y1 erfcx gammainc gammaincc i0 i0e i1 i1e
    igamma igammac log_ndtr nextafter zeta"""
_LAWS = "Binomial Cauchy Geometric Gumbel HalfNormal NegativeBinomial Pareto Poisson Weibull"

_ADVICE: dict[str, str] = {
    _ALGEBRA: _LAPACK,
    _SPECIAL: "use scipy.special on tensor.numpy(), outside of the model",
    "fft stft istft complex polar view_as_complex view_as_real angle imag cfloat cdouble": _COMPLEX,
    "jit onnx export fx package": _SCRIPT,
    "sparse sparse_coo_tensor sparse_csr_tensor to_sparse to_dense": _SPARSE,
    "functorch": "its functions are in torch.func",
    "quantize_per_tensor quantization ao qint8 quint8":
        "quantise the exported file with onnxruntime.quantization",
    "profiler": "dyn observes ops by dyn.core.observe",
    "multiprocessing share_memory": "kernels use all cores by themselves",
    _LAWS: "write it as a Distribution of your own, or a TransformedDistribution",
    "SyncBatchNorm": "there is one process: use BatchNorm",
    "UninitializedParameter UninitializedBuffer LazyModuleMixin": _LAZY,
    "AdaptiveLogSoftmaxWithLoss": "use Linear and CrossEntropyLoss",
    "FractionalMaxPool2d FractionalMaxPool3d fractional_max_pool2d fractional_max_pool3d":
        "use AdaptiveMaxPool",
    "CrossMapLRN2d": "use LocalResponseNorm",
    "NLLLoss2d": "use NLLLoss",
    "multi_head_attention_forward":
        "use MultiheadAttention, or scaled_dot_product_attention",
    "SparseAdam": "gradients are dense: use Adam",
    "Muon": "use SGD or AdamW",
}  # fmt: skip

ADVICE: dict[str, str] = {name: text for names, text in _ADVICE.items() for name in names.split()}
"""What to do instead, by name."""


def error(module: str, name: str) -> AttributeError:
    """The error for a name that `module`, such as "torch.nn", does not have."""
    place = f"dyn.compat.{module}"
    advice = f": {ADVICE[name]}" if name in ADVICE else ""
    return AttributeError(
        f"{place} has no {name!r}{advice}; docs/compat-torch.md lists what it has", name=name
    )
