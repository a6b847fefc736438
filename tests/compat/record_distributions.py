"""Records PyTorch's densities, moments and divergences beside this file; run it with torch.

python tests/compat/record_distributions.py
"""

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import torch  # noqa: E402
from distribution_cases import divergences, made  # noqa: E402


def numbers(x: Any) -> list[float]:
    """All elements."""
    return [float(f"{float(z):.7g}") for z in x.detach().flatten()]


def main() -> None:
    """Write the file."""
    first, second, cases = made(torch)
    found: dict[str, Any] = {}
    for name, (make, value) in cases.items():
        a, b = (x.clone().requires_grad_() for x in (first, second))
        law = make(a, b)
        density = law.log_prob(value)
        density.sum().backward()
        entry = {"log_prob": numbers(density), "slopes": [numbers(x.grad) for x in (a, b)]}
        entry["shapes"] = [list(law.batch_shape), list(law.event_shape)]
        for what in ("mean", "mode", "variance", "entropy"):
            try:
                got = getattr(law, what)
                entry[what] = numbers(got() if what == "entropy" else got)
            except (NotImplementedError, AttributeError):
                continue
        for what, at in (("cdf", value), ("icdf", torch.tensor([0.2, 0.5, 0.9, 0.01]))):
            if name in ("log_normal", "falling", "logistic", "normal"):
                entry[what] = numbers(getattr(law, what)(at))
        found[name] = entry
    pairs = divergences(torch).items()
    found["divergences"] = {n: numbers(torch.distributions.kl_divergence(*p)) for n, p in pairs}
    (HERE / "distributions.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
