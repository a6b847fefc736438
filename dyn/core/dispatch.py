"""The one road every op takes: lift operands, infer, run the kernel, tell observers, link the tape.

Nothing here knows a device, a mode of a layer, or who is watching. What `infer` answered is
remembered per (attributes, shapes, dtypes), so a repeated call costs one look-up.
"""

from __future__ import annotations

import contextvars
import functools
import operator
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dyn.core import observe
from dyn.core.alias import Alias
from dyn.core.deferred import Deferred, is_deferring, pending
from dyn.core.dim import plain
from dyn.core.dtype import as_numpy, common_dtype, default_float, is_inexact, name_of
from dyn.core.errors import (
    AttributeValueError,
    DivisionError,
    DTypeError,
    DynError,
    IndexRangeError,
    SourceLine,
)
from dyn.core.lift import cast_all, lift, literal
from dyn.core.modes import is_grad_enabled
from dyn.core.op import Op, Type, set_dispatch
from dyn.core.tape import link
from dyn.core.tensor import Tensor

current_observers = observe.current
new_object = object.__new__

MAX_PLANS = 4096
"""Plans remembered per op; a model whose shapes never repeat must not grow without bound."""


class Plan(NamedTuple):
    """What is known about calls of one op with the same attributes, shapes and dtypes."""

    run: Callable[..., Any]
    """The kernel with its attributes bound; arrays in, an array or a tuple of arrays out."""
    cast: Callable[[], np.dtype] | None
    """Gives the common dtype that the operands must be brought to first; None if they have it."""
    differentiable: tuple[bool, ...]
    """For each output, whether gradients can flow through it."""
    result: tuple[tuple[int, ...], np.dtype] | None = None
    """Shape and dtype of the output of an op that can be deferred."""


class _Quiet(threading.local):
    """Runs kernels in a context of their own in which numpy does not warn: 1 / 0 is infinity.

    Entering a context costs a tenth of what `np.errstate` does. Nothing that a kernel calls reads
    another context variable, but for the generator of random ops, which run outside.
    """

    def __init__(self) -> None:
        context = contextvars.copy_context()
        context.run(np.seterr, all="ignore")
        self.run = context.run


_quiet = _Quiet()


