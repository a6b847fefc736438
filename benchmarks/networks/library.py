"""`torch`, `nn` and `F` of the library that $NETWORKS_LIBRARY names: "torch", or "dyn" by its
PyTorch flavour."""

import os

if os.environ.get("NETWORKS_LIBRARY") == "torch":
    import torch
    import torch.nn.functional as F
    from torch import nn
else:
    import dyn.compat.torch as torch
    import dyn.compat.torch.nn.functional as F
    from dyn.compat.torch import nn

__all__ = ["F", "nn", "torch"]
