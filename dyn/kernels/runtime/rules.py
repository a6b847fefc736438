"""numba's rules for types and functions, found at less cost than numba finds them.

What a function means for arguments of certain types is the same in every kernel, so it is looked up
once. `min` and `max` of integers are two instructions; numba compiles a function for each of their
calls. What a kernel is compiled through is `compiler.py`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from typing import Any

import numba.core.ir
import numba.extending
from numba import types
from numba.core import cgutils, typing

intrinsic: Any = numba.extending.intrinsic
_PACKED = types.StarArgTuple, types.StarArgUniTuple
"""numba's types of the arguments of a star parameter, which it passes as one."""


class Rules(typing.Context):
    """numba's typing context, its very state, with a memory for what functions return."""

    _known: dict[Any, Any]

    def refresh(self) -> None:
        """Nothing: a compilation begins by refreshing numba's own context, which this one is."""

    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        """The signature of a call; None where there is no such function."""
        if kws or type(func) is not types.Function:
            return super().resolve_function_type(func, args, kws)
        key = func, tuple(args)
        found = self._known.get(key)
        if found is None:
            found = super().resolve_function_type(func, args, kws)
            if found is not None:
                self._known[key] = found
        return found


@cache
def rules(context: Any) -> Rules:
    """The rules of one of numba's typing contexts."""
    _load()
    made = object.__new__(Rules)
    made.__dict__ = vars(context)
    made._known = {}
    return made


def _load() -> None:
    """Import numba's rules for arrays without scipy, if it is here that they are imported first.

    They import it (0.3 s) for no more than to see whether it is there.
    """
    linalg: Any = importlib.import_module("numba.np.linalg")
    if "numba.np.arraymath" in sys.modules or not hasattr(linalg, "ensure_blas"):
        return
    ensure = linalg.ensure_blas
    linalg.ensure_blas = _find_blas
    try:
        arraymath: Any = importlib.import_module("numba.np.arraymath")
        arraymath.ensure_blas = ensure
    finally:
        linalg.ensure_blas = ensure


def _find_blas() -> None:
    """ImportError unless scipy is installed, which numba takes its BLAS from."""
    if importlib.util.find_spec("scipy") is None:
        raise ImportError("scipy is not installed")


def _extreme(function: Any, sign: str) -> Any:
    """An intrinsic for `min` or `max`: comparisons for integers of one type, else what numba has.

    Args:
        function: the builtin.
        sign: how the number that is taken compares with the others.
    """

    @intrinsic
    def extreme(context: Any, *numbers: Any) -> Any:
        given = tuple(numbers[0]) if isinstance(numbers[0], _PACKED) else numbers
        given = tuple(types.unliteral(kind) for kind in given)
        packed = types.StarArgTuple(given)
        if len(given) > 1 and len(set(given)) == 1 and isinstance(given[0], types.Integer):

            def compare(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                signed = given[0].signed
                test = builder.icmp_signed if signed else builder.icmp_unsigned
                taken, *others = cgutils.unpack_tuple(builder, values[0])
                for other in others:
                    taken = builder.select(test(sign, other, taken), other, taken)
                return taken

            return given[0](packed), compare

        kind = context.resolve_value_type(function)
        signature = context.resolve_function_type(kind, given, {})

        def call(context: Any, builder: Any, _: Any, values: Any) -> Any:
            called = context.get_function(kind, signature)
            context.add_linking_libs(getattr(called, "libs", ()))
            # numba's own takes the numbers one by one or, from some version on, as a tuple.
            if not isinstance(signature.args[0], _PACKED):
                values = cgutils.unpack_tuple(builder, values[0])
            return called(builder, values)

        return signature.return_type(packed), call

    return extreme


_BUILTIN = type(min)
_OWN: Any = {min: _extreme(min, "<"), max: _extreme(max, ">")}


def use_own(state: Any) -> None:
    """A pass: let the function call ours in place of the builtins that we have."""
    for block in state.func_ir.blocks.values():
        for line in block.body:
            named = getattr(line, "value", None)
            if isinstance(named, numba.core.ir.Global) and type(named.value) is _BUILTIN:
                named.value = _OWN.get(named.value, named.value)
