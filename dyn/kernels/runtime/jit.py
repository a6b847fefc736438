"""How kernels are compiled: the decorators `kernel`, `task`, `microkernel`, and calls by address.

* `@kernel` makes a compiled function that Python and other kernels call, one version per argument
  types, compiled (or loaded from disk) when first called. It releases the GIL, divides like numpy
  (no ZeroDivisionError) and checks no bounds.
* `@task` makes a C function `void(args, chunk, chunks)` for `threads.parallel_for`.
* `@microkernel(n)` makes a C function of n integers, so that its code exists once instead of being
  inlined into every driver. Drivers receive `.address` as an ordinary integer argument and call it
  with `call_address`: a global would be frozen into the cached machine code of the driver.

Decorating compiles nothing. All three take functions at the top level of a module only: a closure
would never be found again in the cache. Where the code is kept is `cache.py`; no kernel lives here.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any

import numba.extending
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, sigutils
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher
from numba.core.typing import make_concrete_template
from numba.np.numpy_support import from_dtype, map_layout

from dyn.kernels.runtime.cache import PACKAGE, SOURCES, DiskCache, cache_info
from dyn.kernels.runtime.compiler import Compiler, PartCompiler
from dyn.kernels.runtime.interrupts import uninterrupted

__all__ = ["KERNELS", "SUM", "Kernel", "Microkernel", "cache_info", "call_address", "instance",
           "instances", "intrinsic", "kernel", "microkernel", "packed_types", "task",
           "warmup"]  # fmt: skip

intrinsic: Any = numba.extending.intrinsic  # a function with one parameter less than it seems
FASTMATH = frozenset({"contract", "nsz", "reassoc", "arcp", "afn", "nnan", "ninf"})
SUM = ("reassoc", "contract", "nsz")
"""`fastmath` of a kernel whose sums may be taken in any order."""

if hasattr(os, "register_at_fork"):
    # A child forked while another thread compiles would wait for ever for that thread's lock.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


class Kernel(CPUDispatcher):
    """A numba dispatcher with our cache: call it from Python or from other kernels."""

    _cache: DiskCache
    warm: tuple[str, ...] = ()
    parts: dict[tuple[Any, ...], Any]

    def compile(self, sig: Any) -> Any:
        """Compile for a signature (or load it) unless that has been done."""
        arguments, result = sigutils.normalize_signature(sig)
        if result is None and arguments in self.overloads:
            return self.overloads[arguments].entry_point
        return uninterrupted(partial(self._compile, arguments if result is None else sig))

    def _compile(self, sig: Any) -> Any:
        try:
            return super().compile(sig)
        finally:
            self._cache.release()

    def part(self, args: tuple[Any, ...]) -> Any:
        """What other kernels take into themselves to call this one with arguments of these types.

        It is not kept on disk: it is a piece of its callers, which are.
        """
        made = self.parts.get(args)
        if made is None:
            options = self.targetoptions
            compiler = PartCompiler(self.py_func, self.targetdescr, options, {}, Compiler)
            with self._compiling_counter:
                made = self.parts[args] = compiler.compile(args, None)
            self.targetctx.insert_user_function(made.fndesc, made.fndesc, [made.library])
        return made

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """What a call in another kernel means; constants do not make versions of their own."""
        args = [types.unliteral(a) for a in args]
        signature, args = self._compiler.fold_argument_types(args, kws)
        name = self.py_func.__name__
        template = make_concrete_template(name, name, [self.part(tuple(args)).signature])
        return template, signature, args, {}

    def get_overload(self, sig: Any) -> Any:
        """What a call in another kernel calls: a key into numba's table of functions."""
        return self.part(sigutils.normalize_signature(sig)[0]).fndesc

    def compile_all(self) -> None:
        """Compile for every signature declared with `warm`."""
        for signature in self.warm:
            self.compile(signature)

    def typeof_pyval(self, val: Any) -> Any:
        """The type of an argument of a kind not seen before.

        Like numba's own, which would import numpy.ma (30 ms) to find that an array is not masked.
        """
        if type(val) is np.ndarray and val.dtype.kind in "biufc":
            layout, readonly = map_layout(val), not val.flags.writeable
            return types.Array(from_dtype(val.dtype), val.ndim, layout, readonly=readonly)
        return super().typeof_pyval(val)

    def _compilation_chain_init_hook(self) -> None:
        """Skip the search for numba extensions: kernels use numba's own types only."""


