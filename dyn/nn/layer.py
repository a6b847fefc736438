"""Layer: the base of all layers and models. Calls, hooks, modes, and state dictionaries.

Registration and walks are in `registry.py`. Numbers are computed by ops, never here.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from dyn.core import dtype as dtypes
from dyn.core.deferred import is_deferring, settled
from dyn.core.errors import AttributeValueError, DynError, StateError
from dyn.core.modes import is_grad_enabled
from dyn.core.observe import current as _observers
from dyn.core.place import as_place
from dyn.core.tensor import ZERO, Tensor
from dyn.nn import initializer as init
from dyn.nn.hooks import HookRemoveHelper, Table, run_post, run_pre
from dyn.nn.registry import Registry
from dyn.nn.state import ParamAttr, Parameter, snake_case, unique_name
from dyn.printing import layer_text

Self = TypeVar("Self", bound="Layer")


class Layer(Registry):
    """Base class of layers and of models, which are layers made of layers.

    A subclass calls `super().__init__()`, assigns parameters, buffers and sublayers to attributes,
    and computes in `forward`. Calling the layer runs `forward` and the hooks.

    Attributes:
        training: whether the layer behaves as in training (dropout, batch statistics). Set for
            the whole model by `train()` and `eval()`.
    """

    training: bool = True
    _made_by_init = (
        "_kinds",
        "_forward_pre_hooks",
        "_forward_post_hooks",
        "_dtype",
        "_full_name",
    )
    _forward_pre_hooks: Table
    _forward_post_hooks: Table
    _dtype: str
    _full_name: str

    def __init__(self, name_scope: str | None = None, dtype: Any = None):
        """Start with nothing registered.

        Args:
            name_scope: what `full_name` begins with; the class name in snake case by default.
            dtype: element type of parameters made by `create_parameter`.
        """
        super().__init__()
        values = self.__dict__
        values["training"] = True
        values["_forward_pre_hooks"] = {}
        values["_forward_post_hooks"] = {}
        values["_dtype"] = dtypes.as_numpy(dtype or dtypes.get_default_dtype()).name
        values["_full_name"] = unique_name(name_scope or snake_case(type(self).__name__))

    # -- calls -------------------------------------------------------------------------------

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """What the layer computes; every subclass writes its own."""
        raise NotImplementedError(
            f'Layer [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *inputs: Any, **kwargs: Any) -> Any:
        if self._forward_pre_hooks or self._forward_post_hooks or _observers():
            before, behind = self._forward_pre_hooks, self._forward_post_hooks
            return self._call_watched(before, behind, inputs, kwargs)
        try:
            if is_grad_enabled() or is_deferring():
                return self.forward(*inputs, **kwargs)
            return settled(self.forward, inputs, kwargs)
        except DynError as error:
            _add_layer(error, self)
            raise

    def _call_watched(
        self, before: Table, behind: Table, inputs: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run `forward` between hooks, and tell observers that the layer is entered and left."""
        observers = _observers()
        for observer in observers:
            observer.on_layer(self, "enter")
        try:
            if before:
                inputs, kwargs = run_pre(self, before, inputs, kwargs)
            output = self.forward(*inputs, **kwargs)
            if behind:
                output = run_post(self, behind, inputs, kwargs, output)
            return output
        except DynError as error:
            _add_layer(error, self)
            raise
        finally:
            for observer in observers:
                observer.on_layer(self, "exit")

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False
    ) -> HookRemoveHelper:
        """Call `hook(layer, inputs)` before `forward`, each time the layer is called.

        `inputs` is a tuple. The hook may return new inputs: a tuple, or a single value.
        """
        return HookRemoveHelper(self._forward_pre_hooks, hook, prepend)

    def register_forward_post_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False
    ) -> HookRemoveHelper:
        """Call `hook(layer, inputs, output)` after `forward`; it may return another output."""
        return HookRemoveHelper(self._forward_post_hooks, hook, prepend)

    # -- modes, names, functions over the tree -----------------------------------------------

    def train(self: Self) -> Self:
        """Behave as in training, with all sublayers; returns the layer."""
        for layer in self.sublayers(include_self=True):
            layer.training = True
        return self

    def eval(self: Self) -> Self:
        """Behave as in use, with all sublayers; returns the layer."""
        for layer in self.sublayers(include_self=True):
            layer.training = False
        return self

    def full_name(self) -> str:
        """A name unique in the process, such as `linear_0`."""
        return self._full_name

    def apply(self: Self, function: Callable[[Layer], Any]) -> Self:
        """Call `function` on every sublayer, inner ones first, and on this layer last."""
        seen = {id(self)}
        stack: list[tuple[Layer, Iterator[Layer]]] = [(self, self.children())]
        while stack:
            layer, rest = stack[-1]
            child = next((c for c in rest if id(c) not in seen), None)
            if child is None:
                stack.pop()
                function(layer)
            else:
                seen.add(id(child))
                stack.append((child, child.children()))
        return self

    def extra_repr(self) -> str:
        """What stands between the brackets when the layer is printed; override it."""
        return ""

    def __repr__(self) -> str:
        return layer_text(type(self).__name__, self.extra_repr(), list(self._sub_layers.items()))

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._kinds})

    def __copy__(self: Self) -> Self:
        out = type(self).__new__(type(self))
        for name, value in self.__dict__.items():
            own = name in ("_kinds", "_forward_pre_hooks", "_forward_post_hooks")
            out.__dict__[name] = copy.copy(value) if own else value
        return out

    # -- parameters and state ----------------------------------------------------------------

    def create_parameter(
        self,
        shape: Any,
        attr: Any = None,
        dtype: Any = None,
        is_bias: bool = False,
        default_initializer: Any = None,
    ) -> Any:
        """Make a parameter; assign it to an attribute to register it.

        Args:
            shape: sizes.
            attr: a `ParamAttr`, a name, an initializer, or False for no parameter at all.
            dtype: element type; the layer's by default.
            is_bias: whether it is a bias: starts at zero instead of Xavier-uniform.
            default_initializer: what to start from when `attr` does not say.

        Returns:
            The parameter, or None when `attr` is False.

        Raises:
            AttributeValueError: a size is not a whole number, or below 0.
        """
        if attr is False:
            return None
        wish = ParamAttr.of(attr)
        dtype = dtypes.as_numpy(dtype or self._dtype)
        start = wish.initializer or init.default(is_bias) or default_initializer
        start = start or (init.Constant(0.0) if is_bias else init.XavierUniform())
        sizes = tuple(shape) if hasattr(shape, "__iter__") else (shape,)
        if any(not isinstance(n, (int, np.integer)) or n < 0 for n in sizes):
            raise AttributeValueError(
                f"a parameter of {type(self).__name__} cannot have the shape {list(sizes)}: sizes "
                "are whole numbers from 0"
            )
        sizes = tuple(map(int, sizes))
        parameter = Parameter(start.compute(sizes, dtype))
        parameter._name = unique_name(f"{self._full_name}.{'b' if is_bias else 'w'}")
        return wish.mark(parameter)

    def create_tensor(
        self, name: str | None = None, persistable: bool | None = None, dtype: Any = None
    ) -> Tensor:
        """Make a tensor without a value: a temporary to `dyn.assign` to while the layer runs.

        A temporary is not part of `state_dict` or of exported graphs; `register_buffer` makes it
        so. It takes dtype and shape of what is assigned.
        """
        out = Tensor()
        if name is not None:
            out.name = name
        return out

    def clear_gradients(self, set_to_zero: bool = True) -> None:
        """Clear the gradients of all parameters (see `Tensor.clear_grad`)."""
        for parameter in self.parameters():
            parameter.clear_grad(set_to_zero)

    def to(self: Self, device: Any = None, dtype: Any = None, blocking: Any = None) -> Self:
        """Convert all floating-point parameters and buffers to `dtype`; returns the layer.

        Args:
            device: "cpu" or None. A dtype given in its place is understood.
            dtype: floating-point element type.
            blocking: accepted for Paddle's sake.
        """
        if device is not None and dtype is None and _is_dtype(device):
            device, dtype = None, device
        as_place(device)
        if dtype is None:
            return self
        wanted = dtypes.as_numpy(dtype)
        for tensor in [*self.parameters(), *self.buffers()]:
            array = tensor._array
            if array is None or not dtypes.is_float(array.dtype) or array.dtype == wanted:
                continue
            tensor._assign(Tensor._of(array.astype(wanted)))
            if tensor._grad is not None and tensor._grad is not ZERO:
                tensor._grad = Tensor._of(tensor._grad._read().astype(wanted))
        for layer in self.sublayers(include_self=True):
            layer._dtype = wanted.name
        return self

    def astype(self: Self, dtype: Any = None) -> Self:
        """Convert all floating-point parameters and buffers to `dtype`; returns the layer."""
        return self.to(dtype=dtype)

    def state_dict(
        self,
        destination: dict[str, Any] | None = None,
        include_sublayers: bool = True,
        structured_name_prefix: str = "",
    ) -> dict[str, Any]:
        """Parameters and persistable buffers by dotted name: the tensors themselves, not copies.

        Each layer gives its parameters, then its persistable buffers, then its sublayers. What is
        shared stands under each of its names, so that files of other frameworks fit.

        Args:
            destination: a dictionary to fill and return.
            include_sublayers: whether to go deeper than this layer.
            structured_name_prefix: put before every name.
        """
        found = {} if destination is None else destination
        layers: list[tuple[str, Layer]] = [("", self)]
        if include_sublayers:
            layers.extend(self._paths())
        for path, layer in layers:
            joined = f"{structured_name_prefix}{path}." if path else structured_name_prefix
            for name, parameter in layer._own("parameter"):
                found[joined + name] = parameter
            for name, buffer in layer._own("buffer"):
                if buffer.persistable:
                    found[joined + name] = buffer
        return found

    def set_state_dict(
        self, state_dict: Mapping[str, Any], use_structured_name: bool = True, strict: bool = False
    ) -> tuple[list[str], list[str]]:
        """Load values by name. What does not fit is skipped with a warning.

        Args:
            state_dict: tensors or arrays by name.
            use_structured_name: look values up by dotted name; else by the tensor's own `name`.
            strict: raise instead of skipping, before anything is loaded.

        Returns:
            (missing, unexpected): names of this layer's state that were not loaded, and names in
            `state_dict` that this layer does not have.

        Raises:
            StateError: `strict`, and names or shapes differ.
        """
        own = self.state_dict()
        keys = {name: name if use_structured_name else own[name].name for name in own}
        problems: dict[str, str] = {}
        for name, target in own.items():
            problem = _misfit(keys[name], target, state_dict)
            if problem:
                problems[name] = problem
        known = set(keys.values())
        unexpected = [key for key in state_dict if key not in known]
        if strict and (problems or unexpected):
            extra = [f"{key} is not part of {type(self).__name__}." for key in unexpected]
            listed = "\n  ".join([*problems.values(), *extra])
            raise StateError(f"the state does not fit {type(self).__name__}:\n  {listed}")
        for name, target in own.items():
            if name in problems:
                warnings.warn(f"Skip loading for {name}. {problems[name]}", stacklevel=2)
            elif not _is_empty(state_dict[keys[name]]):
                target.set_value(state_dict[keys[name]])
        return list(problems), unexpected

    set_dict = load_dict = load_state_dict = set_state_dict


