"""L-BFGS: steps along Newton directions, from a curvature that is estimated from former steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from dyn.core.errors import AttributeValueError, DTypeError, StateError
from dyn.core.modes import enable_grad, no_grad
from dyn.core.tensor import Tensor
from dyn.kernels.gemm import matmul
from dyn.optimizer.line_search import Point, strong_wolfe
from dyn.optimizer.lr import LRScheduler
from dyn.optimizer.optimizer import SCHEDULER, Optimizer

CURVED = 1e-10
"""Product of a step and the change of the gradient from which on it says how the loss is curved."""


class Settings(NamedTuple):
    """What a step goes by: see `LBFGS`. `trials`: of a line search, None for those left."""

    rate: float
    max_iter: int
    max_eval: int
    tolerance_grad: float
    tolerance_change: float
    history_size: int
    line_search_fn: str | None
    trials: int | None


class Memory:
    """What is known from former iterations, over all parameters in one vector.

    Attributes:
        iterations, evaluations: how many there were since the first step.
        direction, step: the last direction, and how far it was followed.
        changes, steps: of the gradient and of the parameters, the oldest first.
        inverses: 1 / (change @ step) of each.
        scale: of the curvature where nothing is known about it.
        gradient, loss: before the last step.
    """

    def __init__(self) -> None:
        self.iterations, self.evaluations = 0, 0
        self.direction, self.step = np.zeros(0), 0.0
        self.changes: list[np.ndarray] = []
        self.steps: list[np.ndarray] = []
        self.inverses: list[float] = []
        self.scale = 1.0
        self.gradient, self.loss = np.zeros(0), 0.0

    def turn(self, gradient: np.ndarray, loss: float, most: int) -> None:
        """Take in what the last step has changed, and choose the next direction."""
        self.iterations += 1
        if self.iterations == 1:
            self.direction = -gradient
        else:
            self._learn(gradient - self.gradient, self.direction * self.step, most)
            self.direction = -self._divided(gradient)
        self.gradient, self.loss = gradient, loss

    def _learn(self, change: np.ndarray, step: np.ndarray, most: int) -> None:
        curvature = product(change, step)
        if curvature <= CURVED:
            return
        kept = self.changes, self.steps, self.inverses
        for numbers, new in zip(kept, (change, step, 1.0 / curvature), strict=True):
            numbers.append(new)  # type: ignore[arg-type]
            del numbers[: max(0, len(numbers) - most)]
        self.scale = curvature / product(change, change)

    def _divided(self, gradient: np.ndarray) -> np.ndarray:
        """The gradient divided by the curvature, in two loops over the former steps."""
        known = list(zip(self.changes, self.steps, self.inverses, strict=True))
        found, shares = gradient, []
        for change, step, inverse in reversed(known):
            shares.append(product(step, found) * inverse)
            found = found - shares[-1] * change
        found = found * self.scale
        for (change, step, inverse), share in zip(known, reversed(shares), strict=True):
            found = found + (share - product(change, found) * inverse) * step
        return found


class LBFGS(Optimizer):
    """A quasi-Newton method for few parameters and a loss that is the same at every call.

    A step evaluates the loss several times, so it is given a function that does it:

        def closure():
            optimizer.clear_grad()
            loss = loss_of(net(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)

    How often depends on what it returns, so a step cannot be recorded: neither
    `tracer.compile_training` nor `exporter.export_training` take it. Parameters without a gradient
    stay where they are.

    Args:
        learning_rate: length of a step in units of the Newton step; where a line search starts.
        max_iter: most iterations of a step.
        max_eval: most evaluations of a step, at which no iteration is begun; 5/4 of `max_iter` by
            default.
        tolerance_grad: largest element of the gradient at which to stop.
        tolerance_change: change of the loss, or of the parameters, at which to stop.
        history_size: how many iterations are remembered, each with two numbers for each parameter.
        line_search_fn: None, or "strong_wolfe" to look for the length of each step.
        parameters: tensors to train.
        weight_decay, grad_clip: must be None: a search compares values of the loss with its slopes,
            which those would no longer be. Add the penalty to the loss.

    Raises:
        AttributeValueError: one of the numbers is negative, the search has another name, decay,
            clipping or a rate for some of the parameters is asked for.

    Source: Nocedal & Wright, Numerical Optimization, 2nd edition, algorithms 7.4 and 7.5.
    """

    _kept: Mapping[str, str] = {
        "iterations": "n_iter", "evaluations": "func_evals", "direction": "d", "step": "alpha",
        "changes": "old_yk", "steps": "old_sk", "inverses": "ro", "scale": "H_diag",
        "gradient": "prev_flat_grad", "loss": "prev_loss",
    }  # fmt: skip
    """Name in a saved state by attribute of `Memory`."""

    def __init__(
        self,
        learning_rate: Any = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
        parameters: Any = None,
        weight_decay: Any = None,
        grad_clip: Any = None,
        name: str | None = None,
    ):
        super().__init__(learning_rate, parameters, weight_decay, grad_clip, name)
        if grad_clip is not None or any(g.decay or g.rate != 1.0 for g in self._groups):
            raise AttributeValueError(
                "LBFGS has no weight_decay, grad_clip or rates of single parameters: its steps "
                "follow from the loss and its gradient alone; add the penalty to the loss"
            )
        self.max_iter = max_iter
        self.max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        self.tolerance_grad, self.tolerance_change = tolerance_grad, tolerance_change
        self.history_size, self.line_search_fn = history_size, line_search_fn
        self._state: dict[str, Any] = {}
        _check(LBFGS._how(self))

    def _how(self) -> Settings:
        """The settings of the next step."""
        return Settings(
            self.get_lr(), self.max_iter, self.max_eval, self.tolerance_grad,
            self.tolerance_change, self.history_size, self.line_search_fn, 25,
        )  # fmt: skip

    # -- the step ----------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Minimise what `closure` returns, for up to `max_iter` iterations.

        Args:
            closure: clears the gradients, computes the loss, walks back from it, returns it.

        Returns:
            What the first call of the closure returned.

        Raises:
            DTypeError: there is no closure.
        """
        if not callable(closure):
            raise DTypeError(
                "LBFGS.step needs a function that clears the gradients, computes the loss, calls "
                f"backward and returns the loss, got {closure!r:.60}; it is called several times"
            )
        how = self._how()
        _check(how)
        memory = self._remembered()
        with no_grad():
            first = _called(closure)
            self._iterate(closure, float(first), memory, how)
        self._remember(memory)
        return first

    def _iterate(
        self, closure: Callable[[], Any], loss: float, memory: Memory, how: Settings
    ) -> None:
        evaluated = 1
        memory.evaluations += 1
        gradient = self._gradient()
        if _largest(gradient) <= how.tolerance_grad:
            return
        for iteration in range(1, how.max_iter + 1):
            memory.turn(gradient, loss, how.history_size)
            direction, step = memory.direction, how.rate
            if memory.iterations == 1:
                # Nothing is known about the curvature: a short step.
                step *= min(1.0, 1.0 / float(np.abs(gradient).sum()))
            slope = product(gradient, direction)
            memory.step = step
            if slope > -how.tolerance_change:
                return
            origin = [p._read() for p in self._parameter_list]
            if how.line_search_fn is None:
                self._move(origin, direction, step)
                if iteration == how.max_iter:
                    return
                loss, gradient, count = float(_called(closure)), self._gradient(), 1
            else:

                def evaluate(t: float, origin: Any = origin, along: Any = direction) -> Point:
                    self._move(origin, along, t)
                    value, gradient = float(_called(closure)), self._gradient()
                    return Point(t, value, product(gradient, along), gradient)

                most = how.max_eval - evaluated if how.trials is None else how.trials
                found, count = strong_wolfe(
                    evaluate, Point(0.0, loss, slope, gradient), step, _largest(direction),
                    how.tolerance_change, most,
                )  # fmt: skip
                memory.step, loss, _, gradient = found
                self._move(origin, direction, memory.step)
            evaluated += count
            memory.evaluations += count
            if (
                evaluated >= how.max_eval
                or _largest(gradient) <= how.tolerance_grad
                or _largest(direction * memory.step) <= how.tolerance_change
                or abs(loss - memory.loss) < how.tolerance_change
            ):
                return

    def _gradient(self) -> np.ndarray:
        """The gradients of all parameters, one after the other."""
        wide = any(p._read().dtype == np.float64 for p in self._parameter_list)
        dtype = np.float64 if wide else np.float32
        parts = [
            np.zeros(p._read().size, dtype) if (g := p.grad) is None else _numbers(g)
            for p in self._parameter_list
        ]
        return np.concatenate([part.astype(dtype, copy=False) for part in parts])

    def _move(self, origin: list[np.ndarray], direction: np.ndarray, step: float) -> None:
        """Put the parameters a step away from where they were."""
        first = 0
        for p, at in zip(self._parameter_list, origin, strict=True):
            moved = np.empty_like(at)
            moved[...] = at + step * direction[first : first + at.size].reshape(at.shape)
            first += at.size
            p._assign(Tensor._of(moved))

    def minimize(self, loss: Tensor) -> tuple[None, list[tuple[Any, Any]]]:
        """Refused: a loss that is computed cannot be computed again."""
        raise StateError("LBFGS computes the loss several times: use step(closure), not minimize")

    def state_buffers(self) -> Iterator[tuple[str, Any, Tensor]]:
        """Refused: what a step does is not known before it is done."""
        raise StateError(
            "LBFGS runs its closure as often as the loss asks for, so its step cannot be recorded, "
            "compiled or exported; call optimizer.step(closure), or train with another optimizer"
        )

    # -- state -------------------------------------------------------------------------------

    def _kept_state(self) -> dict[str, Any]:
        """Where the memory is kept between steps."""
        return self._state

    def _remembered(self) -> Memory:
        memory, kept = Memory(), self._kept_state()
        for name, key in self._kept.items():
            if key in kept:
                setattr(memory, name, _plain(kept[key], getattr(memory, name)))
        sizes = {
            v.size for v in (memory.direction, memory.gradient, *memory.changes, *memory.steps)
        }
        count = sum(p._read().size for p in self._parameter_list)
        if memory.iterations and sizes != {count}:
            raise StateError(
                f"the state of LBFGS was kept for {' and '.join(map(str, sorted(sizes)))} numbers, "
                f"its parameters have {count}; make the optimizer for the parameters of the state"
            )
        return memory

    def _remember(self, memory: Memory) -> None:
        kept = self._kept_state()
        for name, key in self._kept.items():
            kept[key] = self._shown(getattr(memory, name))

    def _shown(self, value: Any) -> Any:
        """What is kept of an attribute: tensors for vectors."""
        if isinstance(value, list):
            return [self._shown(item) for item in value]
        return Tensor._of(value) if isinstance(value, np.ndarray) else value

    def state_dict(self) -> dict[str, Any]:
        """What is remembered, under "state", and the scheduler's state under "LR_Scheduler"."""
        found: dict[str, Any] = {"state": dict(self._state)}
        if isinstance(self._learning_rate, LRScheduler):
            found[SCHEDULER] = self._learning_rate.state_dict()
        return found

    def set_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state, of the same parameters in the same order.

        Raises:
            StateError: it is no state of this optimiser, or of other parameters.
        """
        if "state" not in state_dict:
            raise StateError(
                f"a state of LBFGS has an entry 'state', this one has {sorted(state_dict)}"
            )
        scheduler = state_dict.get(SCHEDULER)
        if isinstance(self._learning_rate, LRScheduler) and scheduler is not None:
            self._learning_rate.set_state_dict(scheduler)
        self._state = dict(state_dict["state"])
        self._remembered()


def product(x: np.ndarray, y: np.ndarray) -> float:
    """The product of two vectors; numpy's depends on the number of threads."""
    return float(matmul(x[None], y[:, None])[0, 0])


def _largest(x: np.ndarray) -> float:
    return float(np.max(np.abs(x), initial=0.0))


def _numbers(gradient: Tensor) -> np.ndarray:
    # Not the array itself: who watches is to know that it is read.
    return gradient.detach().numpy().reshape(-1)


def _called(closure: Callable[[], Any]) -> Any:
    with enable_grad():
        return closure()


def _plain(value: Any, like: Any) -> Any:
    """Arrays and numbers of what was kept, which a file may have turned into tensors."""
    if isinstance(value, (list, tuple)):
        sample = 0.0 if not value or np.asarray(_array(value[0])).ndim == 0 else np.zeros(0)
        return [_plain(item, sample) for item in value]
    if isinstance(like, np.ndarray):
        return _array(value)
    return type(like)(_array(value))


def _array(value: Any) -> np.ndarray:
    return value._read() if isinstance(value, Tensor) else np.asarray(value)


def _check(how: Settings) -> None:
    """AttributeValueError for settings that no step can be taken with."""
    if how.line_search_fn not in (None, "strong_wolfe"):
        raise AttributeValueError(
            f"line_search_fn {how.line_search_fn!r}: only 'strong_wolfe' is supported, or None for "
            "steps of the learning rate"
        )
    for name in ("max_iter", "max_eval", "history_size", "tolerance_grad", "tolerance_change"):
        if getattr(how, name) < 0:
            raise AttributeValueError(f"{name} must not be negative, got {getattr(how, name)}")