class Microkernel:
    """A C function of 64-bit integers that returns nothing.

    Attributes:
        address: where its machine code starts; compiled or loaded when first read.
    """

    address: int

    def __init__(
        self,
        function: Callable[..., None],
        count: int,
        fastmath: Any = False,
        files: Iterable[str] = (),
    ) -> None:
        self.function = function
        self.count = count
        self.fastmath = fastmath
        self.cache = DiskCache(function, files)
        self.compiled: Any = None  # the numba object that owns the code
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__

    def __getattr__(self, name: str) -> Any:
        # Not functools.cached_property: its lock (up to Python 3.11), taken by a thread that
        # compiles, would stay taken in a forked child.
        if name != "address":
            raise AttributeError(f"a microkernel has no attribute {name!r}")
        self.compile_all()
        return self.address

    def compile_all(self) -> None:
        """Compile or load the code unless that has been done."""
        if self.compiled is None:
            uninterrupted(self._compile)

    def _compile(self) -> None:
        with global_compiler_lock:
            if self.compiled is not None:
                return
            signature = (types.int64,) * self.count, types.void
            options = _options(self.fastmath, forceinline=False)
            compiled: Any = CFunc(self.function, signature, {}, options, Compiler)
            compiled._cache = self.cache
            try:
                compiled.compile()
            finally:
                self.cache.release()
            self.address = compiled.address
            self.compiled = compiled

    def __call__(self, *arguments: int) -> None:
        """Call it from Python: for tests, a thousand times slower than from a driver."""
        ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * self.count)(self.address)(*arguments)


KERNELS: dict[str, Kernel | Microkernel] = {}


def _options(fastmath: Any, forceinline: bool) -> dict[str, Any]:
    """Compiler options of every kernel."""
    flags = fastmath if isinstance(fastmath, bool) else set(fastmath)
    if flags is not True and flags and not flags <= FASTMATH:
        raise ValueError(f"fastmath takes some of {sorted(FASTMATH)}, not {sorted(flags)}")
    return {
        "nopython": True,
        "nogil": True,
        "error_model": "numpy",
        "boundscheck": False,
        "fastmath": flags,
        "forceinline": forceinline,
    }


def _register(function: Callable[..., Any], made: Any) -> Any:
    """Enter a kernel in KERNELS; TypeError unless its function stands at the top of a module."""
    if "<locals>" in function.__qualname__ or function.__closure__:
        raise TypeError(
            f"kernel {function.__qualname__} is defined inside a function; "
            "only functions at the top level of a module can be kept in the cache"
        )
    KERNELS[f"{function.__module__}.{function.__qualname__}"] = made
    return made


def kernel(
    function: Callable[..., Any] | None = None,
    *,
    fastmath: bool | Sequence[str] = False,
    forceinline: bool = False,
    warm: Sequence[str] = (),
) -> Any:
    """Compile a function with numba, once per argument types, when it is first called.

    Args:
        function: function at the top level of a module, written for numba's nopython mode.
        fastmath: LLVM flags that loosen IEEE arithmetic, such as ("contract", "nsz"). "reassoc"
            only where a sum may be reordered; "nnan" never where NaN must propagate.
        forceinline: inline into every kernel that calls it.
        warm: signatures as numba writes them, "(float32[::1], int64)", that `warmup` compiles.

    Returns:
        The compiled function. It takes positional arguments; numpy arrays by dtype, rank and
        layout (contiguous or not).

    Raises:
        TypeError: the function is not at the top level of a module.
    """

    def decorate(function: Callable[..., Any]) -> Kernel:
        options = _options(fastmath, forceinline) | {"no_cfunc_wrapper": True}
        made = Kernel(py_func=function, targetoptions=options, pipeline_class=Compiler)
        made.parts = {}
        made._cache = DiskCache(function)
        made.warm = tuple(warm)
        return _register(function, made)

    return decorate if function is None else decorate(function)


def microkernel(count: int, *, fastmath: bool | Sequence[str] = False) -> Any:
    """Compile a function of `count` 64-bit integers, which returns nothing, to a C function.

    Args:
        count: number of parameters.
        fastmath: as in `kernel`.

    Returns:
        A decorator that makes a `Microkernel`.
    """

    def decorate(function: Callable[..., None]) -> Microkernel:
        if function.__code__.co_argcount != count:
            raise TypeError(f"{function.__qualname__} does not take {count} arguments")
        return _register(function, Microkernel(function, count, fastmath))

    return decorate


