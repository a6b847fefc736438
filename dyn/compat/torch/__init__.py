"""PyTorch's names and conventions over dyn's tensors, layers and optimisers.

`import dyn.compat.torch as torch`. The public names, nothing else.
"""

import sys
from math import e, inf, nan, pi
from typing import Any

from dyn.compat.torch import (
    absent,
    anomaly,
    autograd,
    distributions,
    elements,
    files,
    func,
    further,
    linalg,
    methods,
    nn,
    optim,
    pointwise,
    shape,
    utils,
    vocabulary,
)
from dyn.compat.torch.arranging import meshgrid
from dyn.compat.torch.creation import (
    BoolTensor,
    DoubleTensor,
    FloatTensor,
    IntTensor,
    LongTensor,
    arange,
    as_tensor,
    bernoulli,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    get_default_dtype,
    is_floating_point,
    is_tensor,
    linspace,
    multinomial,
    normal,
    numel,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    tensor,
    zeros,
    zeros_like,
)
from dyn.compat.torch.devices import accelerator, backends, cuda, mps, xpu
from dyn.compat.torch.environment import (
    GradScaler,
    amp,
    are_deterministic_algorithms_enabled,
    autocast,
    compile,
    distributed,
    get_float32_matmul_precision,
    initial_seed,
    random,
    set_float32_matmul_precision,
    use_deterministic_algorithms,
)
from dyn.compat.torch.facts import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    preserve_format,
    strided,
)
from dyn.compat.torch.generator import Generator, default_generator, manual_seed
from dyn.compat.torch.serialization import load, save
from dyn.compat.torch.tensor import Tensor, flavoured
from dyn.compat.torch.text import set_printoptions
from dyn.compat.torch.types import Size, device, dtype, finfo, iinfo, of_name
from dyn.core.dtype import set_default_dtype
from dyn.core.modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from dyn.core.rng import get_rng_state, set_rng_state
from dyn.kernels.runtime.threads import get_num_threads, set_num_threads

float16, bfloat16, float32, float64 = map(of_name, ("float16", "bfloat16", "float32", "float64"))
int8, int16, int32, int64 = map(of_name, ("int8", "int16", "int32", "int64"))
uint8, complex64, complex128 = map(of_name, ("uint8", "complex64", "complex128"))
half, double, short, long = float16, float64, int16, int64
bool, float, int = of_name("bool"), float32, int32

cat, stack, where, hstack, vstack = map(
    flavoured, (shape.cat, shape.stack, shape.where, shape.one_row, shape.one_column)
)
concat = cat
einsum = flavoured(pointwise.einsum)

globals().update(methods.functions() | vocabulary.functions() | further.functions())
linalg, special = linalg.namespace, elements.special
is_anomaly_enabled = anomaly.is_anomaly_enabled


def __getattr__(name: str) -> Any:
    raise absent.error("torch", name)


inference_mode = no_grad
vmap = func.vmap
__version__ = "2.13.0+dyn"
files.publish(sys.modules[__name__])

__all__ = [
    "BoolTensor",
    "DoubleTensor",
    "FloatTensor",
    "Generator",
    "GradScaler",
    "IntTensor",
    "LongTensor",
    "Size",
    "Tensor",
    "__version__",
    "accelerator",
    "amp",
    "arange",
    "are_deterministic_algorithms_enabled",
    "as_tensor",
    "autocast",
    "autograd",
    "backends",
    "bernoulli",
    "bfloat16",
    "bool",
    "cat",
    "channels_last",
    "channels_last_3d",
    "compile",
    "complex64",
    "complex128",
    "concat",
    "contiguous_format",
    "cuda",
    "default_generator",
    "device",
    "distributed",
    "distributions",
    "double",
    "dtype",
    "e",
    "einsum",
    "empty",
    "empty_like",
    "enable_grad",
    "eye",
    "finfo",
    "float",
    "float16",
    "float32",
    "float64",
    "from_numpy",
    "full",
    "full_like",
    "func",
    "get_default_dtype",
    "get_float32_matmul_precision",
    "get_num_threads",
    "get_rng_state",
    "half",
    "hstack",
    "iinfo",
    "inf",
    "inference_mode",
    "initial_seed",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_floating_point",
    "is_grad_enabled",
    "is_tensor",
    "linalg",
    "linspace",
    "load",
    "long",
    "manual_seed",
    "meshgrid",
    "mps",
    "multinomial",
    "nan",
    "nn",
    "no_grad",
    "normal",
    "numel",
    "ones",
    "ones_like",
    "optim",
    "pi",
    "preserve_format",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "random",
    "randperm",
    "save",
    "set_default_dtype",
    "set_float32_matmul_precision",
    "set_grad_enabled",
    "set_num_threads",
    "set_printoptions",
    "set_rng_state",
    "short",
    "special",
    "stack",
    "strided",
    "tensor",
    "uint8",
    "use_deterministic_algorithms",
    "utils",
    "vmap",
    "vstack",
    "where",
    "xpu",
    "zeros",
    "zeros_like",
]
