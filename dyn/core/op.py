"""The op record, the one registry, and the decorators that fill it.

An op is a decorated kernel: positional parameters are tensors (numpy arrays inside), keyword-only
parameters are attributes. The decorator reads the signature, so names exist once. Gradients are
rules made of ops, one per input; their keyword names say what the tape keeps alive.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

OPS: dict[str, Op] = {}
"""Every op by name: the only registry in dyn."""


class Type(NamedTuple):
    """Shape and dtype of a value, as `infer` rules see and return them."""

    shape: tuple[Any, ...]
    """Sizes: ints or, while tracing, `Dim`s."""
    dtype: np.dtype


class Rule(NamedTuple):
    """The gradient of one op with respect to one input or several."""

    function: Callable[..., Any]
    inputs: tuple[str, ...]
    needs: tuple[str, ...]
    """Keyword names: inputs, outputs, attributes, `<input>_shape`, or `g_<private output>`."""
    only: Mapping[str, str] = MappingProxyType({})
    """Inputs that are kept only if the gradient of another one is wanted, with that one."""
    fused: Callable[..., Any] | None = None
    """The same rule on arrays: `Op.fused_vjp`."""
    fused_needs: tuple[str, ...] = ()
    """Those of the needs that it asks for."""
    sparse: bool = False
    """Whether `g` has None, not zeros, for those of several outputs that no gradient reached."""


class Op:
    """One operation: kernel, shape and dtype rule, gradient rules.

    Attributes:
        name: the word used in `dyn.ops`, in graph text and in the lowering table.
        module: where it is declared.
        kernel: arrays and attributes in, an array or a tuple of arrays out.
        infer: the rule for shapes and dtypes: see `op`.
        inputs: names of the tensor parameters.
        variadic: whether the last name stands for any number of tensors (`*xs`).
        optional: names of the inputs that may be None.
        attrs: attribute names and their defaults (`inspect.Parameter.empty`: required).
        names: the attribute names.
        defaults: the values of a call without attributes; None if one is required.
        outputs: names of the results; those after the first `public` ones are private, kept for
            gradients and never seen by users. `public=None` is an op with any number of results
            (split), all of them public.
        promote: whether operands of differing dtypes are brought to their common dtype first;
            "float" brings integers to the default floating-point dtype as well (divide, exp ...).
        differentiable: False for ops that have no gradient by nature.
        random: whether the result differs from call to call; never folded into a constant.
        dynamic: whether a size of the result depends on values, not only on shapes.
        view: whether the result shares the memory of the first input, so that a write to either
            is seen by both.
        rules: gradient rule by input name.
        writer: for view ops, the function `(base, value, **attrs) -> new base` made of ops.
        plans, tape_plans: what dispatch and the tape remember about earlier calls.
        shortcut: `(*types, **attrs)` -> a faster kernel for arrays of these types with the
            attributes bound, or None; asked once per plan.
        deferrable: whether a call may wait until its result is read: see `deferred.py`.
        prompt: keys of the plans whose calls are not deferred again.
        absorb: `(pending call, inputs, attrs)` -> arrays and attributes of one call of the pending
            op that does the work of both, or None.
    """

    def __init__(
        self,
        kernel: Callable[..., Any],
        *,
        infer: Callable[..., Any],
        outputs: Sequence[str],
        public: int | None,
        promote: bool | str,
        differentiable: bool,
        random: bool,
        dynamic: bool,
        view: bool,
    ):
        self.kernel = self.__wrapped__ = kernel
        self.name = self.__name__ = kernel.__name__.strip("_")
        self.module = kernel.__module__
        self.__doc__ = kernel.__doc__
        self.infer = infer
        self.outputs = tuple(outputs)
        self.public = public
        self.promote = promote
        self.differentiable = differentiable
        self.random = random
        self.dynamic = dynamic
        self.view = view
        self.writer: Callable[..., Any] | None = None
        self.rules: dict[str, Rule] = {}
        self.plans: dict[Any, Any] = {}
        self.tape_plans: dict[Any, Any] = {}
        self.shortcut: Callable[..., Callable[..., Any] | None] | None = None
        self.deferrable = False
        self.prompt: set[Any] = set()
        self.absorb: Callable[..., tuple[tuple[Any, ...], tuple[Any, ...]] | None] | None = None
        self._read_signature(kernel)

    def _read_signature(self, kernel: Callable[..., Any]) -> None:
        inputs: list[str] = []
        optional: list[str] = []
        self.variadic = False
        self.attrs: dict[str, Any] = {}
        for name, parameter in inspect.signature(kernel).parameters.items():
            if parameter.kind is parameter.KEYWORD_ONLY:
                if name == "wanted":
                    raise TypeError(f"op {self.name}: gradient rules ask for 'wanted' by that name")
                self.attrs[name] = parameter.default
                continue
            if parameter.kind is parameter.VAR_POSITIONAL:
                self.variadic = True
            elif parameter.default is None:
                optional.append(name)
            elif parameter.default is not parameter.empty:
                raise TypeError(f"op {self.name}: input {name} may only default to None")
            inputs.append(name)
        self.inputs = tuple(inputs)
        self.names = tuple(self.attrs)
        self.defaults: tuple[Any, ...] | None = None
        if inspect.Parameter.empty not in self.attrs.values():
            self.defaults = tuple(freeze(value) for value in self.attrs.values())
        self.optional = frozenset(optional)

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> Any:
        return (_op_named, (self.name,))

    def __call__(self, *inputs: Any, **attrs: Any) -> Any:
        """Run the op on tensors (Python numbers and numpy arrays are lifted to tensors).

        Inputs may be given by name, too.
        """
        if len(inputs) < len(self.inputs):
            for name in self.inputs[len(inputs) :]:
                if name in attrs:
                    inputs += (attrs.pop(name),)
                elif name in self.optional:
                    inputs += (None,)
        return _apply(self, inputs, self.bind(attrs) if self.names or attrs else ())

    def bind(self, attrs: dict[str, Any]) -> tuple[Any, ...]:
        """Attribute values in declaration order, defaults filled in, lists turned to tuples."""
        if (*attrs,) != self.names:
            if not attrs and self.defaults is not None:
                return self.defaults
            given, attrs = attrs, {**self.attrs, **attrs}
            if len(attrs) > len(self.names):
                unknown = next(name for name in given if name not in self.attrs)
                raise TypeError(
                    f"{self.name}() has no keyword argument {unknown!r}; "
                    f"it has {', '.join(self.attrs) or 'none'}"
                )
            for name, value in attrs.items():
                if value is inspect.Parameter.empty:
                    raise TypeError(f"{self.name}() needs the keyword argument {name!r}")
        return (
            *[
                v if (c := v.__class__) in _PLAIN or (c is float and v) else freeze(v)
                for v in attrs.values()
            ],
        )

    def vjp(
        self,
        *names: str,
        only: Mapping[str, str] = MappingProxyType({}),
        sparse: bool = False,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register the gradient with respect to the inputs `names`.

        The rule is called as `rule(g, **needs)` with Tensors and is made of ops. `g` is the
        gradient of the public output (a list of them if there are several: None for integers, and
        if `sparse` for those that no gradient reached, which are zeros otherwise). For one name it
        returns that gradient, for several names a tuple; for a variadic input a list. None means
        zero. Broadcast gradients are summed to the input's shape by the engine. A rule for several
        names may ask for `wanted`, the names whose gradients will be used, and say with
        `only={"x": "w"}` that it needs x for the gradient of w alone: else x is None. A rule that
        makes its gradient from a private output asks for `g_<output>` as well: what reached
        that output when the gradient itself was differentiated, or None; `g` may be None then.
        """

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            parameters = list(inspect.signature(function).parameters.values())
            needs = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
            known = {*self.inputs, *self.outputs, *self.attrs}
            known |= {"wanted", *(f"{name}_shape" for name in self.inputs)}
            known |= {f"g_{name}" for name in self.outputs[self.public :]}
            for name in (*names, *needs):
                if name not in known:
                    raise TypeError(f"op {self.name} has no {name!r}; it has {sorted(known)}")
            function.__name__ = function.__qualname__ = f"{self.name}.vjp[{', '.join(names)}]"
            rule = Rule(function, names, needs, only, sparse=sparse)
            for name in names:
                if name in self.rules:
                    raise TypeError(f"op {self.name} has two gradient rules for {name!r}")
                self.rules[name] = rule
            return function

        return register

    def fused_vjp(self, *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a shorter way to compute a rule of `vjp`: arrays in, arrays out.

        `rule(g, **needs)` asks for what the rule for `names` asks for, or less of it, and gets
        numpy arrays in the place of Tensors; g is a list of them if there are several outputs. It
        is called where the gradient is not differentiated itself and nobody watches. One array
        comes out, or a tuple of them for several names and for a variadic input, of which the rule
        gets lists. A rule for one name, whose result is always a new array, may ask for `into` as
        well: None, or an array of the input's shape that the result may be added to instead, which
        it then returns. Where many parts of a tensor are read one after the other, their gradients
        need not be as large as the tensor.
        """

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            rule = self.rules[names[0]]
            asked = tuple(inspect.signature(function).parameters)[1:]
            plain = not any(name.startswith("g_") for name in rule.needs)
            known = {*rule.needs, "into"} if len(names) == 1 else {*rule.needs}
            if rule.inputs != names or not {*asked} <= known or not plain:
                raise TypeError(f"op {self.name} has no rule for {names} on tensors of {asked}")
            rule = rule._replace(fused=function, fused_needs=asked)
            self.rules.update(dict.fromkeys(names, rule))
            return function

        return register

    def writes(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Register the inverse of a view op: `(base, value, **attrs) -> base with value in it`."""
        if not self.view:
            raise TypeError(f"op {self.name} is not declared with view=True")
        self.writer = function
        return function

    def input_name(self, position: int) -> str:
        """Name of the input at `position` (all positions past a `*xs` share its name)."""
        return self.inputs[min(position, len(self.inputs) - 1)]


class _NegativeZero(float):
    """-0.0 as a key of its own: 0.0 equals it, but is filed elsewhere."""

    __slots__ = ()

    def __hash__(self) -> int:
        return _HASH


_HASH = hash("-0.0")
_NEGATIVE_ZERO = _NegativeZero(-0.0)


def freeze(value: Any) -> Any:
    """A hashable twin of an attribute value: lists become tuples, numpy numbers Python's.

    Numbers that users give go through here on their way to `apply`: what is remembered of a call by
    its attributes (plans, bound kernels) must not be that of a zero of the other sign. Only
    epsilons are spared it, which are added to what is not negative.
    """
    if value.__class__ in _PLAIN:
        return value
    if value.__class__ is float:
        return value if value or math.copysign(1.0, value) > 0 else _NEGATIVE_ZERO
    if value.__class__ is tuple:
        for item in value:
            if item.__class__ not in _PLAIN:
                break
        else:
            return value
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item) for item in value)
    if isinstance(value, np.generic):
        return freeze(value.item())
    return value


