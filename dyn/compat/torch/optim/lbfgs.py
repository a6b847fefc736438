"""L-BFGS with PyTorch's arguments and state: one group, and a closure at every step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dyn import optimizer
from dyn.compat.torch.optim.base import TorchOptimizer
from dyn.compat.torch.tensor import own
from dyn.core.tensor import Tensor
from dyn.optimizer.lbfgs import Settings


class LBFGS(TorchOptimizer, optimizer.LBFGS):
    """A quasi-Newton method: see `dyn.optimizer.LBFGS`.

    Args:
        params: tensors to train, all with the same settings.
        lr: length of a step in units of the Newton step; where a line search starts.
        max_iter, max_eval: most iterations of a step, and evaluations at which none is begun.
        tolerance_grad, tolerance_change: when to stop, by the gradient and by progress.
        history_size: how many iterations are remembered.
        line_search_fn: None, or "strong_wolfe"; its trials are part of `max_eval`.

    Raises:
        ValueError: several groups, or a setting that no step can be taken with.
    """

    _counts = False
    _kept: Mapping[str, str] = {
        **optimizer.LBFGS._kept, "step": "t", "changes": "old_dirs", "steps": "old_stps",
    }  # fmt: skip

    def __init__(
        self,
        params: Any,
        lr: Any = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        settings = {
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        rate = lr if isinstance(lr, (int, float)) else float(lr)
        self._start(params, {"lr": rate, **settings}, **settings)
        if len(self.param_groups) != 1:
            raise ValueError(
                "LBFGS doesn't support per-parameter options (parameter groups): give it one list "
                "of parameters"
            )

    def _how(self) -> Settings:
        group = self.param_groups[0]
        names = (name for name in Settings._fields if name in group)
        return Settings(rate=float(group["lr"]), trials=None, **{n: group[n] for n in names})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Minimise what `closure` returns; it clears the gradients and calls backward."""
        return optimizer.LBFGS.step(self, closure)

    def _kept_state(self) -> dict[str, Any]:
        # Of all parameters, but PyTorch keeps it beside the first.
        return self.state[self.param_groups[0]["params"][0]]

    def _shown(self, value: Any) -> Any:
        shown = super()._shown(value)
        return own(shown) if isinstance(shown, Tensor) else shown

    def set_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Check what `load_state_dict` has put in its place."""
        self._remembered()
