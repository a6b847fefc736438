"""What a program is told when it asks for a name of Paddle's that is not offered.

Names that are offered are nowhere here.
"""

from __future__ import annotations

from collections.abc import Callable

_COMPLEX = "dyn has no complex arithmetic"
_LAPACK = "use numpy.linalg on tensor.numpy()"
_SPECIAL = "use scipy.special on tensor.numpy(), outside of the model"
_ONE = "there is one process, whose kernels use all cores by themselves: leave it out"

_ADVICE: dict[str, str] = {
    "jit": "tracer.compile_training compiles a training step, exporter.export writes a model to an "
        "ONNX file with sizes from exporter.InputSpec, and exporter.Predictor runs it",
    "static enable_static": "models run as they are written; exporter.InputSpec describes inputs, "
        "exporter.export writes a model to an ONNX file; dyn.cond and dyn.while_loop are "
        "what static.nn.cond and static.nn.while_loop are",
    "onnx": "use exporter.export(model, path, input_spec)",
    "inference": "use exporter.Predictor on an exported file",
    "Model callbacks": "write the loop over dyn.io.DataLoader, with tracer.compile_training for "
        "the step; dyn.summary prints a network",
    "distributed DataParallel fleet": _ONE,
    "CUDAPlace CUDAPinnedPlace XPUPlace CustomPlace": "dyn computes on the CPU: use CPUPlace",
    "fft signal complex polar as_complex as_real real imag angle conj is_complex": _COMPLEX,
    "sparse": "tensors are dense",
    "quantization quant": "quantise the exported file with onnxruntime.quantization",
    "datasets": "write a dyn.io.Dataset over files that you have",
    "profiler": "dyn observes ops by dyn.core.observe",
    "hub": "make the model in Python and load its weights with dyn.load",
    """eig eigh eigvals eigvalsh householder_product lstsq lu lu_unpack matrix_exp matrix_rank
        ormqr pca_lowrank pinv svd svdvals svd_lowrank""": _LAPACK,
    "gammainc gammaincc i0 i0e i1 i1e nextafter multigammaln": _SPECIAL,
    "gammaln": "use lgamma",
    "cat": "use concat",
    "permute": "use transpose",
    "view view_as": "use reshape",
    "negative": "use neg",
    "less": "use less_than",
    "reverse": "use flip",
    "standard_gamma poisson binomial log_normal": "draw with numpy.random and pass the numbers in",
    "relu_ elu_ softmax_ tanh_": "no function writes to its input: use the one without _",
    "FractionalMaxPool2D FractionalMaxPool3D fractional_max_pool2d fractional_max_pool3d":
        "use AdaptiveMaxPool",
    "AdaptiveLogSoftmaxWithLoss adaptive_log_softmax_with_loss HSigmoidLoss hsigmoid_loss":
        "use Linear and CrossEntropyLoss",
    "BeamSearchDecoder dynamic_decode gather_tree":
        "write the loop in Python, or with dyn.while_loop where its length depends on values",
    "flash_attention flash_attn_unpadded": "use scaled_dot_product_attention",
    "softmax_mask_fuse softmax_mask_fuse_upper_triangle": "add the mask and use softmax",
}  # fmt: skip

ADVICE: dict[str, str] = {name: text for names, text in _ADVICE.items() for name in names.split()}
"""What to do instead, by name."""


def lookup(module: str) -> Callable[[str], object]:
    """The `__getattr__` of a module, which raises for every name with advice where there is some.

    Args:
        module: its name as users write it, such as "dyn.nn".
    """

    def missing(name: str) -> object:
        advice = f": {ADVICE[name]}" if name in ADVICE else ""
        raise AttributeError(f"{module} has no {name!r}{advice}", name=name)

    return missing