_PLAIN = frozenset({int, str, bool, type(None)})
"""Types of which equal values of one type are the same."""


def op(
    *,
    infer: Callable[..., Any],
    outputs: Sequence[str] = ("out",),
    public: int | None = 1,
    promote: bool | str = False,
    differentiable: bool = True,
    random: bool = False,
    dynamic: bool = False,
    view: bool = False,
) -> Callable[[Callable[..., Any]], Op]:
    """Declare an op: decorates its kernel call (arrays in, an array or a tuple of arrays out).

    Args:
        infer: `infer(*types, **attrs) -> (shape, dtype)`, or a list of such pairs if the op has
            several outputs. Types are `Type`s (None for an absent input); for sizes that may be
            symbolic use arithmetic and the helpers of `dyn.ops.infer`. The only place that raises
            ShapeError and DTypeError.
        outputs, public, promote, differentiable, random, dynamic, view: see `Op`.
    """

    def declare(kernel: Callable[..., Any]) -> Op:
        made = Op(
            kernel,
            infer=infer,
            outputs=outputs,
            public=public,
            promote=promote,
            differentiable=differentiable,
            random=random,
            dynamic=dynamic,
            view=view,
        )
        if made.name in OPS:
            raise TypeError(f"two ops are called {made.name!r}")
        OPS[made.name] = made
        return made

    return declare


def _op_named(name: str) -> Op:
    return OPS[name]


def _apply(op: Op, inputs: tuple[Any, ...], attrs: tuple[Any, ...]) -> Any:
    raise RuntimeError("dyn.core.dispatch is not loaded")


def set_dispatch(apply: Any) -> None:
    """Called once by `dyn.core.dispatch`, which stands above this module."""
    global _apply
    _apply = apply
