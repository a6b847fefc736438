"""What a module is beside its call: state dictionaries with their hooks, and paths to modules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from dyn.compat.torch.nn import loading
from dyn.nn.hooks import HookRemoveHelper
from dyn.nn.layer import Layer


class Stateful(Layer):
    """The part of `Module` that saves, loads, and finds what is below it."""

    _has_extra_state = False
    """Whether the class defines `get_extra_state` or `set_extra_state`."""
    _TABLES = (
        "_backward_pre_hooks",
        "_backward_hooks",
        "_state_dict_pre_hooks",
        "_state_dict_hooks",
        "_load_state_dict_pre_hooks",
        "_load_state_dict_post_hooks",
    )
    """The dictionaries of hooks that PyTorch's modules are known to have; code may look at them."""

    def __init_subclass__(cls, **named: Any):
        super().__init_subclass__(**named)
        if "get_extra_state" in vars(cls) or "set_extra_state" in vars(cls):
            cls._has_extra_state = True

    def __init__(self) -> None:
        super().__init__()
        for name in self._TABLES:
            self.__dict__[name] = OrderedDict()

    # -- saving and loading ------------------------------------------------------------------

    def state_dict(  # type: ignore[override]
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """Parameters and persistent buffers by dotted name, without history.

        A later change of the module is seen in them, and the other way round.

        Args:
            args: destination, prefix and keep_vars in this order, as old code gives them.
            destination: a dictionary to fill and return.
            prefix: put before every name.
            keep_vars: give the tensors themselves, with their history.
        """
        asked = {"destination": destination, "prefix": prefix, "keep_vars": keep_vars}
        asked.update(zip(asked, args, strict=False))
        into = asked["destination"]
        found = OrderedDict() if into is None else into
        return loading.save(self, found, asked["prefix"], asked["keep_vars"])

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load values by name.

        Args:
            state_dict: tensors or arrays by name.
            strict: names must be the same in both.
            assign: accepted; values are bound, never copied into place, anyway.

        Returns:
            `missing_keys` and `unexpected_keys`.

        Raises:
            RuntimeError: names differ and `strict`, or a shape differs.
        """
        return loading.load(self, state_dict, strict)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Put the module's own state into a dictionary; classes of users' own extend it."""
        loading.save_own(self, destination, prefix, keep_vars)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take the module's own state out of a dictionary; classes of users' own extend it."""
        found = missing_keys, unexpected_keys, error_msgs
        loading.load_own(self, state_dict, prefix, local_metadata, strict, *found)

    def get_extra_state(self) -> Any:
        """What a class saves beside tensors, as `_extra_state`; a class that has any defines it."""
        raise RuntimeError(
            f"{type(self).__name__} sets an extra state and does not define get_extra_state"
        )

    def set_extra_state(self, state: Any) -> None:
        """Take over what `get_extra_state` gave; a class that has any defines it."""
        raise RuntimeError(
            f"{type(self).__name__} has an extra state and does not define set_extra_state"
        )

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> HookRemoveHelper:
        """Call `hook(module, prefix, keep_vars)` before the module is saved."""
        return HookRemoveHelper(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> HookRemoveHelper:
        """Call `hook(module, state_dict, prefix, local_metadata)` when the module was saved.

        It may change the dictionary in place.
        """

        def silent(*given: Any) -> None:
            if hook(*given) is not None:
                raise RuntimeError("state_dict post-hook must return None")

        return HookRemoveHelper(self._state_dict_hooks, silent)

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> HookRemoveHelper:
        """As `register_state_dict_post_hook`; the hook may also return another dictionary."""
        return HookRemoveHelper(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> HookRemoveHelper:
        """Call a hook before the module is loaded; it may change the dictionary in place.

        `hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
        error_msgs)`, where the dictionary is a copy of the one given and holds all names.
        """
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> HookRemoveHelper:
        """As `register_load_state_dict_pre_hook`; the module is left out unless `with_module`."""

        def asked(*given: Any) -> None:
            hook(*((self,) if with_module else ()), *given)

        return HookRemoveHelper(self._load_state_dict_pre_hooks, asked)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> HookRemoveHelper:
        """Call `hook(module, incompatible_keys)` when the module was loaded.

        It may change the lists of names in place, before they are an error or returned.
        """
        return HookRemoveHelper(self._load_state_dict_post_hooks, hook)

    # -- paths -------------------------------------------------------------------------------

    def get_submodule(self, target: str) -> Any:
        """The module under a dotted name.

        Raises:
            AttributeError: there is none.
        """
        found: Any = self
        for name in target.split(".") if target else ():
            if found._kinds.get(name) != "layer":
                raise AttributeError(f"{type(found).__name__} has no attribute `{name}`")
            found = found.__dict__[name]
        return found

    def set_submodule(self, target: str, module: Any, strict: bool = False) -> None:
        """Put a module in the place that a dotted name says.

        Args:
            target: the name, such as "blocks.0.norm".
            module: the module.
            strict: there must be a module already.

        Raises:
            ValueError: the name is empty, or `module` is none.
            AttributeError: what stands above has no such module.
        """
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Layer):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        above, _, name = target.rpartition(".")
        owner = self.get_submodule(above)
        if strict and owner._kinds.get(name) != "layer":
            raise AttributeError(f"{type(owner).__name__} has no attribute `{name}`")
        if hasattr(owner, name) and owner._kinds.get(name) != "layer":
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(owner, name, module)

    def get_parameter(self, target: str) -> Any:
        """The parameter under a dotted name."""
        return self._get(target, "parameter")

    def get_buffer(self, target: str) -> Any:
        """The buffer under a dotted name."""
        return self._get(target, "buffer")

    def _get(self, target: str, kind: str) -> Any:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if owner._kinds.get(name) != kind:
            raise AttributeError(f"{type(owner).__name__} has no attribute `{name}`")
        return owner.__dict__[name]