def apply(op: Op, inputs: tuple[Any, ...], attrs: tuple[Any, ...] = ()) -> Any:
    """Run `op`.

    1. Read the arrays (a view whose base was written is derived anew).
    2. Look up the plan; on a miss `infer` checks shapes and dtypes.
    3. Run the kernel and wrap what it returns.
    4. Tell the observers.
    5. If a gradient is wanted, link the outputs to the tape.

    Args:
        inputs: Tensors, None for absent optional ones; anything else is lifted to a Tensor.
        attrs: attribute values in the order of `op.attrs`, hashable.

    Returns:
        The public output, or a tuple of them.
    """
    try:
        # One and two inputs are nearly all calls: spelled out, they cost half as much.
        if len(inputs) == 2 and inputs[0] is not None and inputs[1] is not None:
            x, y = inputs
            if y.__class__ is float or y.__class__ is int:
                y = literal(y, x, op)
                inputs = x, y
            if x._alias is not None:
                if op.absorb is not None and (out := _absorbed(op, inputs, attrs)) is not None:
                    return out
                x._refresh()
            if y._alias is not None:
                y._refresh()
            a, b = arrays = (x._array, y._array)
            key = (attrs, a.shape, a.dtype, b.shape, b.dtype)
            wants_grad = not (x.stop_gradient and y.stop_gradient)
        elif len(inputs) == 1 and inputs[0] is not None:
            (x,) = inputs
            if x._alias is not None:
                if op.absorb is not None and (out := _absorbed(op, inputs, attrs)) is not None:
                    return out
                x._refresh()
            (a,) = arrays = (x._array,)
            key = (attrs, a.shape, a.dtype)
            wants_grad = not x.stop_gradient
        else:
            if op.absorb is not None and (out := _absorbed(op, inputs, attrs)) is not None:
                return out
            arrays, key, wants_grad = _read_all(inputs, attrs)
    except AttributeError:
        lifted = lift(op, inputs)
        if all(map(operator.is_, lifted, inputs)):
            raise  # not for want of a tensor
        return apply(op, lifted, attrs)

    observers = current_observers()
    if observers:
        key = (plain(attrs), *key[1:])
    plan = op.plans.get(key)
    if plan is None:
        plan = make_plan(op, inputs, key)
    if plan.cast is not None:
        return apply(op, cast_all(inputs, plan.cast()), attrs)
    if op.deferrable and not observers and _may_wait(op, key):
        return _deferred(op, attrs, arrays, key, plan)

    try:
        results = plan.run(*arrays) if op.random else _quiet.run(plan.run, *arrays)
    except (IndexError, ValueError, ZeroDivisionError) as error:
        raise kernel_error(op, error) from None
    except RuntimeError as error:
        results = _in_between(error, plan.run, *arrays)

    single = results.__class__ is not tuple
    if single:
        out = new_object(Tensor)
        out._array = results
        outputs = [out]
        results = (results,)
    else:
        # Nobody but an observer sees private outputs.
        outputs = [Tensor._of(a) for a in (results if observers else results[: op.public])]

    if observers:
        named = dict(zip(op.attrs, attrs, strict=True))
        for observer in observers:
            observer.on_op(op, inputs, named, outputs)
        results = tuple([out._array for out in outputs])
    if wants_grad and op.differentiable and is_grad_enabled():
        link(op, inputs, attrs, key, plan.differentiable, arrays, results, outputs, bool(observers))
    if op.view and inputs[0] is not None:
        for i, out in enumerate(outputs):
            out._alias = Alias(inputs[0], op, attrs, i)
    if single:
        return outputs[0]
    return outputs[0] if op.public == 1 else tuple(outputs[: op.public])