def instance(name: str, body: FunctionType, **bound: Any) -> Microkernel:
    """A microkernel with the code of `body`, in which the globals in `bound` mean what they say.

    For kernels that differ in what they call, such as an intrinsic, or in a constant: what is kept
    on disk goes by a function's name, and a function inside another would have none to go by.

    Args:
        name: unique in the module of `body`; under it the machine code is kept on disk.
        body: function at the top level of a module, of 64-bit integers.
        bound: globals of this copy, by name.
    """
    function = FunctionType(body.__code__, {**body.__globals__, **bound}, name)
    function.__module__, function.__qualname__ = body.__module__, name
    made = Microkernel(function, body.__code__.co_argcount, files=_makers())
    return _register(function, made)


def instances(
    name: str, body: FunctionType, codes: str, **bound: Any
) -> dict[np.dtype[Any], Microkernel]:
    """An instance of `body` for each dtype, in which ZERO, ONE and SIZE are its numbers and bytes.

    Args:
        name: that of an instance goes on with numpy's code of its dtype.
        body: as in `instance`.
        codes: dtypes, "f4 f8".
        bound: other globals, the same in all.
    """
    made = {}
    for dtype in map(np.dtype, codes.split()):
        numbers = {"ZERO": dtype.type(0), "ONE": dtype.type(1), "SIZE": dtype.itemsize}
        made[dtype] = instance(f"{name}_{dtype.str[1:]}", body, **numbers, **bound)
    return made


@cache
def _is_source(filename: str) -> bool:
    """Whether a file is one of the kernel package."""
    return SOURCES in Path(filename).parents


def _makers() -> set[str]:
    """The files of the functions at work here, up to the module that is being imported."""
    files = set()
    frame = sys._getframe(1)
    while frame is not None:
        files.add(frame.f_code.co_filename)
        if frame.f_code.co_name == "<module>" or not _is_source(frame.f_code.co_filename):
            break
        frame = frame.f_back
    return files


def task(
    function: Callable[[int, int, int], None] | None = None,
    *,
    fastmath: bool | Sequence[str] = False,
) -> Any:
    """Compile `function(args, chunk, chunks)` to a C function that `threads.parallel_for` runs.

    Args:
        function: does chunk number `chunk` of `chunks`; `args` is the address of its parameters.
        fastmath: as in `kernel`.

    Returns:
        A `Microkernel` of three integers.
    """
    decorate = microkernel(3, fastmath=fastmath)
    return decorate if function is None else decorate(function)


def warmup(progress: Callable[[int, int, str], None] | None = None) -> int:
    """Import every kernel module, then compile the kernels whose signatures are declared.

    The others are for dtypes and cases that are rare; they compile when they are first called.

    Args:
        progress: called as progress(done, total, name) before each kernel and once at the end.

    Returns:
        Number of kernels compiled.
    """
    for module in sorted(SOURCES.rglob("[!_]*.py")):
        inside = module.relative_to(SOURCES).with_suffix("").parts
        importlib.import_module(".".join((PACKAGE, *inside)))
    named = sorted((name, made) for name, made in KERNELS.items() if getattr(made, "warm", True))
    for done, (name, made) in enumerate(named):
        if progress is not None:
            progress(done, len(named), name)
        made.compile_all()
    if progress is not None:
        progress(len(named), len(named), "")
    return len(named)


def packed_types(arguments: Any) -> tuple[Any, ...]:
    """Types of the values of an intrinsic's star parameter, which numba passes as one tuple."""
    packed = isinstance(arguments[0], types.BaseTuple)
    return tuple(arguments[0]) if packed else arguments


@intrinsic
def call_address(typingctx: Any, address: Any, *arguments: Any) -> Any:
    """Call the C function at an address with integer arguments, from inside a kernel.

    `call_address(microkernel_address, a, b, c)`; every argument is passed as a 64-bit integer, and
    the callee returns nothing. The address is not checked.
    """
    given = packed_types(arguments)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        word = ir.IntType(64)
        passed = cgutils.unpack_tuple(builder, values[1])
        passed = [
            context.cast(builder, value, source, types.int64)
            for value, source in zip(passed, given, strict=True)
        ]
        function = ir.FunctionType(ir.VoidType(), [word] * len(passed))
        builder.call(builder.inttoptr(values[0], function.as_pointer()), passed)
        return context.get_dummy_value()

    return types.void(types.int64, types.StarArgTuple(given)), generate
