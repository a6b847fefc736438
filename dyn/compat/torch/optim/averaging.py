"""ASGD, which keeps the mean of the parameters, and Adafactor, which keeps means of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dyn.compat.torch.optim.base import TorchOptimizer
from dyn.compat.torch.optim.optimizers import rest
from dyn.compat.torch.tensor import own
from dyn.core.lift import cast_to
from dyn.core.tensor import Tensor
from dyn.ops import extremes, linalg, reduce, unary
from dyn.ops.update import averaged_update
from dyn.optimizer.group import Group


class ASGD(TorchOptimizer):
    """Gradient descent by steps that get shorter, with the mean of the parameters beside it.

    p <- (1 - lambd * eta) * p - eta * g; ax <- ax + mu * (p - ax), where eta of step t + 1 is
    lr / (1 + lambd * lr * t)**alpha and mu is 1 / max(1, t - t0).

    Args:
        params: tensors to train, or dictionaries with "params" and settings of their own.
        lr: learning rate.
        lambd, alpha: how fast steps get shorter.
        t0: after how many steps the mean `state_dict()["state"][i]["ax"]` begins.
        weight_decay: L2 coefficient.
        maximize: go up the gradient.

    Source: Polyak & Juditsky, SIAM J. Control 1992.
    """

    _op = averaged_update
    _slots: Mapping[str, float] = {"ax": 0.0}
    _settings = {"lambd": "_lambd", "alpha": "_alpha", "t0": "_start_at"}  # noqa: RUF012
    _state_names = {"ax": "ax"}  # noqa: RUF012
    _lambd, _alpha, _start_at = 1e-4, 0.75, 1e6
    _first = 0.0

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        **unused: Any,
    ):
        defaults = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
            **rest(self, "foreach maximize differentiable capturable", unused, maximize=maximize),
        }  # fmt: skip
        self._start(params, defaults)

    @property
    def _counters(self) -> dict[str, float]:  # type: ignore[override]
        return {"steps": 0.0, "eta": self._first, "mu": 1.0}

    def _attributes(self) -> dict[str, Any]:
        return {
            "lambd": float(self._lambd),
            "alpha": float(self._alpha),
            "start": float(self._start_at),
        }

    def _prepare(self, group: Group) -> Tensor:
        self._first = float(self._owner[group.parameters[0]]["lr"])
        return super()._prepare(group)

    def _entry(self, group: Group, index: int, steps: int) -> dict[str, Any]:
        found = super()._entry(group, index, steps)
        numbers = {name: own(group.counters[name].detach()) for name in ("eta", "mu")}
        return {**found, **numbers}

    def _take(
        self, p: Any, settings: dict[str, Any], entry: Mapping[str, Any], found: dict[str, Any]
    ) -> None:
        others = {name: value for name, value in entry.items() if name not in ("eta", "mu")}
        super()._take(p, settings, others, found)
        for name in ("eta", "mu"):
            if name in entry:
                found[f"{p.name}_{name}_0"] = np.asarray([float(entry[name])])

    def _counted(self, settings: Mapping[str, Any], steps: int) -> dict[str, float]:
        return {"steps": float(steps)}


def _rows(p: np.ndarray) -> np.ndarray:
    """Zeros for the means of rows; of a vector for its numbers."""
    return np.zeros((*p.shape[:-1], 1) if p.ndim > 1 else p.shape, p.dtype)


def _columns(p: np.ndarray) -> np.ndarray:
    """Zeros for the means of columns; of a vector nothing is kept here."""
    return np.zeros((*p.shape[:-2], 1, p.shape[-1]) if p.ndim > 1 else (), p.dtype)


class Adafactor(TorchOptimizer):
    """Adam-like steps that keep, of a matrix, means of squares by row and by column alone.

    The step is made of ops, parameter by parameter: what it keeps has not the parameter's shape.

    Args:
        params: tensors to train, or dictionaries with "params" and settings of their own.
        lr: the longest relative step; of step t it is min(lr, 1 / sqrt(t)).
        beta2_decay: t**beta2_decay is the share of the new squares.
        eps: the smallest square, the spacing of numbers near 1 if None; and the smallest size of a
            parameter that its steps are measured by.
        d: the root mean square of a step to which longer ones are brought.
        weight_decay: p is multiplied by 1 - lr * weight_decay in each step.
        maximize: go up the gradient.

    Raises:
        ValueError: a number is out of its range.

    Source: Shazeer & Stern, arXiv 1804.04235.
    """

    _counters = {"steps": 0.0}  # type: ignore[assignment]  # noqa: RUF012
    _slots: Mapping[str, Any] = {"row_var": _rows, "col_var": _columns}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ):
        for name, value, wrong in (
            ("Learning rate", lr, lr < 0),
            ("beta2_decay (at most 0)", beta2_decay, beta2_decay > 0),
            ("epsilon1", eps[0], eps[0] is not None and eps[0] < 0),
            ("epsilon2", eps[1], eps[1] < 0),
            ("Clipping threshold d (at least 1)", d, d < 1),
            ("weight_decay", weight_decay, weight_decay < 0),
        ):
            if wrong:
                raise ValueError(f"{name} is out of its range: {value}")
        settings = {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d,
            "weight_decay": weight_decay, "foreach": foreach, "maximize": maximize,
        }  # fmt: skip
        self._start(params, settings)

    def settings_of(self, group: Group) -> tuple[Any, ...]:
        settings = self._owner[group.parameters[0]]
        known = ("beta2_decay", "eps", "d", "weight_decay", "maximize")
        return tuple(settings[name] for name in known)

    def _step_group(self, group: Group, grads: list[Any]) -> None:
        settings = self._owner[group.parameters[0]]
        lr, steps = self._prepare(group), group.counters["steps"]
        count = cast_to(steps + 1.0, np.dtype(np.float64))
        share = count ** float(settings["beta2_decay"])
        rate = extremes.minimum(cast_to(lr, count._array.dtype), 1.0 / unary.sqrt(count))
        numbers = lr, share, rate
        for i, (p, g) in enumerate(zip(group.parameters, grads, strict=True)):
            row, column = (kept[i] for kept in group.slots.values())
            self._move(settings, p, -g if settings["maximize"] else g, row, column, numbers)
        steps._assign(count)
        self.count_step(group)

    def _move(
        self, settings: Mapping[str, Any], p: Any, g: Any, row: Any, column: Any, numbers: Any
    ) -> None:
        """The step of one parameter."""
        dtype = p._array.dtype
        lr, share, rate = (cast_to(x, dtype) for x in numbers)
        least, size = settings["eps"]
        least = float(np.finfo(dtype).eps) if least is None else float(least)
        long = extremes.maximum(_mean_square_root(p), float(size)) * rate
        if settings["weight_decay"]:
            p._assign(p * (1.0 - lr * settings["weight_decay"]))
        squares = g * g
        if g.ndim > 1:
            row._assign(row + (reduce.mean(squares, -1, keepdim=True) - row) * share)
            column._assign(column + (reduce.mean(squares, -2, keepdim=True) - column) * share)
            mean = extremes.maximum(reduce.mean(row, -2, keepdim=True), least)
            spread = linalg.matmul(row, column) / mean
        else:
            row._assign(row + (squares - row) * share)
            spread = row
        step = g / unary.sqrt(extremes.maximum(spread, least * least))
        brought = extremes.maximum(_mean_square_root(step) / float(settings["d"]), 1.0)
        p._assign(p - step * (long / brought))

    def _entry(self, group: Group, index: int, steps: int) -> dict[str, Any]:
        found = super()._entry(group, index, steps)
        row, column = (own(kept[index].detach()) for kept in group.slots.values())
        if group.parameters[index].ndim > 1:
            return {**found, "row_var": row, "col_var": column}
        return {**found, "variance": row}

    def _take(
        self, p: Any, settings: dict[str, Any], entry: Mapping[str, Any], found: dict[str, Any]
    ) -> None:
        names = {"row_var": "row_var", "col_var": "col_var", "variance": "row_var"}
        others = {name: value for name, value in entry.items() if name not in names}
        super()._take(p, settings, others, found)
        for name, value in entry.items():
            if name in names:
                found[f"{p.name}_{names[name]}_0"] = value

    def _counted(self, settings: Mapping[str, Any], steps: int) -> dict[str, float]:
        return {"steps": float(steps)}


def _mean_square_root(x: Any) -> Tensor:
    return unary.sqrt(reduce.mean(x * x))
