"""`torch`, `nn` and `F` of the library that $NETWORKS_LIBRARY names: "torch", or "dyn" by its
PyTorch flavour; "compiled" is dyn, too, with `compile_training` to make its training steps."""

import os

LIBRARY = os.environ.get("NETWORKS_LIBRARY")
compile_training = None
if LIBRARY == "torch":
    import torch
    import torch.nn.functional as F
    from torch import nn
else:
    import dyn.compat.torch as torch
    import dyn.compat.torch.nn.functional as F
    from dyn.compat.torch import nn

    if LIBRARY == "compiled":
        from tracer import compile_training

__all__ = ["F", "compile_training", "nn", "torch"]
