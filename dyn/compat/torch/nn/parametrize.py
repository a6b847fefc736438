"""`torch.nn.utils.parametrize`: parameters computed from others by modules, whenever they are read.

The module gets a class of its own with a property in the place of the parameter; what it is
computed from is registered as `parametrizations.weight.original`, as in PyTorch, so that states of
either load into the other. Reading the property runs ops: it is traced and exported like any call.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dyn.compat.torch.nn.containers import ModuleDict, ModuleList
from dyn.compat.torch.nn.module import Module
from dyn.compat.torch.tensor import Base, Parameter, own
from dyn.core.modes import is_grad_enabled, no_grad
from dyn.core.observe import current as observers


class _Cache:
    """Values of the outermost `cached()` block, by module, name, and who reads.

    What is computed without gradients has none to give to others, and what is computed outside of
    a trace would be a constant in it.
    """

    depth = 0
    values: dict[tuple[Any, ...], Any] = {}  # noqa: RUF012


@contextmanager
def cached() -> Iterator[None]:
    """A block in which every parametrised tensor is computed once, however often it is read."""
    _Cache.depth += 1
    try:
        yield
    finally:
        _Cache.depth -= 1
        if not _Cache.depth:
            _Cache.values = {}


def _inverse(parametrizations: Any, value: Any, must: bool) -> Any:
    """What the parametrizations would have to be given for them to give `value`."""
    for one in reversed(list(parametrizations)):
        if hasattr(one, "right_inverse"):
            try:
                value = one.right_inverse(value)
            except NotImplementedError:
                if must:
                    raise
        elif must:
            raise RuntimeError(
                f"parametrization {type(one).__name__} does not implement right_inverse."
            )
    return value


def _need_alike(what: str, found: Any, wanted: Any) -> None:
    """Refuse a result of another dtype or shape."""
    if not isinstance(found, Base):
        raise ValueError(f"{what} must return a tensor. Got {type(found).__name__}.")
    for name in ("dtype", "shape"):
        ours, other = getattr(wanted, name), getattr(found, name)
        if ours != other:
            raise ValueError(
                f"{what} may not change the {name} of the tensor, unless `unsafe` flag is enabled: "
                f"it is {ours}, and would be {other}"
            )


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, and what the first of them is given.

    Args:
        modules: the parametrizations, of which the last one gives the tensor.
        original: the tensor; it becomes `original`, or what their `right_inverse` makes of it
            `original`, or `original0`, `original1` ... if that is several tensors.
        unsafe: whether they may change dtype and shape.

    Raises:
        ValueError: there are none, or a result is of another dtype or shape.
    """

    def __init__(self, modules: Any, original: Any, unsafe: bool = False):
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        like = original.detach()
        with no_grad():
            new = _inverse(self, original, must=False)
        self.is_tensor = isinstance(new, Base)
        if not isinstance(new, (Base, tuple, list)):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(new).__name__}"
            )
        parts: Any = new
        self.ntensors = 1 if self.is_tensor else len(parts)
        trained = isinstance(original, Parameter)
        if self.is_tensor:
            if parts.dtype != like.dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype: it is "
                    f"{like.dtype}, and would be {parts.dtype}"
                )
            _set(original, parts)
            _register(self, "original", original)
        else:
            for i, part in enumerate(parts):
                if not isinstance(part, Base):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, "
                        f"tuple...). Got element {i} of the sequence with type "
                        f"{type(part).__name__}."
                    )
                made = Parameter(part.detach(), original.requires_grad) if trained else part
                _register(self, f"original{i}", made)
        if not unsafe:
            _need_alike("Registering a parametrization", self(), like)

    def originals(self) -> list[Any]:
        """What the first parametrization is given."""
        names = ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]
        return [getattr(self, name) for name in names]

    def forward(self) -> Any:
        """The tensor."""
        first, *others = self
        x = first(*self.originals())
        for one in others:
            x = one(x)
        return x

    def right_inverse(self, value: Any) -> None:
        """Set what the first parametrization is given so that the last one gives `value`.

        Raises:
            RuntimeError: a parametrization has no `right_inverse`.
            ValueError: it gives other tensors than there are.
        """
        with no_grad():
            found = _inverse(self, value, must=True)
            parts = [found] if self.is_tensor else found
            if not isinstance(parts, (tuple, list)) or len(parts) != self.ntensors:
                given = len(parts) if isinstance(parts, (tuple, list)) else type(parts).__name__
                raise ValueError(
                    "'right_inverse' must return a sequence of tensors of length "
                    f"{self.ntensors}. Got {given}."
                )
            for target, part in zip(self.originals(), parts, strict=True):
                if not isinstance(part, Base) or part.dtype != target.dtype:
                    shown = part.dtype if isinstance(part, Base) else type(part).__name__
                    raise ValueError(
                        f"'right_inverse' should return a tensor of dtype {target.dtype}, the one "
                        f"of the original. Got {shown}."
                    )
                _set(target, part)


