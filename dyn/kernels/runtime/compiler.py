"""What numba does to compile a kernel, less what kernels have no use for.

numba's own pipeline serves any Python function: it inlines closures, looks for array expressions
and literal loops, links its runtime into everything, and optimises and translates each function
three times over, once for each way of calling it. Kernels are loops over numbers. Here

* the passes are those that such code needs, with no bookkeeping between them;
* a kernel that another kernel calls is a part: it is only brought into LLVM's language, goes into
  every library that needs it, and becomes machine code as a piece of its caller;
* a library is optimised once, as a whole; numba's runtime comes in only where memory is managed;
* the C entry of a microkernel is its function itself, without the code by which it would report
  an exception: nothing a microkernel does can raise one.

Compiling then costs half. How kernels are declared is `jit.py`.
"""

from __future__ import annotations

import gc
from typing import Any, ClassVar

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, typed_passes, untyped_passes
from numba.core.analysis import dead_branch_prune
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase
from numba.core.dispatcher import _FunctionCompiler
from numba.core.ir_utils import build_definitions
from numba.core.lowering import Lower
from numba.core.runtime import rtsys
from numba.core.ssa import reconstruct_ssa

from dyn.kernels.runtime.rules import rules, use_own

LINKAGE = llvmlite.binding.Linkage


class Library(JITCodeLibrary):
    """The LLVM code of a kernel; machine code when it is first asked for an address.

    A library that another one links is a part of it. It is never finalized.
    """

    def __init__(self, codegen: Any, name: str) -> None:
        super().__init__(codegen, name)
        self._parts: dict[Library, None] = {}  # in the order in which they were asked for

    def add_linking_library(self, library: Any) -> None:
        """Note a library whose functions this one calls."""
        if isinstance(library, Library):
            self._parts[library] = None
        elif library is not rtsys.library:  # which is linked if it turns out to be needed
            super().add_linking_library(library)

    def add_ir_module(self, ir_module: Any) -> None:
        """Take over the functions of a module; they are verified with all others, by `finalize`."""
        self._raise_if_finalized()
        text = cgutils.normalize_ir_text(str(ir_module))
        self.add_llvm_module(llvmlite.binding.parse_assembly(text))

    def add_llvm_module(self, ll_module: Any) -> None:
        """Take over the functions of a module."""
        ll_module.data_layout = self._codegen._data_layout
        self._final_module.link_in(ll_module)

    def finalize(self) -> None:
        """Link the parts, then optimise and translate all at once."""
        own = {function.name for function in self.get_defined_functions()}
        parts = dict(self._parts)
        for part in self._all_parts():
            self._final_module.link_in(part._final_module, preserve=True)
            self._linking_libraries += part._linking_libraries
        for function in self.get_defined_functions():
            if function.name not in own:
                function.linkage = LINKAGE.internal
        if any(function.name.startswith("NRT_") for function in self._final_module.functions):
            self._linking_libraries.append(rtsys.library)
        self._parts = parts
        super().finalize()

    def _all_parts(self) -> list[Library]:
        """The parts, and the parts of those."""
        found: dict[Library, None] = {}
        new = list(self._parts)
        while new:
            part = new.pop()
            if part not in found:
                found[part] = None
                new += part._parts
        return list(found)

    def _optimize_final_module(self) -> None:
        if self._linking_libraries:
            super()._optimize_final_module()  # prunes the counting of references, too
            return
        manager, builder = self._codegen._module_pass_manager()
        manager.run(self._final_module, builder)


class Lowering(Lower):
    """numba's translation of a typed function into LLVM's language."""

    def lower_normal_function(self, fndesc: Any) -> None:
        """Translate the function, and put the C function of the same parameters beside it."""
        super().lower_normal_function(fndesc)
        if not self.flags.no_cfunc_wrapper:
            self._add_entry(fndesc)

    def create_cfunc_wrapper(self) -> None:
        """Nothing is left to do: the entry is in the module."""

    def _add_entry(self, fndesc: Any) -> None:
        kinds = [self.context.get_value_type(kind) for kind in fndesc.argtypes]
        result = self.context.get_value_type(fndesc.restype)
        kind = ir.FunctionType(result, kinds)
        entry = ir.Function(self.module, kind, fndesc.llvm_cfunc_wrapper_name)
        builder = ir.IRBuilder(entry.append_basic_block("entry"))
        _, out = self.context.call_conv.call_function(
            builder, self.function, fndesc.restype, fndesc.argtypes, entry.args
        )
        builder.ret(out)
        self.function.linkage = "internal"
        self.function.attributes.add("alwaysinline")


class _Lower(typed_passes.BaseNativeLowering):
    _name = "lower"

    @property
    def lowering_class(self) -> Any:
        return Lowering


def _prune(state: Any) -> None:
    """Remove branches that depend on constants and cannot be taken."""
    dead_branch_prune(state.func_ir, state.args)


def _split(state: Any) -> None:
    """Make a variable of every assignment to one, so that each has a type of its own."""
    state.func_ir = reconstruct_ssa(state.func_ir)
    state.func_ir._definitions = build_definitions(state.func_ir.blocks)


def _library(state: Any) -> None:
    state.library = Library(state.targetctx.codegen(), state.func_id.func_qualname)
    state.library.enable_object_caching()


_STEPS: list[Any] = [
    untyped_passes.TranslateByteCode().run_pass,
    untyped_passes.FixupArgs().run_pass,
    use_own,
    untyped_passes.RewriteSemanticConstants().run_pass,
    _prune,
    untyped_passes.GenericRewrites().run_pass,
    _split,
    typed_passes.NopythonTypeInference().run_pass,
    typed_passes.PreLowerStripPhis().run_pass,
    typed_passes.IRLegalization().run_pass,
    _library,
    _Lower().run_pass,
    typed_passes.NoPythonBackend().run_pass,
]


class _Passes:
    """The passes, in the shape in which numba runs them."""

    pipeline_name = "kernel"
    exec_times: ClassVar[dict[str, Any]] = {}

    @staticmethod
    def run(state: Any) -> None:
        """Compile the function in `state`.

        What a compilation makes lives to its end: looking through it for garbage is wasted.
        """
        collecting = gc.isenabled()
        gc.disable()
        try:
            for step in _STEPS:
                step(state)
        finally:
            if collecting:
                gc.enable()


class Compiler(CompilerBase):
    """The pipeline, for numba's `pipeline_class`."""

    def __init__(self, typing: Any, *arguments: Any) -> None:
        super().__init__(rules(typing), *arguments)

    def define_pipelines(self) -> list[_Passes]:
        """All there is to do, in one pipeline."""
        return [_Passes()]


class PartCompiler(_FunctionCompiler):
    """Compiles what is called from other kernels only: no entries, no machine code."""

    def _customize_flags(self, flags: Any) -> Any:
        flags.no_cpython_wrapper = True
        flags.no_cfunc_wrapper = True
        flags.no_compile = True
        return flags
