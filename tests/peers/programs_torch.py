"""Runs in an interpreter with PyTorch: plays programs of views and writes, with their gradients.

    python programs_torch.py PROGRAMS RESULTS

Both are pickles, see `programs.py`. It imports no dyn. Of a program that PyTorch refuses (it does
not copy between overlapping views) the result is its message.
"""

from __future__ import annotations

import math
import pickle
import sys
from pathlib import Path
from typing import Any

import torch


def run_step(step: tuple[Any, ...], v: list[Any]) -> None:
    """One step, as `run_step` of the tests of writes runs it on arrays and tensors."""
    kind, i, *rest = step
    x = v[i]
    if kind == "view":
        v.append(x[rest[0]])
    elif kind == "move":
        v.append(x.permute(rest[0]))
    elif kind == "fold":
        v.append(x.reshape(x.shape[0], math.prod(x.shape[1:])))
    elif kind == "diagonal":
        v.append(x.diagonal(*rest))
    elif kind == "new":
        v.append(torch.tanh(x * rest[0]).contiguous())
    elif kind == "set":
        x[rest[0]] = rest[1]
    elif kind == "copy":
        index, j, same = rest
        x[index] = v[j] if same else v[j].sum() * 0.125
    elif kind == "add":
        j, same, number = rest
        v[i] += v[j] * number if same else v[j].sum() * 0.125
    elif kind == "mul":
        j, same, number = rest
        v[i] *= v[j] * 0.5 if same else number
    elif kind == "mask":
        x[x > rest[0] + 0.111] = rest[0]
    elif kind == "where":
        j, same, number = rest
        x[v[j] < number if same else x < number] = 0.375
    elif kind == "pair":
        x[...] = x * 0.5 + rest[0]
    elif kind == "scatter":
        x[:, rest[0]] = rest[1]
    else:
        del v[i]


def play(steps: list[tuple[Any, ...]], numbers: Any) -> Any:
    """All variables at the end, and the gradient of the sum that the tests take; or a message."""
    x = torch.tensor(numbers, requires_grad=True)
    variables = [x * 1, x[:, 0] * 2]
    try:
        for step in steps:
            run_step(step, variables)
        parts = [(v * v).sum() * 0.25 + v.sum() for v in variables]
        total = sum(parts[1:], parts[0])
        gradient = torch.zeros_like(x)
        if total.requires_grad:
            (found,) = torch.autograd.grad(total, [x], allow_unused=True)
            gradient = gradient if found is None else found
    except RuntimeError as error:
        return str(error)
    return [v.detach().numpy().copy() for v in variables], gradient.numpy()


if __name__ == "__main__":
    work = pickle.loads(Path(sys.argv[1]).read_bytes())
    played = [play(steps, numbers) for steps, numbers in work]
    Path(sys.argv[2]).write_bytes(pickle.dumps(played))
