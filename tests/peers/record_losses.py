"""Records PyTorch's values of the losses into `tests/ops/losses.json`; run it by hand with torch.

python tests/peers/record_losses.py
"""

import json
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

TARGET = Path(__file__).parent.parent / "ops" / "losses.json"
rng = np.random.default_rng(0)


def inputs() -> dict[str, np.ndarray]:
    """What both sides compute with."""
    signs = np.where(rng.random((4, 3)) < 0.5, 1.0, -1.0)
    return {
        "x": rng.standard_normal((4, 3)).round(3),
        "y": rng.standard_normal((4, 3)).round(3),
        "z": rng.standard_normal((4, 3)).round(3),
        "p": rng.uniform(0.05, 0.95, (4, 3)).round(3),
        "q": rng.uniform(0.05, 0.95, (4, 3)).round(3),
        "sign": signs,
        "signs": signs[:, 0],
        "weight": rng.uniform(0.2, 2, 3).round(3),
        "label": np.array([2, 0, 1, 2]),
        "sequence": rng.standard_normal((7, 2, 4)).round(3),
        "targets": np.array([[1, 2, 2], [3, 1, 0]]),
        "steps": np.array([7, 5]),
        "lengths": np.array([3, 2]),
    }


def values(t: dict[str, torch.Tensor], reduction: str) -> dict[str, torch.Tensor]:
    """Every loss with one reduction."""
    x, y, z, p, q, w = (t[name] for name in ("x", "y", "z", "p", "q", "weight"))
    label, sign = t["label"], t["sign"]
    r = {"reduction": reduction}
    logs = t["sequence"].log_softmax(2)
    return {
        "l1": F.l1_loss(x, y, **r),
        "mse": F.mse_loss(x, y, **r),
        "huber": F.huber_loss(x, y, delta=0.7, **r),
        "smooth_l1": F.smooth_l1_loss(x, y, beta=0.7, **r),
        "cross_entropy": F.cross_entropy(x, label, **r),
        "cross_entropy weighted": F.cross_entropy(x, label, weight=w, **r),
        "cross_entropy ignoring": F.cross_entropy(x, label, weight=w, ignore_index=2, **r),
        "cross_entropy smoothed": F.cross_entropy(x, label, label_smoothing=0.2, **r),
        "nll": F.nll_loss(x.log_softmax(1), label, weight=w, ignore_index=0, **r),
        "bce": F.binary_cross_entropy(p, q, **r),
        "bce weighted": F.binary_cross_entropy(p, q, weight=w, **r),
        "bce_logits": F.binary_cross_entropy_with_logits(x, q, weight=w, pos_weight=w, **r),
        "kl_div": F.kl_div(p.log(), q, **r),
        "kl_div log": F.kl_div(p.log(), q.log(), log_target=True, **r),
        "poisson": F.poisson_nll_loss(x, p * 5, full=True, **r),
        "poisson rate": F.poisson_nll_loss(p, q * 5, log_input=False, **r),
        "gaussian": F.gaussian_nll_loss(x, y, p, full=True, **r),
        "margin_ranking": F.margin_ranking_loss(x, y, sign, margin=0.3, **r),
        "hinge": F.hinge_embedding_loss(x, sign, margin=0.8, **r),
        "cosine": F.cosine_embedding_loss(x, y, t["signs"], margin=0.1, **r),
        "triplet": F.triplet_margin_loss(x, y, z, swap=True, **r),
        "triplet cubic": F.triplet_margin_loss(x, y, z, p=3, margin=2.0, **r),
        "soft_margin": F.soft_margin_loss(x, sign, **r),
        "multi_label": F.multilabel_soft_margin_loss(x, q, weight=w, **r),
        "multi_margin": F.multi_margin_loss(x, label, weight=w, **r),
        "multi_margin squared": F.multi_margin_loss(x, label, p=2, margin=0.5, **r),
        "ctc": F.ctc_loss(logs, t["targets"], t["steps"], t["lengths"], **r),
    }


def main() -> None:
    given = inputs()
    tensors = {name: torch.tensor(array) for name, array in given.items()}
    found = {
        f"{name} {reduction}": value.numpy().round(12).tolist()
        for reduction in ("none", "sum", "mean")
        for name, value in values(tensors, reduction).items()
    }
    recorded = {
        "torch": torch.__version__,
        "inputs": {name: array.tolist() for name, array in given.items()},
        "values": found,
    }
    lines = json.dumps(recorded, indent=None, separators=(", ", ": "))
    TARGET.write_text(lines.replace('], "', '],\n"').replace('}, "', '},\n"') + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
