"""Takes whole networks that PyTorch saved, at their real size, and compares what they compute.

    python -m tests.peers.wide --torch=/path/to/python

PyTorch runs in its own interpreter and leaves a `.pth` file of state dict, input, output and
gradients; this one loads the state by name into the same network written in `dyn.compat.torch`.
The exit status is 1 if a name is missing or a number differs by more than the bound. The same
networks, small, stand in `tests/compat` and are part of the ordinary tests.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.compat.architectures import ARCHITECTURES

SCALES = {"civil_net": 3, "resnet18": 32, "gpt": 48, "tagger": 64}
"""How much wider than the recorded ones: ResNet-18 and GPT-2's block get their published widths."""

BOUND = 1e-4
"""Largest difference that is allowed, as a share of the largest number compared."""


def save(folder: str) -> None:
    """In PyTorch's interpreter: run every network and save what it is and does."""
    torch = importlib.import_module("torch")
    torch.manual_seed(0)
    for name, (make, input_of) in ARCHITECTURES.items():
        net, x = make(torch, SCALES[name]), input_of(torch)
        net.train()(x)
        out = net.eval()(x)
        out.square().mean().backward()
        found = {
            "state": net.state_dict(),
            "input": x,
            "out": out.detach(),
            "grads": {key: p.grad for key, p in net.named_parameters()},
        }
        torch.save(found, Path(folder) / f"{name}.pth")


def compare(name: str, path: Path) -> tuple[int, float, float]:
    """Number of parameters, and the largest relative difference of outputs and of gradients."""
    torch: Any = importlib.import_module("dyn.compat.torch")
    recorded = torch.load(path)
    net = ARCHITECTURES[name][0](torch, SCALES[name])
    answer = net.load_state_dict(recorded["state"])
    assert not answer.missing_keys and not answer.unexpected_keys, answer
    out = net.eval()(recorded["input"])
    out.square().mean().backward()
    pairs = [(p.grad, recorded["grads"][key]) for key, p in net.named_parameters()]
    count = sum(p.numel() for p in net.parameters())
    return count, _apart(out, recorded["out"]), max(_apart(*pair) for pair in pairs)


def _apart(found: Any, wanted: Any) -> float:
    a, b = found.detach().numpy(), wanted.numpy()
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-12))


def main() -> int:
    """Save there, compare here, print a line for each network."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers.wide", description=__doc__)
    parser.add_argument("--torch", help="PyTorch's interpreter")
    parser.add_argument("--save", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.save:
        save(chosen.save)
        return 0
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        command = [chosen.torch, "-m", "tests.peers.wide", "--save", folder]
        subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
        for name in ARCHITECTURES:
            count, out, grad = compare(name, Path(folder) / f"{name}.pth")
            print(f"{name:10} {count:>12,} parameters  outputs {out:.1e}  gradients {grad:.1e}")
            worst = max(worst, out, grad)
    return int(worst > BOUND)


if __name__ == "__main__":
    sys.exit(main())