def _set(target: Any, value: Any) -> None:
    """Bind a parameter or buffer to a value, of whatever shape."""
    if value is not target:
        target._array = None
        target._assign(value.detach())


def _register(module: Any, name: str, value: Any) -> None:
    if isinstance(value, Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


def _property(name: str) -> property:
    def read(self: Any) -> Any:
        list_of = self.parametrizations[name]
        if not _Cache.depth:
            return own(list_of())
        key = (self, name, is_grad_enabled(), observers())
        if key not in _Cache.values:
            _Cache.values[key] = own(list_of())
        return _Cache.values[key]

    def write(self: Any, value: Any) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(read, write, doc=f"`{name}`, computed by `parametrizations.{name}`.")


def _refuse_pickling(self: Any) -> Any:
    raise RuntimeError(
        "Serialization of parametrized modules is only supported through state_dict(). See:\n"
        "https://pytorch.org/tutorials/beginner/saving_loading_models.html"
    )


def _deepcopy(self: Any, memo: dict[int, Any]) -> Any:
    kind: Any = type(self).__bases__[0]
    out = memo[id(self)] = kind.__new__(kind)
    out.__dict__.update(copy.deepcopy(self.__dict__, memo))
    # A class of its own, too: what is registered or removed here is not on the one that was copied.
    _give_class(out)
    for name in out.parametrizations:
        setattr(type(out), name, _property(name))
    return out


def _give_class(module: Any) -> None:
    """Let a module have a class of its own, which properties can be put on."""
    kind = type(module)
    words = {"__getstate__": _refuse_pickling, "__deepcopy__": _deepcopy, "__doc__": kind.__doc__}
    module.__class__ = type(f"Parametrized{kind.__name__}", (kind,), words)


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Any, *, unsafe: bool = False
) -> Module:
    """Compute a parameter or buffer by a module whenever it is read.

    Args:
        module: has the tensor.
        tensor_name: its name.
        parametrization: called with what is kept in its place; several run one after the other. If
            it has a `right_inverse`, that says what is kept, and the tensor may be assigned.
        unsafe: whether dtype and shape may change.

    Returns:
        The module.

    Raises:
        ValueError: there is no such tensor, or a result is of another dtype or shape.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        before = getattr(module, tensor_name)
        if not unsafe:
            after = parametrization(before)
            _need_alike("Registering a parametrization", after, before)
            if hasattr(parametrization, "right_inverse"):
                try:
                    back = parametrization.right_inverse(after)
                except NotImplementedError:
                    pass
                else:
                    _need_alike("parametrization.right_inverse", back, before)
        listed = module.parametrizations[tensor_name]
        listed.append(parametrization)
        listed.unsafe |= unsafe
        return module
    if module._kinds.get(tensor_name) not in ("parameter", "buffer"):
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    made = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        _give_class(module)
        module.parametrizations = ModuleDict()
    setattr(type(module), tensor_name, _property(tensor_name))
    module.parametrizations[tensor_name] = made
    return module


def is_parametrized(module: Any, tensor_name: str | None = None) -> bool:
    """Whether a module computes the tensor of a name, or any tensor, by a parametrization."""
    found = getattr(module, "parametrizations", None)
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make a parametrised tensor a parameter or buffer again.

    Args:
        module: has the tensor.
        tensor_name: its name.
        leave_parametrized: with the value that is computed now, not with what it is computed from.

    Returns:
        The module.

    Raises:
        ValueError: the tensor is not parametrised, or what it is computed from is several tensors
            and is to be left.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    listed = module.parametrizations[tensor_name]
    first = listed.originals()[0]
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name).detach()
        if listed.is_tensor:
            _set(first, value)
        else:
            trained = any(x.requires_grad for x in listed.originals())
            first = Parameter(value) if trained else value
    elif not listed.is_tensor:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _register(module, tensor_name, first)
    if not is_parametrized(module):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class of a module, without what parametrizations made of it."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "type_before_parametrizations",
]
