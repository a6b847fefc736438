"""What PyTorch 2.13 computed, recorded by `record_torch.py`, is computed here.

The files are PyTorch's own: reading them is part of what is tested.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dyn.compat.torch as torch
from dyn.compat.torch import nn
from tests.compat.architectures import ARCHITECTURES
from tests.compat.models import MODELS, OPTIMIZERS, call, walk

HERE = Path(__file__).parent
RECORDED: Any = torch.load(HERE / "models.pt")
NETWORKS: Any = torch.load(HERE / "networks.pt")
STEPS: Any = torch.load(HERE / "steps.pt")


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


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_whole_networks_give_pytorchs_outputs_and_gradients(name):
    recorded = NETWORKS[name]
    net = ARCHITECTURES[name][0](torch)
    assert list(net.state_dict()) == list(recorded["state"])
    assert repr(net.load_state_dict(recorded["state"])) == "<All keys matched successfully>"
    net.eval()
    out = net(recorded["input"])
    close(out, recorded["out"], "output")
    (out * out).sum().backward()
    assert [key for key, _ in net.named_parameters()] == list(recorded["grads"])
    for key, p in net.named_parameters():
        wanted = recorded["grads"][key].numpy()
        np.testing.assert_allclose(
            p.grad.numpy(), wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max(), err_msg=key
        )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_take_pytorchs_steps(name):
    for i, (found, wanted) in enumerate(zip(walk(torch, nn, name), STEPS[name], strict=True)):
        close(found, wanted, f"{('weight', 'bias')[i % 2]} after step {i // 2 + 1}")
