"""Records what PyTorch prints and computes, beside this file; run it by hand with torch.

python tests/compat/record_torch.py

`printed.json` holds the text of each of the snippets, `models.pt` the state, input and output of
each of the modules in `MODELS`, and `steps.pt` parameters along the way of each optimiser.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import torch  # noqa: E402
from models import MODELS, OPTIMIZERS, call, inputs_of, walk  # noqa: E402
from snippets import SNIPPETS  # noqa: E402
from torch import nn  # noqa: E402


def text(snippet: str) -> str:
    """What the snippet prints, or its error."""
    space = {
        "torch": torch, "nn": nn, "F": nn.functional, "nan": float("nan"), "inf": float("inf"),
    }  # fmt: skip
    try:
        return repr(eval(snippet, space))
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def main() -> None:
    """Write the three files."""
    torch.manual_seed(0)
    (HERE / "printed.json").write_text(
        json.dumps({snippet: text(snippet) for snippet in SNIPPETS}, indent=0) + "\n"
    )
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
    torch.save({name: walk(torch, nn, name) for name in OPTIMIZERS}, HERE / "steps.pt")


if __name__ == "__main__":
    main()
