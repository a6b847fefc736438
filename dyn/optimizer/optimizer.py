"""Optimizer: what all optimisers share. Groups, steps, learning rates, state dictionaries.

A subclass says which slots and counters it keeps and which op updates a group; everything that is
state is bound by assignment, so a step can be traced and exported.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any

import numpy as np

from dyn.core.errors import AttributeValueError, DTypeError, StateError
from dyn.core.modes import no_grad
from dyn.core.op import OPS, Op
from dyn.core.tensor import ZERO, Tensor
from dyn.nn.clip import ClipGrad
from dyn.nn.state import Buffer, Parameter
from dyn.optimizer.group import Group, Update, rule_of, update_directly
from dyn.optimizer.lr import LRScheduler
from dyn.optimizer.parameters import checked, need_distinct
from dyn.regularizer import L1Decay, L2Decay, WeightDecay, as_decay

SCHEDULER = "LR_Scheduler"
"""Where a state dictionary has the state of the scheduler."""

_WISHES = attrgetter("learning_rate", "regularizer")


class Optimizer:
    """Base of the optimisers.

    Args:
        learning_rate: a number, or an `LRScheduler`.
        parameters: tensors to train; or dictionaries with "params" and settings of their own:
            "learning_rate" (a factor), "weight_decay".
        weight_decay: a number (L2), `L1Decay`, `L2Decay` or None. A parameter's own `regularizer`
            goes before it.
        grad_clip: a `ClipGrad`, or None.

    Raises:
        NoParametersError: `parameters` is None.
        AttributeValueError: the list is empty, or names a parameter twice.
        DTypeError: an argument is of the wrong kind.
    """

    _slots: Mapping[str, Any] = {}
    """Initial value by slot name, or a function of the parameter's array that makes it; a slot is
    one tensor beside each parameter."""
    _op: Op
    """The op of a step: see `dyn/ops/update.py`."""
    _maximize = False
    """Whether steps go up the gradient."""
    _spares_frozen = True
    """Whether a parameter that wants no gradient keeps its value though it still has one."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        parameters: Any = None,
        weight_decay: Any = None,
        grad_clip: ClipGrad | None = None,
        name: str | None = None,
    ):
        if not isinstance(learning_rate, (int, float, LRScheduler)):
            raise DTypeError(
                f"learning rate should be float or LRScheduler, got {type(learning_rate)} here"
            )
        if not isinstance(learning_rate, LRScheduler):
            _need_rate(learning_rate)
        if grad_clip is not None and not isinstance(grad_clip, ClipGrad):
            raise DTypeError(
                f"grad_clip should be a ClipGradByValue, ClipGradByNorm or ClipGradByGlobalNorm, "
                f"got {grad_clip!r:.60}"
            )
        self._learning_rate = learning_rate
        self._grad_clip = grad_clip
        self._decay = as_decay(weight_decay)
        self._parameter_list: list[Any] = []
        # By the parameters, not by their `id`s, which a copy of the optimiser would not share.
        self._given: dict[Any, tuple[float, WeightDecay | None]] = {}
        self._groups: list[Group] = []
        self._add_all(checked(parameters))
        self._grouped_for = self._wishes()

    def _add_all(self, parameters: list[Any]) -> None:
        """Put parameters into groups of those that are updated alike."""
        keyed: dict[Any, Group] = {}
        for entry in parameters:
            given: dict[str, Any] = entry if isinstance(entry, dict) else {"params": [entry]}
            rate = float(given.get("learning_rate", 1.0))
            shared = as_decay(given["weight_decay"]) if "weight_decay" in given else self._decay
            for p in given["params"]:
                self._given[p] = rate, shared
                update = self._update_of(p)
                key = (rule_of(update), p._read().dtype)
                if key not in keyed:
                    keyed[key] = Group([], *update)
                    self._groups.append(keyed[key])
                keyed[key].parameters.append(p)
                self._parameter_list.append(p)
        need_distinct(self._parameter_list)

    def _update_of(self, p: Any) -> Update:
        """Factor on the learning rate, decay and own decay of a parameter, as it wishes now."""
        rate, shared = self._given[p]
        decay = as_decay(getattr(p, "regularizer", None)) or shared
        factor = rate * getattr(p, "learning_rate", 1.0) * self._rate_of(p)
        return factor, self._decay_of(p, decay), self._own_decay_of(p)

    def _wishes(self) -> list[Any]:
        """What parameters wish for themselves, which may change between two steps."""
        return [*map(_WISHES, (p for p in self._parameter_list if isinstance(p, Parameter)))]

    def _regroup(self) -> None:
        """Part groups whose parameters are no longer updated alike, by wishes of their own."""
        wishes = self._wishes()
        if wishes != self._grouped_for:
            self._grouped_for = wishes
            self._groups = [part for g in self._groups for part in g.parted(self._update_of)]

    def _decay_of(self, parameter: Any, decay: WeightDecay | None) -> WeightDecay | None:
        """The decay of one parameter, when a subclass has rules of its own."""
        return decay

    def _rate_of(self, parameter: Any) -> float:
        """A factor on the learning rate of one parameter, when a subclass has rules of its own."""
        return 1.0

    def _own_decay_of(self, parameter: Any) -> float:
        """Coefficient of the decay of one parameter that is part of a subclass's rule."""
        return 0.0

    # -- the step ----------------------------------------------------------------------------

    @property
    def _counters(self) -> dict[str, float]:
        """Initial value by name of the 0-d tensors that advance with every step."""
        return {}

    def _attributes(self) -> dict[str, Any]:
        """Attributes of the op besides weight decay and direction."""
        return {}

    def _keeps_still(self, group: Group) -> bool:
        """Whether a parameter with a gradient of zero does not move, and neither does its state."""
        return False

    def step(self) -> None:
        """Update all parameters that have a gradient; the others keep value and state."""
        self._regroup()
        with no_grad():
            ready = [found for group in list(self._groups) if (found := self._active(group))]
            if self._grad_clip is not None:
                ready = self._clip(ready)
            for group, grads in ready:
                self._step_group(group, grads)

    def _active(self, group: Group) -> tuple[Group, list[Any]] | None:
        """The part of a group that takes part in this step, split off if it is not all of it, and
        its gradients.
        """
        grads = []
        for p in group.parameters:
            g = p._grad
            if g is None or g is ZERO or (p.stop_gradient and self._spares_frozen):
                break
            grads.append(g)
        else:
            return group, grads
        still = self._keeps_still(group)
        moves = [
            p._grad is not None
            and not (still and p._grad is ZERO)
            and not (p.stop_gradient and self._spares_frozen)
            for p in group.parameters
        ]
        if not any(moves):
            return None
        if not all(moves):
            moving = group.split(moves)
            # Beside the rest: groups that take part are in the same order before and after.
            self._groups.insert(self._groups.index(group) + 1, moving)
            group = moving
        return group, [p.grad for p in group.parameters]

    def _clip(self, ready: list[tuple[Group, list[Any]]]) -> list[tuple[Group, list[Any]]]:
        clips = [
            (i, j)
            for i, (group, _) in enumerate(ready)
            for j, p in enumerate(group.parameters)
            if getattr(p, "need_clip", True)
        ]
        clipped = self._grad_clip([ready[i][1][j] for i, j in clips])  # type: ignore[misc]
        for (i, j), g in zip(clips, clipped, strict=True):
            ready[i][1][j] = g
        return ready

    def _prepare(self, group: Group) -> Tensor:
        """See to it that a group has its state; its learning rate."""
        if group.lr is None or len(group.slots) < len(self._slots):
            group.start(dict(self._slots), self._counters)
        return group.learning_rate(self.get_lr())

    def _step_group(self, group: Group, grads: list[Any]) -> None:
        lr = self._prepare(group)
        grads, decay = self._decayed(group, grads)
        attrs = {**self._attributes(), "weight_decay": decay, "maximize": self._maximize}
        op = self._op
        slots, targets = group.state()
        # An op without scalars keeps sizes of steps among its slots.
        scalars = (lr, *group.counters.values()) if len(op.inputs) > 1 else ()
        tensors = (*group.parameters, *grads, *slots)
        if not update_directly(op, scalars, tensors, len(grads), targets, attrs):
            for target, value in zip(targets, op(*scalars, *tensors, **attrs), strict=True):
                target._assign(value)
        self.count_step(group)

    def _decayed(self, group: Group, grads: list[Any]) -> tuple[list[Any], float]:
        """Gradients, and the weight decay that is left to the op."""
        if isinstance(group.decay, L1Decay):
            pairs = zip(grads, group.parameters, strict=True)
            return [g + group.decay.coeff * OPS["sign"](p) for g, p in pairs], 0.0
        return grads, group.decay.coeff if isinstance(group.decay, L2Decay) else 0.0

    def clear_grad(self, set_to_zero: bool = True) -> None:
        """Clear the gradients of all parameters (see `Tensor.clear_grad`)."""
        for p in self._parameter_list:
            p.clear_grad(set_to_zero)

    clear_gradients = clear_grad

    def minimize(self, loss: Tensor) -> tuple[None, list[tuple[Any, Any]]]:
        """One step on `loss`; walks back from it first if no parameter has a gradient yet.

        Returns:
            None, and pairs of parameter and gradient.
        """
        if all(p._grad is None or p._grad is ZERO for p in self._parameter_list):
            loss.backward()
        pairs = [(p, p.grad) for p in self._parameter_list if p._grad is not None]
        self.step()
        return None, pairs

    # -- a step that runs as it was recorded -------------------------------------------------

    def settings_of(self, group: Group) -> tuple[Any, ...]:
        """What decides how a group is stepped, beside its tensors and the learning rate.

        A step that was recorded is valid for as long as this compares equal.
        """
        decay, clip = group.decay, self._grad_clip
        return (
            *self._attributes().items(),
            self._maximize,
            decay and (type(decay), decay.coeff),
            clip and (type(clip), *vars(clip).items()),
        )

    def count_step(self, group: Group) -> None:
        """Count a step of a group, where steps are counted elsewhere than in its tensors."""

    # -- the learning rate -------------------------------------------------------------------

    def get_lr(self) -> float:
        """The learning rate of the next step."""
        rate = self._learning_rate
        return rate() if isinstance(rate, LRScheduler) else float(rate)

    def set_lr(self, value: float) -> None:
        """Set the learning rate, unless a scheduler decides it."""
        if isinstance(self._learning_rate, LRScheduler):
            raise StateError(
                "the learning rate is decided by an LRScheduler; use set_lr_scheduler, or give the "
                "optimizer a number"
            )
        if not isinstance(value, (int, float)):
            raise DTypeError(f"a learning rate is a number, not {value!r:.60}")
        _need_rate(value)
        self._learning_rate = float(value)

    def set_lr_scheduler(self, scheduler: LRScheduler) -> None:
        """Let a scheduler decide the learning rate from now on."""
        if not isinstance(scheduler, LRScheduler):
            raise DTypeError(f"an LRScheduler is wanted, not {scheduler!r:.60}")
        self._learning_rate = scheduler

    # -- state -------------------------------------------------------------------------------

    def state_buffers(self) -> Iterator[tuple[str, Any, Tensor]]:
        """Everything that the next step reads beside parameters and gradients, each once.

        It is made if no step was taken yet, so that a traced step finds its state in place. While
        some parameters have a gradient, only what belongs to them: the step leaves the others.

        Yields:
            (kind, parameter, buffer): the name of a slot with its parameter, or, with None, what a
            whole group shares: "learning_rate" and the names of counters.
        """
        self._regroup()
        moving = [self._active(group) for group in list(self._groups)]
        for group in [found[0] for found in moving if found is not None] or self._groups:
            yield "learning_rate", None, self._prepare(group)
            for name, counter in group.counters.items():
                yield name, None, counter
            for name, buffers in group.slots.items():
                for p, buffer in zip(group.parameters, buffers, strict=True):
                    yield name, p, buffer

    def state_dict(self) -> dict[str, Any]:
        """Slots and counters by parameter name, and the scheduler's state under "LR_Scheduler"."""
        at = {id(p): (group, i) for group in self._groups for i, p in enumerate(group.parameters)}
        found: dict[str, Any] = {}
        for p in self._parameter_list:
            group, i = at[id(p)]
            for name, buffers in group.slots.items():
                found[f"{p.name}_{name}_0"] = buffers[i]
            for name, counter in group.counters.items():
                found[f"{p.name}_{name}_0"] = counter
        if isinstance(self._learning_rate, LRScheduler):
            found[SCHEDULER] = self._learning_rate.state_dict()
        return found

    def set_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Entries are found by parameter name. Where no name is known (names count up within a
        process), the saved parameters are taken in order.

        Raises:
            StateError: a saved slot does not have the shape of its parameter.
        """
        scheduler = state_dict.get(SCHEDULER)
        if isinstance(self._learning_rate, LRScheduler) and scheduler is not None:
            self._learning_rate.set_state_dict(scheduler)
        kinds = [*self._slots, *self._counters]
        saved: dict[str, dict[str, Any]] = {}
        for key, value in state_dict.items():
            kind = next((k for k in kinds if key.endswith(f"_{k}_0")), None)
            if kind is not None:
                saved.setdefault(key.removesuffix(f"_{kind}_0"), {})[kind] = value
            elif key != SCHEDULER:
                warnings.warn(f"the optimizer has no place for {key}", stacklevel=2)
        own = [p.name for p in self._parameter_list]
        if saved and not any(name in saved for name in own) and len(saved) == len(own):
            saved = dict(zip(own, saved.values(), strict=True))
        for group in list(self._groups):
            self._load_group(group, saved)

    def _load_group(self, group: Group, saved: Mapping[str, Mapping[str, Any]]) -> None:
        """Give a group its saved state; parameters whose counters differ are parted."""
        # By identity, as the group gets smaller with every part that is split off.
        parts: dict[tuple[float, ...] | None, set[int]] = {}
        for p in group.parameters:
            entry = saved.get(p.name)
            key = None
            if entry is not None:
                key = tuple(_number(entry[name]) for name in self._counters if name in entry)
            parts.setdefault(key, set()).add(id(p))
        for key, wanted in parts.items():
            part = group
            if len(wanted) < len(group.parameters):
                part = group.split([id(p) in wanted for p in group.parameters])
                self._groups.append(part)
            if key is None:
                continue
            part.start(dict(self._slots), self._counters)
            for name, value in zip(part.counters, key, strict=False):
                part.counters[name]._assign(Tensor._of(np.asarray(value, np.float64)))
            for name, buffers in part.slots.items():
                for p, buffer in zip(part.parameters, buffers, strict=True):
                    if name in saved[p.name]:
                        _fill(buffer, saved[p.name][name])


def _need_rate(value: float) -> None:
    """AttributeValueError for a rate that would climb; NaN and infinity are no rates either."""
    if not 0 <= value < math.inf:
        raise AttributeValueError(f"a learning rate is a number from 0 on, got {value}")


def _number(value: Any) -> float:
    return float(np.asarray(value._read() if isinstance(value, Tensor) else value).reshape(-1)[0])


def _fill(buffer: Buffer, value: Any) -> None:
    array = value._read() if isinstance(value, Tensor) else np.asarray(value)
    if array.shape != buffer._array.shape:
        raise StateError(
            f"{buffer.name} was saved with shape {list(array.shape)}, its parameter has "
            f"{list(buffer._array.shape)}"
        )
    fresh = np.empty_like(buffer._array)
    np.copyto(fresh, array)
    buffer._assign(Tensor._of(fresh))
