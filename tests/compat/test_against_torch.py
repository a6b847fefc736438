"""What PyTorch 2.13 printed and computed, recorded by `record_torch.py`, is printed and computed.

The files are PyTorch's own: reading them is part of what is tested.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn.compat.torch as torch
from dyn.compat.torch import nn
from tests.compat.models import MODELS, OPTIMIZERS, call, walk
from tests.compat.snippets import SNIPPETS

HERE = Path(__file__).parent
PRINTED = json.loads((HERE / "printed.json").read_text("utf-8"))
RECORDED: Any = torch.load(HERE / "models.pt")
STEPS: Any = torch.load(HERE / "steps.pt")


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_prints_what_pytorch_prints(snippet):
    space = {
        "torch": torch, "nn": nn, "F": nn.functional, "nan": float("nan"), "inf": float("inf"),
    }  # fmt: skip
    try:
        text = repr(eval(snippet, space))
    except Exception as error:
        text = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    assert text == PRINTED[snippet]


def close(found, wanted, what):
    np.testing.assert_allclose(
        found.detach().numpy(), wanted.numpy(), rtol=1e-4, atol=2e-5, err_msg=what
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_state_gives_pytorchs_outputs_and_gradients(name):
    recorded = RECORDED[name]
    module = MODELS[name](nn)
    assert list(module.state_dict()) == list(recorded["state"])
    assert repr(module.load_state_dict(recorded["state"])) == "<All keys matched successfully>"
    out = call(module, recorded["inputs"])
    close(out, recorded["out"], "output in training")
    if out.requires_grad:
        (out * out).sum().backward()
    for key, p in module.named_parameters():
        close(p.grad, recorded["grads"][key], f"gradient of {key}")
    for key, value in module.state_dict().items():
        close(value, recorded["after"][key], f"{key} afterwards")
    close(call(module.eval(), recorded["inputs"]), recorded["eval"], "output in use")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_take_pytorchs_steps(name):
    for i, (found, wanted) in enumerate(zip(walk(torch, nn, name), STEPS[name], strict=True)):
        close(found, wanted, f"{('weight', 'bias')[i % 2]} after step {i // 2 + 1}")