def _in_between(error: RuntimeError, run: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Run a kernel within another one: a finaliser, or the handler of a signal, computes.

    The quiet context is entered then, and cannot be entered twice.
    """
    if "cannot enter context" not in str(error):
        raise error
    with np.errstate(all="ignore"):
        return run(*args, **named)


def quietly(function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Call a function that runs kernels, without numpy's warnings, as `apply` runs them.

    Not for kernels of random ops: they would draw from the generator of another context.
    """
    try:
        return _quiet.run(function, *args, **named)
    except RuntimeError as error:
        return _in_between(error, function, *args, **named)


def _may_wait(op: Op, key: tuple[Any, ...]) -> bool:
    """Whether a call may be put off until its result is read."""
    return is_deferring() and not is_grad_enabled() and key not in op.prompt


def _deferred(
    op: Op, attrs: tuple[Any, ...], arrays: tuple[Any, ...], key: tuple[Any, ...], plan: Plan
) -> Tensor:
    """The result of a call that will be made when it is read."""
    assert plan.result is not None
    shape, dtype = plan.result
    return pending(
        Deferred(op, attrs, arrays, key, functools.partial(quietly, plan.run)), shape, dtype
    )


def _absorbed(op: Op, inputs: tuple[Any, ...], attrs: tuple[Any, ...]) -> Tensor | None:
    """One call for a pending one and `op` after it; None if they do not go together."""
    source = getattr(inputs[0], "_alias", None)
    if source is None or not source.deferred or is_grad_enabled() or current_observers():
        return None
    assert op.absorb is not None
    call = op.absorb(source, inputs, dict(zip(op.attrs, attrs, strict=True)))
    if call is None:
        return None
    arrays, attrs = call
    key = (attrs, *[part for a in arrays for part in _signature(a)])
    plan = source.op.plans.get(key) or make_plan(source.op, arrays, key)
    source.absorbed = True
    return _deferred(source.op, attrs, arrays, key, plan)


def _signature(array: np.ndarray | None) -> tuple[Any, Any]:
    return (None, None) if array is None else (array.shape, array.dtype)


def _read_all(
    inputs: tuple[Any, ...], attrs: tuple[Any, ...]
) -> tuple[tuple[Any, ...], tuple[Any, ...], bool]:
    """Arrays of any number of inputs, the key of the plan, and whether one wants a gradient."""
    arrays: list[Any] = []
    key: list[Any] = [attrs]
    wants_grad = False
    for x in inputs:
        if x is None:
            arrays.append(None)
            key += (None, None)
            continue
        if x._alias is not None:
            x._refresh()
        array = x._array
        arrays.append(array)
        key.append(array.shape)
        key.append(array.dtype)
        if not x.stop_gradient:
            wants_grad = True
    return tuple(arrays), tuple(key), wants_grad


def make_plan(op: Op, inputs: tuple[Any, ...], key: tuple[Any, ...]) -> Plan:
    """Check a call with `infer` and remember the answer."""
    attrs = dict(zip(op.attrs, key[0], strict=True))
    required = len(op.inputs) - len(op.optional) - op.variadic
    if len(inputs) < required or (len(inputs) > len(op.inputs) and not op.variadic):
        raise DTypeError(f"takes {len(op.inputs)} tensors, was given {len(inputs)}", op=op.name)
    types = [None if s is None else Type(s, d) for s, d in zip(key[1::2], key[2::2], strict=True)]
    if op.promote:
        given = [t for t in types if t is not None]
        if not given:
            raise _missing(op, types)
        common = common_dtype(given)
        whole = op.promote == "float" and not is_inexact(common)
        if whole or any(t.dtype != common for t in given):
            # The default dtype is asked for at each call, as it may be set to another one.
            plan = Plan(op.kernel, default_float if whole else lambda: common, ())
            op.plans[key] = plan
            return plan
    inferred = run_infer(op, types, attrs)
    run = op.shortcut(*types, **attrs) if op.shortcut is not None else None
    if run is None:
        run = functools.partial(op.kernel, **attrs) if attrs else op.kernel
    result = (tuple(inferred[0].shape), np.dtype(inferred[0].dtype)) if op.deferrable else None
    plan = Plan(run, None, tuple(is_inexact(np.dtype(t.dtype)) for t in inferred), result)
    if len(op.plans) >= MAX_PLANS:
        op.plans.clear()
        op.prompt.clear()
    op.plans[key] = plan
    return plan


def run_infer(op: Op, types: Sequence[Type | None], attrs: dict[str, Any]) -> list[Type]:
    """Types of all outputs; the op's name is added to the errors of its rule."""
    try:
        answer = op.infer(*types, **attrs)
        return [Type(*item) for item in (answer if isinstance(answer, list) else [answer])]
    except DynError as error:
        if error.op is None:
            error.op = op.name
        raise
    except (AttributeError, TypeError):
        # Rules read what they need, and some ops do without an input that users must give.
        if all(t is not None or op.input_name(i) in op.optional for i, t in enumerate(types)):
            raise
        raise _missing(op, types) from None


def _missing(op: Op, types: Sequence[Type | None]) -> DTypeError:
    """The complaint about the first input that is None and may not be."""
    i = next(i for i, t in enumerate(types) if t is None and op.input_name(i) not in op.optional)
    own = len(op.inputs) - op.variadic
    name = op.input_name(i) + (f"[{i - own}]" if i >= own else "")
    return DTypeError(f"{name} is None; pass a Tensor, a number or an array", op=op.name)


def kernel_error(op: Op, error: Exception, where: SourceLine | None = None) -> DynError:
    """What the user is told where a kernel raised; `where` if that is not the line that runs."""
    if isinstance(error, DynError):
        return error
    if isinstance(error, ZeroDivisionError):
        return DivisionError(str(error), op=op.name, where=where)
    kind = IndexRangeError if isinstance(error, IndexError) else AttributeValueError
    return kind(str(error), op=op.name, where=where)


def dtype_attr(dtype: Any) -> str:
    """A dtype as an attribute value: its name."""
    return name_of(as_numpy(dtype))


set_dispatch(apply)
