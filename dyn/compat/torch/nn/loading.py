"""`state_dict` and `load_state_dict` of a tree of modules, with the hooks around them.

Both go from module to module in PyTorch's order. PyTorch's words where names or shapes do not fit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from dyn.compat.torch.tensor import own
from dyn.compat.torch.types import Size
from dyn.core.tensor import Tensor

EXTRA = "_extra_state"
"""The last part of the name under which a module's `get_extra_state` is saved."""


class _IncompatibleKeys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"_IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )

    __str__ = __repr__


def _tables(module: Any, name: str) -> list[Callable[..., Any]]:
    """The hooks of one kind; layers of dyn have none."""
    return list(vars(module).get(name, {}).values())


def _walk(
    module: Any, prefix: str, enter: Callable[[Any, str], Any], leave: Callable[[Any, str], Any]
) -> None:
    """Visit a module and those below it, outer before inner: `enter` first, `leave` behind its own.

    Both are given a module and what stands before the names of its state. Walks with a stack of its
    own, as models may be deep.
    """
    stack: list[tuple[Any, str, Iterator[tuple[str, Any]]]] = []
    above: set[int] = set()

    def begin(one: Any, path: str) -> None:
        enter(one, path)
        above.add(id(one))
        stack.append((one, path, iter(list(one._own("layer")))))

    begin(module, prefix)
    while stack:
        one, path, rest = stack[-1]
        for name, child in rest:
            if id(child) not in above:
                begin(child, f"{path}{name}.")
                break
        else:
            stack.pop()
            above.discard(id(one))
            leave(one, path)


def _own_state(module: Any) -> dict[str, Any]:
    """The parameters and persistent buffers of a module itself, by name."""
    found = dict(module._own("parameter"))
    found.update((name, buffer) for name, buffer in module._own("buffer") if buffer.persistable)
    return found


def _has_extra(module: Any) -> bool:
    """Whether the class of a module says what else is to be saved."""
    return getattr(type(module), "_has_extra_state", False)


def save(module: Any, into: Any, prefix: str, keep_vars: bool) -> Any:
    """Fill a dictionary with the state of a module and those below; see `Module.state_dict`."""

    def enter(one: Any, path: str) -> None:
        for hook in _tables(one, "_state_dict_pre_hooks"):
            hook(one, path, keep_vars)
        method = getattr(one, "_save_to_state_dict", None)
        (method or partial(save_own, one))(into, path, keep_vars)

    def leave(one: Any, path: str) -> None:
        nonlocal into
        for hook in _tables(one, "_state_dict_hooks"):
            other = hook(one, into, path, {})
            into = into if other is None else other

    _walk(module, prefix, enter, leave)
    return into


def save_own(module: Any, into: Any, prefix: str, keep_vars: bool) -> None:
    """The part of a state that is a module's own."""
    for name, tensor in _own_state(module).items():
        into[prefix + name] = tensor if keep_vars else own(tensor.detach())
    if _has_extra(module):
        into[prefix + EXTRA] = module.get_extra_state()


def load(module: Any, given: Mapping[str, Any], strict: bool) -> _IncompatibleKeys:
    """Give a module and those below the values in `given`; see `Module.load_state_dict`.

    What fits is loaded, also when the rest raises, as PyTorch does.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(given)}.")
    # Hooks rename what they are shown: a dictionary of our own.
    state = OrderedDict(given)
    missing: list[str] = []
    unexpected: list[str] = []
    misfits: list[str] = []
    known: set[str] = set()

    def enter(one: Any, path: str) -> None:
        method = getattr(one, "_load_from_state_dict", None)
        found = missing, unexpected, misfits
        (method or partial(load_own, one))(state, path, {}, strict, *found)
        known.update(path + name for name in (*_own_state(one), *([EXTRA] * _has_extra(one))))

    def leave(one: Any, path: str) -> None:
        if one is module and not path:
            # Before the last hooks, which may take names off the list.
            unexpected.extend(k for k in state if k not in known and k not in unexpected)
        keys = _IncompatibleKeys(missing, unexpected)
        for hook in _tables(one, "_load_state_dict_post_hooks"):
            if hook(one, keys) is not None:
                raise RuntimeError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected "
                    "to return new values, if incompatible_keys need to be modified, it should be "
                    "done inplace."
                )

    _walk(module, "", enter, leave)
    errors = misfits
    if strict:
        errors = [*_listed("Missing", missing), *_listed("Unexpected", unexpected), *misfits]
    if errors:
        text = "\n\t".join(errors)
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{text}")
    return _IncompatibleKeys(missing, unexpected)


def load_own(
    module: Any,
    state: Any,
    prefix: str,
    metadata: Any,
    strict: bool,
    missing: list[str],
    unexpected: list[str],
    misfits: list[str],
) -> None:
    """Take a module's own values out of a state, between the hooks that may change it.

    Args:
        missing, unexpected, misfits: what is found out is added here: names, and messages.
    """
    for hook in _tables(module, "_load_state_dict_pre_hooks"):
        hook(state, prefix, metadata, strict, missing, unexpected, misfits)
    for short, target in _own_state(module).items():
        name = prefix + short
        if name not in state:
            # Files from before PyTorch 0.4.1 do not count the batches.
            if short != "num_batches_tracked":
                missing.append(name)
            continue
        value = state[name]
        shape = tuple(value._read().shape if isinstance(value, Tensor) else np.shape(value))
        wanted = target._array.shape if target._array is not None else shape
        if shape == (1,) and wanted == ():
            value, shape = np.asarray(value).reshape(()), ()
        if shape != wanted:
            misfits.append(
                f"size mismatch for {name}: copying a param with shape {Size(shape)} from "
                f"checkpoint, the shape in current model is {Size(wanted)}."
            )
        else:
            target.set_value(value)
    if _has_extra(module):
        if prefix + EXTRA in state:
            module.set_extra_state(state[prefix + EXTRA])
        else:
            missing.append(prefix + EXTRA)


def _listed(what: str, names: list[str]) -> list[str]:
    quoted = ", ".join(f'"{name}"' for name in names)
    return [f"{what} key(s) in state_dict: {quoted}. "] if names else []


def without_prefix(state_dict: Mapping[str, Any], prefix: str = "module.") -> dict[str, Any]:
    """The same values under names without `prefix`, as `DataParallel` puts before them.

    Names that do not begin with it are kept.
    """
    return {name.removeprefix(prefix): value for name, value in state_dict.items()}
