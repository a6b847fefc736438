"""Records what the calls of `calls.py` give in PyTorch, beside this file; run by hand with torch.

python tests/compat/record_calls.py
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import torch  # noqa: E402
from calls import (  # noqa: E402
    CALLS,
    FACTS,
    LAYERS,
    NORMED,
    SCHEDULES,
    TRANSFORMERS,
    evaluated,
    layer_of,
    lines_of,
    normed_results,
    rates_of,
    tensors_of,
    transformer_results,
)


def plain(tensor: Any) -> list[Any]:
    """Dtype, shape and elements, with as many digits as are compared."""
    values = tensor.detach().reshape(-1).tolist()
    if tensor.is_floating_point():
        values = [float(f"{v:.6g}") for v in values]
    return [str(tensor.dtype).removeprefix("torch."), list(tensor.shape), values]


def main() -> None:
    """Write calls.json."""
    warnings.simplefilter("ignore")
    lines = []
    for line in lines_of(CALLS):
        found, grads = evaluated(line, torch)
        kept = [[plain(t) for t in found], {name: plain(g) for name, g in grads.items()}]
        lines.append(f"{json.dumps(line)}:{json.dumps(kept, separators=(',', ':'))}")
    for line in lines_of(FACTS):
        space = {"torch": torch, "nn": torch.nn, **tensors_of(torch)}
        lines.append(f"{json.dumps(line)}:{json.dumps(repr(eval(line, space)))}")
    for name in LAYERS:
        layer, x = layer_of(name, torch)
        lines.append(f"{json.dumps(name)}:{json.dumps(plain(layer(x)), separators=(',', ':'))}")
    for name in NORMED:
        kept = {key: plain(value) for key, value in normed_results(name, torch)}
        lines.append(f"{json.dumps(name)}:{json.dumps(kept, separators=(',', ':'))}")
    for name in TRANSFORMERS:
        kept = {key: plain(value) for key, value in transformer_results(name, torch)}
        lines.append(f"{json.dumps(name)}:{json.dumps(kept, separators=(',', ':'))}")
    for name in SCHEDULES:
        rates = [[float(f"{n:.9g}") for n in row] for row in rates_of(name, torch)]
        lines.append(f"{json.dumps(name)}:{json.dumps(rates, separators=(',', ':'))}")
    (HERE / "calls.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