def _add_layer(error: DynError, layer: Layer) -> None:
    """Say in a passing error which layer it came through.

    The list becomes the model's class, then attribute names inwards; the innermost has its class.
    """
    below = getattr(error, "_passed", None)
    if below is None:
        error.layers = [type(layer).__name__]
    else:
        path = next((p for p, found in layer.named_sublayers() if found is below), None)
        steps = path.split(".") if path else [error.layers[0]]
        if path and len(error.layers) == 1:
            steps[-1] += f" ({error.layers[0]})"
        error.layers = [type(layer).__name__, *steps, *error.layers[1:]]
    error._passed = layer  # type: ignore[attr-defined]


def _is_dtype(value: Any) -> bool:
    try:
        return bool(dtypes.as_numpy(value))
    except (DynError, TypeError):
        return False


def _is_empty(value: Any) -> bool:
    return isinstance(value, Tensor) and value._array is None


def _misfit(key: str, target: Tensor, state: Mapping[str, Any]) -> str:
    """Why `target` cannot take its value from `state`; empty if it can."""
    if key not in state or state[key] is None:
        return f"{key} is not found in the provided dict."
    value = state[key]
    if target._array is None or _is_empty(value):
        return ""
    given = list(value._read().shape if isinstance(value, Tensor) else np.shape(value))
    wanted = list(target._array.shape)
    if given != wanted:
        return f"{key} receives a shape {given}, but the expected shape is {wanted}."
    return ""


def create_parameter(
    shape: Any,
    dtype: Any = None,
    name: str | None = None,
    attr: Any = None,
    is_bias: bool = False,
    default_initializer: Any = None,
) -> Any:
    """A parameter that belongs to no layer yet; see `Layer.create_parameter`.

    Args:
        name: its name; made up by default.
    """
    maker = Layer("create_parameter")
    made = maker.create_parameter(shape, attr, dtype, is_bias, default_initializer)
    if name is not None and made is not None:
        made.name = name
    return made
