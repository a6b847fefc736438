"""What all optimisers share here: parameter groups that may be changed between steps, and state.

A group of PyTorch's is a dictionary of settings that counts at the next step. dyn's groups keep the
tensors; before a group steps, it takes its settings from there. Updates are dyn's.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dyn.compat.torch.tensor import own
from dyn.core.modes import enable_grad
from dyn.core.tensor import Tensor
from dyn.nn.hooks import HookRemoveHelper
from dyn.optimizer.group import Group
from dyn.optimizer.optimizer import Optimizer
from dyn.regularizer import as_decay


class TorchOptimizer(Optimizer):
    """Base of the optimisers; dyn's own stands behind it in the list of bases.

    An optimiser of one's own is made of it directly: it calls `super().__init__(params, defaults)`
    and writes `step` over `param_groups` and `state`.

    Args:
        params: tensors to train, or dictionaries with "params" and settings of their own.
        defaults: the settings of groups that do not say otherwise.

    Attributes:
        param_groups: dictionaries of settings, each with its "params".
        state: by parameter, what an optimiser of one's own keeps.
    """

    _settings: Mapping[str, str | tuple[str, ...]] = {}
    """Attribute of dyn's optimiser by setting of a group; several for one of several numbers."""
    _state_names: Mapping[str, str] = {}
    """dyn's slot by PyTorch's name of it."""
    _counts = True
    """Whether PyTorch keeps the number of steps beside each parameter."""
    _decays_apart = False
    """Whether dyn's update itself keeps weight decay apart from the gradient."""
    _spares_frozen = False
    _defaults: dict[str, Any]
    _hooks: tuple[dict[int, Any], dict[int, Any]] | None = None
    """Hooks before and behind a step, by number."""
    _in_step = False

    def __init_subclass__(cls, **named: Any):
        super().__init_subclass__(**named)
        if "step" in vars(cls):
            cls.step = _hooked(cls.step)

    def __init__(self, params: Any, defaults: dict[str, Any]):
        self._start(params, defaults)
        # Who writes `step` counts by himself.
        self._counts = False

    def _start(self, params: Any, defaults: dict[str, Any], **settings: Any) -> None:
        """Make dyn's optimiser of rate 1, and a group of settings for each group given."""
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or "
                f"dicts, but got {params.type()}"
            )
        _check(defaults)
        given = list(params)
        if not given:
            raise ValueError(
                "optimizer got an empty parameter list; modules kept in a plain Python list are "
                "not registered, use nn.ModuleList"
            )
        if not isinstance(given[0], dict):
            given = [{"params": given}]
        # Parameters often come as an iterator, which can be walked once.
        given = [_unnamed(group) for group in given]
        self._defaults, self.defaults = defaults, defaults
        self.param_groups: list[dict[str, Any]] = []
        # By the parameters, not by their `id`s, which a copy of the optimiser would not share.
        self._owner: dict[Tensor, dict[str, Any]] = {}
        self._steps: dict[Tensor, int] = {}
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        every = [p for group in given for p in group["params"]]
        super().__init__(learning_rate=1.0, parameters=every, **settings)
        self._groups.clear()
        self._parameter_list.clear()
        for group in given:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Train further parameters, with settings of their own or the usual ones."""
        param_group = _unnamed(param_group)
        params = param_group["params"]
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {type(p)}"
                )
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
            if p in self._owner:
                raise ValueError("some parameters appear in more than one parameter group")
        if self.param_groups and ("param_names" in param_group) != (
            "param_names" in self.param_groups[0]
        ):
            raise ValueError(
                "all optimizer param groups should be with/without names. cannot add param group "
                f"with{'' if 'param_names' in param_group else 'out'} names to the optimizer"
            )
        group = {"params": params, **self._defaults}
        group.update({k: v for k, v in param_group.items() if k != "params"})
        self.param_groups.append(group)
        self._owner.update(dict.fromkeys(params, group))
        if params:
            self._add_all(list(params))

    def _prepare(self, group: Group) -> Tensor:
        settings = self._owner[group.parameters[0]]
        if group.rate != settings["lr"]:
            group.rate, group._lr_value = float(settings["lr"]), None
        group.decay = as_decay(
            None if self._apart(settings) else settings.get("weight_decay") or None
        )
        for name, attribute in self._settings.items():
            value = settings[name]
            if isinstance(attribute, str):
                setattr(self, attribute, value)
            else:
                for one, item in zip(attribute, value, strict=True):
                    setattr(self, one, item)
        self._maximize = bool(settings.get("maximize"))
        return super()._prepare(group)

    def _step_group(self, group: Group, grads: list[Any]) -> None:
        settings = self._owner[group.parameters[0]]
        if self._apart(settings):
            shrunk = 1.0 - self._prepare(group) * settings["weight_decay"]
            for p in group.parameters:
                p._assign(p * shrunk.astype(p.dtype))
        super()._step_group(group, grads)

    def settings_of(self, group: Group) -> tuple[Any, ...]:
        settings = self._owner[group.parameters[0]]
        apart = settings["weight_decay"] if self._apart(settings) else None
        return *super().settings_of(group), apart

    def count_step(self, group: Group) -> None:
        for p in group.parameters:
            self._steps[p] = self._steps.get(p, 0) + 1

    def _apart(self, settings: Mapping[str, Any]) -> bool:
        """Whether parameters of a group are shrunk before dyn's update of them."""
        wanted = settings.get("weight_decay") and settings.get("decoupled_weight_decay")
        return bool(wanted) and not self._decays_apart

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Update all parameters that have a gradient.

        Args:
            closure: computes the loss anew and returns it.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        super().step()
        return loss

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> HookRemoveHelper:
        """Call hook(optimizer, args, kwargs) before each step; it may return other arguments."""
        return self._register(0, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> HookRemoveHelper:
        """Call hook(optimizer, args, kwargs) behind each step."""
        return self._register(1, hook)

    def _register(self, which: int, hook: Callable[..., Any]) -> HookRemoveHelper:
        if self._hooks is None:
            self._hooks = ({}, {})
        return HookRemoveHelper(self._hooks[which], hook)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients: None, or zeros if `set_to_none` is False."""
        self.clear_grad(set_to_zero=not set_to_none)

    def _keeps_still(self, group: Group) -> bool:
        return False

    # -- state -------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """`state` by number of the parameter, and `param_groups` with numbers for parameters."""
        at = {p: (g, i) for g in self._groups for i, p in enumerate(g.parameters)}
        state: dict[int, dict[str, Any]] = {}
        groups, number = [], 0
        for settings in self.param_groups:
            numbers = []
            for p in settings["params"]:
                group, i = at[p]
                steps = self._steps.get(p, 0)
                entry = self._entry(group, i, steps) if steps else {}
                if entry := entry | self.state.get(p, {}):
                    state[number] = entry
                numbers.append(number)
                number += 1
            groups.append(
                {**{k: v for k, v in settings.items() if k != "params"}, "params": numbers}
            )
        return {"state": state, "param_groups": groups}

    def _entry(self, group: Group, index: int, steps: int) -> dict[str, Any]:
        """What is kept for one parameter, under PyTorch's names."""
        entry: dict[str, Any] = {}
        if self._counts:
            entry["step"] = own(Tensor(np.float32(steps)))
        for name, slot in self._state_names.items():
            if slot in group.slots:
                entry[name] = own(group.slots[slot][index].detach())
        return entry

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state; parameters are matched in order.

        Raises:
            ValueError: the number of groups, or of parameters in one, differs.
        """
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        pairs = list(zip(self.param_groups, groups, strict=True))
        if any(len(own_["params"]) != len(saved["params"]) for own_, saved in pairs):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of "
                "optimizer's group"
            )
        found: dict[str, Any] = {}
        for settings, saved in pairs:
            for key, value in saved.items():
                if key in settings and key != "params":
                    settings[key] = tuple(value) if isinstance(value, list) else value
            for p, number in zip(settings["params"], saved["params"], strict=True):
                entry = state_dict["state"].get(number, state_dict["state"].get(str(number)))
                if entry:
                    self._take(p, settings, entry, found)
        self.set_state_dict(found)

    def _take(
        self, p: Any, settings: dict[str, Any], entry: Mapping[str, Any], found: dict[str, Any]
    ) -> None:
        """Translate what was kept for one parameter into dyn's names."""
        counted = {"step"} if self._counts else set()
        if kept := {k: v for k, v in entry.items() if k not in {*self._state_names, *counted}}:
            self.state[p].update(kept)
        steps = int(float(entry.get("step", 1)))
        self._steps[p] = steps
        for name, slot in self._state_names.items():
            if entry.get(name) is not None:
                found[f"{p.name}_{slot}_0"] = entry[name]
        for name, value in self._counted(settings, steps).items():
            found[f"{p.name}_{name}_0"] = np.asarray([value])

    def _counted(self, settings: Mapping[str, Any], steps: int) -> dict[str, float]:
        """Every counter after some steps."""
        found = {}
        for name, beta in zip(self._counters, settings.get("betas", ()), strict=False):
            # Multiplied step by step as the update does, so that going on is exact.
            power = float(beta)
            for _ in range(steps):
                power *= beta
            found[name] = power
        return found

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            for key in sorted(group):
                if key != "params":
                    text += f"    {key}: {group[key]}\n"
        return text + ")"


def _check(defaults: Mapping[str, Any]) -> None:
    """Raise ValueError where PyTorch does: for numbers that no optimiser can work with."""
    for name, what in (
        ("lr", "learning rate:"), ("eps", "epsilon value:"), ("momentum", "momentum value:"),
        ("weight_decay", "weight_decay value:"),
    ):  # fmt: skip
        value = defaults.get(name, 0)
        if isinstance(value, (int, float)) and value < 0:
            raise ValueError(f"Invalid {what} {value}")
    for i, beta in enumerate(defaults.get("betas", ())):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


def _hooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """The method, with the hooks of the optimiser around the outermost call of it."""

    @functools.wraps(step)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._hooks is None or self._in_step:
            return step(self, *args, **kwargs)
        before, behind = self._hooks
        for hook in list(before.values()):
            other = hook(self, args, kwargs)
            if other is not None:
                args, kwargs = other
        self._in_step = True
        try:
            found = step(self, *args, **kwargs)
        finally:
            self._in_step = False
        for hook in list(behind.values()):
            hook(self, args, kwargs)
        return found

    return call


TorchOptimizer.step = _hooked(TorchOptimizer.step)  # type: ignore[method-assign]


def _unnamed(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group whose "params" are a list of tensors; names that come with them are "param_names"."""
    params = group["params"]
    listed = [params] if isinstance(params, Tensor) else list(params)
    named = [isinstance(p, tuple) for p in listed]
    if not any(named):
        return {**group, "params": listed}
    if not all(named):
        raise ValueError(
            "all optimizer params should be with/without names. Some param names are missing"
        )
    names, tensors = zip(*listed, strict=True)
    return {**group, "params": list(tensors), "param_names": list(names)}
