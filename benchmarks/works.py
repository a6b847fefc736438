"""The works that are timed, their goals, and which settings of which peer can do them.

A work is a name that every peer module under `peers/` may implement; a goal is the ratio of our
median to the best setting of the best peer (below 1 we are faster), or a limit of our own.
"""

from __future__ import annotations

from typing import NamedTuple


class Work(NamedTuple):
    """One row of the report."""

    name: str
    title: str
    goal: float | None
    against: tuple[str, ...]
    """Peers whose best setting the goal is measured against."""
    limit: float | None = None
    """Most seconds that we may take, whatever the peers do."""
    measure: str = "calls"
    """What of it: seconds a call; of the whole start with the first call ("start", or "cold" with
    nothing compiled yet); or the process's largest memory in bytes after some calls ("memory")."""
    of: str = ""
    """The name under which the peers implement it, if another."""


TORCH = ("torch",)
FRAMEWORKS = ("torch", "jax")

WORKS = (
    Work("mlp_sgd", "MLP 128-256-256-1, batch 64, SGD step", 0.55, FRAMEWORKS),
    Work("mlp_adam", "MLP 784-512-512-10, batch 128, Adam step", 0.95, FRAMEWORKS),
    Work("civil_sgd", "CivilNet 3x32x32, batch 64, SGD step", 0.40, TORCH),
    Work("civil_adam", "CivilNet 3x32x32, batch 64, Adam step", 0.40, TORCH),
    Work("vgg_adam", "VGG-style 3-conv net 32 px, batch 32, Adam step", 0.40, TORCH),
    Work("resnet_adam", "ResNet-18 224 px, batch 10, Adam step", 0.55, TORCH),
    Work("resnet_infer_1", "ResNet-18 inference, batch 1", 0.80, ("onnxruntime",)),
    Work("resnet_infer_10", "ResNet-18 inference, batch 10", 0.65, ("onnxruntime",)),
    Work("gpt_adam", "transformer 4 x d128, T 64, batch 16, Adam step", 0.45, TORCH),
    Work("lstm_adam", "LSTM 2 x 128, T 50, batch 32, Adam step", 0.60, TORCH),
    Work("lenet_adam", "the demo's network, batch 64, Adam step", 3.0, TORCH),
    Work("add", "add, 4M float32", 1.0, TORCH),
    Work("mul", "multiply, 4M float32", 1.0, TORCH),
    Work("exp", "exp, 4M float32", 0.5, TORCH),
    Work("tanh", "tanh, 4M float32", 0.5, TORCH),
    Work("gelu", "gelu, 4M float32", 0.5, TORCH),
    Work("sum", "sum of 4M float32", 1.0, TORCH),
    Work("max_rows", "maximum of 4096 rows of 1024", 1.0, TORCH),
    Work("softmax", "softmax 4096 x 1024", 0.7, TORCH),
    Work("softmax_backward", "softmax 4096 x 1024, forward and backward", 0.7, TORCH),
    Work("layer_norm", "layer norm 4096 x 1024", 0.7, TORCH),
    Work("layer_norm_backward", "layer norm 4096 x 1024, forward and backward", 0.7, TORCH),
    Work("matmul_1000", "matmul 1000 x 1000", 1.0, (*FRAMEWORKS, "numpy")),
    Work("tiny", "add of 4 elements, no gradient", None, TORCH, 2e-6),
    Work("tiny_grad", "add of 4 elements, with gradient", None, TORCH, 3e-6),
    Work("start_warm", "import and first step of CivilNet", None, TORCH, 0.8, "start", "start"),
    Work("start_cold", "the same, nothing compiled yet", None, TORCH, 8.0, "cold", "start"),
    Work(
        "resnet_memory", "memory of ResNet-18's training", 1.0, TORCH, None, "memory", "resnet_adam"
    ),
)

BY_NAME = {work.name: work for work in WORKS}
PEERS = ("dyn", "torch", "paddle", "jax", "numpy", "onnxruntime")
