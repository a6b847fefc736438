"""Records what PyTorch prints and computes, beside this file; run it by hand with torch.

python tests/compat/record_torch.py

`models.pt` holds the state, input and output of each of the modules in `MODELS`, `networks.pt`
those of the networks in `ARCHITECTURES`, `steps.pt` parameters along the way of each optimiser.
"""

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import torch  # noqa: E402
from architectures import ARCHITECTURES  # noqa: E402
from models import MODELS, OPTIMIZERS, call, inputs_of, walk  # noqa: E402
from torch import nn  # noqa: E402


def run(make: Any, input_of: Any) -> dict[str, Any]:
    """A network in use: its state, a call, and the gradients of its parameters."""
    net, x = make(torch), input_of(torch)
    for _ in range(3):
        net.train()(x)
    out = net.eval()(x)
    out.square().sum().backward()
    return {
        "state": dict(net.state_dict()),
        "input": x,
        "out": out.detach(),
        "grads": {key: p.grad for key, p in net.named_parameters()},
    }


def main() -> None:
    """Write the three files."""
    torch.manual_seed(0)
    models = {}
    for name, make in MODELS.items():
        module = make(nn)
        inputs = inputs_of(name, torch)
        before = {key: value.clone() for key, value in module.state_dict().items()}
        out = call(module, inputs)
        if out.requires_grad:
            out.square().sum().backward()
        models[name] = {
            "state": before,
            "inputs": inputs,
            "out": out.detach(),
            "after": dict(module.state_dict()),
            "eval": call(module.eval(), inputs).detach(),
            "grads": {key: p.grad for key, p in module.named_parameters()},
        }
    torch.save(models, HERE / "models.pt")
    torch.save({name: run(*how) for name, how in ARCHITECTURES.items()}, HERE / "networks.pt")
    torch.save({name: walk(torch, nn, name) for name in OPTIMIZERS}, HERE / "steps.pt")


if __name__ == "__main__":
    main()
